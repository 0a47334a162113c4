"""Spike trains and templates: there and back, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.core.types import Sorting, Templates
from spikeprint.io.datasets import read_sorting, write_sorting


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three units, the second without spikes, the last unlabelled and without a template."""
    write_sorting(tmp_path / "s", make_sorting())
    return tmp_path / "s"


def make_sorting() -> Sorting:
    templates = np.random.default_rng(0).normal(size=(3, 8, 2)).astype(np.float32)
    templates[2] = np.nan
    return Sorting(
        unit_ids=np.array(["07", "8", "nine"]),
        spike_times=np.array([5, 9, 9, 100, 2, 300], dtype=np.int64),
        offsets=np.array([0, 4, 4, 6], dtype=np.int64),
        templates=Templates(templates, 30000.390639481, positions_um=np.array([[0.0, 0.1], [0.0, 20.0]])),
        time_rate_hz=30000.390639481,
        duration_s=np.full(3, 0.1),
        labels=np.array(["PV", "SOM", ""]),
    )


def test_reads_back_identically(folder: Path) -> None:
    back, sorting = read_sorting(folder), make_sorting()
    for here, there in ((sorting, back), (sorting.templates, back.templates)):
        for name, value in vars(here).items():
            if name != "templates":
                np.testing.assert_array_equal(getattr(there, name), value)
                assert not isinstance(value, np.ndarray) or getattr(there, name).dtype.kind == value.dtype.kind


def test_what_a_source_may_lack_reads_back_as_lacking(tmp_path: Path) -> None:
    bare = replace(make_sorting(), templates=None, spike_times=np.arange(6) / 7, time_rate_hz=1.0)
    write_sorting(tmp_path / "bare", bare)
    back = read_sorting(tmp_path / "bare")
    assert back.templates is back.segment is back.noise_uv is None
    assert back.time_rate_hz == 1.0
    np.testing.assert_array_equal(back.spike_times, bare.spike_times)


def test_all_that_a_source_may_know_reads_back(tmp_path: Path) -> None:
    full = replace(
        make_sorting(),
        segment=np.array([0, 0, 1, 1, 0, 1]),
        amplitudes_uv=np.arange(6, dtype=np.float32),
        depths_um=np.arange(6, dtype=np.float32) * 2,
        noise_uv=np.array([5.5, 6.5, np.nan]),
        session_id="day_1",
        extra={"KSLabel": np.array(["good", "mua", "good"], dtype=object)},
    )
    write_sorting(tmp_path / "full", full)
    back = read_sorting(tmp_path / "full")
    for name in ("segment", "amplitudes_uv", "depths_um", "noise_uv", "session_id", "duration_s"):
        np.testing.assert_array_equal(getattr(back, name), getattr(full, name))
    assert back.extra["KSLabel"].tolist() == ["good", "mua", "good"]


def test_writing_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_sorting(tmp_path / "again", make_sorting())
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def spikes(**changes: np.ndarray) -> Callable[[Path], None]:
    """Write spikes.npz with other arrays."""
    sorting = make_sorting()
    arrays = {"spike_samples": sorting.spike_times, "offsets": sorting.offsets, **changes}
    return lambda folder: np.savez(folder / "spikes.npz", **arrays)


def recording(**changes: object) -> Callable[[Path], None]:
    """Change values of recording.json."""

    def change(folder: Path) -> None:
        path = folder / "recording.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no spikes file": (lambda f: (f / "spikes.npz").unlink(), "spikes.npz: missing"),
    "damaged": (lambda f: (f / "spikes.npz").write_bytes(b"PK\x03\x04"), "spikes.npz: not a whole NumPy file"),
    "pickled": (
        lambda f: np.save(f / "templates.npy", np.array([{}]), allow_pickle=True),
        "templates.npy: not a whole NumPy file of plain arrays",
    ),
    "no offsets": (lambda f: np.savez(f / "spikes.npz", spike_times=np.arange(3)), "no 'offsets'"),
    "seconds": (spikes(spike_samples=np.arange(6) / 10), "'spike_samples' is float64"),
    "offsets fall": (spikes(offsets=np.array([0, 4, 3, 6])), "s: Sorting: 3 units, 6 spikes, but offsets"),
    "offsets short": (spikes(offsets=np.array([0, 4, 6])), "s: Sorting: 3 units, 6 spikes, but offsets"),
    "template in part": (
        lambda f: np.save(f / "templates.npy", np.where(np.arange(48).reshape(3, 8, 2) == 20, np.nan, 1.0)),
        "templates.npy: template 1 is not finite in part",
    ),
    "template 2-D": (lambda f: np.save(f / "templates.npy", np.ones((3, 8))), r"templates.npy: float64 \(3, 8\)"),
    "channels differ": (recording(channel_positions_um=[[0, 1]]), r"Templates: templates \(3, 8, 2\), positions"),
    "positions 3-D": (recording(channel_positions_um=[[0, 1, 2], [3, 4, 5]]), r"channel_positions_um is \(2, 3\)"),
    "rate as text": (recording(sampling_frequency_hz="fast"), "recording.json: .* must be numbers"),
    "rate zero": (recording(sampling_frequency_hz=0), "sampling frequency 0.0 Hz"),
    "a list": (lambda f: (f / "recording.json").write_text("[1]"), "recording.json: no 'sampling_frequency_hz'"),
    "ids repeat": (
        lambda f: (f / "units.csv").write_text("unit_id,cell_type\na,PV\na,PV\nb,\n"),
        "units.csv: row 2, column unit_id: 'a'",
    ),
    "no cell_type": (lambda f: (f / "units.csv").write_text("unit_id,celltype\na,\nb,\nc,\n"), "mean 'celltype'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_refused_in_one_located_line(folder: Path, case: str) -> None:
    spoil, message = BAD[case]
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        read_sorting(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)

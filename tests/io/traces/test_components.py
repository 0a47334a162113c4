"""Snippets kept as temporal components: what comes back, from where, in what memory; folders that cannot be used."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeprint.core.config import SnippetParams
from spikeprint.core.errors import DataError
from spikeprint.core.production import LOCALIZATION
from spikeprint.core.spikes import Neighbourhoods, Peaks, Source
from spikeprint.io.traces.components import Components, open_components, write_components
from spikeprint.io.traces.snippets import iter_snippets, open_source
from spikeprint.localize.geometry import find_neighbourhoods

FS_HZ, N_CHANNELS, NOISE_UV = 10_000.0, 8, 5.0
PARAMS = SnippetParams(n_components=3, n_fit=200)
SHAPES = -np.stack([np.exp(-((np.arange(-10, 11) / width) ** 2)) for width in (1.5, 2.5)])


@pytest.fixture(scope="module")
def traces() -> tuple[np.ndarray, np.ndarray]:
    """Three seconds with a spike of one of two shapes each 20 ms: with noise of 5 µV, and without."""
    rng = np.random.default_rng(0)
    clean = np.zeros((30_000, N_CHANNELS))
    for i, at in enumerate(range(200, 29_800, 200)):
        size = 150 * np.exp(-np.abs(np.arange(N_CHANNELS) - rng.integers(1, N_CHANNELS - 1)))
        clean[at - 10 : at + 11] += SHAPES[i % 2][:, None] * size
    return (clean + rng.normal(0, NOISE_UV, clean.shape)).astype(np.float32), clean.astype(np.float32)


@pytest.fixture(scope="module")
def source(traces: tuple[np.ndarray, np.ndarray]) -> Source:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKEPRINT_WORKERS", "1")
        return open_source(make(traces[0]), LOCALIZATION.detect, None, chunk_s=0.5)


@pytest.fixture(scope="module")
def around(source: Source) -> Neighbourhoods:
    return find_neighbourhoods(source.contacts_um, 5)


@pytest.fixture(scope="module")
def folder(source: Source, around: Neighbourhoods, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("kept") / "snippets"
    write_components(made, source, around, PARAMS, seed=0)
    return made


def make(traces: np.ndarray) -> Any:
    from probeinterface import generate_linear_probe
    from spikeinterface.core import NumpyRecording

    recording = NumpyRecording([traces], FS_HZ)
    probe = generate_linear_probe(traces.shape[1], ypitch=25)
    probe.set_device_channel_indices(np.arange(traces.shape[1]))
    recording.set_probe(probe, in_place=True)
    return recording


def read(source: Source, around: Neighbourhoods, peaks: Peaks) -> np.ndarray:
    return np.concatenate([part for _, part in source.read(around, peaks)])


def refuse_traces(source: Source) -> Source:
    """A source whose traces are gone."""

    def fail(around: Neighbourhoods, peaks: Peaks) -> Any:
        raise AssertionError("traces were read")

    return replace(source, read=fail)


def test_what_comes_back_is_nearer_to_the_clean_spike_than_what_was_recorded(
    source: Source, around: Neighbourhoods, folder: Path, traces: tuple[np.ndarray, np.ndarray]
) -> None:
    window = {"n_before": source.n_before, "n_after": source.n_after, "chunk_s": 1.0}
    clean = np.concatenate([part for _, part in iter_snippets(make(traces[1]), around, source.peaks, **window)])
    raw = read(source, around, source.peaks)
    kept = read(open_components(folder).join(refuse_traces(source)), around, source.peaks)
    assert kept.shape == raw.shape
    assert kept.dtype == np.float32
    error, before = (np.sqrt(np.square(each - clean).mean()) for each in (kept, raw))
    assert error < 0.5 * before
    missing = around.channels[source.peaks.channels] < 0
    assert not kept[missing].any()


def test_the_card_tells_what_was_lost(folder: Path, source: Source) -> None:
    card = json.loads((folder / "snippets.json").read_text())
    assert card["bytes_per_spike"] == 2 * 5 * 3
    assert (folder / "components.npy").stat().st_size == len(source.peaks) * 30 + 128
    assert card["explained"] < card["explained_peak"] < 1
    assert card["explained_peak"] > 0.9
    # two shapes in three components: what is left out is noise
    n_samples = source.n_before + source.n_after
    assert card["left_out"] == pytest.approx(np.sqrt(1 - 3 / n_samples), rel=0.05)


def test_any_spikes_and_fewer_contacts_can_be_read(source: Source, around: Neighbourhoods, folder: Path) -> None:
    kept = open_components(folder).join(refuse_traces(source))
    rows = np.array([3, 4, 17, 90])
    few = find_neighbourhoods(source.contacts_um, 3)
    part = read(kept, few, source.peaks.take(rows))
    whole = read(kept, around, source.peaks)[rows]
    for i, channel in enumerate(source.peaks.channels[rows]):
        columns = [list(around.channels[channel]).index(c) for c in few.channels[channel]]
        np.testing.assert_array_equal(part[i], whole[i, columns])


def test_what_is_not_kept_is_read_from_the_traces(source: Source, around: Neighbourhoods, folder: Path) -> None:
    kept = open_components(folder).join(source)
    wide = find_neighbourhoods(source.contacts_um, 7)
    np.testing.assert_array_equal(read(kept, wide, source.peaks), read(source, wide, source.peaks))
    later = replace(source.peaks, samples=source.peaks.samples + 1)
    np.testing.assert_array_equal(read(kept, around, later), read(source, around, later))


def test_the_order_of_peaks_does_not_matter(
    source: Source, around: Neighbourhoods, folder: Path, tmp_path: Path
) -> None:
    peaks = source.peaks
    two = Peaks(np.repeat(peaks.samples, 2), np.tile([4, 2], len(peaks)), np.repeat(peaks.amplitudes_uv, 2), FS_HZ,
                peaks.n_samples)  # fmt: skip
    write_components(tmp_path / "two", replace(source, peaks=two), around, PARAMS, seed=0)
    kept = open_components(tmp_path / "two").join(refuse_traces(source))
    some = two.take(np.arange(0, len(two), 2))
    lost = np.sqrt(np.square(read(kept, around, some) - read(source, around, some)).mean())
    assert lost < 1.1 * NOISE_UV  # the components of other rows would be off by the spikes themselves
    assert np.sqrt(np.square(read(source, around, some)).mean()) > 2 * NOISE_UV


def lose(folder: Path) -> None:
    (folder / "components.npy").unlink()


def shorten(folder: Path) -> None:
    np.save(folder / "components.npy", np.zeros((2, 5, 3), dtype=np.float16))


def empty_card(folder: Path) -> None:
    (folder / "snippets.json").write_text("{}")


def cut(folder: Path) -> None:
    (folder / "components.npy").write_bytes(b"\x93NUMPY")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose, r"not whole .*components.npy.*run the stage snippets again"),
        (shorten, r"\(2, 5, 3\) float16"),
        (empty_card, r"not whole \('fs_hz'\)"),
        (cut, r"not whole"),
    ],
)
def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path, change: Any, message: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy)
    with pytest.raises(DataError, match=message):
        open_components(copy)


def test_components_of_another_recording_are_refused(source: Source, folder: Path) -> None:
    kept: Components = open_components(folder)
    with pytest.raises(DataError, match=r"n_before 10, the recording 12; run the stage snippets again"):
        kept.join(replace(source, n_before=12))
    with pytest.raises(DataError, match=r"n_channels 8, the recording 7"):
        kept.join(replace(source, contacts_um=source.contacts_um[:7]))

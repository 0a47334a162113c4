"""What users hand in by mistake, through the command line: one line, an exit code, and a project as it was."""

import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from nwb_files import new_file, save, trains, write_nwb
from spikeprint.cli import main
from spikeprint.commands._raw import read_raw, try_features
from spikeprint.core.config import Params, make_dataset_params

RNG = np.random.default_rng(3)
TRAIN = np.cumsum(RNG.exponential(0.05, 2_000)) + 0.01
"""Seconds, 100 s at 20 Hz."""
ADD = ["--technology", "neuropixels", "--species", "mouse"]


class Attack:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def npz(**members: np.ndarray) -> Callable[[Path], Path]:
    """An ``.npz`` of trains by unit."""

    def make(folder: Path) -> Path:
        np.savez(folder / "trains.npz", **members)
        return folder / "trains.npz"

    return make


def phy(*names: str, **replaced: np.ndarray) -> Callable[[Path], Path]:
    """A phy folder with these files."""
    arrays = {"spike_times": np.arange(300) * 900, "spike_clusters": np.arange(300) % 3} | replaced

    def make(folder: Path) -> Path:
        for name in names:
            np.save(folder / f"{name}.npy", arrays[name])
        return folder

    return make


def nwb_without_units(folder: Path) -> Path:
    return save(new_file(2), folder / "s.nwb")


def nwb_of_unclear_axes(folder: Path) -> Path:
    units = [{**unit, "waveform_mean": np.ones((7, 7))} for unit in trains()]
    return write_nwb(folder / "s.nwb", units, rate_hz=30_000.0)


def corrupted(folder: Path) -> Path:
    path = write_nwb(folder / "s.nwb", trains())
    content = bytearray(path.read_bytes())
    content[200 : len(content) // 2] = bytes(len(content) // 2 - 200)
    path.write_bytes(content)
    return path


def truncated(folder: Path) -> Path:
    path = write_nwb(folder / "s.nwb", trains())
    path.write_bytes(path.read_bytes()[:600])
    return path


def acqm(member: str = "qm.npz", **arrays: object) -> Callable[[Path], Path]:
    """An ACQM zip."""

    def make(folder: Path) -> Path:
        file = io.BytesIO()
        content = {"train": {1: np.arange(200) * 300, 2: np.arange(100) * 500}, "fs": 20_000.0} | arrays
        np.savez(file, **{name: np.array(value, dtype=object) for name, value in content.items() if value is not None})
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr(member, file.getvalue())
        return folder / "a.zip"

    return make


def table(n_labels: int) -> Callable[[Path], Path]:
    """A CSV folder of 12 units with so many labels."""

    def make(folder: Path) -> Path:
        for name, values in {"waveforms": RNG.normal(size=(12, 40)), "isi_dist": RNG.poisson(3, (12, 60))}.items():
            header = ",".join(map(str, range(values.shape[1])))
            np.savetxt(folder / f"{name}.csv", values, delimiter=",", header=header, comments="")
        (folder / "labels.csv").write_text("cell\n" + "PV\nSOM\n" * (n_labels // 2) + "PV\n" * (n_labels % 2))
        return folder

    return make


def units_differ(folder: Path) -> Path:
    return npz(a=TRAIN, b=TRAIN, **{"template/a": np.ones(40), "template/c": np.ones(40)})(folder)


BAD: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "no phy clusters": (phy("spike_times"), ["--from", "phy"], "spike_clusters.npy"),
    "phy without a rate": (phy("spike_times", "spike_clusters"), [], "no sampling rate; pass --sampling-frequency"),
    "phy rate in kHz": (phy("spike_times", "spike_clusters"), ["--sampling-frequency", "30"], "Hz, not kHz"),
    "phy counts differ": (
        phy("spike_times", "spike_clusters", spike_clusters=np.arange(200)),
        ["--sampling-frequency", "30000"],
        "200 values, but there are 300 spikes",
    ),
    "nwb without units": (nwb_without_units, ["--from", "nwb"], "units"),
    "nwb of unclear axes": (nwb_of_unclear_axes, [], "axis|axes"),
    "corrupted HDF5": (corrupted, ["--from", "nwb"], "s.nwb"),
    "truncated HDF5": (truncated, ["--from", "nwb"], "s.nwb"),
    "samples without a rate": (npz(a=(TRAIN * 3e4).astype(int)), [], "pass --sampling-frequency"),
    "samples given as seconds": (npz(a=np.rint(TRAIN * 3e4)), [], "spike times"),
    "milliseconds over days": (npz(a=TRAIN * 1e6), [], "days|check"),
    "too many impossible times": (npz(a=np.where(np.arange(2_000) % 20, TRAIN, np.nan)), [], "at most 1 %"),
    "cluster numbers for times": (npz(a=RNG.integers(0, 9, 2_000).astype(float)), [], "cluster numbers"),
    "units differ between files": (units_differ, ["--sampling-frequency", "30000"], "only in .*c.*; only in trains: b"),
    "objects in an npz": (npz(a=np.array([{}], dtype=object)), [], "trains.npz"),
    "malicious pickle": (acqm(neuron_data={1: Attack()}), [], "mkdir"),
    "path traversal": (acqm("../../qm.npz"), ["--from", "acqm"], r"\.\./"),
    "no rate in a zip": (acqm(fs=None), [], "no sampling rate; pass --sampling-frequency"),
    "a rate of zero": (acqm(fs=0.0), [], "positive number of Hz"),
    "fewer labels": (table(11), [], "labels.csv 11"),
    "more labels": (table(13), [], "labels.csv 13"),
    "nothing known": (lambda folder: folder, [], "of no known layout; needed is phy"),
    "an unknown format": (table(12), ["--from", "phi"], "did you mean 'phy'"),
    "another format": (table(12), ["--from", "phy"], "not of layout 'phy'"),
    "units with a stream": (table(12), ["--stream", "ap"], "holds units"),
    "counts that are none": (table(12), ["--representation", "counts_1ms"], "60 columns, but 'counts_1ms' has 100"),
    "a representation of trains": (npz(a=TRAIN), ["--representation", "legacy"], "the option is for csv folders"),
}


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the parameters of this project; the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copyfile(root / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("case", BAD)
def test_add_refuses_in_one_line_and_changes_nothing(
    case: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, options, message = BAD[case]
    source = tmp_path / "source"
    source.mkdir()
    path = make(source)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert main(["add", "mine", str(path), *ADD, *options]) in (1, 2)
    said = capsys.readouterr().err
    told = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, said
    assert "Traceback" not in said
    assert re.search(message, said), said
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert not (project / "executed").exists()


ODD: dict[str, tuple[Callable[[Path], Path], list[str], str, str]] = {
    "unsorted": (npz(a=TRAIN, b=np.roll(TRAIN, 7)), [], "b", "unsorted_times"),
    "duplicates": (npz(a=TRAIN, b=np.sort(np.append(TRAIN, TRAIN[:9]))), [], "b", "duplicate_times"),
    "a few NaN": (npz(a=TRAIN, b=np.append(TRAIN, [np.nan, -1.0, np.inf])), [], "b", "invalid_times"),
    "no spike": (npz(a=TRAIN, b=np.empty(0)), [], "b", "low_n"),
    "one spike": (npz(a=TRAIN, b=TRAIN[:1]), [], "b", "low_n"),
    "float32": (npz(a=TRAIN.astype(np.float32)), [], "a", ""),
    "unsigned, a rate that is no integer": (
        npz(a=(TRAIN * 3e4).astype(np.uint64)),
        ["--sampling-frequency", "30000.390639481"],
        "a",
        "",
    ),
    "flat template": (npz(a=TRAIN, **{"template/a": np.ones(90)}), ["--sampling-frequency", "30000"], "a", "flat"),
    "ids of any kind": (npz(**{"42": TRAIN, "été 7": TRAIN}), [], "été 7", ""),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_but_usable_input_is_answered_and_flagged(case: str, project: Path, tmp_path: Path) -> None:
    make, options, unit, flag = ODD[case]
    rate = float(options[1]) if options else None
    row = make_dataset_params(
        {"folder": "x", "technology": "mea", "species": "rat", "format": "arrays", "sampling_frequency_hz": rate}
    )
    path = make(tmp_path)
    features = Params.load(project / "params.yaml").features
    table = try_features(read_raw(path, row), path, "mine", row, features)
    metadata = table.metadata.set_index("unit_id")
    assert flag in str(metadata.loc[unit, "flags"])
    assert metadata.loc[unit, "n_spikes"] <= 2_000
    assert np.isfinite(table.isi).all()
    assert np.isnan(table.waveform).all()


def test_hdf5_of_another_kind_is_of_no_known_layout(project: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = np.arange(3)
    assert main(["add", "mine", str(tmp_path / "x.h5"), *ADD]) == 2

"""Every kind of source through the real pipeline: traces, and the public recordings beside the project."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from spikeprint.io.arrays import read_sorting
from spikeprint.io.datasets import read_canonical
from support import Project

pytestmark = pytest.mark.slow
NEUROPIXELS = ["--technology", "neuropixels", "--species", "macaque"]
SILICON = ["--technology", "silicon_probe", "--species", "mouse"]
REAL = {
    "tagged": ("cellexplorer_tagged", SILICON, 65),
    "te8922": ("kilosort4_macaque_te8922", [*NEUROPIXELS, "--sampling-frequency", "30000"], 311),
    "a8604": ("nwb_units_only", SILICON, 3),
    "track": ("hippocampus_linear_track", ["--technology", "tetrode", "--species", "rat"], 31),
}
"""Dataset -> folder under ../shared/recordings, options of ``add``, units."""


@pytest.fixture(scope="module")
def recording(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    """A project, and a folder with a small raw recording made by the default pipeline, without its truth."""
    project = finished_project.copy(tmp_path_factory.mktemp("traces") / "project")
    row = {"n_channels": 8, "n_units": 4, "duration_s": 20, "sampling_frequency_hz": 30000, "noise_uv": 8}
    project.edit_params(lambda values: values["simulate"]["recordings"].update(raw={**row}))
    project.repro("simulate_recording@raw")
    folder = tmp_path_factory.mktemp("recording") / "session"
    shutil.copytree(project.folder / "data/raw/raw", folder, ignore=shutil.ignore_patterns("truth"))
    project.edit_params(lambda values: values["simulate"]["recordings"].clear())
    return project, folder


def test_traces_are_sorted_and_only_what_a_change_touches_is_rebuilt(recording: tuple[Project, Path]) -> None:
    project, folder = recording
    said = project.run(
        "spikeprint", "add", "session", folder, "--technology", "neuropixels", "--species", "mouse"
    ).stdout
    assert "a recording (binary) of 8 channels, 20.0 s at 30000 Hz, to be sorted by lupin" in said
    assert project.repro("validate@session") == {"spikes@session", "features@session", "validate@session"}
    metadata = pd.read_csv(project.folder / "data/canonical/session/metadata.csv")
    card = json.loads((project.folder / "data/canonical/session/representation.json").read_text())
    assert len(metadata) >= 2
    assert card["missing"] == {"waveform": 0, "isi": 0, "acg": 0}
    assert card["waveform"]["unit"] == "uV"
    assert (metadata["snr"] > 3).all()
    assert project.repro("validate@session") == set()
    project.edit_params(lambda values: values["features"].update(min_spikes=20))
    assert "spikes@session" not in project.repro("validate@session")
    project.run("spikeprint", "remove", "session")
    values = yaml.safe_load((project.folder / "params.yaml").read_text())
    assert values["recordings"] == {}
    assert not (project.folder / "data/interim/sortings/session").exists()


def test_traces_with_their_own_sorting(recording: tuple[Project, Path], tmp_path: Path) -> None:
    project, source = recording
    folder = shutil.copytree(source, tmp_path / "sorted")
    truth = read_sorting(project.folder / "data/raw/raw/truth")
    trains = {
        unit: truth.spike_times[a:b]
        for unit, a, b in zip(truth.unit_ids, truth.offsets[:-1], truth.offsets[1:], strict=True)
    }
    np.savez(folder / "units.npz", **trains)
    said = project.run("spikeprint", "add", "own", folder, "--sorted", *SILICON).stdout
    assert "with its own sorting" in said
    project.repro("validate@own")
    metadata = pd.read_csv(project.folder / "data/canonical/own/metadata.csv", dtype={"unit_id": str})
    assert metadata["unit_id"].tolist() == truth.unit_ids.tolist()
    assert metadata["n_spikes"].tolist() == truth.n_spikes.tolist()
    project.run("spikeprint", "remove", "own")


@pytest.fixture(scope="module")
def with_real(finished_project: Project, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project after all public recordings were added, and a repro."""
    shared = root.parent / "shared" / "recordings"
    if not shared.is_dir():
        pytest.skip("real data (../shared/recordings) is not on this machine")
    project = finished_project.copy(tmp_path_factory.mktemp("real") / "project")
    for name, (folder, options, _) in REAL.items():
        project.run("spikeprint", "add", name, shared / folder, *options)
    project.repro()
    return project


@pytest.mark.parametrize("name", REAL)
def test_public_recordings_give_predictions(with_real: Project, name: str) -> None:
    predictions = pd.read_csv(
        with_real.folder / "reports/plots/predictions/production.csv", dtype={"unit_id": str}, keep_default_na=False
    )
    mine = predictions[predictions["dataset"] == name]
    assert len(mine) == REAL[name][2]
    # without a waveform, a unit whose spikes are all more than 100 ms apart has nothing to be answered by
    table = read_canonical(with_real.folder / "data" / "canonical" / name)
    has_data = (table.isi.sum(axis=1) + table.acg.sum(axis=1) > 0) | np.isfinite(table.waveform).all(axis=1)
    assert (mine["predicted"] != "").tolist() == has_data.tolist()
    assert has_data.mean() > 0.85
    assert pd.to_numeric(mine.loc[mine["predicted"] != "", "confidence"]).between(0, 1).all()


def test_labels_of_cellexplorer_come_from_its_files(with_real: Project) -> None:
    card = json.loads((with_real.folder / "data/canonical/tagged/representation.json").read_text())
    assert card["classes"] == {"AAC": 30, "PV": 14}
    assert card["n_sessions"] == 38


def test_results_go_back_into_the_sorters_folder(with_real: Project, root: Path, tmp_path: Path) -> None:
    source = root.parent / "shared" / "recordings" / "kilosort4_macaque_te8922"
    target = shutil.copytree(source, tmp_path / "phy")
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    with_real.run("spikeprint", "export", "phy", "te8922", target)
    table = pd.read_csv(target / "cluster_cell_type.tsv", sep="\t")
    assert 250 < len(table) < 311
    assert table["cell_type"].notna().all()
    assert {name: (target / name).read_bytes() for name in before} == before

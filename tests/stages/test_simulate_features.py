"""The stages ``simulate`` and ``features`` on a small project folder, files and all."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.datasets import read_canonical, read_sorting
from spikeprint.stages import features, simulate

SESSION = {"layout": "linear", "n_units_per_type": 2, "n_unlabelled": 1, "n_low_quality": 2}
DATASETS = {
    "toy": {"folder": "data/raw/toy", "technology": "silicon_probe", "species": "mouse", "format": "arrays"},
    "table": {"folder": "data/raw/table", "technology": "neuropixels", "species": "mouse", "format": "csv"},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with one small session and one CSV dataset declared."""
    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
    session = {**SESSION, "duration_s": 60, "sampling_frequency_hz": 20_000}
    params["simulate"]["sessions"] = {"toy": session, "spare": session}
    params["datasets"] = DATASETS
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_matrix(path: Path, values: np.ndarray) -> None:
    """A CSV with a header of numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ",".join(str(i) for i in range(values.shape[1]))
    np.savetxt(path, values, delimiter=",", header=header, comments="")


def test_simulate_writes_every_session(project: Path) -> None:
    simulate.main([])
    for name in ("toy", "spare"):
        assert len(read_sorting(project / "data" / "raw" / name).unit_ids) == 13


def test_simulate_writes_only_the_session_asked_for(project: Path) -> None:
    simulate.main(["toy"])
    assert [folder.name for folder in (project / "data" / "raw").iterdir()] == ["toy"]


def test_an_unknown_session_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'spare'"):
        simulate.main(["spar"])


def test_features_of_a_simulated_session(project: Path) -> None:
    simulate.main(["toy"])
    features.main(["toy"])
    table = read_canonical(project / "data" / "canonical" / "toy")
    assert (table.card["dataset"], table.card["n_units"], table.card["n_labelled"]) == ("toy", 13, 10)
    assert len(table.card["source_md5"]) == 32


def test_features_of_a_csv_folder(project: Path) -> None:
    folder = project / "data" / "raw" / "table"
    rng = np.random.default_rng(0)
    write_matrix(folder / "waveforms.csv", rng.normal(size=(4, 46)))
    write_matrix(folder / "isi_dist.csv", rng.random((4, 51)))
    (folder / "labels.csv").write_text("label\nb'sst'\nPV\nunlabeled\nPV\n", encoding="utf-8")
    features.main(["table"])
    table = read_canonical(project / "data" / "canonical" / "table")
    assert table.labels.tolist() == ["SOM", "PV", "", "PV"]
    assert np.isnan(table.acg).all()


@pytest.mark.parametrize("argv", [[], ["tabel"], ["toy", "table"]])
def test_features_needs_one_known_dataset(project: Path, argv: list[str]) -> None:
    with pytest.raises(ConfigError, match="needs one row of datasets: table, toy"):
        features.main(argv)


def test_a_missing_raw_folder_is_named(project: Path) -> None:
    with pytest.raises(DataError, match="table"):
        features.main(["table"])


@pytest.mark.parametrize(
    ("name", "n_units", "n_classes", "missing_waveforms"),
    [
        ("cellexplorer_mouse", 430, 4, 0),
        ("hausser_mouse", 104, 5, 0),
        ("lakunina_mouse_a1", 285, 3, 0),
        ("lisberger_macaque", 1152, 5, 1),
        ("neonatal_slice_mouse", 2220, 4, 354),
    ],
)
def test_public_datasets_become_canonical(
    project: Path, name: str, n_units: int, n_classes: int, missing_waveforms: int
) -> None:
    source = Path(__file__).parents[2] / "../shared/datasets" / name
    if not source.is_dir():
        pytest.skip(f"{source} is not here")
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params["datasets"] = {name: {**DATASETS["table"], "folder": f"data/raw/{name}"}}
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (project / "data" / "raw").mkdir(parents=True)
    (project / "data" / "raw" / name).symlink_to(source.resolve())
    features.main([name])
    card = read_canonical(project / "data" / "canonical" / name).card
    assert (card["n_units"], len(card["classes"])) == (n_units, n_classes)
    assert card["missing"]["waveform"] == missing_waveforms

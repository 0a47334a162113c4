"""The stage ``validate``: a summary for good features, located lines and no summary for bad ones."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.config import Params
from spikeprint.core.errors import ConfigError, SchemaError
from spikeprint.features.tables import build_from_table
from spikeprint.io.datasets import read_source_table, write_canonical
from spikeprint.stages import validate


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with the features of one dataset, ``mine``."""
    rng, source = np.random.default_rng(0), tmp_path / "source"
    source.mkdir()
    for name, values in {"waveforms": rng.normal(size=(20, 40)), "isi_dist": rng.poisson(3, (20, 60))}.items():
        header = ",".join(map(str, range(values.shape[1])))
        np.savetxt(source / f"{name}.csv", values, delimiter=",", header=header, comments="")
    (source / "labels.csv").write_text("cell\n" + "PV\nSOM\nunknown\nPV\n" * 5)
    card = {"dataset": "mine", "technology": "tetrode", "species": "mouse", "format": "csv", "source_md5": "0"}
    table = build_from_table(read_source_table(source), Params.load(root / "params.yaml").features, None, card)
    write_canonical(tmp_path / "data" / "canonical" / "mine", table)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_good_features_leave_a_summary_and_pages(project: Path) -> None:
    validate.main(["mine"])
    summary = json.loads((project / "reports" / "metrics" / "validation" / "mine.json").read_text())
    assert (summary["n_units"], summary["n_labelled"], summary["failures"]) == (20, 15, 0)
    assert summary["classes"] == {"PV": 10, "SOM": 5}
    assert summary["missing"] == {"waveform": 0, "isi": 0, "acg": 20}
    assert {row["success"] for row in summary["expectations"] if row["column"] == "has_acg"} == {False}
    assert (project / "reports" / "validation" / "mine" / "index.html").is_file()


def test_the_summary_is_the_same_every_time(project: Path) -> None:
    path = project / "reports" / "metrics" / "validation" / "mine.json"
    validate.main(["mine"])
    first = path.read_bytes()
    validate.main(["mine"])
    assert path.read_bytes() == first


def test_bad_features_stop_with_located_lines_and_without_summary(project: Path) -> None:
    validate.main(["mine"])
    path = project / "data" / "canonical" / "mine" / "metadata.csv"
    path.write_text(path.read_text().replace("\n3,", "\n2,", 1))
    with pytest.raises(SchemaError, match=r"metadata.csv: unit ids must be unique .*\n  row 4, column unit_id: '2'"):
        validate.main(["mine"])
    assert not (project / "reports" / "metrics" / "validation" / "mine.json").exists()


def test_one_dataset_is_needed() -> None:
    with pytest.raises(ConfigError, match="one dataset is needed"):
        validate.main([])


def test_as_a_process_it_exits_1(project: Path) -> None:
    (project / "data" / "canonical" / "mine" / "acg.csv").unlink()
    words = [sys.executable, "-m", "spikeprint.stages.validate", "mine"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=project)
    assert done.returncode == 1
    assert done.stderr.endswith("acg.csv: missing; this file is needed\n")

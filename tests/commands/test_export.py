"""``spikeprint export``: predictions of the pipeline or of ``classify`` go back to where the units came from."""

import argparse
import json
import logging
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from nwb_files import trains, write_nwb
from spikeprint.commands import export
from spikeprint.core.errors import ConfigError, DataError

DATASET = "toy_neuropixels"


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose pipeline has predicted three units; the current folder."""
    folder = tmp_path / "project"
    (folder / "reports" / "plots" / "predictions").mkdir(parents=True)
    shutil.copyfile(root / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    write_predictions(folder, ["10", "13", "16"])
    monkeypatch.chdir(folder)
    monkeypatch.setattr(logging.getLogger("spikeprint"), "propagate", True)
    return folder


def write_predictions(project: Path, unit_ids: list[str], ablation: str = "production") -> None:
    n = len(unit_ids)
    frame = pd.DataFrame(
        {
            "dataset": DATASET,
            "unit_id": unit_ids,
            "cell_type": "known",
            "predicted": (["PV", "SOM", ""] * n)[:n],
            "confidence": ([0.75, 0.5, np.nan] * n)[:n],
            "model": (["out_of_fold", "final", ""] * n)[:n],
        }
    )
    other = frame.assign(dataset="elsewhere", predicted="VIP")
    path = project / "reports" / "plots" / "predictions" / f"{ablation}.csv"
    pd.concat([other, frame]).to_csv(path, index=False)


@pytest.fixture
def phy(tmp_path: Path) -> Path:
    folder = tmp_path / "phy"
    folder.mkdir()
    np.save(folder / "spike_clusters.npy", np.array([10, 13, 16, 10, 99]))
    return folder


@pytest.fixture
def nwb(tmp_path: Path) -> Path:
    return write_nwb(tmp_path / "day1.nwb", trains())


def call(*words: object) -> int:
    """Run the verb as the command line would, without its error handling."""
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    return export.run(parser.parse_args([str(word) for word in words]))


def read_column(path: Path, name: str) -> list:
    with h5py.File(path) as file:
        values = file[f"units/{name}"]
        return (values.asstr()[...] if values.dtype.kind == "O" else values[...]).tolist()


def test_phy(project: Path, phy: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    assert call("phy", DATASET, phy) == 0
    assert (phy / "cluster_cell_type.tsv").read_text() == "cluster_id\tcell_type\n10\tPV\n13\tSOM\n"
    assert (phy / "cluster_cell_type_confidence.tsv").read_text().splitlines()[1:] == ["10\t0.75", "13\t0.5"]
    assert capsys.readouterr().out == f"wrote {phy}: 2 of 4 units have a predicted cell type\n"
    assert "1 of its 4 units have no prediction, 0 predicted units are not in it" in caplog.text


def test_phy_as_json(project: Path, phy: Path, capsys: pytest.CaptureFixture) -> None:
    call("phy", DATASET, phy, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["cluster_cell_type.tsv", "cluster_cell_type_confidence.tsv"]
    assert (told["kind"], told["dataset"], told["n_written"], told["n_units"]) == ("phy", DATASET, 2, 4)


def test_nwb(project: Path, nwb: Path) -> None:
    assert call("nwb", DATASET, nwb) == 0
    assert read_column(nwb, "spikeprint_cell_type") == ["PV", "SOM", ""]
    np.testing.assert_array_equal(read_column(nwb, "spikeprint_confidence"), [0.75, 0.5, np.nan])
    assert read_column(nwb, "spikeprint_model") == ["production out_of_fold", "production final", ""]
    with pytest.raises(DataError, match=r"already; --overwrite replaces them"):
        call("nwb", DATASET, nwb)
    assert call("nwb", DATASET, nwb, "--overwrite") == 0


def test_csv(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.csv"
    assert call("csv", DATASET, out) == 0
    assert out.read_text() == (
        "unit_id,predicted_cell_type,confidence,model\n10,PV,0.75,out_of_fold\n13,SOM,0.5,final\n16,,,\n"
    )
    with pytest.raises(DataError, match=r"out.csv: exists already; --overwrite replaces it"):
        call("csv", DATASET, out)
    assert call("csv", DATASET, out, "--overwrite") == 0


def test_another_ablation(project: Path, nwb: Path) -> None:
    with pytest.raises(DataError, match=r"baseline.csv: missing; spikeprint run writes the predictions of ablation"):
        call("nwb", DATASET, nwb, "--ablation", "baseline")
    write_predictions(project, ["16", "13", "10"], "baseline")
    call("nwb", DATASET, nwb, "--ablation", "baseline")
    assert read_column(nwb, "spikeprint_cell_type") == ["", "SOM", "PV"]  # by id, not by place
    with pytest.raises(ConfigError, match=r"no ablation 'base_line'; did you mean 'baseline'\?"):
        call("nwb", DATASET, nwb, "--ablation", "base_line")


def test_a_table_of_classify(project: Path, nwb: Path, tmp_path: Path) -> None:
    table = tmp_path / "classified.csv"
    table.write_text("unit_id,label,confidence,p_PV,p_SOM,passes_qc\n10,PV,0.9,0.9,0.1,True\n13,,,,,False\n")
    call("nwb", "anything", nwb, "--predictions", table)
    assert read_column(nwb, "spikeprint_cell_type") == ["PV", "", ""]
    assert read_column(nwb, "spikeprint_model") == ["classified.csv", "", ""]
    out = tmp_path / "out.csv"
    call("csv", "anything", out, "--predictions", table)
    assert out.read_text().splitlines()[:2] == [
        "unit_id,predicted_cell_type,confidence,p_PV,p_SOM,passes_qc",
        "10,PV,0.9,0.9,0.1,True",
    ]


def test_sessions(project: Path, nwb: Path, tmp_path: Path) -> None:
    """Units of several sessions are called session/id; a target holds one session."""
    write_predictions(project, [f"{day}/{unit}" for day in ("day1", "day2") for unit in (10, 13, 16)])
    call("nwb", DATASET, nwb)
    assert read_column(nwb, "spikeprint_cell_type") == ["PV", "SOM", ""]
    other = write_nwb(tmp_path / "renamed.nwb", trains())
    with pytest.raises(ConfigError, match=r"no session 'renamed' .*; sessions: day1, day2; name the one .* --session"):
        call("nwb", DATASET, other)
    call("nwb", DATASET, other, "--session", "day2")
    out = tmp_path / "out.csv"
    call("csv", DATASET, out)
    assert len(out.read_text().splitlines()) == 7
    call("csv", DATASET, out, "--session", "day2", "--overwrite")
    assert [line.split(",")[0] for line in out.read_text().splitlines()] == ["unit_id", "10", "13", "16"]
    with pytest.raises(ConfigError, match=r"no session 'day3'; did you mean 'day[12]'\?"):
        call("csv", DATASET, out, "--session", "day3", "--overwrite")


def test_a_session_where_there_is_one(project: Path, nwb: Path) -> None:
    with pytest.raises(ConfigError, match=r"no session 'day1' of this dataset; there is only one"):
        call("nwb", DATASET, nwb, "--session", "day1")


def test_no_unit_in_common(project: Path, phy: Path) -> None:
    np.save(phy / "spike_clusters.npy", np.arange(7))
    with pytest.raises(DataError, match=r"none of its units was predicted; predicted are 10, 13, 16; it holds 0, 1, 2"):
        call("phy", DATASET, phy)
    assert [p.name for p in phy.iterdir()] == ["spike_clusters.npy"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("phy", "toy_neuropixel", "."), r"no dataset 'toy_neuropixel'; did you mean 'toy_neuropixels'\?"),
        (("phy", DATASET, "absent"), r"absent: missing; a phy folder is needed"),
        (("phy", DATASET, "params.yaml"), r"params.yaml: a file; a phy folder is needed"),
        (("phy", DATASET, "reports"), r"reports: no spike_clusters.npy or spike_templates.npy"),
        (("nwb", DATASET, "absent.nwb"), r"absent.nwb: missing; an .nwb file is needed"),
        (("nwb", DATASET, "reports"), r"reports: a folder; an .nwb file is needed"),
        (("nwb", DATASET, "params.yaml"), r"params.yaml: not a whole HDF5 file"),
        (("csv", DATASET, "reports"), r"reports: a folder; the name of a file to write is needed"),
        (("csv", DATASET, "params.yaml/x.csv"), r"x.csv: cannot be written"),
        (("csv", DATASET, "o.csv", "--predictions", "absent.csv"), r"absent.csv: missing"),
        (("csv", DATASET, "o.csv", "--predictions", "params.yaml"), r"params.yaml: no 'unit_id'|params.yaml"),
        (("csv", "none", "o.csv", "--predictions", "reports/plots/predictions/production.csv"), r"no unit of dataset"),
        (("csv", DATASET, "data/raw/toy/o.csv"), r"lies in data/raw, the pipeline's own files"),
    ],
)
def test_bad_words_are_one_line(project: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises((DataError, ConfigError), match=message) as error:
        call(*words)
    assert "\n" not in str(error.value)
    assert not (project / "o.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "unit_id,label,confidence\n1,PV,0.5\n1,PV,0.5\n",
            r"row 2, column unit_id: '1' is empty or stands in an earlier",
        ),
        ("unit_id,label,confidence\n1,PV,high\n", r"column confidence must hold numbers from 0 to 1"),
        ("unit_id,label,confidence\n1,PV,55\n", r"column confidence must hold numbers from 0 to 1"),
        ("unit_id,confidence\n1,0.5\n", r"no 'predicted'"),
    ],
)
def test_bad_tables(project: Path, text: str, message: str) -> None:
    Path("table.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        call("csv", "x", "o.csv", "--predictions", "table.csv")
    assert not Path("o.csv").exists()

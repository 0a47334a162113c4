"""``spikeprint validate``: folders and datasets, reports and exit codes."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikeprint.commands import validate
from spikeprint.core.config import Params
from spikeprint.core.errors import SpikeprintError
from spikeprint.features.tables import build_from_table
from spikeprint.io.datasets import read_source_table, write_canonical


def call(*words: str) -> int:
    """Run the verb as the command line would, without its error handling."""
    parser = argparse.ArgumentParser()
    validate.add_arguments(parser)
    return validate.run(parser.parse_args(words))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve units, two classes, one of them rare."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "source"
    folder.mkdir()
    waveform = rng.normal(size=(12, 40))
    waveform[:, 15] = -9
    for name, values in {"waveforms": waveform, "isi_dist": rng.poisson(3, (12, 60))}.items():
        header = ",".join(map(str, range(values.shape[1])))
        np.savetxt(folder / f"{name}.csv", values, delimiter=",", header=header, comments="")
    (folder / "labels.csv").write_text("cell\n" + "PV\n" * 10 + "SOM\n" * 2)
    return folder


@pytest.fixture
def project(root: Path, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder whose dataset ``toy_silicon`` has features; the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copyfile(root / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    card = {"dataset": "x", "technology": "tetrode", "species": "mouse", "format": "csv", "source_md5": "0"}
    params = Params.load(folder / "params.yaml").features
    table = build_from_table(read_source_table(source), params, None, card)
    write_canonical(folder / "data" / "canonical" / "toy_silicon", table)
    monkeypatch.chdir(folder)
    return folder


def spoil(project: Path) -> None:
    """Make the first ISI count of the dataset negative."""
    path = project / "data" / "canonical" / "toy_silicon" / "isi_dist.csv"
    header, row, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, "-1," + row.split(",", 1)[1], *rest]) + "\n")


def test_a_source_folder_is_described(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(source)) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{source} (csv): 12 units",
        "  labels: PV 10, SOM 2",
        "  waveform: 40 columns",
        "  isi: 60 columns",
        "  warning: no acg.csv: the model works with waveform and ISI alone, less sharply",
        "  warning: fewer than 10 units, not scored: SOM",
        "OK",
    ]


def test_waveforms_that_are_not_centred_get_a_warning(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (source / "waveforms.csv").read_text().splitlines()
    (source / "waveforms.csv").write_text("\n".join([text[0], *("-99," + row.split(",", 1)[1] for row in text[1:])]))
    call(str(source), "--json")
    assert any("median trough is at 0%" in text for text in json.loads(capsys.readouterr().out)["warnings"])


def test_labels_taken_as_unlabelled_are_told(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "labels.csv").write_text("cell\n" + "PV\n" * 5 + "SOM\n" * 4 + "axoaxonic\n" * 2 + "Juxt\n")
    call(str(source))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "  labels: PV 5, SOM 4",
        "  taken as unlabelled: Juxt 1, axoaxonic 2 (params.yaml: features.unlabelled_patterns)",
    ]


def make_empty(source: Path) -> None:
    """Make every waveform constant and every histogram zero."""
    for name in ("waveforms.csv", "isi_dist.csv"):
        (source / name).write_text("0,1,2,3,4\n" + "0,0,0,0,0\n" * 12)


UNUSABLE = {
    "one class": (lambda source: (source / "labels.csv").write_text("cell\n" + "PV\n" * 12), "one class, 'PV'"),
    "narrow": (lambda source: (source / "isi_dist.csv").write_text("0,1\n" + "1,2\n" * 12), "2 columns; at least 5"),
    "no measurement": (make_empty, "none of 12 units has a usable waveform, isi, acg"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_add_refuses_is_refused(source: Path, case: str) -> None:
    spoil, message = UNUSABLE[case]
    spoil(source)
    with pytest.raises(SpikeprintError, match=message) as caught:
        call(str(source))
    assert caught.value.exit_code == 1


def test_a_dataset_of_the_project_is_checked_with_its_own_row(
    project: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "labels.csv").write_text("cell,area\n" + "PV,V1\nSOM,V1\n" * 6)
    inside = shutil.copytree(source, project / "data" / "raw" / "mine")
    text = (project / "params.yaml").read_text()
    row = "datasets:\n  mine: {folder: data/raw/mine, technology: mea, species: rat, format: csv, label_column: cell}\n"
    (project / "params.yaml").write_text(text.replace("datasets:\n", row, 1))
    assert call(str(inside)) == 0
    assert "  labels: PV 6, SOM 6" in capsys.readouterr().out.splitlines()


def test_a_bad_source_folder_is_refused(source: Path) -> None:
    (source / "isi_dist.csv").unlink()
    with pytest.raises(SpikeprintError, match=r"isi_dist.csv: missing") as caught:
        call(str(source))
    assert caught.value.exit_code == 1


def test_a_bad_source_folder_as_json(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "isi_dist.csv").unlink()
    assert call(str(source), "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert not result["valid"]
    assert "isi_dist.csv: missing" in result["failures"][0]["message"]


def test_a_dataset_is_checked_by_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("toy_silicon") == 0
    assert "toy_silicon (canonical): 12 units" in capsys.readouterr().out


def test_a_broken_dataset_is_told_with_row_and_column(project: Path) -> None:
    spoil(project)
    message = r"1 failures\nisi_dist.csv: a finite number >= 0 is needed .1 found.\n  row 1, column isi_000: -1"
    with pytest.raises(SpikeprintError, match=message):
        call("toy_silicon")


def test_a_broken_dataset_as_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(project)
    assert call("toy_silicon", "--json") == 1
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert (failure["file"], failure["row"], failure["column"]) == ("isi_dist.csv", 1, "isi_000")


def test_a_dataset_without_features_says_what_to_run(project: Path) -> None:
    with pytest.raises(
        SpikeprintError, match=r"missing; compute .*`spikeprint run features@toy_neuropixels`"
    ) as caught:
        call("toy_neuropixels")
    assert caught.value.exit_code == 1


def test_an_unknown_name_suggests(project: Path) -> None:
    with pytest.raises(SpikeprintError, match=r"and no dataset; did you mean 'toy_silicon'\?") as caught:
        call("toy_silico")
    assert caught.value.exit_code == 2


def test_the_command_line_returns_the_exit_code(project: Path) -> None:
    spoil(project)
    words = [sys.executable, "-m", "spikeprint.cli", "validate", "toy_silicon"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True)
    assert (done.returncode, done.stderr[:6]) == (1, "error:")
    assert "row 1, column isi_000: -1" in done.stderr


@pytest.mark.parametrize(
    "name", ["cellexplorer_mouse", "hausser_mouse", "lakunina_mouse_a1", "lisberger_macaque", "neonatal_slice_mouse"]
)
def test_real_folders_pass(name: str, shared_datasets: Path) -> None:
    assert call(str(shared_datasets / name)) == 0

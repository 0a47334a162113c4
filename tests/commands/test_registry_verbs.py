import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from spikeprint.cli import main
from spikeprint.core.config import Params
from spikeprint.core.types import Sorting, Templates
from spikeprint.features.tables import build_from_table
from spikeprint.io.datasets import read_canonical, read_source_table, write_sorting
from spikeprint.registry.bundle import open_bundle
from spikeprint.registry.register import register
from spikeprint.registry.tracking import connect

make_project = runpy.run_path(str(Path(__file__).parents[1] / "registry" / "conftest.py"))["make_project"]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = make_project(tmp_path_factory.mktemp("verbs") / "project")
    register(folder)
    return folder


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    """A project of the test's own, with version 1 at @staging; the current folder is inside it."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    folder = shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(folder / "reports")
    return folder


@pytest.fixture
def raw_csv(tmp_path):
    """Five units as CSV files of other widths; the last has no waveform, the labels are wrong on purpose."""
    folder = tmp_path / "raw"
    folder.mkdir()
    rng = np.random.default_rng(0)
    waveform = -np.exp(-0.5 * ((np.arange(80) - 30) / 5) ** 2) * 100 + rng.normal(0, 1, (5, 80))
    waveform[4] = np.nan
    pd.DataFrame(waveform).to_csv(folder / "waveforms.csv", index=False)
    pd.DataFrame(rng.poisson(5, (5, 200))).to_csv(folder / "isi_dist.csv", index=False)
    pd.DataFrame({"unit_id": list("abcde")}).to_csv(folder / "metadata.csv", index=False)
    pd.DataFrame({"cell_type": ["only_one_class"] * 5}).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture
def recording(tmp_path):
    """Three units as spike trains and templates; the last never fires and has a flat template."""
    rng = np.random.default_rng(1)
    trains = [np.sort(rng.choice(300_000, n, replace=False)) for n in (400, 900, 0)]
    templates = rng.normal(0, 1, (3, 90, 4)).astype(np.float32)
    templates[:2, 30, 1] -= 100
    templates[2] = 0
    sorting = Sorting(
        unit_ids=np.array(["a", "b", "c"]),
        spike_times=np.concatenate(trains).astype(np.int64),
        offsets=np.array([0, 400, 1300, 1300]),
        templates=Templates(templates, 30_000.0, positions_um=np.arange(8.0).reshape(4, 2)),
        time_rate_hz=30_000.0,
        duration_s=np.full(3, 10.0),
        labels=np.array(["PV", "PV", "PV"]),
    )
    write_sorting(tmp_path / "recording", sorting)
    return tmp_path / "recording"


def call(capsys, *words):
    """Exit code, standard output, standard error of a verb."""
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


def classify(capsys, *words):
    code, out, err = call(capsys, "classify", *words, "--json")
    assert code == 0, err
    return pd.DataFrame(json.loads(out))


def test_classify_gives_the_predictors_answers_for_a_canonical_folder(project, capsys):
    table = read_canonical(project / "data" / "canonical" / "left")
    inputs = {name: getattr(table, name) for name in ("waveform", "isi", "acg")}
    origin = {"dataset": "left", "technology": "neuropixels", "species": "mouse"}
    expected = open_bundle(project / "models" / "cvae" / "production").predict(inputs, origin)
    found = classify(capsys, project / "data" / "canonical" / "left")
    assert found["unit_id"].tolist() == table.unit_ids.tolist()
    assert found["label"].tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found[["p_PV", "p_SOM", "p_pyramidal"]], expected.probabilities)


def test_classify_treats_a_csv_folder_as_training_does(project, raw_csv, capsys):
    card = {"dataset": "raw", "technology": "", "species": "", "format": "csv", "source_md5": ""}
    params = Params.load(project / "params.yaml").features
    table = build_from_table(read_source_table(raw_csv, "none"), params, 30_000.0, card)
    inputs = {name: getattr(table, name) for name in ("waveform", "isi", "acg")}
    expected = open_bundle(project / "models" / "cvae" / "production").predict(inputs)
    found = classify(capsys, raw_csv, "--sampling-frequency", 30_000)
    assert found["unit_id"].tolist() == list("abcde")
    np.testing.assert_allclose(found["confidence"], expected.confidence)


def test_classify_never_reads_labels(project, raw_csv, capsys):
    before = classify(capsys, raw_csv)
    (raw_csv / "labels.csv").unlink()
    pd.testing.assert_frame_equal(classify(capsys, raw_csv), before)


def test_classify_reads_spike_trains_and_leaves_units_without_data_empty(project, recording, capsys):
    code, out, err = call(capsys, "classify", recording, "--json")
    rows = json.loads(out)
    assert code == 0
    assert [bool(row["label"]) for row in rows] == [True, True, False]
    assert rows[2]["confidence"] is None
    assert "1 of 3 units have no usable modality" in err


def test_classify_is_told_the_technology(project, raw_csv, capsys):
    neutral, told = classify(capsys, raw_csv), classify(capsys, raw_csv, "--technology", "tetrode")
    assert not np.allclose(neutral["confidence"], told["confidence"])


def test_a_folder_of_the_project_brings_its_technology(project, raw_csv, capsys):
    inside = shutil.copytree(raw_csv, project / "data" / "raw" / "right", dirs_exist_ok=True)
    told = classify(capsys, raw_csv, "--technology", "tetrode", "--dataset", "right")
    pd.testing.assert_frame_equal(classify(capsys, inside), told)


def test_a_foreign_folder_named_like_a_dataset_stays_neutral(project, raw_csv, capsys):
    neutral = classify(capsys, raw_csv)
    namesake = shutil.copytree(raw_csv, raw_csv.parent / "right")
    pd.testing.assert_frame_equal(classify(capsys, namesake), neutral)


def test_the_current_folder_is_known_by_its_name(project, raw_csv, capsys, monkeypatch):
    inside = shutil.copytree(raw_csv, project / "data" / "raw" / "right", dirs_exist_ok=True)
    told = classify(capsys, inside)
    monkeypatch.chdir(inside)
    pd.testing.assert_frame_equal(classify(capsys, "."), told)


def test_classify_says_when_the_model_does_not_know_the_origin(project, raw_csv, capsys):
    _, _, err = call(capsys, "classify", raw_csv, "--technology", "mea", "--dataset", "new")
    assert "technology 'mea' is new to the model (neuropixels, tetrode): treated as neutral" in err
    assert "dataset 'new' is new to the model" in err


def test_classify_prints_csv(project, raw_csv, capsys):
    _, out, _ = call(capsys, "classify", raw_csv)
    assert out.splitlines()[0] == "unit_id,label,confidence,p_PV,p_SOM,p_pyramidal,passes_qc"
    assert len(out.splitlines()) == 6


def test_classify_writes_a_file(project, raw_csv, tmp_path, capsys):
    code, out, _ = call(capsys, "classify", raw_csv, "--out", tmp_path / "sub" / "types.csv")
    assert (code, out) == (0, "")
    assert len(pd.read_csv(tmp_path / "sub" / "types.csv")) == 5


def test_classify_uses_the_model_it_is_given(project, raw_csv, capsys):
    default = classify(capsys, raw_csv)
    other = classify(capsys, raw_csv, "--model", project / "models" / "cvae" / "baseline")
    assert not np.allclose(default["confidence"], other["confidence"])


def test_classify_uses_a_registered_version(project, raw_csv, capsys):
    registered = classify(capsys, raw_csv, "--model", "models:/spikeprint-cvae@staging")
    pd.testing.assert_frame_equal(registered, classify(capsys, raw_csv))


def test_embed_writes_one_column_per_dimension(project, raw_csv, tmp_path, capsys):
    call(capsys, "embed", raw_csv, "--out", tmp_path / "e.csv")
    found = pd.read_csv(tmp_path / "e.csv")
    assert list(found.columns) == ["unit_id", "e000", "e001", "e002", "e003", "e004"]
    assert np.isfinite(found.iloc[:, 1:].to_numpy()).all()


@pytest.mark.slow
def test_embed_adds_a_map_and_clusters(project, raw_csv, tmp_path, capsys):
    call(capsys, "embed", raw_csv, "--umap", "--clusters", "--out", tmp_path / "e.csv")
    table = pd.read_csv(tmp_path / "e.csv")
    assert np.isfinite(table[["umap_x", "umap_y"]]).all().all()
    assert table["cluster"].ge(-1).all()


def test_embed_works_without_a_head(project, raw_csv, capsys):
    path = project / "models" / "cvae" / "production" / "bundle.json"
    card = json.loads(path.read_text())
    card["model"]["head"] = None
    path.write_text(json.dumps(card))
    assert call(capsys, "embed", raw_csv)[0] == 0
    code, _, err = call(capsys, "classify", raw_csv)
    assert (code, "use spikeprint embed" in err) == (1, True)


WRONG = {
    "a misspelled technology": (["{raw}", "--technology", "neuropixel"], 2, "did you mean 'neuropixels'?"),
    "a folder that is not there": (["{raw}/nothing"], 2, "nothing"),
    "another rate than the file's": (["{recording}", "--sampling-frequency", "25000"], 2, "says 25000"),
    "a rate in kHz": (
        ["{raw}", "--sampling-frequency", "30"],
        2,
        "a rate from 1000 to 200000 Hz is needed (Hz, not kHz)",
    ),
    "no rate": (["{raw}", "--sampling-frequency", "nan"], 2, "--sampling-frequency nan: a rate from 1000"),
    "no model": (["{raw}", "--model", "{raw}"], 1, "bundle.json is missing"),
    "no such version": (["{raw}", "--model", "models:/spikeprint-cvae/9"], 1, "no version 9"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_usage_is_one_line(project, raw_csv, recording, capsys, what):
    words, code, expected = WRONG[what]
    found, out, err = call(capsys, "classify", *(w.format(raw=raw_csv, recording=recording) for w in words))
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert expected in err
    assert err.count("\n") == 1


def test_sync_says_what_is_new(project, capsys):
    code, out, _ = call(capsys, "sync")
    assert (code, out) == (0, f"0 new runs in sqlite:///{project}/mlflow.db\n")


def test_register_says_how_it_went(project, capsys):
    code, out, _ = call(capsys, "register")
    assert code == 0
    assert out.startswith("spikeprint-cvae version 1 (registered before) holds @staging: all 13 gates hold")


def test_promote_moves_the_alias(project, capsys):
    code, out, _ = call(capsys, "promote", "--to", "Production")
    assert code == 0
    assert out.splitlines()[-1] == "spikeprint-cvae version 1 is @production"
    assert "production" in connect(project).get_registered_model("spikeprint-cvae").aliases


def test_promote_refuses_with_the_reason(project, capsys):
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["gates"]["floor"] = 0.9
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    code, out, err = call(capsys, "promote", "--to", "production")
    assert (code, out.splitlines()[-1]) == (1, "spikeprint-cvae version 1 is not @production")
    assert err.endswith("refused for production: balanced accuracy: 0.750 found, >= 0.9 needed\n")
    code, out, err = call(capsys, "promote", "--to", "production", "--dry-run")
    assert (code, err) == (1, "")
    assert re.search(r"^balanced accuracy +0\.750 +>= 0\.9 +NO$", out, re.MULTILINE)
    words = ("--waive", "balanced accuracy", "--reason", "a demonstration")
    assert call(capsys, "promote", "--to", "production", *words)[0] == 0
    _, out, _ = call(capsys, "promote", "--history")
    assert out.splitlines()[-1].endswith("version 1 promoted @production: a demonstration")


def test_promote_needs_something_before_it_goes_back_or_compares(project, tmp_path, capsys):
    code, _, err = call(capsys, "promote", "--to", "production", "--rollback")
    assert (code, err.endswith("there is nothing to go back to\n")) == (1, True)
    code, _, err = call(capsys, "promote", "--to", "production", "--page", tmp_path / "page.html")
    assert (code, "no other version in service to compare version 1 with" in err) == (1, True)


def test_lineage_of_a_version_and_of_a_raw_file(project, capsys):
    code, out, _ = call(capsys, "lineage", "models:/spikeprint-cvae@staging")
    assert (code, out.splitlines()[0]) == (0, "spikeprint-cvae version 1 @staging")
    assert re.search(r"^  raw +data/raw/left  \w{32}\.dir", out, re.MULTILINE)
    found = json.loads(call(capsys, "lineage", "1", "--json")[1])
    assert (found["version"], found["gaps"]) == ("1", [])
    code, out, _ = call(capsys, "lineage", project / "data" / "raw" / "left")
    assert code == 0
    assert out.splitlines()[-1].endswith("data/raw/left: seen by 2 runs, 1 registered versions")
    code, _, err = call(capsys, "lineage")
    assert (code, "no version behind @production" in err) == (1, True)


def test_promote_prints_json(project, capsys):
    _, out, _ = call(capsys, "promote", "--to", "production", "--dry-run", "--json")
    plan = json.loads(out)
    assert (plan["version"], plan["alias"], plan["is_allowed"], plan["dry_run"]) == ("1", "production", True, True)
    assert [gate["name"] for gate in plan["gates"]][-1] == "has held @staging"
    assert {"found", "needed", "passed", "why", "waived"} <= plan["gates"][0].keys()


def test_promote_with_an_unknown_stage_is_wrong_usage(project, capsys):
    code, _, err = call(capsys, "promote", "--to", "prod")
    assert (code, err) == (2, "error: promote: unknown stage 'prod'; known: staging, production\n")


def test_serve_says_that_nothing_is_in_production(project, capsys):
    code, _, err = call(capsys, "serve")
    assert code == 1
    assert err == (
        "error: model 'spikeprint-cvae': no version behind @production; there are 1, @staging = 1; "
        "spikeprint promote --to production puts one there\n"
    )


@pytest.mark.slow
def test_served_model_answers_over_http(project, raw_csv, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    call(capsys, "promote", "--to", "production")
    command = [sys.executable, "-m", "spikeprint.cli", "serve", "--port", str(port)]
    server = subprocess.Popen(command, cwd=project, start_new_session=True, stderr=subprocess.PIPE)
    try:
        units = {"waveform": np.eye(1, 50), "isi": np.ones((1, 100)), "acg": np.ones((1, 201))}
        body = json.dumps({"inputs": {name: values.tolist() for name, values in units.items()}}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        answer = _when_ready(request, server, deadline=time.monotonic() + 90)
        remote = classify(capsys, raw_csv, "--model", f"http://127.0.0.1:{port}")
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=20)
    expected = open_bundle(project / "models" / "cvae" / "production").predict(units)
    assert answer["predictions"][0]["label"] == expected.labels[0]
    pd.testing.assert_frame_equal(remote, classify(capsys, raw_csv), check_exact=True)


def test_classify_says_that_no_server_answers(project, raw_csv, capsys):
    assert main(["classify", str(raw_csv), "--model", "http://127.0.0.1:9"]) == 1
    assert "http://127.0.0.1:9: no served model answers there" in capsys.readouterr().err


def _when_ready(request, server, deadline):
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.URLError:
            assert server.poll() is None, server.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.3)

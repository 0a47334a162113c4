import json
import runpy
import shutil
import socket
from pathlib import Path

import pytest

from spikeprint.cli import main
from spikeprint.registry.tracking import connect

helpers = runpy.run_path(str(Path(__file__).parents[1] / "registry" / "conftest.py"))
STAGED = "models:/spikeprint-cvae@staging"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project with DVC and an empty store, whose model cannot be scored."""
    from dvc.repo import Repo

    folder = helpers["make_project"](tmp_path_factory.mktemp("verbs") / "project")
    report = {"ablation": "production", "n_units": 24, "datasets": {}, "overall": {}}
    (folder / "reports" / "metrics" / "production.json").write_text(json.dumps(report))
    helpers["write_lock"](folder)
    Repo.init(str(folder), no_scm=True).close()
    connect(folder)
    return folder


@pytest.fixture
def unscored(template, tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    folder = shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def staged(unscored):
    helpers["write_results"](unscored, "production", 0)
    helpers["write_lock"](unscored)
    assert main(["register"]) == 0
    return unscored


def test_a_run_without_scores_is_whole(unscored, capsys):
    assert main(["run"]) == 0
    out = capsys.readouterr().out
    assert "not registered: reports/metrics/production.json: no dataset could be scored" in out
    assert "report: " in out


def test_a_run_still_stops_at_other_refusals(unscored, capsys):
    (unscored / "models" / "cvae" / "production" / "folds.safetensors").write_bytes(b"other")
    assert main(["run"]) == 1
    assert "is not the one in dvc.lock" in capsys.readouterr().err


def test_registering_without_scores_fails_with_the_reason(unscored, capsys):
    assert main(["register"]) == 1
    assert "no dataset could be scored" in capsys.readouterr().err


def test_a_taken_port_is_told_before_serving(staged, capsys):
    capsys.readouterr()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--model", STAGED, "--port", str(port)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"--port {port}: cannot listen there (Address already in use)" in err


@pytest.mark.parametrize("port", ["99999", "0", "-1"])
def test_an_impossible_port_is_wrong_usage(staged, capsys, port):
    capsys.readouterr()
    assert main(["serve", "--model", STAGED, "--port", port]) == 2
    assert capsys.readouterr() == ("", f"error: --port {port}: a number from 1 to 65535 is needed\n")


def test_an_address_of_no_machine_is_wrong_usage(staged, capsys):
    assert main(["serve", "--model", STAGED, "--host", "256.1.1.1"]) == 2
    assert "--host 256.1.1.1 --port 5001: cannot listen there" in capsys.readouterr().err

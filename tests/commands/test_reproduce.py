"""Real git and DVC on a pipeline whose stages take no time; once the whole one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from spikeprint.commands._rebuild import git, rebuild, run_stages, worktree
from spikeprint.commands.reproduce import compare_numbers
from spikeprint.core.errors import ModelError, RegistryError
from spikeprint.registry.lock import finished_row, read_lock
from spikeprint.registry.provenance import trace
from support import Project

STAGE = """
import json, sys, pathlib
kind = sys.argv[1]
if kind == "features":
    pathlib.Path("data/canonical/left").mkdir(parents=True)
    pathlib.Path("data/canonical/left/x").write_text(pathlib.Path("data/raw/left").read_text() * 2)
if kind == "train":
    folder = pathlib.Path("models/cvae/production")
    folder.mkdir(parents=True)
    card = {"schema_version": 4, "spikeprint_version": "0", "model": {}, "files": {}}
    (folder / "bundle.json").write_text(json.dumps(card | {"data": pathlib.Path("data/canonical/left/x").read_text()}))
if kind == "embed":
    pathlib.Path("data/embeddings").mkdir(parents=True, exist_ok=True)
    pathlib.Path("data/embeddings/production").write_text("e")
if kind == "evaluate":
    pathlib.Path("reports/metrics").mkdir(parents=True, exist_ok=True)
    pathlib.Path("reports/metrics/production.json").write_text(json.dumps({"score": {"folds": [0.5, 0.75]}}))
"""


def stage(kind, deps, outs):
    return {"cmd": f"python src/stage.py {kind}", "deps": ["src/stage.py", *deps], "outs": outs, "params": ["seed"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that has run, with its raw file in DVC's cache, and committed."""
    project = Project(tmp_path_factory.mktemp("tiny") / "project")
    root = project.folder
    for name in ("src", "data/raw"):
        (root / name).mkdir(parents=True)
    (root / "src" / "stage.py").write_text(STAGE)
    (root / "params.yaml").write_text("seed: 0\n")
    (root / "data" / "raw" / "left").write_text("raw\n")
    key = "production"
    pipeline = {
        "features": {"foreach": ["left"], "do": stage("features", ["data/raw/left"], ["data/canonical/left"])},
        "train": {"foreach": [key], "do": stage("train", ["data/canonical"], ["models/cvae/production"])},
        "embed": {"foreach": [key], "do": stage("embed", ["models/cvae/production"], ["data/embeddings/production"])},
        "evaluate": {
            "foreach": [key],
            "do": stage(
                "evaluate", ["data/embeddings/production"], [{"reports/metrics/production.json": {"cache": False}}]
            ),
        },
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline}))
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    project.run("dvc", "add", "-q", "data/raw/left")
    project.repro()
    project.commit("run")
    return project


@pytest.fixture
def tiny(finished, tmp_path):
    return finished.copy(tmp_path / "project").folder


@pytest.fixture
def lineage(tiny):
    stages = read_lock(tiny)
    return trace(tiny, finished_row(stages, "production"), stages)


def head(root):
    return git(root, "rev-parse", "HEAD").stdout.strip()


def state(root):
    cached = sorted(path.name for path in (root / ".dvc" / "cache").rglob("*") if path.is_file())
    return cached, git(root, "status", "--porcelain").stdout, git(root, "worktree", "list").stdout


@pytest.mark.parametrize("from_raw", [False, True])
def test_a_row_is_made_again_and_the_project_stays_as_it_was(tiny, lineage, from_raw):
    before = state(tiny)
    with worktree(tiny, head(tiny)) as tree:
        made, digest = rebuild(tiny, tree, lineage, from_raw)
        inside = tree
    assert made == json.loads((tiny / "reports/metrics/production.json").read_text())
    assert len(digest) == 64
    assert not inside.exists()
    assert state(tiny) == before


def test_uncommitted_code_and_parameters_cannot_be_reproduced(tiny, lineage):
    lineage["code"]["src/stage.py"] = "0" * 32
    lineage["entries"]["train@production"]["params"]["params.yaml"]["seed"] = 5
    reason = r"its commit does not hold \(src/stage\.py, params\.yaml: seed\)"
    with worktree(tiny, head(tiny)) as tree, pytest.raises(RegistryError, match=reason):
        rebuild(tiny, tree, lineage, False)


def test_raw_data_that_are_gone_are_told(tiny, lineage):
    for path in (tiny / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    with (
        worktree(tiny, head(tiny)) as tree,
        pytest.raises(RegistryError, match=r"data/raw/left \(\w{32}\): neither in"),
    ):
        rebuild(tiny, tree, lineage, False)


def test_raw_data_of_another_commit_are_told(tiny, lineage):
    lineage["raw"]["data/raw/left"]["md5"] = "0" * 32
    with (
        worktree(tiny, head(tiny)) as tree,
        pytest.raises(RegistryError, match=r"left\.dvc: says \w{32} at this commit"),
    ):
        rebuild(tiny, tree, lineage, False)


@pytest.mark.parametrize("commit", ["0" * 40, "unknown"])
def test_a_commit_that_is_gone_is_told(tiny, commit):
    with pytest.raises(RegistryError, match=f"commit {commit}: not in this repository"), worktree(tiny, commit):
        pass


def test_a_stage_that_fails_is_told(tiny):
    (tiny / "src" / "stage.py").write_text("raise SystemExit(3)")
    with pytest.raises(ModelError, match="dvc repro stopped with exit code"):
        run_stages(tiny, "train@production")


SLEEPER = """
import sys, time
from pathlib import Path
from spikeprint.commands._rebuild import run_stages, worktree
with worktree(Path(sys.argv[1]), "HEAD") as tree:
    (tree / "src" / "stage.py").write_text("import time; print('asleep', flush=True); time.sleep(600)")
    (tree / "dvc.lock").unlink()
    print(tree, flush=True)
    run_stages(tree, "features@left")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_one_leaves_nothing_behind(tiny, number):
    before = state(tiny)
    command = [sys.executable, "-c", SLEEPER, str(tiny)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # the project's .dvc file is there, its data come from the cache
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, **pipes) as process:
        tree = process.stdout.readline().strip()
        assert os.path.isdir(tree), process.stderr.read()
        time.sleep(3)
        process.send_signal(number)
        process.wait(60)
    assert process.returncode != 0
    assert not os.path.exists(tree)
    assert state(tiny) == before
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert tree not in running


def test_numbers_are_compared_one_by_one():
    old = {"a": {"folds": [0.5, 0.25]}, "b": None, "gone": 1}
    new = {"a": {"folds": [0.5, 0.2500001]}, "b": None, "new": 2}
    found = compare_numbers(old, new)
    assert {key for key, (x, y) in found.items() if x != y} == {"a.folds.1", "gone", "new"}
    assert found["gone"] == (1, None)


@pytest.mark.slow
def test_a_registered_version_comes_out_equal(project):
    before = project.run("git", "worktree", "list").stdout
    done = project.run("spikeprint", "reproduce", "1", "--json")
    found = json.loads(done.stdout)
    assert found["differ"] == {}
    assert found["n_numbers"] > 50
    assert found["is_same_bundle"]
    assert project.run("git", "worktree", "list").stdout == before
    assert project.run("git", "status", "--porcelain").stdout == ""
    seen = json.loads(project.run("spikeprint", "lineage", "data/raw/toy_silicon/units.csv", "--json").stdout)
    assert {(row["ablation"], row["state"]) for row in seen} == {("production", "same"), ("baseline", "same")}

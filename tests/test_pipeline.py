"""The real DAG on small data: what runs, what does not, what survives. Real DVC, git, MLflow, a real server."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests

from support import Project

pytestmark = pytest.mark.slow


def stages_of(row: str) -> set[str]:
    return {f"train@{row}", f"embed@{row}", f"evaluate@{row}"}


@pytest.fixture(scope="module")
def with_csv(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project after ``spikeprint add mine FOLDER`` and a repro."""
    folder = tmp_path_factory.mktemp("csv")
    source = finished_project.folder / "data" / "canonical" / "toy_silicon"
    for name in ("waveforms.csv", "isi_dist.csv", "acg.csv", "labels.csv"):
        shutil.copy(source / name, folder / name)
    project = finished_project.copy(tmp_path_factory.mktemp("with_csv") / "project")
    project.run("spikeprint", "add", "mine", folder, "--technology", "tetrode", "--species", "rat")
    ran = project.repro()
    expected = {"features@mine", "validate@mine", "compare", "generate", "report"}
    assert expected | stages_of("production") | stages_of("baseline") == ran
    project.commit("mine")
    return project


def test_one_command_leaves_everything_a_user_was_promised(finished_project: Project) -> None:
    folder = finished_project.folder
    for name in (
        "data/canonical/toy_neuropixels/representation.json",
        "reports/metrics/validation/toy_silicon.json",
        "reports/validation/toy_silicon/index.html",
        "reports/validation/_between/index.html",
        "reports/metrics/comparison.json",
        "models/cvae/production/weights.safetensors",
        "data/embeddings/baseline/embeddings.safetensors",
        "reports/metrics/production.json",
        "reports/metrics/generative.json",
        "reports/plots/predictions/production.csv",
        "reports/summary.md",
        "reports/figures/ablations.png",
        "mlflow.db",
    ):
        assert (folder / name).is_file(), name
    predictions = pd.read_csv(folder / "reports/plots/predictions/production.csv", keep_default_na=False)
    assert (predictions["predicted"] != "").all()
    assert predictions["confidence"].between(0, 1).all()
    labelled = predictions["cell_type"] != ""
    assert (predictions["model"] == np.where(labelled, "out_of_fold", "final")).all()


def test_a_second_repro_runs_nothing(project: Project) -> None:
    done = project.run("dvc", "repro")
    assert "Running stage" not in done.stdout
    assert "up to date" in done.stdout
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_a_changed_label_reruns_that_dataset_and_what_depends_on_it(with_csv: Project, tmp_path: Path) -> None:
    project = with_csv.copy(tmp_path / "project")
    labels = project.folder / "data/raw/mine/labels.csv"
    text = labels.read_text().splitlines()
    text[1] = "SOM" if text[1] != "SOM" else "PV"
    labels.write_text("\n".join(text) + "\n")
    ran = project.repro()
    expected = {"features@mine", "validate@mine", "compare", "generate", "report"}
    assert ran == expected | stages_of("production") | stages_of("baseline")


def test_a_new_ablation_row_runs_only_that_row(project: Project) -> None:
    project.edit_params(lambda values: values["ablations"].update(wide={"n_latent": 9}))
    assert project.repro() == stages_of("wide") | {"report"}
    project.run("spikeprint", "sync")
    assert "wide" in (project.folder / "reports/summary.md").read_text()


def test_a_changed_row_runs_only_that_row_and_going_back_trains_nothing(project: Project) -> None:
    project.edit_params(lambda values: values["ablations"]["baseline"].update(beta=0.5))
    assert project.repro() == stages_of("baseline") | {"report"}
    project.run("git", "checkout", "-q", "params.yaml")
    assert project.repro() == {"evaluate@baseline", "report"}  # outputs that git keeps are not in DVC's run cache
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_invalid_canonical_data_stops_before_training(project: Project) -> None:
    isi = project.folder / "data/canonical/toy_silicon/isi_dist.csv"
    lines = isi.read_text().splitlines()
    cells = lines[3].split(",")
    cells[7] = "-4"
    lines[3] = ",".join(cells)
    isi.write_text("\n".join(lines) + "\n")
    done = project.run("dvc", "repro", "--single-item", "validate@toy_silicon", ok=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "isi_dist.csv" in said
    assert "isi_007" in said
    assert "-4" in said
    assert not (project.folder / "reports/metrics/validation/toy_silicon.json").exists()
    done = project.run("dvc", "repro", "--single-item", "train@production", ok=False)
    assert done.returncode != 0
    assert "data/canonical/toy_silicon: has not passed validation" in done.stderr
    assert not (project.folder / "models/cvae/production").exists()


def test_a_bad_raw_cell_stops_the_pipeline_where_it_is(with_csv: Project, tmp_path: Path) -> None:
    project = with_csv.copy(tmp_path / "project")
    waveforms = project.folder / "data/raw/mine/waveforms.csv"
    lines = waveforms.read_text().splitlines()
    lines[5] = ",".join(["oops", *lines[5].split(",")[1:]])
    waveforms.write_text("\n".join(lines) + "\n")
    done = project.run("spikeprint", "run", ok=False)
    assert done.returncode == 1
    assert "waveforms.csv: row 5" in done.stdout + done.stderr
    assert "oops" in done.stdout + done.stderr


def test_killed_while_training_then_repro_recovers(project: Project) -> None:
    project.edit_params(lambda values: values["model"].update(epochs=50_000, patience=50_000))
    with subprocess.Popen(
        ["dvc", "repro"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Running stage 'train@" in line:
                break
        time.sleep(6)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    project.edit_params(lambda values: values["model"].update(epochs=5, patience=5))
    ran = project.repro()
    assert stages_of("production") | stages_of("baseline") <= ran
    leftovers = [p for p in (project.folder / "models").rglob(".*") if p.name != ".gitkeep"]
    assert leftovers == []
    assert "Running stage" not in project.run("dvc", "repro").stdout


def test_dvc_verbs_answer(project: Project) -> None:
    assert "balanced_accuracy" in project.run("dvc", "metrics", "show", "--md").stdout
    assert "train@production" in project.run("dvc", "dag").stdout
    project.edit_params(lambda values: values["ablations"]["baseline"].update(beta=0.5))
    project.repro("evaluate")
    assert "beta" in project.run("dvc", "params", "diff").stdout
    changed = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    assert "reports/metrics/baseline.json" in changed
    for words in (("show",), ("diff", "HEAD")):
        page = project.run("dvc", "plots", *words, "-o", "plots_page").stdout.strip().splitlines()[-1]
        assert page.endswith("index.html")
        assert "confusion" in (project.folder / "plots_page/index.html").read_text()


def test_dvc_exp_run_sets_a_parameter(project: Project) -> None:
    project.run("dvc", "exp", "run", "-n", "low-beta", "-S", "++ablations.baseline.beta=0.01", "evaluate@baseline")
    shown = project.run("dvc", "exp", "show", "--csv").stdout
    assert "low-beta" in shown


def test_a_fresh_clone_pulls_and_sees_every_run(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "push", "-q")
    clone = Project(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", project.folder, clone.folder], check=True)
    remote = project.run("dvc", "config", "--local", "remote.storage.url").stdout.strip()
    clone.run("dvc", "remote", "add", "--local", "--default", "storage", remote)
    clone.run("dvc", "pull", "-q")
    assert "Running stage" not in clone.run("dvc", "repro").stdout
    first = clone.run("spikeprint", "sync").stdout
    assert "production" in first
    assert "baseline" in first
    script = """
import mlflow
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
print(sorted(run.info.run_name for run in runs if "mlflow.parentRunId" in run.data.tags))
"""
    assert clone.run("python", "-c", script).stdout.strip() == "['baseline', 'production']"


def test_mlflow_projects_run_an_entry_point(project: Project) -> None:
    project.edit_params(lambda values: values["ablations"]["baseline"].update(beta=0.7))
    done = project.run("mlflow", "run", ".", "--env-manager", "local", "-e", "evaluate", "-P", "ablation=baseline")
    assert "succeeded" in done.stdout + done.stderr
    script = """
import mlflow
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
project = next(run for run in runs if run.data.tags.get("mlflow.source.type") == "PROJECT")
print([run.data.params["beta"] for run in runs if run.data.tags.get("mlflow.parentRunId") == project.info.run_id])
"""
    assert project.run("python", "-c", script).stdout.strip() == "['0.7']"


def test_promoted_model_is_served_over_http(project: Project) -> None:
    project.run("spikeprint", "promote", "--to", "production")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = "models:/spikeprint-cvae@production"
    words = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port"]
    environment = project.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{project.folder / 'mlflow.db'}"}
    with subprocess.Popen(
        [*words, str(port)],
        cwd=project.folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _check_answers(project, f"http://127.0.0.1:{port}")
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def _check_answers(project: Project, url: str) -> None:
    """Ask the server and the command line about the same units."""
    for _ in range(240):
        try:
            if requests.get(f"{url}/ping", timeout=1).ok:
                break
        except requests.ConnectionError:
            time.sleep(0.25)
    folder = project.folder / "data/canonical/toy_silicon"
    files = {"waveform": "waveforms.csv", "isi": "isi_dist.csv", "acg": "acg.csv"}
    units = {name: pd.read_csv(folder / file).to_numpy(float)[:3].tolist() for name, file in files.items()}
    units["acg"][1] = [None] * 201  # a missing modality
    body = {"inputs": units, "params": {"dataset": "toy_silicon", "technology": "silicon_probe"}}
    answers = requests.post(f"{url}/invocations", json=body, timeout=30).json()["predictions"]
    project.run(
        "spikeprint", "classify", folder, "--dataset", "toy_silicon", "--technology", "silicon_probe", "--out", "p.csv"
    )
    rows = pd.read_csv(project.folder / "p.csv")
    for i in (0, 2):
        assert answers[i]["label"] == rows["label"][i]
        assert answers[i]["confidence"] == pytest.approx(rows["confidence"][i], abs=1e-5)
        assert sum(answers[i]["probabilities"].values()) == pytest.approx(1)
    assert len(answers[1]["embedding"]) == 4 * 4  # members x latent
    assert answers[0]["novelty"] == pytest.approx(rows["novelty"][0], rel=1e-4)
    assert "|".join(answers[0]["prediction_set"]) == rows["prediction_set"].fillna("")[0]
    bad = requests.post(f"{url}/invocations", json={"inputs": units | {"isi": [[1.0] * 99] * 3}}, timeout=30)
    assert bad.status_code == 400


def test_doctor_tells_versions_data_and_what_is_stale(project: Project) -> None:
    healthy = json.loads(project.run("spikeprint", "doctor", "--json").stdout)
    assert healthy["stale"] == []
    assert healthy["data"] == {"toy_neuropixels": "canonical", "toy_silicon": "canonical"}
    assert {"dvc", "mlflow", "torch"} <= set(healthy["versions"])
    assert any("storage" in line for line in healthy["remotes"])
    project.edit_params(lambda values: values["ablations"]["baseline"].update(beta=0.5))
    assert "train@baseline" in json.loads(project.run("spikeprint", "doctor", "--json").stdout)["stale"]
    project.edit_params(lambda values: values["model"].update(epoch=3))
    sick = project.run("spikeprint", "doctor", ok=False)
    assert sick.returncode == 1
    assert "did you mean 'epochs'?" in sick.stdout


def test_a_typo_in_params_stops_before_anything_runs(project: Project) -> None:
    project.edit_params(lambda values: values["model"].update(epoch=3))
    done = project.run("spikeprint", "run", ok=False)
    assert done.returncode == 2
    assert done.stderr == "error: params.yaml: unknown key 'model.epoch'; did you mean 'epochs'?\n"
    project.run("git", "checkout", "-q", "params.yaml")
    assert project.run("git", "status", "--porcelain").stdout == ""

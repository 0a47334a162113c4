import logging
import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from spikeprint.core.errors import RegistryError
from spikeprint.registry.lock import dvc_md5
from spikeprint.registry.runs import find_run
from spikeprint.registry.tracking import connect, sync
from spikeprint.registry.whence import git_commit


def run_of(project: Path, name: str):
    """The run of an ablation row after a sync."""
    made = {run.ablation: run for run in sync(project)}
    return connect(project).get_run(made[name].run_id)


@pytest.fixture
def production(project):
    return run_of(project, "production")


def test_every_finished_row_becomes_a_run(project):
    assert [run.ablation for run in sync(project)] == ["production", "baseline"]


def test_a_second_sync_adds_nothing(project):
    sync(project)
    assert sync(project) == []


def test_a_changed_row_becomes_a_new_run(project, relock):
    sync(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["ablations"]["baseline"]["beta"] = 0.9
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    relock(project)
    (new,) = sync(project)
    assert new.ablation == "baseline"
    assert connect(project).get_run(new.run_id).data.params["beta"] == "0.9"


def test_params_are_the_rows_own(project):
    assert run_of(project, "baseline").data.params["conditions"] == "[]"


def test_params_hold_seed_and_evaluation(production):
    found = production.data.params
    assert (found["seed"], found["evaluate.n_folds"], found["n_latent"]) == ("0", "5", "5")


def test_params_are_those_of_the_run_not_of_a_later_edit(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["model"]["n_latent"] = 7
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    assert run_of(project, "production").data.params["n_latent"] == "5"


def test_scores_are_metrics_without_single_folds(production):
    scores = {key: value for key, value in production.data.metrics.items() if "/" not in key}
    assert scores["datasets.left.logistic.balanced_accuracy.mean"] == 0.8
    assert scores["overall.control.balanced_accuracy"] == pytest.approx(0.35)
    assert not any("folds" in key for key in scores)


def test_losses_of_the_final_network_are_curves(project, production):
    curve = connect(project).get_metric_history(production.info.run_id, "val/kl")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]


def test_datasets_are_inputs_with_the_md5_of_dvc(project, production):
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    expected = {name: lock[f"features@{name}"]["outs"][0]["md5"] for name in ("left", "right")}
    assert {item.dataset.name: item.dataset.digest for item in production.inputs.dataset_inputs} == expected


def test_a_run_on_other_data_names_no_datasets(project):
    (project / "data" / "canonical" / "left" / "labels.csv").write_text("cell_type\n")
    assert run_of(project, "production").inputs.dataset_inputs == []


def test_a_clone_without_data_still_names_its_datasets(project):
    for folder in ("canonical", "embeddings"):
        os.rename(project / "data" / folder, project / f"gone_{folder}")
    assert len(run_of(project, "production").inputs.dataset_inputs) == 2


def test_tags_tell_the_lineage(project, production):
    tags = production.data.tags
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert tags["dvc.dep.data/canonical"] == stages["train@production"]["deps"][0]["md5"]
    assert tags["dvc.out.models/cvae/production"] == stages["train@production"]["outs"][0]["md5"]
    assert tags["git.commit"] == git_commit(project) != "unknown"
    assert tags["dvc.raw.data/raw/left"] == dvc_md5(project / "data" / "raw" / "left")


def test_artifacts_are_tables_scores_and_environment(project, production):
    client, found = connect(project), []
    folders = [""]
    while folders:
        for item in client.list_artifacts(production.info.run_id, folders.pop()):
            (folders if item.is_dir else found).append(item.path)
    assert sorted(found) == [
        "environment.json",
        "lineage.json",
        "metrics/production.json",
        "metrics/validation/left.json",
        "metrics/validation/right.json",
        "plots/confusion/production.csv",
        "plots/losses/production.csv",
        "plots/predictions/production.csv",
    ]


def test_runs_of_one_data_state_share_a_parent(project):
    new = sync(project)
    parent = connect(project).get_run(new[0].parent_id)
    assert {run.parent_id for run in new} == {parent.info.run_id}
    assert parent.data.tags["spikeprint.pipeline"].endswith(".dir")
    assert connect(project).get_run(new[1].run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_the_parent_is_found_again(project, relock):
    (first, _) = sync(project)
    (project / "reports" / "plots" / "losses" / "baseline.csv").write_text("model,epoch,split,part,value\n")
    relock(project)
    (new,) = sync(project)
    assert new.parent_id == first.parent_id


def test_the_run_of_a_project_is_the_parent_and_is_not_continued(project, monkeypatch):
    client = connect(project)
    parent = client.create_run(client.create_experiment("elsewhere", (project / "mlruns").as_uri()))
    monkeypatch.setenv("MLFLOW_RUN_ID", parent.info.run_id)
    new = sync(project)
    assert {run.parent_id for run in new} == {parent.info.run_id}
    assert client.get_run(new[0].run_id).info.experiment_id == parent.info.experiment_id
    assert "MLFLOW_RUN_ID" not in os.environ


def test_scores_that_are_not_those_of_the_lock_are_not_logged(project, caplog):
    path = project / "reports" / "metrics" / "production.json"
    path.write_text(path.read_text().replace("0.8", "0.99"))
    with caplog.at_level(logging.WARNING):
        assert [run.ablation for run in sync(project)] == ["baseline"]
    assert "production not logged: reports/metrics/production.json has MD5" in caplog.text


def test_absent_scores_are_not_logged(project, caplog):
    (project / "reports" / "metrics" / "production.json").unlink()
    with caplog.at_level(logging.WARNING):
        sync(project)
    assert "reports/metrics/production.json is missing" in caplog.text


def test_a_run_cut_short_is_made_again(project):
    from mlflow.entities import Metric

    run = run_of(project, "production")
    client = connect(project)
    client.delete_tag(run.info.run_id, "dvc.stage_md5")  # what a killed sync leaves behind
    client.log_batch(run.info.run_id, [Metric("x", 1.0, 0, 0)])
    assert [made.ablation for made in sync(project)] == ["production"]


def test_the_summary_goes_to_the_parent(project):

    (project / "reports" / "summary.md").write_text("# all")
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    summary = {"path": "reports/summary.md", "md5": dvc_md5(project / "reports" / "summary.md")}
    lock["stages"]["report"] = {"outs": [summary]}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    parent_id = sync(project)[0].parent_id
    assert [item.path for item in connect(project).list_artifacts(parent_id)] == ["summary.md"]


def test_no_lock_says_what_to_do(project):
    (project / "dvc.lock").unlink()
    with pytest.raises(RegistryError, match="spikeprint run"):
        sync(project)


def test_an_unknown_key_finds_no_run(project):
    assert find_run(connect(project), "0" * 32) is None


def test_the_store_named_by_the_environment_wins(project, tmp_path, template, monkeypatch):
    other = tmp_path / "other.db"
    other.write_bytes((template / "mlflow.db").read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    sync(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(sync(project)) == 2  # the project's own store got nothing


def test_a_store_that_cannot_be_opened_is_told_in_one_line(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://somewhere")
    with pytest.raises(RegistryError, match="tracking store nonsense://somewhere: ") as error:
        connect(project)
    assert "\n" not in str(error.value)


def test_a_damaged_database_is_told_in_one_line(project):
    (project / "mlflow.db").write_bytes(b"no database at all" * 300)
    with pytest.raises(RegistryError, match=r"mlflow\.db: the database cannot be used .*not a database") as error:
        sync(project)
    assert "\n" not in str(error.value)


def test_two_processes_may_create_the_store_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=connect, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    experiment = connect(tmp_path).get_experiment_by_name("spikeprint")
    assert experiment.artifact_location == (tmp_path / "mlruns").as_uri()


def test_commit_is_dirty_when_code_changed_and_not_when_results_did(tmp_path):
    def git(*words):
        options = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *options, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "params.yaml").write_text("a")
    git("add", ".")
    git("commit", "-m", "first")
    (tmp_path / "dvc.lock").write_text("new")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "x.json").write_text("new")
    clean = git_commit(tmp_path)
    (tmp_path / "params.yaml").write_text("b")
    assert len(clean) == 40
    assert git_commit(tmp_path) == f"{clean}-dirty"

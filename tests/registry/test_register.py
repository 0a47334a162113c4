import json
import logging
import os

import mlflow
import pytest
import yaml

from registries import NAME, aliases, edit_params, ledger
from spikeprint.core.errors import IncompatibleBundle, RegistryError
from spikeprint.registry.bundle import bundle_digest, write_bundle
from spikeprint.registry.promote import Wish, carry_out, plan_move, promote
from spikeprint.registry.register import NotRegistrable, register
from spikeprint.registry.tracking import connect


def test_a_good_model_becomes_staging(project):
    made = register(project)
    assert (made.version, made.is_new, made.is_staging) == ("1", True, True)
    assert aliases(project) == {"staging": "1"}


def test_a_version_belongs_to_the_run_of_its_row(project):
    made = register(project)
    run = connect(project).get_run(made.run_id)
    assert run.data.tags["spikeprint.ablation"] == "production"
    assert connect(project).get_model_version(NAME, "1").run_id == made.run_id
    assert len(run.outputs.model_outputs) == 1


def test_version_tags_tell_the_lineage(registered):
    from spikeprint.registry.lock import dvc_md5

    tags = connect(registered).get_model_version(NAME, "1").tags
    assert tags["bundle_sha256"] == bundle_digest(registered / "models" / "cvae" / "production")
    assert tags["data_md5"] == dvc_md5(registered / "data" / "canonical")
    assert tags["metrics_md5"] == dvc_md5(registered / "reports" / "metrics" / "production.json")
    assert float(tags["overall.logistic.balanced_accuracy"]) == 0.75
    assert {"git.commit", "dvc.stage_md5"} <= tags.keys()


def test_the_same_model_is_registered_once(registered):
    again = register(registered)
    assert (again.version, again.is_new, again.is_staging) == ("1", False, True)
    assert len(ledger(registered)) == 1


def test_a_better_model_takes_staging_over(registered, retrain):
    retrain(registered, seed=5, accuracy=0.9)
    assert register(registered).version == "2"
    assert aliases(registered) == {"staging": "2"}


def test_a_model_below_the_floor_is_kept_but_not_staged(registered, retrain):
    retrain(registered, seed=5, accuracy=0.45)
    made = register(registered)
    assert (made.version, made.is_staging) == ("2", False)
    assert aliases(registered) == {"staging": "1"}
    assert "refused for @staging: balanced accuracy: 0.450 found, >= 0.5 needed" in made.describe()


def test_a_model_no_better_than_its_control_is_not_staged(registered, retrain):
    edit_params(registered, "gates", floor=0.1)
    retrain(registered, seed=5, accuracy=0.4)
    assert [gate.name for gate in register(registered).gates if not gate.passed][:1] == ["lead over shuffled labels"]


def test_registering_needs_an_evaluated_row(project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    del lock["stages"]["evaluate@production"]
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(RegistryError, match=r"no finished evaluate@production in dvc\.lock"):
        register(project)


def test_a_bundle_that_is_not_the_one_in_the_lock_is_refused(project):
    (project / "models" / "cvae" / "production" / "folds.safetensors").write_bytes(b"other")
    with pytest.raises(RegistryError, match=r"is not the one in dvc\.lock"):
        register(project)


def test_a_damaged_bundle_is_refused_even_if_locked(project, relock):
    (project / "models" / "cvae" / "production" / "weights.safetensors").write_bytes(b"other")
    relock(project)
    with pytest.raises(IncompatibleBundle, match=r"weights\.safetensors: changed"):
        register(project)


def test_scores_that_are_not_those_of_the_lock_are_refused(registered):
    path = registered / "reports" / "metrics" / "production.json"
    path.write_text(path.read_text().replace("0.75", "0.99"))
    with pytest.raises(RegistryError, match=r"production\.json: is not the one in dvc\.lock"):
        register(registered)


def test_curves_that_are_not_those_of_the_lock_are_refused(project):
    (project / "reports" / "plots" / "losses" / "production.csv").unlink()
    with pytest.raises(RegistryError, match=r"result files are not those of dvc\.lock"):
        register(project)


def test_registering_leaves_mlflows_globals_alone(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    register(project)
    assert not mlflow.tracking.is_tracking_uri_set()
    assert mlflow.active_run() is None
    assert not (tmp_path / "mlflow.db").exists()


def test_registering_again_leaves_a_staging_moved_by_hand(registered, retrain):
    retrain(registered, seed=5, accuracy=0.9)
    register(registered)
    carry_out(registered, plan_move(registered, Wish("staging", back=True)))
    made = register(registered)
    assert (made.version, made.is_staging, aliases(registered)) == ("2", False, {"staging": "1"})


def test_a_refused_model_gets_staging_once_it_passes(project):
    edit_params(project, "gates", floor=0.9)
    register(project)
    edit_params(project, "gates", floor=0.5)
    made = register(project)
    assert (made.version, made.is_new, made.is_staging) == ("1", False, True)


def test_data_without_acg_can_be_the_example(project, relock):
    path = project / "data" / "canonical" / "left" / "acg.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *["," * lines[0].count(",")] * (len(lines) - 1)]) + "\n")
    relock(project)
    assert register(project).is_staging


def test_absent_data_says_what_to_do(project):
    os.rename(project / "data" / "canonical", project / "gone")
    with pytest.raises(RegistryError, match=r"waveforms\.csv: missing; run dvc pull"):
        register(project)


def test_a_model_trained_without_labels_is_not_registrable(project, make_parts, relock):
    config, arrays = make_parts()
    write_bundle(project / "models" / "cvae" / "production", config | {"head": None}, arrays)
    relock(project)
    with pytest.raises(NotRegistrable, match="trained without labels"):
        register(project)


def test_a_model_without_scores_is_not_registrable(project, relock):
    report = {"ablation": "production", "n_units": 24, "datasets": {}, "overall": {}}
    (project / "reports" / "metrics" / "production.json").write_text(json.dumps(report))
    relock(project)
    with pytest.raises(NotRegistrable, match=r"production\.json: no dataset could be scored"):
        register(project)


def test_a_row_older_than_its_parameters_is_refused(project):
    edit_params(project, "model", beta=0.9, epochs=3)
    with pytest.raises(
        RegistryError, match=r"params\.yaml has changed since .*\(model\.beta, model\.epochs\); run spikeprint run"
    ):
        register(project)


def test_a_holder_of_staging_that_would_not_pass_now_is_told(registered):
    edit_params(registered, "gates", floor=0.9)
    found = register(registered).describe()
    assert found.endswith(
        "holds @staging from before, would not pass now: balanced accuracy: 0.750 found, >= 0.9 needed"
    )


def test_a_new_store_says_what_the_ledger_remembers(registered, template, tmp_path, monkeypatch, caplog):
    promote(registered, "production")
    at = ledger(registered)[-1]["at"]
    other = tmp_path / "other.db"  # MLflow keeps the old file open, so removing it here would change nothing
    other.write_bytes((template / "mlflow.db").read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    with caplog.at_level(logging.WARNING):
        register(registered)
    sha = bundle_digest(registered / "models" / "cvae" / "production")[:12]
    (told,) = [r.getMessage() for r in caplog.records if r.name == "spikeprint.registry.register"]
    assert "tells of 2: version numbers restart at 1" in told
    assert f"@production was bundle {sha} (version 1 of {at}, " in told
    assert "must be promoted again" in told


def test_a_first_registration_has_nothing_to_remember(project, caplog):
    with caplog.at_level(logging.WARNING):
        register(project)
    assert not [r for r in caplog.records if r.name == "spikeprint.registry.register"]

import pytest
import yaml

from spikeprint.core.errors import RegistryError
from spikeprint.registry.lock import changed_params, dvc_md5, finished_row, flatten, read_lock


def test_md5s_are_those_of_dvc(tmp_path, monkeypatch):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    for name in ("b/x.csv", "b-c/x.csv", "a", "ü.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.add(["folder"])
    recorded = yaml.safe_load((tmp_path / "folder.dvc").read_text())["outs"][0]["md5"]
    assert dvc_md5(folder) == recorded


def test_compiled_python_does_not_count(tmp_path):
    (tmp_path / "a.py").write_text("1")
    before = dvc_md5(tmp_path)
    (tmp_path / "a.pyc").write_text("1")
    assert dvc_md5(tmp_path) == before


def test_nothing_has_no_md5(tmp_path):
    assert dvc_md5(tmp_path / "absent") == ""


def test_a_missing_lock_says_what_to_do(tmp_path):
    with pytest.raises(RegistryError, match=r"dvc\.lock: missing; run the pipeline"):
        read_lock(tmp_path)


@pytest.mark.parametrize("text", ["stages: [", "", "stages:\n", "- a"])
def test_a_damaged_lock_is_refused(tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(RegistryError, match=r"dvc\.lock.*restore it with git"):
        read_lock(tmp_path)


def test_a_row_that_never_ran_is_not_finished(project):
    assert finished_row(read_lock(project), "nonsense") is None


def test_scores_of_an_older_network_do_not_count(project):
    stages = read_lock(project)
    stages["train@production"]["outs"][0]["md5"] = "f" * 32
    row = finished_row(stages, "production")
    assert list(row.entries) == ["train@production"]
    assert not row.is_evaluated


def test_the_key_changes_with_any_entry(project):
    stages = read_lock(project)
    before = finished_row(stages, "production").key
    stages["evaluate@production"]["cmd"] = "other"
    assert finished_row(stages, "production").key != before


def test_the_key_of_one_row_ignores_the_others(project):
    stages = read_lock(project)
    before = finished_row(stages, "production").key
    stages["train@baseline"]["cmd"] = "other"
    assert finished_row(stages, "production").key == before


def edit_params(project, change):
    params = yaml.safe_load((project / "params.yaml").read_text())
    change(params)
    (project / "params.yaml").write_text(yaml.safe_dump(params))


EDITS = {
    "seed": lambda p: p.update(seed=1),
    "model.beta": lambda p: p["model"].update(beta=0.9),
    "ablations.production.beta": lambda p: p["ablations"]["production"].update(beta=0.9),
    "ablations.production.description": lambda p: p["ablations"].update(production={}),
    "evaluate.heads": lambda p: p["evaluate"].update(heads=["knn"]),
    "datasets.right.technology": lambda p: p["datasets"]["right"].update(technology="neuropixels"),
}


@pytest.mark.parametrize("key", EDITS)
def test_a_key_changed_since_the_row_ran_is_named(project, key):
    edit_params(project, EDITS[key])
    assert changed_params(project, finished_row(read_lock(project), "production")) == [key]


def test_keys_that_the_row_never_read_may_change(project):
    edit_params(project, lambda p: (p["register"].update(floor=0.9), p["ablations"]["baseline"].update(beta=0.9)))
    assert changed_params(project, finished_row(read_lock(project), "production")) == []


def test_every_stage_of_the_row_counts(project):
    stages = read_lock(project)
    stages["evaluate@production"]["params"] = {"params.yaml": {"seed": 5}}
    assert changed_params(project, finished_row(stages, "production")) == ["seed"]


def test_a_number_may_be_spelled_in_either_yaml_dialect(project):
    stages = read_lock(project)
    stages["train@production"]["params"]["params.yaml"]["model"]["learning_rate"] = "2e-3"
    assert changed_params(project, finished_row(stages, "production")) == []


def test_flatten_keeps_lists_whole():
    assert flatten({"a": {"b": [1, 2]}}) == {"a.b": [1, 2]}

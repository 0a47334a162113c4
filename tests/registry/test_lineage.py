import json
import shutil

import pytest

from registries import NAME
from spikeprint.core.errors import ConfigError, DataError, RegistryError
from spikeprint.core.files import read_json
from spikeprint.registry.lineage import describe, find_evidence, find_users
from spikeprint.registry.lock import dvc_md5
from spikeprint.registry.promote import promote
from spikeprint.registry.tracking import connect


def answer(project, **changes):
    """A file with two answers, as the served model gives them."""
    tags = connect(project).get_model_version(NAME, "2").tags
    one = {"label": "PV", "model_version": "2", "data_hash": tags["data_md5"]}
    path = project / "answer.json"
    path.write_text(json.dumps({"predictions": [one, one | changes]}))
    return path


@pytest.mark.parametrize(
    "what", [f"models:/{NAME}@staging", f"models:/{NAME}/2", "2", "{root}/models/cvae/production", "{answer}"]
)
def test_a_version_is_found_from_anything_that_it_said(two, what):
    what = what.format(root=two, answer=answer(two))
    assert find_evidence(two, what).number == "2"


@pytest.mark.parametrize(
    ("what", "error", "reason"),
    [
        ("models:/other@production", RegistryError, "model 'other': nothing registered"),
        (
            f"models:/{NAME}@canary",
            RegistryError,
            "no version behind @canary; there are 1, 2, @production = 1, @staging",
        ),
        ("9", RegistryError, "no version 9"),
        ("nonsense", ConfigError, "'nonsense': no version, bundle folder, JSON or raw file"),
        ("{root}/models/cvae/baseline", RegistryError, "no version of 'spikeprint-cvae' has this bundle"),
        ("{root}/params.yaml", DataError, r"params\.yaml: not valid JSON"),
        ("{root}/reports/metrics/production.json", DataError, "one 'model_version' is needed, found none"),
    ],
)
def test_what_stands_for_no_version_is_told(two, what, error, reason):
    with pytest.raises(error, match=reason):
        find_evidence(two, what.format(root=two))


def test_an_answer_of_another_registry_is_told(two):
    path = answer(two)
    path.write_text(path.read_text().replace('"data_hash": "', '"data_hash": "0'))
    with pytest.raises(RegistryError, match=r"says version 2 and data 0\w+.dir, but that version was trained on"):
        find_evidence(two, str(path))


def test_answers_of_two_versions_are_told(two):
    with pytest.raises(DataError, match="one 'model_version' is needed, found 1, 2"):
        find_evidence(two, str(answer(two, model_version="1")))


def test_everything_is_known_of_a_version(two):
    promote(two, "production")
    found = describe(two, find_evidence(two, f"models:/{NAME}@production"))
    assert (found["version"], found["aliases"], found["is_dirty"], found["gaps"]) == (
        "2",
        ["production", "staging"],
        False,
        [],
    )
    assert len(found["commit"]) == 40
    assert found["raw"]["data/raw/left"]["md5"] == dvc_md5(two / "data" / "raw" / "left")
    assert found["params"]["seed"] == "0"
    assert found["environment"]["packages"]["torch"]
    assert found["metrics"] == read_json(two / "reports" / "metrics" / "production.json")
    assert found["validation"]["right"]["failures"] == 0
    assert [move["alias"] for move in found["history"]] == ["staging", "production"]
    json.dumps(found)


def users(project, path):
    return {
        (row["ablation"], *row["versions"]): (row["path"], row["state"]) for row in find_users(project, project / path)
    }


V1, V2 = f"{NAME}/1", f"{NAME}/2"
RUNS = {("production", V1), ("production", V2), ("baseline",)}


@pytest.mark.parametrize("path", ["data/raw/left", "data/raw"])
def test_every_run_and_version_that_saw_a_folder_is_listed(two, path):
    found = users(two, path)
    assert set(found) == RUNS
    assert {state for _, state in found.values()} == {"same"}


def test_a_version_shows_the_aliases_that_it_holds(two):
    held = {
        number: aliases for row in find_users(two, two / "data/raw/left") for number, aliases in row["versions"].items()
    }
    assert held == {V1: ["production"], V2: ["staging"]}


def test_data_that_changed_or_went_are_still_found(two):
    (two / "data/raw/left/units.csv").write_text("new\n")
    assert {state for _, state in users(two, "data/raw/left").values()} == {"changed"}
    shutil.rmtree(two / "data/raw/left")
    assert {state for _, state in users(two, "data/raw/left").values()} == {"gone"}
    assert {state for _, state in users(two, "data/raw/right").values()} == {"same"}


def test_data_that_moved_are_found_by_their_content(two):
    (two / "data/raw/left").rename(two / "data/raw/moved")
    assert set(users(two, "data/raw/moved").values()) == {("data/raw/left", "same")}


def test_a_file_is_looked_up_in_the_folder_that_was_seen(two):
    # DVC's cache does not hold these folders' lists, so it is not known which files they had
    assert {state for _, state in users(two, "data/raw/left/units.csv").values()} == {"unknown"}


def test_what_nobody_saw_has_no_users(two):
    assert users(two, "data/raw/other") == {}
    with pytest.raises(ConfigError, match="outside the project"):
        find_users(two, two.parent)

import json
import shutil
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pandas as pd
import pytest

from registries import NAME, edit_params
from spikeprint.core.config import Params
from spikeprint.registry.evidence import Evidence
from spikeprint.registry.gates import GATES, Trial, judge
from spikeprint.registry.tracking import connect


@pytest.fixture
def trial(two):
    """Give a function that lets version 2 ask for an alias, against version 1."""

    def ask(alias="staging", champion="1", challenger="2", was_staged=True):
        client = connect(two)
        sides = [Evidence(client, client.get_model_version(NAME, n)) if n else None for n in (challenger, champion)]
        return Trial(*sides, alias, was_staged, Params.load(two / "params.yaml"))

    return ask


@pytest.fixture
def change_artifact(two):
    """Give a function that changes or removes a file in the run of a version, by default 2, until the test ends."""
    done = []

    def change(name, edit, number="2"):
        client = connect(two)
        run = client.get_run(client.get_model_version(NAME, number).run_id)
        path = Path(url2pathname(urlparse(run.info.artifact_uri).path)) / name
        kept = path.with_name(path.name + ".kept")
        shutil.copy2(path, kept)
        done.append((path, kept))
        text = edit(path.read_text())
        path.unlink() if text is None else path.write_text(text)

    yield change
    for path, kept in done:
        kept.replace(path)


def gate(results, name):
    (found,) = [result for result in results if result.name == name]
    return found


def edit_json(*keys, value=None):
    """Return a function of text that sets, or without a value removes, a key of JSON."""

    def edit(text):
        tree = json.loads(text)
        inner = tree
        for key in keys[:-1]:
            inner = inner[key]
        if value is None:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value
        return json.dumps(tree)

    return edit


def test_a_good_version_passes_every_gate_with_numbers(trial):
    results = judge(trial("production"))
    assert [result.name for result in results if not result.passed] == []
    assert [result.name for result in results] == [name for name in GATES if name != "commit"]  # switched off here
    assert gate(results, "balanced accuracy").found == pytest.approx(0.9)
    assert 0 < gate(results, "latency of 1 unit, ms").found < gate(results, "latency of 256 units, ms").found
    assert 0.01 < gate(results, "bundle, MB").found < 1
    assert gate(results, "compatible with the incumbent").found == "yes"


def test_staging_asks_neither_for_staging_nor_for_a_clean_commit(trial, two):
    edit_params(two, "gates", clean_commit=True)
    assert "commit" not in [result.name for result in judge(trial("staging"))]
    assert gate(judge(trial("production")), "commit").found == "clean"
    dirty = trial("production")
    dirty.challenger.run.data.tags["git.commit"] += "-dirty"
    commit = gate(judge(dirty), "commit")
    assert (commit.found, commit.passed) == ("not committed", False)


def test_without_an_incumbent_there_is_nothing_to_lose(trial):
    results = judge(trial(champion=None))
    assert gate(results, "against the incumbent").found == "no incumbent"
    assert all(result.passed for result in results)


FAILING = {
    "balanced accuracy": {"floor": 0.95},
    "lead over shuffled labels": {"margin_over_control": 0.7},
    "shuffled labels over chance": {"max_control_over_chance": 0.0},
    "calibration error": {"max_calibration_error": 0.01},
    "coverage of prediction sets": {"min_coverage": 0.95},
    "known types called novel": {"max_called_novel": 0.05},
    "against the incumbent": {"incumbent_margin": 0.0, "incumbent": "better"},
    "latency of 1 unit, ms": {"max_latency_1_ms": 0.001},
    "latency of 256 units, ms": {"max_latency_256_ms": 0.001},
    "bundle, MB": {"max_bundle_mb": 0.01},
}
CONTROL = edit_json("datasets", "left", "control", "balanced_accuracy", "mean", value=0.5)


@pytest.mark.parametrize("name", FAILING)
def test_every_limit_can_refuse_and_be_switched_off(trial, two, change_artifact, name):
    change_artifact("metrics/production.json", CONTROL)
    limits = {"max_control_over_chance": 1.0} | FAILING[name]
    edit_params(two, "gates", **limits)
    champion, challenger = ("2", "1") if name == "against the incumbent" else (None, "2")
    assert not gate(judge(trial(champion=champion, challenger=challenger)), name).passed
    if GATES[name].field not in ("floor", "margin_over_control"):
        edit_params(two, "gates", **{GATES[name].field: None})
        assert name not in [result.name for result in judge(trial())]


def test_better_asks_for_a_gain_and_no_worse_does_not(trial, two):
    edit_params(two, "gates", incumbent="better")
    assert gate(judge(trial()), "against the incumbent").passed
    assert not gate(judge(trial(champion="2", challenger="2")), "against the incumbent").passed
    edit_params(two, "gates", incumbent="no_worse")
    assert gate(judge(trial(champion="2", challenger="2")), "against the incumbent").passed


def shift_folds(text):
    lines = [line.split(",") for line in text.splitlines()]
    column = lines[0].index("fold")
    for line in lines[1:8]:
        line[column] = str((int(line[column]) + 1) % 5)
    return "\n".join(map(",".join, lines)) + "\n"


MISSING = {
    "balanced accuracy": (
        "metrics/production.json",
        edit_json("overall", "logistic"),
        "version 2: metrics/production.json has no 'overall.logistic.balanced_accuracy'",
    ),
    "lead over shuffled labels": (
        "metrics/production.json",
        edit_json("overall", "control"),
        "metrics/production.json has no 'overall.control.balanced_accuracy'",
    ),
    "calibration error": (
        "metrics/production.json",
        edit_json("datasets", "right", "logistic", "calibration_error"),
        "metrics/production.json has no 'datasets.right.logistic.calibration_error'",
    ),
    "coverage of prediction sets": (
        "metrics/production.json",
        edit_json("datasets", "left", "sets"),
        "metrics/production.json has no 'datasets.left.sets.coverage'",
    ),
    "missed expectations": (
        "metrics/validation/left.json",
        edit_json("expectations"),
        "metrics/validation/left.json has no 'expectations'",
    ),
    "lineage": ("lineage.json", lambda text: None, "has no file lineage.json; spikeprint run logs a new one"),
    "against the incumbent": (
        "plots/predictions/production.csv",
        lambda text: text.replace("fold", "part", 1),
        "plots/predictions/production.csv has no column 'fold'",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_gate_whose_number_is_missing_refuses_with_file_and_key(trial, change_artifact, name):
    file, edit, reason = MISSING[name]
    change_artifact(file, edit)
    found = gate(judge(trial()), name)
    assert (found.found, found.passed) == (None, False)
    assert reason in str(found)


def test_an_incumbent_of_before_there_were_folds_can_be_set_aside(trial, change_artifact):
    change_artifact("plots/predictions/production.csv", lambda text: text.replace("fold", "part", 1), "1")
    found = gate(judge(trial()), "against the incumbent")
    assert not found.passed
    assert "version 1 cannot be compared" in str(found)
    assert str(found).count("version 1") == 1
    assert "no column 'fold'" in str(found)
    assert "promote --to staging --waive 'against the incumbent' --reason" in str(found)
    (found,) = [one for one in judge(trial(), frozenset({found.name})) if one.name == found.name]
    assert found.waived


REFUSED = {
    "missed expectations": (
        "metrics/validation/right.json",
        edit_json("expectations", 0, "success", value=False),
        "right expect_rows",
    ),
    "against the incumbent": (
        "plots/predictions/production.csv",
        shift_folds,
        "left: 7 of 90 units have another fold; train both on the same data and folds",
    ),
    "lineage": ("lineage.json", edit_json("gaps", value=["something is not known"]), "something is not known"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_found_wrong_refuses(trial, change_artifact, name):
    file, edit, reason = REFUSED[name]
    change_artifact(file, edit)
    found = gate(judge(trial()), name)
    assert not found.passed
    assert reason in str(found)


def test_a_broken_schema_refuses(trial, change_artifact):
    change_artifact("metrics/validation/right.json", edit_json("failures", value=2))
    assert "right: the schema is broken" in str(gate(judge(trial()), "missed expectations"))


def test_a_type_that_is_no_longer_answered_refuses(trial):
    asked = trial()
    asked.champion.__dict__["classes"] = ["PV", "VIP"]  # what a version with that type would hold
    found = gate(judge(asked), "compatible with the incumbent")
    assert (found.passed, found.why) == (False, "no longer answers VIP")


def test_waived_gates_are_marked_only_where_they_fail(trial, two):
    edit_params(two, "gates", floor=0.95)
    results = judge(trial(), frozenset({"balanced accuracy", "lineage"}))
    assert [result.name for result in results if result.waived] == ["balanced accuracy"]
    assert str(gate(results, "balanced accuracy")).endswith("waived")


def test_predictions_of_one_run_are_those_of_its_table(trial):
    table = trial().challenger.predictions
    assert len(table) == 180
    assert isinstance(table, pd.DataFrame)
    assert (table["predicted"] == table["cell_type"]).mean() == pytest.approx(0.9)

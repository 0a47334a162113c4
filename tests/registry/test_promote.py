import json
import multiprocessing
import os
import warnings

import pytest

from registries import NAME, aliases, edit_params, ledger
from spikeprint.core.errors import ConfigError, IncompatibleBundle, RegistryError
from spikeprint.core.files import read_json, write_json
from spikeprint.registry.bundle import SCHEMA_VERSION
from spikeprint.registry.evidence import Evidence
from spikeprint.registry.lineage import find_evidence
from spikeprint.registry.promote import Wish, carry_out, open_version, plan_move, promote, read_history
from spikeprint.registry.register import register
from spikeprint.registry.tracking import connect


def stages(project):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = connect(project).search_model_versions(f"name = '{NAME}'")
        return {str(version.version): version.current_stage for version in found}


def back(project, alias="production"):
    plan = plan_move(project, Wish(alias, back=True, reason="it fails on rats"))
    carry_out(project, plan)
    return plan


def test_staging_goes_to_production(registered):
    done = promote(registered, "production")
    assert (done.version, done.previous, done.champion) == ("1", "", "")
    assert aliases(registered) == {"staging": "1", "production": "1"}


def test_a_version_is_compared_with_the_one_in_production(two):
    done = promote(two, "production")
    assert (done.version, done.previous, done.champion) == ("2", "1", "1")
    (gate,) = [gate for gate in done.gates if gate.name == "against the incumbent"]
    assert gate.passed
    assert gate.why.startswith("version 1; mean +0.150 [+0.0")
    assert aliases(two)["production"] == "2"


def test_stages_are_spelled_in_any_case(registered):
    promote(registered, "Production")
    assert aliases(registered)["production"] == "1"


def test_production_needs_staging_first(registered, retrain):
    edit_params(registered, "gates", floor=0.8, incumbent=None)
    retrain(registered, 5, 0.75)
    register(registered)
    edit_params(registered, "gates", floor=0.5)
    with pytest.raises(RegistryError, match=r"version 2 refused for production: has held @staging: no found"):
        promote(registered, "production", "2")
    assert aliases(registered) == {"staging": "1"}
    promote(registered, "staging")  # the newest
    assert promote(registered, "production").version == "2"


def test_a_gate_raised_since_refuses_with_its_reason(registered):
    edit_params(registered, "gates", floor=0.9)
    with pytest.raises(RegistryError, match=r"balanced accuracy: 0\.750 found, >= 0\.9 needed"):
        promote(registered, "production")
    assert ledger(registered)[-1]["alias"] == "staging"


def test_a_worse_version_is_refused_and_the_way_back_is_open(two):
    promote(two, "production")
    with pytest.raises(RegistryError, match=r"refused for production: against the incumbent: -0\.\d+ found"):
        promote(two, "production", "1")
    plan = back(two)
    assert (plan.version, plan.previous, plan.kind) == ("1", "2", "rolled back")
    assert aliases(two)["production"] == "1"
    last = ledger(two)[-1]
    assert (last["kind"], last["version"], last["reason"]) == ("rolled back", "1", "it fails on rats")
    with pytest.raises(RegistryError, match="1 holds it and none did before; there is nothing to go back to"):
        back(two)


def test_a_version_of_another_schema_is_refused(project):
    register(project)
    client = connect(project)
    bundle = Evidence(client, client.get_model_version(NAME, "1")).bundle
    write_json(bundle / "bundle.json", {**read_json(bundle / "bundle.json"), "schema_version": 1})
    with pytest.raises(
        RegistryError, match=rf"latency of 1 unit, ms: nothing found.*bundle schema 1 found, {SCHEMA_VERSION} needed"
    ):
        promote(project, "production", "1")
    with pytest.raises(IncompatibleBundle, match=f"bundle schema 1 found, {SCHEMA_VERSION} needed"):
        open_version(client, "1", NAME)
    os.rename(bundle, bundle.with_name("gone"))
    with pytest.raises(RegistryError, match=r"spikeprint-cvae version 1: its files cannot be fetched from .*bundle"):
        promote(project, "production")


def test_a_waived_gate_may_fail_and_is_marked(registered):
    edit_params(registered, "gates", floor=0.9)
    wish = Wish("production", reason="demo", waived=frozenset({"balanced accuracy"}))
    carry_out(registered, plan_move(registered, wish))
    assert aliases(registered)["production"] == "1"
    last = ledger(registered)[-1]
    assert last["gates"].startswith("balanced accuracy 0.750 waived; lead over shuffled labels 0.400;")
    assert last["reason"] == "demo"


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"alias": "prod"}, "unknown stage 'prod'; known: staging, production"),
        ({"waived": frozenset({"linage"}), "reason": "x"}, "no gate 'linage'; did you mean 'lineage'"),
        ({"waived": frozenset({"lineage"})}, "with a reason only"),
        ({"back": True, "version": "1"}, "leave the version away"),
        ({"reason": "x" * 1001}, "1001 characters, at most 1000"),
    ],
)
def test_wishes_that_make_no_sense_are_wrong_usage(wish, reason):
    with pytest.raises(ConfigError, match=reason):
        Wish(**{"alias": "production", **wish})


def test_the_history_has_a_line_for_every_move(registered):
    promote(registered, "production")
    promote(registered, "production")  # nothing moves
    moves = [(row["kind"], row["version"], row["alias"], row["previous"]) for row in ledger(registered)]
    assert moves == [("promoted", "1", "staging", ""), ("promoted", "1", "production", "")]
    assert read_history(registered) == ledger(registered)


def test_another_clone_gets_the_lines_that_it_lacks(registered):
    promote(registered, "production")
    (registered / "reports" / "promotions.csv").unlink()
    promote(registered, "production")
    assert [row["alias"] for row in ledger(registered)] == ["staging", "production"]
    assert not [name for name in os.listdir(registered / "reports") if name.startswith(".")]


def test_an_alias_moved_by_other_means_is_found_and_can_be_gone_back_to(two):
    promote(two, "production")
    connect(two).set_registered_model_alias(NAME, "production", "1")
    promote(two, "production", "2")
    assert [(m["kind"], m["version"]) for m in read_history(two) if m["alias"] == "production"] == [
        ("promoted", "1"),
        ("promoted", "2"),
        ("found", "1"),
        ("promoted", "2"),
    ]
    assert back(two).version == "1"


def test_a_promotion_leaves_its_evidence_on_the_version(registered):
    carry_out(registered, plan_move(registered, Wish("production", reason="first")))
    tags = connect(registered).get_model_version(NAME, "1").tags
    assert tags["promoted.production.by"]
    assert tags["promoted.production.reason"] == "first"
    assert all(gate["passed"] for gate in json.loads(tags["promoted.production.gates"]))


def test_the_registry_stage_follows_without_a_warning(two, recwarn):
    assert stages(two) == {"1": "Production", "2": "Staging"}
    promote(two, "production")
    assert stages(two) == {"1": "Archived", "2": "Production"}
    assert not [w for w in recwarn if issubclass(w.category, FutureWarning)]


def test_a_dry_run_changes_nothing(registered):
    edit_params(registered, "gates", floor=0.9)
    plan = promote(registered, "production", dry_run=True)
    assert not plan.is_allowed
    assert aliases(registered) == {"staging": "1"}


def test_an_unknown_version_lists_the_known_ones(registered):
    with pytest.raises(RegistryError, match="no version 7; there are 1, @staging = 1"):
        promote(registered, "production", "7")


@pytest.mark.parametrize("alias", ["staging", "production"])
def test_an_empty_registry_says_what_to_do(project, alias):
    with pytest.raises(RegistryError, match="nothing registered under this name; run spikeprint register"):
        promote(project, alias)
    with pytest.raises(RegistryError, match="nothing registered under this name; run spikeprint register"):
        back(project, alias)


def test_an_unknown_model_is_named(registered):
    edit_params(registered, "register", model_name="other")
    with pytest.raises(RegistryError, match="model 'other': nothing registered under this name"):
        promote(registered, "production")


def test_a_server_that_does_not_answer_is_told(registered, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    for ask in (lambda: promote(registered, "production"), lambda: find_evidence(registered, "1")):
        with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:9") as error:
            ask()
        assert "\n" not in str(error.value)


def test_a_plan_does_not_hold_after_somebody_moved_the_alias(two):
    plan = plan_move(two, Wish("production"))
    promote(two, "production")
    back(two)
    promote(two, "production")
    with pytest.raises(RegistryError, match=r"@production: moved from 1 to 2 by \w+ meanwhile"):
        carry_out(two, plan)


def test_a_plan_does_not_hold_after_its_champion_left(two):
    plan = plan_move(two, Wish("staging", "2"))
    promote(two, "production")
    with pytest.raises(RegistryError, match="version 1, compared with, is not in service any more \\(2 is\\)"):
        carry_out(two, plan)


def _promote(project, version, barrier, answers):
    try:
        plan = plan_move(project, Wish("production", version))
        barrier.wait(60)
        carry_out(project, plan)
        answers.put((version, "moved"))
    except RegistryError as error:
        answers.put((version, str(error)))


def test_of_two_processes_with_the_same_incumbent_one_promotes(two, retrain):
    retrain(two, 6, 0.93, "left", "right")
    assert register(two).version == "3"
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    both = [context.Process(target=_promote, args=(two, version, barrier, answers)) for version in "23"]
    for process in both:
        process.start()
    said = dict(answers.get(timeout=120) for _ in both)
    for process in both:
        process.join(30)
    (winner,) = [version for version, text in said.items() if text == "moved"]
    (loser,) = [text for text in said.values() if text != "moved"]
    assert f"@production: moved from 1 to {winner} by " in loser
    assert aliases(two)["production"] == winner
    moves = [move for move in read_history(two) if move["alias"] == "production"]
    assert [(move["version"], move["previous"]) for move in moves] == [("1", ""), (winner, "1")]
    assert ledger(two) == read_history(two)

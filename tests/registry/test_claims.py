"""Runs that were begun and not finished, and runs that two clones make at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow.entities import Dataset, DatasetInput

from spikeprint.registry.claims import CLAIM_TAG, KEY_TAG, clone_id, close_run, fail_unfinished, find_runs, open_run
from spikeprint.registry.tracking import EXPERIMENT, connect, sync

KEY = "0123456789abcdef" * 2


@pytest.fixture
def client(project):
    return connect(project)


@pytest.fixture
def experiment(client):
    return client.get_experiment_by_name(EXPERIMENT).experiment_id


def test_a_clone_goes_on_with_the_run_it_began(client, experiment):
    begun = open_run(client, experiment, KEY, "x", "mine").info.run_id
    assert open_run(client, experiment, KEY, "x", "mine").info.run_id == begun
    assert open_run(client, experiment, KEY, "x", "yours").info.run_id != begun


def test_the_run_that_is_complete_first_is_kept(client, experiment):
    mine, yours = (open_run(client, experiment, KEY, "x", name).info.run_id for name in ("mine", "yours"))
    assert close_run(client, yours, KEY)
    assert not close_run(client, mine, KEY)
    assert client.get_run(mine).info.lifecycle_stage == "deleted"
    assert client.get_run(yours).info.status == "FINISHED"


def test_of_clones_that_finish_at_once_one_keeps_its_run_and_none_fails(client, experiment):
    def finish(run_id, key, names):
        datasets = [DatasetInput(Dataset(name, key, "local", "{}")) for name in names]  # new to the store
        return close_run(client, run_id, key, datasets)

    for key in (f"{number:032x}" for number in range(6)):
        begun = [open_run(client, experiment, key, "x", owner).info.run_id for owner in "abcd"]
        with ThreadPoolExecutor(len(begun)) as pool:
            kept = list(pool.map(lambda run, key=key: finish(run, key, ("left", "right")), begun))
        (complete,) = find_runs(client, {KEY_TAG: key})
        assert [run for run, is_kept in zip(begun, kept, strict=True) if is_kept] == [complete.info.run_id]
        assert len(complete.inputs.dataset_inputs) == 2


def test_what_nobody_needs_is_marked_failed_but_not_what_is_complete_or_anothers(client, experiment):
    left, done = (open_run(client, experiment, key, "x", "mine").info.run_id for key in (KEY, KEY[::-1]))
    yours = open_run(client, experiment, KEY, "x", "yours").info.run_id
    client.set_terminated(done)
    client.set_tag(done, KEY_TAG, KEY[::-1])  # killed before its claim was taken away
    assert fail_unfinished(client, "mine") == [left]
    assert [client.get_run(run).info.status for run in (left, done, yours)] == ["FAILED", "FINISHED", "RUNNING"]
    assert CLAIM_TAG not in client.get_run(done).data.tags


def test_a_sync_that_was_cut_short_is_completed_and_nothing_is_there_twice(project, client):
    made = {run.ablation: run.run_id for run in sync(project)}
    run = client.get_run(made["production"])
    curve = client.get_metric_history(run.info.run_id, "val/total")
    client.set_tag(run.info.run_id, CLAIM_TAG, run.data.tags[KEY_TAG])  # as it was before the last step
    client.delete_tag(run.info.run_id, KEY_TAG)
    assert [again.run_id for again in sync(project)] == [run.info.run_id]
    assert client.get_metric_history(run.info.run_id, "val/total") == curve
    assert client.get_run(run.info.run_id).data.params == run.data.params
    assert len(client.get_run(run.info.run_id).inputs.dataset_inputs) == len(run.inputs.dataset_inputs)


def test_clones_have_names_of_their_own(tmp_path):
    assert clone_id(tmp_path) == clone_id(tmp_path)
    assert clone_id(tmp_path) != clone_id(tmp_path / "b")

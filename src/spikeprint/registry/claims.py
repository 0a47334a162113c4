"""Which run belongs to which row, for many clones at once. Enters: a key. Leaves: one complete run, no run left open.

A run says from its first moment whose it is and for which key; only a complete one carries the key itself. Clones
complete their runs one at a time: of those that logged the same row, the first stays.
"""

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run

from .mutex import exclusive

KEY_TAG = "dvc.stage_md5"
"""Set when a run is complete, so that a run cut short is not taken for one."""

CLAIM_TAG, OWNER_TAG = "spikeprint.claim", "spikeprint.clone"
"""Set when a run begins: the key it is for, the clone that logs it."""

LOCK = "spikeprint-runs"
"""Held while a run is completed, see ``mutex``."""

NOTE = "the logging was cut short; a colleague's run of the same results is complete, or the results have changed"


def clone_id(root: Path) -> str:
    """Return a name of this clone of the project that no other clone has."""
    place = hashlib.sha256(str(Path(root).resolve()).encode()).hexdigest()[:12]
    return f"{platform.node()}-{place}"


def find_runs(client: MlflowClient, tags: dict[str, str]) -> list[Run]:
    """Return the runs that carry all ``tags``, whatever their experiment; the order is the same for everybody."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    return sorted(client.search_runs(experiments, wanted), key=lambda run: (run.info.start_time, run.info.run_id))


def open_run(client: MlflowClient, experiment_id: str, key: str, name: str, owner: str) -> Run:
    """Return the run to log into: the one that this clone began and did not finish, else a new one.

    Call under the clone's own lock: an open run of this clone then has no living process.
    """
    if begun := find_runs(client, {CLAIM_TAG: key, OWNER_TAG: owner}):
        client.update_run(begun[0].info.run_id, status="RUNNING")
        return begun[0]
    return client.create_run(experiment_id, run_name=name, tags={CLAIM_TAG: key, OWNER_TAG: owner})


def close_run(client: MlflowClient, run_id: str, key: str, datasets: Sequence[DatasetInput] = ()) -> bool:
    """Mark a run complete; return False, and delete it, when a colleague's run of this key is complete already.

    Its datasets are logged here too: MLflow itself fails when two clients log the same new dataset at once.
    """
    with exclusive(client, LOCK, run_id):
        if not find_runs(client, {KEY_TAG: key}):
            if datasets:
                client.log_inputs(run_id, list(datasets))
            client.set_terminated(run_id)
            client.set_tag(run_id, KEY_TAG, key)
            client.delete_tag(run_id, CLAIM_TAG)
            return True
    client.set_terminated(run_id, "KILLED")
    client.delete_run(run_id)
    return False


def fail_unfinished(client: MlflowClient, owner: str) -> list[str]:
    """Mark as failed what this clone began, did not finish and needs no more; return the ids.

    Call after every row has its run, under the clone's own lock.
    """
    begun = [run for run in find_runs(client, {OWNER_TAG: owner}) if CLAIM_TAG in run.data.tags]
    left = [run.info.run_id for run in begun if KEY_TAG not in run.data.tags]
    for run_id in left:
        client.set_tag(run_id, "mlflow.note.content", NOTE)
        client.set_terminated(run_id, "FAILED")
    for run in begun:
        client.delete_tag(run.info.run_id, CLAIM_TAG)
    return left

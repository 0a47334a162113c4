"""One MLflow run per row. Enters: a row of ``dvc.lock`` and what is told of it. Leaves: a complete run.

Whatever the row is, its run holds the commit, the MD5 of everything read and written, numbers, parameters and the small
results for people.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag

from .claims import KEY_TAG, clone_id, close_run, find_runs, open_run
from .lock import FinishedRow, dvc_md5, flatten
from .whence import tell_origin

LOGGER = logging.getLogger(__name__)

Point = tuple[str, float, int]
"""Name of a metric, value, step."""


@dataclass(frozen=True)
class SyncedRun:
    """A run that a sync has made; ``parent_id`` is ``""`` where ``chains`` made it."""

    ablation: str
    run_id: str
    parent_id: str


@dataclass(frozen=True)
class Record:
    """What is told of a row beside what all tell: ``files`` lie below ``reports/``, ``texts`` are name -> JSON."""

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    points: Iterable[Point]
    files: Iterable[str]
    datasets: list[DatasetInput] = field(default_factory=list)
    texts: Mapping[str, Any] = field(default_factory=dict)


def find_run(client: MlflowClient, key: str) -> Run | None:
    """Return the complete run of the lock entries with this key, whatever its experiment, or None."""
    return next(iter(find_runs(client, {KEY_TAG: key})), None)


def needs_run(client: MlflowClient, root: Path, row: FinishedRow) -> bool:
    """Whether a row has no run yet and its result files are those of the lock; warns of the first that is not."""
    if find_run(client, row.key):
        return False
    for path, md5 in list_results(row).items():
        if (found := dvc_md5(root / path)) != md5:
            state = f"has MD5 {found}, dvc.lock records {md5}" if found else "is missing"
            LOGGER.warning("%s not logged: %s %s; run the pipeline again (spikeprint run)", row.ablation, path, state)
            return False
    return True


def list_results(row: FinishedRow) -> dict[str, str]:
    """The outputs that are small files for people, metrics and tables behind plots: path -> MD5."""
    return {path: md5 for path, md5 in row.outs.items() if path.startswith("reports/")}


def list_numbers(tree: Mapping[str, Any]) -> list[Point]:
    """The numbers among the leaves of nested mappings, under names that MLflow takes."""
    return [
        (re.sub(r"[^\w.-]", "_", key), float(value), 0)
        for key, value in flatten(tree).items()
        if isinstance(value, (int, float))
    ]


def log_row(client: MlflowClient, root: Path, experiment_id: str, row: FinishedRow, record: Record) -> str:
    """Log a row; return the run's id, ``""`` when a colleague has logged the same row meanwhile.

    What a sync that was cut short has logged is logged again, with the same time stamps: it is there once.
    """
    tags = {
        **tell_origin(root),
        **record.tags,
        **{f"dvc.dep.{path}": md5 for path, md5 in row.deps.items()},
        **{f"dvc.out.{path}": md5 for path, md5 in row.outs.items()},
    }
    values = flatten(record.params).items()
    run = open_run(client, experiment_id, row.key, record.name, clone_id(root))
    run_id, now = run.info.run_id, run.info.start_time
    client.log_batch(
        run_id,
        [Metric(key, value, now, step) for key, value, step in record.points],
        [Param(key, json.dumps(value) if isinstance(value, list) else str(value)) for key, value in values],
        [RunTag(*tag) for tag in tags.items()],
    )
    for path in record.files:
        client.log_artifact(run_id, str(root / path), Path(path).parent.relative_to("reports").as_posix())
    for name, value in record.texts.items():
        client.log_dict(run_id, value, name)
    return run_id if close_run(client, run_id, row.key, record.datasets) else ""

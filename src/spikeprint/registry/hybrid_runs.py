"""MLflow runs of hybrid ground truth. Enters: lock entries of ``hybrid`` and ``score_hybrid``. Leaves: one run per row.

Like those of ablations they can be rebuilt from ``dvc.lock`` at any time; they have no parent, as they train nothing.
"""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from ..core.files import read_json
from .lock import Entry, FinishedRow, finished_row, flatten

HYBRID_STAGES = ("hybrid", "score_hybrid")
"""What makes up one row of ``hybrid``, in order."""
HYBRID_TAG = "spikeprint.hybrid"


def finished_hybrid(stages: Mapping[str, Entry], name: str) -> FinishedRow | None:
    """Collect the lock entries of a row of ``hybrid``, or None when it was never injected."""
    return finished_row(stages, name, HYBRID_STAGES)


def log_hybrid(
    client: MlflowClient, root: Path, row: FinishedRow, experiment_id: str, tags: Mapping[str, str], key_tag: str
) -> str:
    """Log a row: its parameters, numbers and figures.

    Parameters
    ----------
    tags : of user and commit
    key_tag : name of the tag that says that a run is complete

    Returns
    -------
    the id of the run
    """
    values = row.params.get(f"hybrid.{row.ablation}", {})
    logged = [Param(key, json.dumps(v) if isinstance(v, list) else str(v)) for key, v in flatten(values).items()]
    all_tags = {
        **tags,
        HYBRID_TAG: row.ablation,
        **{f"dvc.dep.{path}": md5 for path, md5 in row.deps.items()},
        **{f"dvc.out.{path}": md5 for path, md5 in row.outs.items()},
    }
    run_id = client.create_run(experiment_id, run_name=row.ablation).info.run_id
    status = "FAILED"
    try:
        client.log_batch(run_id, _metrics(root, row), logged, [RunTag(*tag) for tag in all_tags.items()])
        for path in row.outs:
            if path.startswith("reports/"):
                client.log_artifact(run_id, str(root / path), "hybrid")
        client.set_tag(run_id, key_tag, row.key)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)
    return run_id


def _metrics(root: Path, row: FinishedRow) -> list[Metric]:
    """Every number in the metrics files of the row."""
    now = int(time.time() * 1000)
    found: list[Metric] = []
    for path in row.outs:
        if path.startswith("reports/") and path.endswith(".json"):
            leaves: dict[str, Any] = flatten({Path(path).stem: read_json(root / path)})
            numbers = {key: value for key, value in leaves.items() if isinstance(value, (int, float))}
            found += [Metric(re.sub(r"[^\w.-]", "_", key), float(value), now, 0) for key, value in numbers.items()]
    return found

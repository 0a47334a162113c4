"""MLflow runs of populations from ``dvc.lock``. Enters: a project. Leaves: a run per model and decoded session.

As for ablations, DVC keeps the record and MLflow shows it: a run can be rebuilt at any time.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from ..core.files import read_json
from .lock import Entry, dvc_md5, flatten, hashes, read_lock
from .tracking import EXPERIMENT, KEY_TAG, connect, find_run, git_commit, store_errors, store_lock, user_name

STAGES = ("contrast", "decode")
CURVES = ("loss", "temperature", "held_out_loss", "held_out_bits", "held_out_score")
"""Columns of the table of losses that become curves."""


@dataclass(frozen=True)
class PopulationRun:
    """A run that ``sync_populations`` has made: the stage it shows, e.g. ``contrast@time``."""

    stage: str
    run_id: str


def sync_populations(root: Path) -> list[PopulationRun]:
    """Log every finished ``contrast`` and ``decode`` that the store does not hold yet.

    Stages whose small results are not those in ``dvc.lock`` are left out.

    Returns
    -------
    The new runs, in the order of ``dvc.lock``

    Raises
    ------
    RegistryError
        No ``dvc.lock``, or the store cannot be used.
    """
    root = Path(root).resolve()
    stages = {name: entry for name, entry in read_lock(root).items() if name.partition("@")[0] in STAGES}
    client = connect(root)
    made = []
    with store_errors("tracking store"), store_lock(root):
        for name, entry in stages.items():
            key = hashlib.md5(json.dumps(entry, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
            results = {path: md5 for path, md5 in hashes(entry, "outs").items() if path.startswith("reports/")}
            is_as_recorded = all(dvc_md5(root / path) == md5 for path, md5 in results.items())
            if is_as_recorded and find_run(client, key) is None:
                made.append(PopulationRun(name, _log(client, root, name, entry, key, list(results))))
    return made


def _log(client: MlflowClient, root: Path, name: str, entry: Entry, key: str, results: list[str]) -> str:
    (experiment,) = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    commit = git_commit(root)
    tags = {
        "mlflow.user": user_name(),
        "mlflow.source.git.commit": commit.removesuffix("-dirty"),
        "git.commit": commit,
        "spikeprint.population": name,
        **{f"dvc.dep.{path}": md5 for path, md5 in hashes(entry, "deps").items()},
        **{f"dvc.out.{path}": md5 for path, md5 in hashes(entry, "outs").items()},
    }
    values: Mapping[str, Any] = entry.get("params", {}).get("params.yaml", {})
    params = [Param(k, json.dumps(v) if isinstance(v, (list, dict)) else str(v)) for k, v in flatten(values).items()]
    run_id = client.create_run(experiment.experiment_id, run_name=name).info.run_id
    status = "FAILED"
    try:
        client.log_batch(run_id, _metrics(root, results), params, [RunTag(*tag) for tag in tags.items()])
        for path in results:
            client.log_artifact(run_id, str(root / path), Path(path).parent.relative_to("reports").as_posix())
        client.set_tag(run_id, KEY_TAG, key)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)
    return run_id


def _metrics(root: Path, results: list[str]) -> list[Metric]:
    """Numbers of the metrics file, and the curves of the table of losses."""
    now = int(time.time() * 1000)
    metrics = []
    for path in results:
        if path.endswith(".json"):
            leaves = flatten(read_json(root / path)).items()
            numbers = [(re.sub(r"[^\w.-]", "_", k), v) for k, v in leaves if isinstance(v, (int, float))]
            metrics += [Metric(k, float(v), now, 0) for k, v in numbers]
        elif "/losses/" in path:
            table = pd.read_csv(root / path)
            for column in CURVES:
                some = table[["step", column]].dropna()
                metrics += [Metric(f"curve/{column}", float(v), now, int(s)) for s, v in some.to_numpy()]
    return metrics

"""MLflow runs of everything but ablations, from ``dvc.lock``. Enters: a project. Leaves: a run per finished row.

As for ablations, DVC keeps the record and MLflow shows it: a run can be rebuilt at any time. These have no parent.
"""

import json
import re
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.validation import MAX_PARAMS_TAGS_PER_BATCH

from ..core.files import read_json
from .claims import clone_id, close_run, open_run
from .lock import FinishedRow, dvc_md5, finished_row, flatten, read_lock
from .tracking import EXPERIMENT, SyncedRun, connect, find_run, store_errors, store_lock
from .whence import tell_origin

CHAINS: dict[str, tuple[str, ...]] = {
    "hybrid": ("hybrid", "score_hybrid"),
    "localize": ("localize",),
    "contrast": ("contrast",),
    "decode": ("decode",),
}
"""Kind -> the stages that make up one of its rows, in order."""

STEPS = ("step", "epoch")
"""Columns that count along a curve."""


def sync_chains(root: Path) -> list[SyncedRun]:
    """Log every finished row of ``CHAINS`` that the store does not hold yet, each as a run named ``kind@row``.

    Rows whose small results are not those in ``dvc.lock`` are left out.

    Returns
    -------
    The new runs, in the order of ``CHAINS``

    Raises
    ------
    RegistryError
        No ``dvc.lock``, or the store cannot be used.
    """
    root = Path(root).resolve()
    stages, client = read_lock(root), connect(root)
    made: list[SyncedRun] = []
    with store_errors("tracking store"), store_lock(root):
        for kind, chain in CHAINS.items():
            for name in [stage.partition("@")[2] for stage in stages if stage.startswith(f"{chain[0]}@")]:
                row = finished_row(stages, name, chain)
                if row and find_run(client, row.key) is None and _is_as_recorded(root, row):
                    made += _log(client, root, kind, row)
    return made


def _results(row: FinishedRow) -> dict[str, str]:
    """The small results of a row: path -> MD5."""
    return {path: md5 for path, md5 in row.outs.items() if path.startswith("reports/")}


def _is_as_recorded(root: Path, row: FinishedRow) -> bool:
    return all(dvc_md5(root / path) == md5 for path, md5 in _results(row).items())


def _log(client: MlflowClient, root: Path, kind: str, row: FinishedRow) -> list[SyncedRun]:
    """Log a row; the run, or nothing when a colleague has logged the same row meanwhile."""
    name = f"{kind}@{row.ablation}"
    (experiment,) = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    tags = {
        **tell_origin(root),
        f"spikeprint.{kind}": row.ablation,
        **{f"dvc.dep.{path}": md5 for path, md5 in row.deps.items()},
        **{f"dvc.out.{path}": md5 for path, md5 in row.outs.items()},
    }
    params = [
        Param(key, json.dumps(v) if isinstance(v, list | dict) else str(v)) for key, v in flatten(row.params).items()
    ]
    run = open_run(client, experiment.experiment_id, row.key, name, clone_id(root))
    run_id, now = run.info.run_id, run.info.start_time
    client.log_batch(run_id, _metrics(root, row, now), params)
    listed = [RunTag(*tag) for tag in tags.items()]
    for start in range(0, len(listed), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, tags=listed[start : start + MAX_PARAMS_TAGS_PER_BATCH])
    for path in _results(row):
        client.log_artifact(run_id, str(root / path), Path(path).parent.relative_to("reports").as_posix())
    return [SyncedRun(name, run_id, "")] if close_run(client, run_id, row.key) else []


def _metrics(root: Path, row: FinishedRow, now: int) -> list[Metric]:
    """Numbers of the metrics files, under the file's name where there are several, and the curves of tables."""
    files = [path for path in _results(row) if path.endswith(".json")]
    metrics: list[Metric] = []
    for path in files:
        content = read_json(root / path)
        leaves = flatten({Path(path).stem: content} if len(files) > 1 else content).items()
        numbers = [(re.sub(r"[^\w.-]", "_", key), value) for key, value in leaves if isinstance(value, (int, float))]
        metrics += [Metric(key, float(value), now, 0) for key, value in numbers]
    for path in _results(row):
        if path.endswith(".csv"):
            metrics += _curves(pd.read_csv(root / path), now)
    return metrics


def _curves(table: pd.DataFrame, now: int) -> list[Metric]:
    """Curves of a table with a counting column: one per column of numbers, or per name where text columns name them."""
    step = next((name for name in STEPS if name in table), None)
    if step is None:
        return []
    text = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    prefix = table[text].astype(str).agg("/".join, axis=1) + "/" if text else pd.Series("", index=table.index)
    points = [
        (f"curve/{start}{name}", value, count)
        for name in table.columns.drop([step, *text])
        for start, value, count in zip(prefix, table[name], table[step], strict=True)
        if pd.notna(value)
    ]
    return [Metric(re.sub(r"[^\w./-]", "_", key), float(value), now, int(count)) for key, value, count in points]

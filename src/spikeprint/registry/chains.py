"""MLflow runs of everything but ablations, from ``dvc.lock``. Enters: a project. Leaves: a run per finished row.

As for ablations, DVC keeps the record and MLflow shows it: a run can be rebuilt at any time. These have no parent.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from ..core.files import read_json
from .lock import Entry, finished_row
from .runs import Point, Record, SyncedRun, list_numbers, list_results, log_row, needs_run

CHAINS: dict[str, tuple[str, ...]] = {
    "hybrid": ("hybrid", "score_hybrid"),
    "localize": ("localize",),
    "contrast": ("contrast",),
    "decode": ("decode",),
}
"""Kind -> the stages that make up one of its rows, in order."""

STEPS = ("step", "epoch")
"""Columns that count along a curve."""


def log_chains(client: MlflowClient, root: Path, stages: Mapping[str, Entry], experiment_id: str) -> list[SyncedRun]:
    """Log every finished row of ``CHAINS`` that the store does not hold yet, each as a run named ``kind@row``.

    Rows whose small results are not those in ``dvc.lock`` are skipped with a warning. Called by ``tracking.sync``.

    Returns
    -------
    The new runs, in the order of ``CHAINS``
    """
    made: list[SyncedRun] = []
    for kind, chain in CHAINS.items():
        for name in [stage.partition("@")[2] for stage in stages if stage.startswith(f"{chain[0]}@")]:
            row = finished_row(stages, name, chain)
            if row and needs_run(client, root, row):
                files, tags = list_results(row), {f"spikeprint.{kind}": name}
                record = Record(f"{kind}@{name}", row.params, tags, _points(root, files), files)
                if run_id := log_row(client, root, experiment_id, row, record):
                    made.append(SyncedRun(record.name, run_id, ""))
    return made


def _points(root: Path, results: Iterable[str]) -> list[Point]:
    """Numbers of the metrics files, under the file's name where there are several, and the curves of tables."""
    files = [path for path in results if path.endswith(".json")]
    points: list[Point] = []
    for path in files:
        content = read_json(root / path)
        points += list_numbers({Path(path).stem: content} if len(files) > 1 else content)
    for path in results:
        if path.endswith(".csv"):
            points += _curves(pd.read_csv(root / path))
    return points


def _curves(table: pd.DataFrame) -> list[Point]:
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
    return [(re.sub(r"[^\w./-]", "_", key), float(value), int(count)) for key, value, count in points]

"""Stage ``evaluate@ablation``: embeddings -> scores per dataset and head, confusion, map, predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import find_root, read_arrays, write_csv, write_json
from ..core.runtime import LOGGER, timed
from ..core.types import UNLABELLED
from ..evaluate.heads import fit_head
from ..evaluate.metrics import map_2d
from ..evaluate.readout import read_out
from ..evaluate.scoring import FoldPredictions, predict_folds
from ..evaluate.splits import shuffle_labels
from . import run_stage


def main(argv: list[str]) -> None:
    """Score the ablation named by the only argument."""
    (name,) = argv
    root = find_root()
    params = Params.load(root / "params.yaml")
    embeddings = read_arrays(root / "data" / "embeddings" / name / "embeddings.safetensors")
    text = {"dataset": str, "unit_id": str, "cell_type": str}
    units = pd.read_csv(root / "data" / "embeddings" / name / "units.csv", dtype=text, keep_default_na=False)
    with timed(f"evaluate@{name}"):
        metrics, predictions = score(embeddings, units, params)
        layout = map_2d(embeddings["final"], params.seed)
    plots = root / "reports" / "plots"
    scored = predictions[predictions["model"] == "out_of_fold"]
    confusion = scored[["dataset", "cell_type", "predicted"]].rename(columns={"cell_type": "actual"})
    where = units[["dataset", "unit_id", "cell_type"]].assign(x=layout[:, 0].round(4), y=layout[:, 1].round(4))
    write_csv(plots / "predictions" / f"{name}.csv", predictions.drop(columns="fold"))
    write_csv(plots / "confusion" / f"{name}.csv", confusion)
    write_csv(plots / "map" / f"{name}.csv", where)
    write_json(root / "reports" / "metrics" / f"{name}.json", {"ablation": name, "n_units": len(units), **metrics})
    _log(metrics, params.evaluate.head, Path("reports") / "metrics" / f"{name}.json")


def score(
    embeddings: dict[str, np.ndarray], units: pd.DataFrame, params: Params
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the metrics of every scored dataset and one prediction per unit.

    A unit with a label is predicted by the network and head that never met it; the others by the final network and
    a head on all labelled units of its dataset, or of all datasets where its own has none.
    """
    labels, folds = units["cell_type"].to_numpy(str), units["fold"].to_numpy()
    datasets = units["dataset"].to_numpy(str)
    control = dict(enumerate(shuffle_labels(labels, datasets, folds, params.seed)))
    truth = dict.fromkeys(control, labels)
    table = units.assign(predicted="", confidence=np.nan, model="")
    scores: dict[str, Any] = {}
    for name in dict.fromkeys(datasets):
        rows = np.flatnonzero(datasets == name)
        _predict_unscored(table, embeddings["final"], rows, params)
        if (folds[rows] < 0).all():
            continue
        names, counts = np.unique(labels[rows][folds[rows] >= 0], return_counts=True)
        entry: dict[str, Any] = {"n_units": int(counts.sum()), "classes": dict(zip(names, counts, strict=True))}
        for head in params.evaluate.heads:
            found = _predict(head, "fold", embeddings, truth, folds, rows, params.seed)
            entry[head] = found.scores()
            if head == params.evaluate.head:
                _fill(table, rows[found.rows], found.predicted, found.confidence, "out_of_fold")
        if params.evaluate.control_folds:
            entry["control"] = _predict(
                params.evaluate.head, "control", embeddings, control, folds, rows, params.seed
            ).scores()
        scores[name] = entry
    return {"datasets": scores, "overall": _overall(scores)}, table


def _predict(
    head: str, kind: str, embeddings: dict, truth: dict, folds: np.ndarray, rows: np.ndarray, seed: int
) -> FoldPredictions:
    by_fold = {fold: embeddings[f"{kind}_{fold}"][rows] for fold in truth if f"{kind}_{fold}" in embeddings}
    return predict_folds(head, by_fold, {fold: truth[fold][rows] for fold in by_fold}, folds[rows], seed)


def _predict_unscored(table: pd.DataFrame, embedding: np.ndarray, rows: np.ndarray, params: Params) -> None:
    """Predict the units of a dataset that no fold tests, with a head on labelled units."""
    labels = table["cell_type"].to_numpy(str)
    todo = rows[table["fold"].to_numpy()[rows] < 0]
    own = [rows, np.arange(len(table))]
    for known in own:
        names, counts = np.unique(labels[known][labels[known] != UNLABELLED], return_counts=True)
        names = names[counts >= 2]
        if len(names) >= 2 and len(todo):
            train = known[np.isin(labels[known], names)]
            head = params.evaluate.head
            arrays = fit_head(head, embedding[train], np.searchsorted(names, labels[train]), params.seed)
            probabilities = read_out(head, arrays, embedding[todo])
            _fill(table, todo, names[probabilities.argmax(axis=1)], probabilities.max(axis=1), "final")
            return


def _fill(table: pd.DataFrame, rows: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, model: str) -> None:
    table.loc[rows, ["predicted", "model"]] = np.column_stack([predicted, np.full(len(rows), model)])
    table.loc[rows, "confidence"] = confidence.round(6)


def _overall(scores: dict[str, Any]) -> dict[str, Any]:
    """Mean over datasets of each head's mean over folds."""
    heads = {head for entry in scores.values() for head in entry if head not in ("n_units", "classes")}
    return {
        head: {
            metric: float(np.mean([entry[head][metric]["mean"] for entry in scores.values()]))
            for metric in ("balanced_accuracy", "macro_f1")
        }
        for head in sorted(heads)
    }


def _log(metrics: dict[str, Any], head: str, path: Path) -> None:
    for dataset, entry in metrics["datasets"].items():
        found = entry[head]["balanced_accuracy"]
        LOGGER.info("  %s: balanced accuracy %.3f ± %.3f (%s)", dataset, found["mean"], found["sd"], head)
    LOGGER.info("wrote %s", path)


if __name__ == "__main__":
    run_stage(main)

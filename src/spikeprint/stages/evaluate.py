"""Stage ``evaluate@ablation``: embeddings -> scores per dataset and head, confusion, map, predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import find_root, read_arrays, write_csv, write_json
from ..core.runtime import LOGGER, timed
from ..core.types import UNLABELLED
from ..evaluate.metrics import map_2d
from ..evaluate.scoring import FoldPredictions, predict_folds
from ..evaluate.splits import shuffle_labels
from . import run_stage


def main(argv: list[str]) -> None:
    """Score the ablation named by the only argument."""
    (name,) = argv
    root = find_root()
    params = Params.load(root / "params.yaml")
    embeddings = read_arrays(root / "data" / "embeddings" / name / "embeddings.safetensors")
    text = dict.fromkeys(["dataset", "unit_id", "cell_type", "predicted"], str)
    path = root / "data" / "embeddings" / name / "units.csv"
    units = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"confidence": [""]})
    with timed(f"evaluate@{name}"):
        metrics, predictions = score(embeddings, units, params)
        layout = map_2d(embeddings["final"], params.seed)
    plots = root / "reports" / "plots"
    scored = predictions[predictions["model"] == "out_of_fold"]
    confusion = scored[["dataset", "cell_type", "predicted"]].rename(columns={"cell_type": "actual"})
    where = units[["dataset", "unit_id", "cell_type"]].assign(x=layout[:, 0].round(4), y=layout[:, 1].round(4))
    write_csv(plots / "predictions" / f"{name}.csv", predictions)
    write_csv(plots / "confusion" / f"{name}.csv", confusion)
    write_csv(plots / "map" / f"{name}.csv", where)
    write_json(root / "reports" / "metrics" / f"{name}.json", {"ablation": name, "n_units": len(units), **metrics})
    _log(metrics, params.evaluate.head, Path("reports") / "metrics" / f"{name}.json")


def score(
    embeddings: dict[str, np.ndarray], units: pd.DataFrame, params: Params
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the metrics of every scored dataset and one prediction per unit.

    A scored unit is predicted by the network and head that never met it (``model`` = out_of_fold), the others by the
    final model, as ``spikeprint classify`` does: ``final``, or ``in_sample`` where the unit's label was learnt from.
    Units without data have no prediction.
    """
    labels, folds = units["cell_type"].to_numpy(str), units["fold"].to_numpy()
    datasets = units["dataset"].to_numpy(str)
    control = dict(enumerate(shuffle_labels(labels, datasets, folds, params.seed)))
    truth = dict.fromkeys(control, labels)
    known = np.where(labels == UNLABELLED, "final", "in_sample")
    table = units.assign(model=np.where(units["predicted"] == "", "", known))
    scores: dict[str, Any] = {}
    for name in dict.fromkeys(datasets[folds >= 0]):
        rows = np.flatnonzero(datasets == name)
        names, counts = np.unique(labels[rows][folds[rows] >= 0], return_counts=True)
        entry: dict[str, Any] = {"n_units": int(counts.sum()), "classes": dict(zip(names, counts, strict=True))}
        for head in params.evaluate.heads:
            found = _predict(head, "fold", embeddings, truth, units.iloc[rows], params.seed)
            entry[head] = found.scores()
            if head == params.evaluate.head:
                tested = rows[found.rows]
                table.loc[tested, "predicted"] = found.predicted
                table.loc[tested, "confidence"] = found.confidence.round(6)
                table.loc[tested, "model"] = "out_of_fold"
        if params.evaluate.control_folds:
            head = params.evaluate.head
            entry["control"] = _predict(head, "control", embeddings, control, units.iloc[rows], params.seed).scores()
        scores[name] = entry
    return {"datasets": scores, "overall": _overall(scores)}, table.drop(columns=["fold", "teaches"])


def _predict(head: str, kind: str, embeddings: dict, truth: dict, units: pd.DataFrame, seed: int) -> FoldPredictions:
    """Predict one dataset; ``units`` are its rows of the table, indexed by their place among all units."""
    rows = units.index.to_numpy()
    by_fold = {fold: embeddings[f"{kind}_{fold}"][rows] for fold in truth if f"{kind}_{fold}" in embeddings}
    labels = {fold: truth[fold][rows] for fold in by_fold}
    return predict_folds(head, by_fold, labels, units["fold"].to_numpy(), units["teaches"].to_numpy(), seed)


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

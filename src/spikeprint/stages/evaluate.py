"""Stage ``evaluate@ablation``: embeddings -> scores per dataset and head, confusion, map, predictions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import find_root, read_arrays, read_json, write_csv, write_json
from ..core.runtime import LOGGER, timed
from ..core.types import UNLABELLED
from ..evaluate.clusters import find_clusters, score_clusters
from ..evaluate.metrics import map_2d
from ..evaluate.scoring import Answer, fit_each_fold, predict_folds, take_trained
from ..evaluate.splits import shuffle_labels
from . import run_stage


def main(argv: list[str]) -> None:
    """Score the ablation named by the only argument."""
    (name,) = argv
    root = find_root()
    params = Params.load(root / "params.yaml")
    folder, head = root / "data" / "embeddings" / name, params.ablation(name).head
    text = dict.fromkeys(["dataset", "unit_id", "cell_type", "predicted"], str)
    units = pd.read_csv(folder / "units.csv", dtype=text, keep_default_na=False, na_values={"confidence": [""]})
    said = Said(read_arrays(folder / "embeddings.safetensors"), read_json(folder / "classes.json"))
    with timed(f"evaluate@{name}"):
        metrics, predictions = score(said, units, params, head)
        layout = map_2d(said.arrays["final"], params.seed)
    plots = root / "reports" / "plots"
    scored = predictions[predictions["model"] == "out_of_fold"]
    confusion = scored[["dataset", "cell_type", "predicted"]].rename(columns={"cell_type": "actual"})
    where = units[["dataset", "unit_id", "cell_type"]].assign(x=layout[:, 0].round(4), y=layout[:, 1].round(4))
    write_csv(plots / "predictions" / f"{name}.csv", predictions)
    write_csv(plots / "confusion" / f"{name}.csv", confusion)
    write_csv(plots / "map" / f"{name}.csv", where)
    metrics = {"ablation": name, "head": head, "n_units": len(units), **metrics}
    write_json(root / "reports" / "metrics" / f"{name}.json", metrics)
    _log(metrics, head, Path("reports") / "metrics" / f"{name}.json")


@dataclass(frozen=True)
class Said:
    """What the networks say of all units: the arrays of stage ``embed`` and the classes of its probabilities."""

    arrays: dict[str, np.ndarray]
    classes: list[str]

    def of(self, network: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``probabilities``, ``sets`` and ``novelty`` of some units; empty without a trained read-out."""
        whats = ("probabilities", "sets", "novelty")
        return {w: self.arrays[f"{network}.{w}"][rows] for w in whats if f"{network}.{w}" in self.arrays}

    def answer(self, head: str, kind: str, folds: Iterable[int], rows: np.ndarray, seed: int) -> Answer:
        """Return what ``predict_folds`` asks, about the units ``rows`` of one dataset."""
        if head == "network":
            return take_trained({k: self.of(f"{kind}_{k}", rows)["probabilities"] for k in folds}, self.classes)
        return fit_each_fold(head, {k: self.arrays[f"{kind}_{k}"][rows] for k in folds}, seed)


def score(said: Said, units: pd.DataFrame, params: Params, own: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the metrics of every scored dataset and one prediction per unit.

    A scored unit is predicted by the network and head that never met it (``model`` = out_of_fold), the others by the
    final model, as ``spikeprint classify`` does: ``final``, or ``in_sample`` where the unit's label was learnt from.
    Units without data have no prediction. ``fold`` stays in the table: two models are compared on identical folds only.
    """
    labels, folds = units["cell_type"].to_numpy(str), units["fold"].to_numpy()
    datasets = units["dataset"].to_numpy(str)
    control = dict(enumerate(shuffle_labels(labels, datasets, folds, params.seed)))
    control = {fold: truth for fold, truth in control.items() if f"control_{fold}" in said.arrays}
    known = np.where(labels == UNLABELLED, "final", "in_sample")
    table = units.assign(model=np.where(units["predicted"] == "", "", known))
    scores: dict[str, Any] = {}
    for name in dict.fromkeys(datasets[folds >= 0]):
        rows = np.flatnonzero(datasets == name)
        names, counts = np.unique(labels[rows][folds[rows] >= 0], return_counts=True)
        entry: dict[str, Any] = {"n_units": int(counts.sum()), "classes": dict(zip(names, counts, strict=True))}
        split = units["fold"].to_numpy()[rows], units["teaches"].to_numpy()[rows]
        truth = {int(fold): labels[rows] for fold in range(params.evaluate.n_folds)}
        for head in dict.fromkeys([own, *params.evaluate.heads]):
            found = predict_folds(said.answer(head, "fold", truth, rows, params.seed), truth, *split)
            entry[head] = found.scores()
            if head == own:
                tested = rows[found.rows]
                table.loc[tested, "predicted"] = found.predicted
                table.loc[tested, "confidence"] = found.confidence.round(6)
                table.loc[tested, "model"] = "out_of_fold"
        if control:
            shuffled = {fold: words[rows] for fold, words in control.items()}
            asked = said.answer(own, "control", shuffled, rows, params.seed)
            entry["control"] = predict_folds(asked, shuffled, *split).scores()
        clusters = {"clusters": score_fold_clusters(said.arrays, rows, labels[rows], split[0])}
        scores[name] = entry | _assurance(said, rows, labels[rows], split[0]) | clusters
    table = table.assign(**_assured_columns(said, folds))
    return {"datasets": scores, "overall": _overall(scores)}, table.drop(columns="teaches")


def _assurance(said: Said, rows: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """How often the prediction set of a test unit holds its class, its size, and how many are called novel."""
    parts = []
    for fold in range(int(folds.max()) + 1):
        found = said.of(f"fold_{fold}", rows[folds == fold])
        if not found:
            return {}
        own = np.searchsorted(said.classes, labels[folds == fold])
        holds = found["sets"][np.arange(len(own)), own]
        parts.append(np.stack([holds, found["sets"].sum(axis=1), found["novelty"] > 1], axis=1).astype(np.float64))
    means = np.concatenate(parts).mean(axis=0)
    return {"sets": dict(zip(("coverage", "size", "called_novel"), means.tolist(), strict=True))}


def score_fold_clusters(
    arrays: Mapping[str, np.ndarray], rows: np.ndarray, labels: np.ndarray, folds: np.ndarray
) -> dict[str, float]:
    """Cluster a dataset in the embedding of each fold's network; compare with the labels that network never met.

    Returns
    -------
    Means over folds of ``evaluate.clusters.score_clusters``
    """
    found = []
    for fold in range(int(folds.max()) + 1):
        clusters, test = find_clusters(arrays[f"fold_{fold}"][rows]), folds == fold
        found.append({**score_clusters(clusters[test], labels[test]), **_whole(clusters)})
    return {key: float(np.mean([scores[key] for scores in found])) for key in found[0]}


def _whole(clusters: np.ndarray) -> dict[str, float]:
    """Counts of all units, not only of those that are compared."""
    return score_clusters(clusters, np.full(len(clusters), UNLABELLED))


def _assured_columns(said: Said, folds: np.ndarray) -> dict[str, Any]:
    """Columns ``prediction_set`` and ``novelty``: by the network that never met a scored unit, else the final one."""
    if not said.of("final", np.arange(0)):
        return {}
    sets, novelty = np.zeros((len(folds), len(said.classes)), dtype=bool), np.full(len(folds), np.nan)
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        found = said.of("final" if fold < 0 else f"fold_{fold}", rows)
        sets[rows], novelty[rows] = found["sets"] > 0, found["novelty"]
    words = ["|".join(np.array(said.classes)[row]) for row in sets]
    return {"prediction_set": words, "novelty": novelty.round(4)}


def _overall(scores: dict[str, Any]) -> dict[str, Any]:
    """Mean over datasets of each head's mean over folds."""
    heads = {
        head for entry in scores.values() for head in entry if head not in ("n_units", "classes", "sets", "clusters")
    }
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

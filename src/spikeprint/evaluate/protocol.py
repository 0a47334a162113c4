"""The published benchmark protocol. Enters: labels, and what methods answered. Leaves: who teaches and is tested, rows.

Classes of fewer than ten units are dropped, the rest is split by a shuffled stratified splitter in file order. A method
is asked about units whose labels it never gets; the truth meets its answers only here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import NotEnoughSpikes
from ..core.types import UNLABELLED
from .calibration import squared_distance
from .scoring import FoldPredictions
from .splits import make_folds

MIN_UNITS_PER_CLASS = 10
"""Units of rarer classes are not scored."""


@dataclass(frozen=True)
class Study:
    """Who teaches and who is asked, in each fold, among n units.

    Attributes
    ----------
    name : dataset, or ``source -> target``
    teaches : fold -> (n,) bool, units whose label may be learnt from
    asked : fold -> (n,) bool, units to predict; never among those that teach
    counts : (n,) bool, units whose prediction is scored when they are asked about
    """

    name: str
    teaches: dict[int, np.ndarray]
    asked: dict[int, np.ndarray]
    counts: np.ndarray


@dataclass(frozen=True)
class Answer:
    """What one method said in one fold.

    Attributes
    ----------
    classes : (n_classes,) str, those it has learnt
    probabilities : (n_asked, n_classes) float64
    seconds : wall time of fitting and predicting
    sets : (n_asked, n_classes) bool, classes that it cannot rule out; None where it does not say
    novelty : (n_asked,) float64, how unlike all known types; None likewise
    """

    classes: np.ndarray
    probabilities: np.ndarray
    seconds: float
    sets: np.ndarray | None = None
    novelty: np.ndarray | None = None


def plan_folds(name: str, labels: np.ndarray, has_data: np.ndarray, n_folds: int, seed: int) -> Study:
    """Cross-validate within one dataset.

    Parameters
    ----------
    labels : (n,) str, cleaned; ``""`` where unknown
    has_data : (n,) bool; units without any measurement are asked about, as published, but teach nothing
    n_folds, seed : 5 and 42 in the published tables

    Raises
    ------
    NotEnoughSpikes
        Fewer than two classes are large enough.
    """
    folds = make_folds(labels, n_folds, seed, MIN_UNITS_PER_CLASS)
    if (folds < 0).all():
        raise NotEnoughSpikes(
            f"{name}: {_count(labels)}; two cell types of at least {max(MIN_UNITS_PER_CLASS, n_folds)} units are needed"
        )
    numbers = range(n_folds)
    teaches = {k: _teachers(name, labels, (folds >= 0) & (folds != k) & has_data) for k in numbers}
    return Study(name, teaches, {k: folds == k for k in numbers}, folds >= 0)


def plan_transfer(name: str, labels: np.ndarray, has_data: np.ndarray, is_target: np.ndarray) -> Study:
    """Learn from one dataset, predict another; only units of classes that both have are scored.

    Parameters
    ----------
    labels, has_data : (n,) of both datasets, as in ``plan_folds``
    is_target : (n,) bool, units of the dataset to predict

    Raises
    ------
    NotEnoughSpikes
        Fewer than two classes are large enough in both.
    """
    source, target = (_large_classes(labels[rows]) for rows in (~is_target, is_target))
    shared = sorted(source & target)
    if len(shared) < 2:
        raise NotEnoughSpikes(
            f"{name}: cell types of at least {MIN_UNITS_PER_CLASS} units in both: {', '.join(shared) or 'none'}; two "
            f"are needed (source: {_count(labels[~is_target])}; target: {_count(labels[is_target])})"
        )
    teaches = _teachers(name, labels, ~is_target & has_data & np.isin(labels, sorted(source)))
    return Study(name, {0: teaches}, {0: is_target}, is_target & np.isin(labels, shared))


def collect(study: Study, labels: np.ndarray, answers: Mapping[int, Answer]) -> FoldPredictions:
    """Set the answers of one method, fold -> ``Answer``, against the truth (n,) str."""
    parts = []
    for fold, answer in answers.items():
        asked = np.flatnonzero(study.asked[fold])
        scored = study.counts[asked]
        rows, probabilities = asked[scored], answer.probabilities[scored]
        best = probabilities.argmax(axis=1)
        confidence = probabilities[np.arange(len(rows)), best]
        distance = squared_distance(probabilities, labels[rows][:, None] == answer.classes)
        parts.append((rows, np.full(len(rows), fold), labels[rows], answer.classes[best], confidence, distance))
    return FoldPredictions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def make_row(
    study: Study, labels: np.ndarray, method: str, answers: Mapping[int, Answer], transductive: bool
) -> dict[str, Any]:
    """One row of the table: scores of a method, and on what they were measured.

    Parameters
    ----------
    labels : (n,) str, the truth
    answers : fold -> what the method said
    transductive : whether it met the features of the units it was asked about before it answered
    """
    found = collect(study, labels, answers)
    names, counts = np.unique(found.actual, return_counts=True)
    return {
        "dataset": study.name,
        "method": method,
        "n_units": len(found.rows),
        "classes": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        **found.scores(),
        **_describe_sets(study, labels, answers),
        "seconds": round(sum(answer.seconds for answer in answers.values()), 2),
        "transductive": transductive,
    }


def _describe_sets(study: Study, labels: np.ndarray, answers: Mapping[int, Answer]) -> dict[str, float]:
    """How often the set of a scored unit holds its class, and how many classes it holds; nothing without sets."""
    holds, sizes = [], []
    for fold, answer in answers.items():
        if answer.sets is None:
            return {}
        scored = study.counts[study.asked[fold]]
        own = labels[study.asked[fold]][scored][:, None] == answer.classes
        holds.append((answer.sets[scored] & own).any(axis=1))
        sizes.append(answer.sets[scored].sum(axis=1))
    return {"coverage": float(np.concatenate(holds).mean()), "set_size": float(np.concatenate(sizes).mean())}


def _large_classes(labels: np.ndarray) -> set[str]:
    names, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    return {str(name) for name in names[counts >= MIN_UNITS_PER_CLASS]}


def _teachers(name: str, labels: np.ndarray, teaches: np.ndarray) -> np.ndarray:
    """Without classes of a single teaching unit: nothing can be fitted to one and checked on it too."""
    names, counts = np.unique(labels[teaches], return_counts=True)
    if (counts >= 2).sum() < 2:
        raise NotEnoughSpikes(
            f"{name}: units with any measurement to learn from: {_count(labels[teaches])}; two cell types are needed"
        )
    return teaches & np.isin(labels, names[counts >= 2])


def _count(labels: np.ndarray) -> str:
    names, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    if not len(names):
        return f"none of {len(labels)} units has a label"
    return "units per cell type: " + ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))

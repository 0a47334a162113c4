"""Score embeddings by cross-validated heads. Enters: embeddings, labels, folds. Leaves: predictions and scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .calibration import calibration_gap, squared_distance
from .heads import fit_head
from .metrics import METRICS, summarise_folds
from .readout import read_out

Answer = Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Function of (fold, training rows, their labels, test rows) giving probabilities (n_test, number of those labels)."""


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions of the units of one dataset that are tested in some fold.

    Attributes
    ----------
    rows : (m,) int64, positions in the dataset's units; fold : (m,) int64
    actual, predicted : (m,) str; confidence : (m,) float64
    distance : (m,) float64, of all probabilities from the truth, see ``calibration.squared_distance``
    """

    rows: np.ndarray
    fold: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    distance: np.ndarray

    def scores(self) -> dict[str, Any]:
        """Return each metric's mean, standard deviation and folds; calibration error and Brier score of all folds.

        The last two take all folds together, and every class weighs the same.
        """
        by_fold = {
            name: summarise_folds(
                [metric(self.actual[self.fold == k], self.predicted[self.fold == k]) for k in np.unique(self.fold)]
            )
            for name, metric in METRICS.items()
        }
        weights = 1 / np.unique(self.actual, return_counts=True)[1][np.unique(self.actual, return_inverse=True)[1]]
        return by_fold | {
            "calibration_error": calibration_gap(self.confidence, self.actual == self.predicted, weights),
            "brier_score": float(np.average(self.distance, weights=weights)),
        }


def fit_each_fold(head: str, embeddings: Mapping[int, np.ndarray], seed: int) -> Answer:
    """Answer by a head fitted on the training rows of each fold.

    Parameters
    ----------
    head : a key of ``heads.HEADS``
    embeddings : fold -> (n, d) latent means under the network that never met that fold's test units
    """

    def answer(fold: int, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
        codes = np.unique(labels, return_inverse=True)[1]
        return read_out(head, fit_head(head, embeddings[fold][train], codes, seed), embeddings[fold][test])

    return answer


def take_trained(probabilities: Mapping[int, np.ndarray], names: Sequence[str]) -> Answer:
    """Answer by the read-out that each fold's network was trained with, among the labels of the training rows.

    Parameters
    ----------
    probabilities : fold -> (n, C) of the network that never met that fold's test units; names : its C classes
    """

    def answer(fold: int, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
        asked = np.searchsorted(names, np.unique(labels))
        found = probabilities[fold][np.ix_(test, asked)].astype(np.float64)
        return found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12)

    return answer


def predict_folds(
    answer: Answer, labels: Mapping[int, np.ndarray], folds: np.ndarray, teaches: np.ndarray
) -> FoldPredictions:
    """Predict the test units of each fold of one dataset from its training units.

    A class with fewer than two teaching units in the training folds, as a shuffle can leave it, is not learnt; its test
    units count as missed.

    Parameters
    ----------
    answer : ``fit_each_fold`` or ``take_trained``
    labels : fold -> (n,) str, the truth in that fold (the same everywhere, or a shuffle for each control fold)
    folds : (n,) int64, -1 = not scored
    teaches : (n,) bool, whether a unit may be learnt from
    """
    parts = []
    for fold, truth in labels.items():
        test = np.flatnonzero(folds == fold)
        train = teaches & (folds >= 0) & (folds != fold)
        names, counts = np.unique(truth[train], return_counts=True)
        train &= np.isin(truth, names[counts >= 2])
        rows = np.flatnonzero(train)
        probabilities = answer(fold, rows, truth[rows], test)
        known = np.unique(truth[rows])
        best, distance = (
            known[probabilities.argmax(axis=1)],
            squared_distance(probabilities, truth[test][:, None] == known),
        )
        parts.append((test, np.full(len(test), fold), truth[test], best, probabilities.max(axis=1), distance))
    return FoldPredictions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

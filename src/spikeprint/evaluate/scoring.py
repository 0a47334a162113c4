"""Score embeddings by cross-validated heads. Enters: embeddings, labels, folds. Leaves: predictions and scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .heads import fit_head
from .metrics import METRICS, summarise_folds
from .readout import read_out


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions of the units of one dataset that are tested in some fold.

    Attributes
    ----------
    rows : (m,) int64, positions in the dataset's units; fold : (m,) int64
    actual, predicted : (m,) str; confidence : (m,) float64
    """

    rows: np.ndarray
    fold: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def scores(self) -> dict[str, Any]:
        """Return each metric's mean, standard deviation and folds."""
        return {
            name: summarise_folds(
                [metric(self.actual[self.fold == k], self.predicted[self.fold == k]) for k in np.unique(self.fold)]
            )
            for name, metric in METRICS.items()
        }


def predict_folds(
    head: str,
    embeddings: Mapping[int, np.ndarray],
    labels: Mapping[int, np.ndarray],
    folds: np.ndarray,
    teaches: np.ndarray,
    seed: int,
) -> FoldPredictions:
    """Fit a head on the training folds of one dataset and predict the test fold, for each fold in ``embeddings``.

    A class with fewer than two teaching units in the training folds, as a shuffle can leave it, is not learnt; its test
    units count as missed.

    Parameters
    ----------
    head : a key of ``heads.HEADS``
    embeddings : fold -> (n, d) latent means under the network that never met that fold's test units
    labels : fold -> (n,) str, the truth in that fold (the same everywhere, or a shuffle for each control fold)
    folds : (n,) int64, -1 = not scored
    teaches : (n,) bool, whether a unit may be learnt from
    """
    parts = []
    for fold, embedding in embeddings.items():
        truth, test = labels[fold], np.flatnonzero(folds == fold)
        train = teaches & (folds >= 0) & (folds != fold)
        names, counts = np.unique(truth[train], return_counts=True)
        train &= np.isin(truth, names[counts >= 2])
        classes, codes = np.unique(truth[train], return_inverse=True)
        probabilities = read_out(head, fit_head(head, embedding[train], codes, seed), embedding[test])
        best = classes[probabilities.argmax(axis=1)]
        parts.append((test, np.full(len(test), fold), truth[test], best, probabilities.max(axis=1)))
    return FoldPredictions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

"""Decoders of embeddings. Enters: an embedding and a target. Leaves: predictions and a score of the right kind.

The decoders are cebra's; classes are scored by accuracy, and ``CVDecoder`` chooses its parameters on blocks of rows.
"""

from typing import Any

import cebra
import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.metrics import accuracy_score

from ..core.errors import PopulationError, SettingError

SEEN_LIMIT = 0.2
"""A larger share of rows that the embedding was fitted on is double dipping; silent rows look alike, so not 0."""


class KNNDecoder(cebra.KNNDecoder):
    """cebra's nearest neighbours: regression for float targets, classes for all others, text and bool too."""

    def fit(self, X: Any, y: Any) -> "KNNDecoder":
        """Fit rows of an embedding (n, d) and their targets (n,) or (n, k)."""
        y = np.asarray(y)
        if y.dtype.kind in "fiu":
            super().fit(X, y)
            return self
        codes = np.unique(y, return_inverse=True)[1]
        super().fit(X, codes)  # checks the lengths
        self.knn.fit(X, y)
        return self

    def score(self, X: Any, y: Any) -> float:
        """Return R2 of float targets, accuracy of classes."""
        if is_classifier(self.knn):
            return float(accuracy_score(np.asarray(y), self.predict(X)))
        return float(super().score(X, y))


class L1LinearRegressor(cebra.L1LinearRegressor):
    """cebra's Lasso; for classes a logistic regression with the same penalty."""

    def fit(self, X: Any, y: Any) -> "L1LinearRegressor":
        """Fit float targets by Lasso, classes by logistic regression."""
        y = np.asarray(y)
        if y.dtype.kind == "f":
            super().fit(X, y)
            return self
        from sklearn.linear_model import LogisticRegression

        self.model = LogisticRegression(C=1 / self.alpha, l1_ratio=1.0, solver="saga", max_iter=500).fit(X, y)
        return self

    def score(self, X: Any, y: Any) -> float:
        """Return R2 of float targets, accuracy of classes."""
        if is_classifier(self.model):
            return float(accuracy_score(np.asarray(y), self.predict(X)))
        return float(super().score(X, y))


KINDS: dict[str, Any] = {"knn": KNNDecoder, "l1": L1LinearRegressor}


class CVDecoder(BaseEstimator):
    """A decoder whose parameters are chosen by cross-validation on contiguous blocks.

    Parameters
    ----------
    kind : ``knn`` or ``l1``
    n_splits : blocks
    period : of a circular target; it is decoded as cosine and sine
    embedder : the fitted model behind the embedding; rows whose labels it has seen are not scored
    """

    def __init__(self, kind: str = "knn", n_splits: int = 5, period: float | None = None, embedder: Any = None) -> None:
        self.kind, self.n_splits, self.period, self.embedder = kind, n_splits, period, embedder

    def fit(self, X: Any, y: Any) -> "CVDecoder":
        """Choose the parameters, then fit all rows; those of X that are not finite are left out.

        Raises
        ------
        ValueError
            An unknown kind, or lengths that differ.
        """
        if self.kind not in KINDS:
            raise SettingError(f"kind = '{self.kind}': unknown; known: {', '.join(KINDS)}")
        X, y = np.asarray(X), self._encode(y)
        if len(X) != len(y):
            raise PopulationError(f"decoder: {len(X)} rows of embedding, {len(y)} of the target")
        finite = np.isfinite(X).all(axis=1)
        X, y = X[finite], y[finite]
        block = np.arange(len(X)) * self.n_splits // len(X)
        decoder = KINDS[self.kind]

        def held_out(parameters: dict[str, Any]) -> float:
            folds = [block == held for held in range(self.n_splits)]
            return float(np.mean([decoder(**parameters).fit(X[~f], y[~f]).score(X[f], y[f]) for f in folds]))

        choices = list(decoder.iter_hyperparams())
        scores = [held_out(parameters) for parameters in choices]
        self.best_params_, self.cv_score_ = choices[int(np.argmax(scores))], float(max(scores))
        self.decoder_ = decoder(**self.best_params_).fit(X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the target of each row."""
        guess = self.decoder_.predict(np.asarray(X))
        if self.period is None:
            return guess
        return np.mod(np.arctan2(guess[:, 1], guess[:, 0]) * self.period / (2 * np.pi), self.period)

    def score(self, X: Any, y: Any, allow_seen: bool = False) -> float:
        """Return R2, or accuracy of classes, on the finite rows, none of which the embedding may be fitted on.

        Raises
        ------
        PopulationError
            Most rows were in the fit of the embedding, with labels; ``allow_seen`` scores them all the same.
        """
        seen = 0.0 if self.embedder is None else self.embedder.share_seen(np.asarray(X))
        if seen > SEEN_LIMIT and not allow_seen:
            raise PopulationError(
                f"decoder: the embedding was fitted on the labels of {100 * seen:.0f} % of these rows; score others, "
                "or pass allow_seen=True"
            )
        finite = np.isfinite(np.asarray(X)).all(axis=1)
        return self.decoder_.score(np.asarray(X)[finite], self._encode(y)[finite])

    def median_error(self, X: Any, y: Any) -> float:
        """Return the median absolute error, around the circle for a circular target."""
        gap = np.abs(self.predict(X) - np.asarray(y))
        if self.period is not None:
            gap = np.minimum(gap % self.period, self.period - gap % self.period)
        return float(np.median(gap))

    def _encode(self, y: Any) -> np.ndarray:
        y = np.asarray(y)
        if self.period is None:
            return y
        angle = y * (2 * np.pi / self.period)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

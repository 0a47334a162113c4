"""Decoders without gradient descent. Enters: counts in trials and classes. Leaves: class probabilities."""

from typing import Any

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ...core.errors import PopulationError

SHRINK = 2.0
"""Trials that the rate of a unit over all classes counts for, beside those of a class."""
PENALTIES = (0.003, 0.03, 0.3)


class PoissonBayes:
    """Naive Bayes with a Poisson rate for each class, unit and bin, shrunk to the unit's mean rate (Gamma prior)."""

    def fit(self, trials: np.ndarray, codes: np.ndarray, n_classes: int, seed: int, val: Any = None) -> "PoissonBayes":
        """Fit counts (n, bins, units) of classes (n,)."""
        counts = _counts(trials).reshape(len(trials), -1)
        mean = counts.mean(axis=0) + 1e-3
        totals = np.zeros((n_classes, counts.shape[1]))
        np.add.at(totals, codes, counts)
        n = np.bincount(codes, minlength=n_classes)[:, None]
        self.rates = (totals + SHRINK * mean) / (n + SHRINK)
        return self

    def predict_proba(self, trials: np.ndarray) -> np.ndarray:
        """Return (n, n_classes), all classes equally likely before."""
        counts = _counts(trials).reshape(len(trials), -1)
        return _softmax(counts @ np.log(self.rates).T - self.rates.sum(axis=1))


class Flat:
    """A classifier of scikit-learn on the square roots of all bins side by side."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, trials: np.ndarray, codes: np.ndarray, n_classes: int, seed: int, val: Any = None) -> "Flat":
        """Fit trials (n, bins, units) of classes (n,)."""
        self.n_classes = n_classes
        self.classifier.fit(_flatten(trials), codes)
        return self

    def predict_proba(self, trials: np.ndarray) -> np.ndarray:
        """Return (n, n_classes); classes without a training trial have probability 0."""
        found = np.zeros((len(trials), self.n_classes))
        found[:, self.classifier.classes_] = self.classifier.predict_proba(_flatten(trials))
        return found


class Neighbours(Flat):
    """Nearest neighbours of the counts themselves."""

    def __init__(self, n_neighbors: int = 5) -> None:
        self.n_neighbors = n_neighbors

    def fit(self, trials: np.ndarray, codes: np.ndarray, n_classes: int, seed: int, val: Any = None) -> "Neighbours":
        """Fit trials (n, bins, units) of classes (n,)."""
        n = min(self.n_neighbors, len(trials))
        self.classifier = KNeighborsClassifier(n, metric="cosine", weights="distance")
        super().fit(trials, codes, n_classes, seed, val)
        return self


class Logistic(Flat):
    """Multinomial logistic regression; its penalty is chosen on validation trials, or fixed without them."""

    def __init__(self, l1: bool = False) -> None:
        self.l1 = l1

    def fit(self, trials: np.ndarray, codes: np.ndarray, n_classes: int, seed: int, val: Any = None) -> "Logistic":
        """Fit trials (n, bins, units) of classes (n,), ``val`` a pair of the same."""
        self.n_classes = n_classes
        tried = []
        for penalty in PENALTIES if val is not None else PENALTIES[1:2]:
            model = make_pipeline(StandardScaler(), self._model(penalty, seed)).fit(_flatten(trials), codes)
            tried.append((0.0 if val is None else model.score(_flatten(val[0]), val[1]), model))
        self.classifier = max(tried, key=lambda pair: pair[0])[1]
        return self

    def _model(self, penalty: float, seed: int) -> LogisticRegression:
        if self.l1:
            return LogisticRegression(C=penalty, l1_ratio=1.0, solver="saga", max_iter=100, random_state=seed)
        return LogisticRegression(C=penalty, max_iter=300)


class EmbeddingNeighbours:
    """Nearest neighbours in a contrastive embedding of the trials, class by class."""

    def __init__(self, n_neighbors: int = 15, **settings: Any) -> None:
        self.n_neighbors, self.settings = n_neighbors, settings

    def fit(
        self, trials: np.ndarray, codes: np.ndarray, n_classes: int, seed: int, val: Any = None
    ) -> "EmbeddingNeighbours":
        """Fit trials (n, bins, units) of classes (n,): every trial is a segment, its class the label of its bins."""
        from ..embedder import PopulationEmbedder

        self.n_classes = n_classes
        options = {**EMBEDDER, **self.settings, "random_state": seed}
        self.embedder = PopulationEmbedder(**options).fit(_rows(trials), np.repeat(codes, trials.shape[1]))
        n = min(self.n_neighbors, len(trials))
        self.classifier = KNeighborsClassifier(n, metric="cosine", weights="distance").fit(self._embed(trials), codes)
        return self

    def _embed(self, trials: np.ndarray) -> np.ndarray:
        return self.embedder.transform(_rows(trials)).reshape(len(trials), -1)

    def predict_proba(self, trials: np.ndarray) -> np.ndarray:
        """Return (n, n_classes)."""
        found = np.zeros((len(trials), self.n_classes))
        found[:, self.classifier.classes_] = self.classifier.predict_proba(self._embed(trials))
        return found


EMBEDDER = {
    "model_architecture": "offset5-model",
    "batch_size": 512,
    "max_iterations": 400,
    "learning_rate": 3e-3,
    "temperature": 0.3,
    "output_dimension": 16,
    "validation_fraction": 0.0,
    "device": "cpu",
}


class ShrunkLDA:
    """Linear discriminant analysis with a covariance shrunk as by Ledoit and Wolf, classes equally likely.

    The covariance is that within classes; with one trial of each there is none, and that of all trials stands in.
    """

    def fit(self, trials: np.ndarray, codes: np.ndarray, n_classes: int, seed: int, val: Any = None) -> "ShrunkLDA":
        """Fit trials (n, bins, units) of classes (n,)."""
        x = _flatten(trials)
        n = np.bincount(codes, minlength=n_classes)
        sums = np.zeros((n_classes, x.shape[1]))
        np.add.at(sums, codes, x)
        self.means = sums / np.maximum(n, 1)[:, None]
        spread = x - (self.means[codes] if len(x) > 2 * n_classes else x.mean(axis=0))
        self.axes = np.linalg.solve(LedoitWolf(assume_centered=True).fit(spread).covariance_, self.means.T)
        return self

    def predict_proba(self, trials: np.ndarray) -> np.ndarray:
        """Return (n, n_classes)."""
        return _softmax(_flatten(trials) @ self.axes - 0.5 * np.sum(self.means.T * self.axes, axis=0))


def _rows(trials: np.ndarray) -> Any:
    from ..data import Population

    n, n_bins, n_units = trials.shape
    return Population.from_arrays(trials.reshape(n * n_bins, n_units), segments=[n_bins] * n)


def _counts(trials: np.ndarray) -> np.ndarray:
    if (trials < 0).any():
        raise PopulationError("poisson_nb needs counts; the trials hold values below 0")
    return np.asarray(trials, dtype=np.float64)


def _flatten(trials: np.ndarray) -> np.ndarray:
    values = np.asarray(trials, dtype=np.float64).reshape(len(trials), -1)
    return np.sqrt(values) if np.asarray(trials).dtype.kind in "iu" else values


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)

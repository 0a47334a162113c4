"""Numbers for people. Enters: true and predicted labels, scores of folds, embeddings. Leaves: scores, a 2-D map."""

import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import f1_score, recall_score

from .readout import unit_rows


def balanced_accuracy(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes present in ``actual``. Shapes: (n,), (n,) str -> [0, 1]."""
    return float(recall_score(actual, predicted, labels=np.unique(actual), average="macro", zero_division=0))


def macro_f1(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the classes present in ``actual``. Shapes: (n,), (n,) str -> [0, 1]."""
    return float(f1_score(actual, predicted, labels=np.unique(actual), average="macro", zero_division=0))


METRICS = {"balanced_accuracy": balanced_accuracy, "macro_f1": macro_f1}
"""Metric name -> function of (actual, predicted)."""


def summarise_folds(values: list[float]) -> dict[str, float | list[float]]:
    """Return mean, standard deviation (n - 1) and the values themselves."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "sd": spread, "folds": [float(v) for v in values]}


def map_2d(embedding: np.ndarray, seed: int) -> np.ndarray:
    """Lay the embedding out in two dimensions by t-SNE on cosine distance, started from principal components.

    Shapes: (n_units, n_latent) -> (n_units, 2) float64. For looking at only: nothing is scored on it.
    """
    perplexity = float(min(30, max(2, (len(embedding) - 1) // 3)))
    layout = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=500)
    return layout.fit_transform(unit_rows(np.asarray(embedding, dtype=np.float64))).astype(np.float64)

"""Fit a head on embeddings. Enters: embeddings and labels of training units. Leaves: arrays for ``read_out``.

Every choice (k, regularisation, scaling) is made inside the units given, by stratified cross-validation.
"""

import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier

from ..core.errors import NotEnoughSpikes
from .readout import nearest, read_out

MAX_K = 20
NARROW = 150
"""Weights up to which the Hessian of a logistic regression is small."""
INVERSE_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
HIDDEN_UNITS = 64
HELD_OUT = 0.1
"""Share of the units on which the multilayer perceptron sees when to stop."""


def fit_head(kind: str, embedding: np.ndarray, codes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Fit one head, its hyper-parameter chosen by inner cross-validated balanced accuracy.

    Parameters
    ----------
    kind : a key of ``HEADS``
    embedding : (n_units, n_latent) float
    codes : (n_units,) int, classes 0..n_classes-1, each present
    seed : seed of the inner folds

    Returns
    -------
    Named arrays that ``evaluate.readout.read_out(kind, ...)`` applies.

    Raises
    ------
    NotEnoughSpikes
        Fewer than two classes, or a class with fewer than two units.
    """
    counts = np.bincount(codes)
    if len(counts) < 2 or counts.min() < 2:
        raise NotEnoughSpikes(f"head '{kind}': units per class {counts.tolist()}; at least two classes of two needed")
    return HEADS[kind](np.asarray(embedding, dtype=np.float64), codes, seed)


def _fit_knn(embedding: np.ndarray, codes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Cosine KNN; k in 1..20, the smallest of the best."""
    votes = np.eye(codes.max() + 1)[codes]
    scores = np.zeros(MAX_K)
    for train, test in _inner_folds(codes, seed):
        chosen = nearest(embedding[test], embedding[train], MAX_K)
        tallies = votes[train][chosen].cumsum(axis=1)
        for k in range(MAX_K):
            predicted = tallies[:, min(k, tallies.shape[1] - 1)].argmax(axis=1)
            scores[k] += _mean_recall(codes[test], predicted)
    k = int(scores.argmax()) + 1
    return {"reference": embedding.astype(np.float32), "codes": codes.astype(np.int64), "k": np.array([k])}


def _fit_logistic(embedding: np.ndarray, codes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Multinomial logistic regression on standardised latents, classes weighted equally; C by inner folds."""
    scores = np.zeros(len(INVERSE_PENALTIES))
    for train, test in _inner_folds(codes, seed):
        for i, penalty in enumerate(INVERSE_PENALTIES):
            arrays = _logistic_arrays(embedding[train], codes[train], penalty)
            predicted = read_out("logistic", arrays, embedding[test]).argmax(axis=1)
            scores[i] += _mean_recall(codes[test], predicted)
    return _logistic_arrays(embedding, codes, INVERSE_PENALTIES[int(scores.argmax())])


def _logistic_arrays(embedding: np.ndarray, codes: np.ndarray, penalty: float) -> dict[str, np.ndarray]:
    mean, scale = _mean_and_scale(embedding)
    # Few latents: Newton steps on the exact Hessian need a tenth of the time of L-BFGS. Many: the other way round.
    is_narrow = embedding.shape[1] * (codes.max() + 1) <= NARROW
    solver = "newton-cholesky" if is_narrow else "lbfgs"
    model = LogisticRegression(C=penalty, class_weight="balanced", solver=solver, max_iter=200 if is_narrow else 1000)
    model.fit((embedding - mean) / scale, codes)
    weights, bias = _column_per_class(model.coef_.T, model.intercept_)
    return {"mean": mean, "scale": scale, "weights": weights, "bias": bias}


def _fit_mlp(embedding: np.ndarray, codes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """One hidden layer on standardised latents, classes weighted equally; stopped early where units can be spared.

    At scikit-learn's learning rate of 0.001 a few hundred units (three steps an epoch) stop before they learn.
    """
    mean, scale = _mean_and_scale(embedding)
    counts = np.bincount(codes)
    model = MLPClassifier(
        (HIDDEN_UNITS,),
        learning_rate_init=0.01,
        early_stopping=bool(counts.min() * HELD_OUT >= 2),
        validation_fraction=HELD_OUT,
        n_iter_no_change=20,
        max_iter=500,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # where no unit can be spared, max_iter is the end
        model.fit((embedding - mean) / scale, codes, sample_weight=(len(codes) / len(counts) / counts)[codes])
    hidden, output = model.coefs_
    weights, bias = _column_per_class(output, model.intercepts_[1])
    return {
        "mean": mean,
        "scale": scale,
        "hidden_weights": hidden,
        "hidden_bias": model.intercepts_[0],
        "weights": weights,
        "bias": bias,
    }


def _mean_and_scale(embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each latent; 1 for one that never varies."""
    mean, scale = embedding.mean(axis=0), embedding.std(axis=0)
    scale[scale == 0] = 1.0
    return mean, scale


def _column_per_class(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the column that scikit-learn leaves out for two classes: softmax(0, x) is the logistic function of x."""
    if weights.shape[1] > 1:
        return weights, bias
    return np.hstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])


def _mean_recall(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Balanced accuracy on codes; scikit-learn's checks of its input would take longer than the fits."""
    counts = np.bincount(actual)
    hits = np.bincount(actual, weights=actual == predicted)
    return float((hits[counts > 0] / counts[counts > 0]).mean())


def _inner_folds(codes: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    n_splits = int(np.clip(np.bincount(codes).min(), 2, 5))
    splitter = StratifiedKFold(n_splits=n_splits, shuffle=True, random_state=seed)
    yield from splitter.split(codes, codes)


HEADS = {"knn": _fit_knn, "logistic": _fit_logistic, "mlp": _fit_mlp}
"""Head name -> function of (embedding, codes, seed) giving the head's arrays."""

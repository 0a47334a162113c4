"""Apply a fitted head. Enters: embeddings and the head's arrays. Leaves: class probabilities. NumPy only.

The same function scores folds and answers requests: the served model runs a copy of this file.
"""

from collections.abc import Mapping

import numpy as np


def read_out(kind: str, arrays: Mapping[str, np.ndarray], embedding: np.ndarray) -> np.ndarray:
    """Return class probabilities.

    Parameters
    ----------
    kind : a key of ``READOUTS``
    arrays : what ``evaluate.heads.fit_head`` returned
    embedding : (n_units, n_latent) float

    Returns
    -------
    (n_units, n_classes) float64, rows sum to 1
    """
    return READOUTS[kind](arrays, np.asarray(embedding, dtype=np.float64))


def nearest(embedding: np.ndarray, reference: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of the ``k`` rows of ``reference`` with the largest cosine similarity, nearest first.

    Ties go to the lower index. Shapes: (n, d), (m, d) -> (n, min(k, m)) int64.
    """
    similarity = unit_rows(embedding) @ unit_rows(reference).T
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Divide each row of (n, d) by its Euclidean norm; a zero row stays zero."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def _knn(arrays: Mapping[str, np.ndarray], embedding: np.ndarray) -> np.ndarray:
    codes = arrays["codes"]
    votes = np.eye(int(codes.max()) + 1)[codes]
    chosen = nearest(embedding, arrays["reference"].astype(np.float64), int(arrays["k"][0]))
    return votes[chosen].mean(axis=1)


def _logistic(arrays: Mapping[str, np.ndarray], embedding: np.ndarray) -> np.ndarray:
    return _softmax((embedding - arrays["mean"]) / arrays["scale"] @ arrays["weights"] + arrays["bias"])


def _mlp(arrays: Mapping[str, np.ndarray], embedding: np.ndarray) -> np.ndarray:
    hidden = (embedding - arrays["mean"]) / arrays["scale"] @ arrays["hidden_weights"] + arrays["hidden_bias"]
    return _softmax(np.maximum(hidden, 0) @ arrays["weights"] + arrays["bias"])


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)


READOUTS = {"knn": _knn, "logistic": _logistic, "mlp": _mlp}
"""Head name -> function of (arrays, embedding) giving probabilities."""

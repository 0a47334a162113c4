"""How alike embeddings are. Enters: embeddings of runs, or of datasets with labels. Leaves: R2 of linear maps.

Scores and pairs always have the same length. Discrete labels are their own bins; those of several columns are binned by
k-means; a bin that one of two datasets lacks is left out for that pair.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from sklearn.linear_model import LinearRegression

from ..core.errors import PopulationError

LOGGER = logging.getLogger(__name__)

CV_BLOCKS = 5
FEWEST_BINS = 2


def consistency_score(
    embeddings: Sequence[Any],
    between: Literal["runs", "datasets"] | None = None,
    labels: Sequence[Any] | None = None,
    dataset_ids: Sequence[Any] | None = None,
    num_discretization_bins: int = 100,
    cv: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a score for every ordered pair.

    Parameters
    ----------
    embeddings : (n_rows, d) each; of equal length between runs; rows that are not finite, or without a label, are left
        out
    between : ``runs`` of one dataset, or ``datasets`` aligned by ``labels``
    labels : one for each embedding, (n_rows,) or (n_rows, k)
    dataset_ids : one for each embedding; pairs of one dataset are dropped, pairs of equal ids averaged
    num_discretization_bins : borders of the bins of a continuous label
    cv : fit and score on different blocks of rows; the score on the same rows rises with the dimension

    Returns
    -------
    scores (n_pairs,), pairs (n_pairs, 2) of ids, ids

    Raises
    ------
    ValueError
        Fewer than two embeddings, labels missing or not wanted, or lengths that do not fit.
    """
    parts = [np.asarray(embedding, dtype=float) for embedding in embeddings]
    if len(parts) < 2:
        raise PopulationError(f"consistency: {len(parts)} embedding; two or more are compared")
    if between not in ("runs", "datasets"):
        raise PopulationError(f"consistency: between = {between!r}; 'runs' or 'datasets' must be said")
    if between == "runs":
        if labels is not None or dataset_ids is not None:
            raise PopulationError("consistency between runs takes no labels or dataset_ids")
        if len({len(part) for part in parts}) > 1:
            raise PopulationError(
                f"consistency between runs: lengths {[len(part) for part in parts]}; they must be equal"
            )
        return _score_pairs(parts, [np.isfinite(part).all(axis=1) for part in parts], np.arange(len(parts)), cv)
    if labels is None or len(labels) != len(parts):
        found = "none" if labels is None else len(labels)
        raise PopulationError(f"consistency between datasets: {len(parts)} embeddings, {found} labels; one for each")
    ids = np.arange(len(parts)) if dataset_ids is None else np.asarray(dataset_ids)
    if len(ids) != len(parts) or len(np.unique(ids)) < 2:
        raise PopulationError(
            f"consistency between datasets: ids {ids.tolist()}; one for each embedding, at least two kinds"
        )
    means, filled = _bin_means(parts, [np.asarray(label) for label in labels], num_discretization_bins)
    return _score_pairs(means, filled, ids, cv)


def symmetric_scores(scores: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return (n_pairs,) the mean of both directions of every pair."""
    found = {tuple(pair): score for pair, score in zip(pairs.tolist(), scores, strict=True)}
    return np.array([(found[a, b] + found[b, a]) / 2 for a, b in found])


def _score_pairs(
    parts: list[np.ndarray], usable: list[np.ndarray], ids: np.ndarray, cv: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found: dict[tuple[Any, Any], list[float]] = {}
    for i, a in enumerate(parts):
        for j, b in enumerate(parts):
            if ids[i] == ids[j]:
                continue
            rows = usable[i] & usable[j]
            if rows.sum() < FEWEST_BINS:
                raise PopulationError(
                    f"consistency: {ids[i]} and {ids[j]} share {rows.sum()} bins; {FEWEST_BINS} are needed"
                )
            found.setdefault((ids[i], ids[j]), []).append(_r2(a[rows], b[rows], cv))
    return np.array([np.mean(values) for values in found.values()]), np.array(list(found)), np.unique(ids)


def _r2(a: np.ndarray, b: np.ndarray, cv: bool) -> float:
    """R2 of a linear map from a to b, mean over the dimensions of b."""
    if not cv:
        return float(LinearRegression().fit(a, b).score(a, b))
    block = np.arange(len(a)) * CV_BLOCKS // len(a)
    guess = np.empty_like(b)
    for held in np.unique(block):
        guess[block == held] = LinearRegression().fit(a[block != held], b[block != held]).predict(a[block == held])
    spread = ((b - b.mean(axis=0)) ** 2).sum(axis=0)
    return float(np.mean(1 - ((b - guess) ** 2).sum(axis=0) / np.where(spread > 0, spread, 1)))


def _bin_means(
    parts: list[np.ndarray], labels: list[np.ndarray], n_bins: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Unit mean embedding of every bin of the label, and which bins each embedding fills."""
    for number, (part, label) in enumerate(zip(parts, labels, strict=True)):
        if len(part) != len(label):
            raise PopulationError(f"consistency: embedding {number} has {len(part)} rows, its labels {len(label)}")
    whole = [
        np.isfinite(part).all(axis=1)
        & (label.dtype.kind != "f" or np.isfinite(label.reshape(len(label), -1)).all(axis=1))
        for part, label in zip(parts, labels, strict=True)
    ]
    bins, n = _assign_bins([label[rows] for label, rows in zip(labels, whole, strict=True)], n_bins)
    means, filled = [], []
    for part, rows, of_row in zip(parts, whole, bins, strict=True):
        counts = np.bincount(of_row, minlength=n)
        sums = np.zeros((n, part.shape[1]))
        np.add.at(sums, of_row, part[rows])
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        means.append(sums / np.where(length > 0, length, 1))
        filled.append(counts > 0)
    shared = np.logical_and.reduce(filled).mean()
    if shared < 1:
        LOGGER.info(
            "consistency: %.0f %% of the bins are filled in every dataset; the others are left out", 100 * shared
        )
    return means, filled


def _assign_bins(labels: list[np.ndarray], n_bins: int) -> tuple[list[np.ndarray], int]:
    joined = np.concatenate(labels)
    if joined.ndim == 1 and joined.dtype.kind != "f":
        values, codes = np.unique(joined, return_inverse=True)
        n = len(values)
    elif joined.ndim == 1:
        codes = np.digitize(joined, np.linspace(joined.min(), joined.max(), n_bins)).clip(1, n_bins - 1) - 1
        n = n_bins - 1
    else:
        from sklearn.cluster import KMeans

        n = min(n_bins, len(np.unique(joined, axis=0)))
        codes = KMeans(n, random_state=0, n_init=3).fit_predict(joined / joined.std(axis=0))
    return np.split(codes, np.cumsum([len(label) for label in labels])[:-1]), n

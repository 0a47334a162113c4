"""Embeddings turned onto each other. Enters: embeddings of runs or sessions, labels they share. Leaves: one space.

A turn is orthogonal: it keeps all distances and angles (Schoenemann 1966). Rows of two sessions are paired by their
labels through a k-d tree on distinct values, so memory grows with the rows and not with their square.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import cKDTree

from ..core.errors import PopulationError

NEIGHBOURS = 5
"""Rows of the reference that a row is paired with."""


def align(
    embeddings: Sequence[Any],
    labels: Sequence[Any] | None = None,
    reference: int = 0,
    period: float | None = None,
    top_k: int = NEIGHBOURS,
) -> list[np.ndarray]:
    """Turn every embedding onto one of them.

    Parameters
    ----------
    embeddings : (n_rows, d) each, d equal; rows that are not finite decide nothing
    labels : what the sessions share, one for each embedding, (n_rows,) or (n_rows, k): float is continuous, all else
        classes; rows where it is NaN decide nothing, and are turned with the others (those of a test, say). None =
        row i of one is row i of the other, as between runs on one recording
    reference : the one that stays
    period : of a circular label
    top_k : rows of the reference, nearest in the label, that a row is paired with

    Returns
    -------
    The embeddings in their order, that of ``reference`` as it was.

    Raises
    ------
    PopulationError
        Shapes that do not fit, labels missing where rows differ, or classes that no two share.
    """
    parts = [_matrix(embedding) for embedding in embeddings]
    _check_dimensions(parts)
    if not 0 <= reference < len(parts):
        raise PopulationError(f"align: reference {reference}, there are {len(parts)} embeddings")
    base = parts[reference]
    if labels is None:
        for number, part in enumerate(parts):
            if len(part) != len(base):
                raise PopulationError(
                    f"align: embedding {number} has {len(part)} rows, the reference {len(base)}; pass a label of each "
                    "to pair them by"
                )
        return [part if part is base else part @ find_rotation(part, base) for part in parts]
    values = _comparable(labels, parts, period)
    turned = []
    for part, value in zip(parts, values, strict=True):
        if part is base:
            turned.append(part)
            continue
        rows = np.flatnonzero(np.isfinite(part).all(axis=1) & np.isfinite(value).all(axis=1))
        if not len(rows):
            raise PopulationError("align: no row that is finite, with a label; nothing to turn by")
        paired = mean_of_nearest(base, values[reference], value[rows], top_k)
        turned.append(part @ find_rotation(part[rows], paired))
    return turned


def ensemble(
    embeddings: Sequence[Any],
    labels: Sequence[Any] | None = None,
    post_norm: bool = False,
    period: float | None = None,
) -> np.ndarray:
    """Return the mean (n_rows, d) of embeddings of one recording, turned onto the first.

    Parameters
    ----------
    embeddings : (n_rows, d) each, of equal shape
    labels, period : as in ``align``; without labels row by row, which is what runs on one recording need
    post_norm : give every row length 1 again; the mean of unequal unit vectors is shorter

    Raises
    ------
    PopulationError
        Embeddings of different shape; or as in ``align``.
    """
    parts = [_matrix(embedding) for embedding in embeddings]
    if len({part.shape for part in parts}) > 1:
        raise PopulationError(
            f"ensemble: shapes {[part.shape for part in parts]}; embeddings of equal shape are needed"
        )
    mean = np.mean(align(parts, labels, period=period), axis=0)
    if not post_norm:
        return mean
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return mean / np.where(length > 0, length, 1.0)


def find_rotation(data: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the orthogonal (d, d) matrix R for which ``data @ R`` is nearest to ``target``, row by row.

    Rows that are not finite in either are left out.
    """
    rows = np.isfinite(data).all(axis=1) & np.isfinite(target).all(axis=1)
    if not rows.any():
        raise PopulationError("align: no row that is finite in both, with a label; nothing to turn by")
    return orthogonal_procrustes(data[rows], target[rows])[0]


def mean_of_nearest(data: np.ndarray, label: np.ndarray, queries: np.ndarray, top_k: int) -> np.ndarray:
    """Return (q, d) the mean row of ``data`` among the ``top_k`` whose label is nearest to each query.

    Rows of equal label count as equally near: all of them stand for the share that is needed of them.

    Parameters
    ----------
    data : (n, d); label : (n, k); queries : (q, k), finite
    """
    usable = np.isfinite(data).all(axis=1) & np.isfinite(label).all(axis=1)
    distinct, code, counts = np.unique(label[usable], axis=0, return_inverse=True, return_counts=True)
    if not len(distinct):
        raise PopulationError("align: the reference has no finite row with a label")
    sums = np.zeros((len(distinct), data.shape[1]))
    np.add.at(sums, code.ravel(), data[usable])
    means = sums / counts[:, None]
    n_near = min(top_k, len(distinct))
    near = cKDTree(distinct).query(queries, k=np.arange(1, n_near + 1))[1]
    before = np.cumsum(counts[near], axis=1) - counts[near]
    weights = np.clip(top_k - before, 0, counts[near])
    return (means[near] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)


def _matrix(embedding: Any) -> np.ndarray:
    array = np.asarray(embedding, dtype=float)
    return array[:, None] if array.ndim == 1 else array


def _check_dimensions(parts: list[np.ndarray]) -> None:
    if len(parts) < 2:
        raise PopulationError(f"align: {len(parts)} embedding; two or more are turned onto each other")
    if wrong := [part.shape for part in parts if part.ndim != 2 or part.shape[1] != parts[0].shape[1]]:
        raise PopulationError(f"align: {wrong[0]} beside {parts[0].shape}; rows x dimensions, as many of each")


def _comparable(labels: Sequence[Any], parts: list[np.ndarray], period: float | None) -> list[np.ndarray]:
    """Labels as (n_rows, k) whose Euclidean distances mean something, NaN for classes that not all sessions have."""
    arrays = [np.asarray(label) for label in labels]
    if [len(array) for array in arrays] != [len(part) for part in parts]:
        found, needed = [len(array) for array in arrays], [len(part) for part in parts]
        raise PopulationError(f"align: labels of {found} rows, embeddings of {needed}; one label for each row of each")
    widths = [array.reshape(len(array), -1).shape[1] for array in arrays]
    if len(set(widths)) > 1:
        raise PopulationError(f"align: labels of {widths} columns; as many for each session")
    joined = np.concatenate([array.reshape(len(array), -1) for array in arrays])
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    if joined.dtype.kind != "f":
        codes = np.split(np.unique(joined, axis=0, return_inverse=True)[1].ravel(), ends)
        shared = set(codes[0].tolist()).intersection(*(code.tolist() for code in codes[1:]))
        if not shared:
            raise PopulationError("align: no class of the label is in every session; nothing to turn them by")
        return [np.where(np.isin(code, list(shared)), code, np.nan)[:, None] for code in codes]
    if period is not None:
        angle = joined * (2 * np.pi / period)
        return np.split(np.concatenate([np.cos(angle), np.sin(angle)], axis=1), ends)
    spread = np.nanstd(joined, axis=0)
    return np.split(joined / np.where(spread > 0, spread, 1.0), ends)

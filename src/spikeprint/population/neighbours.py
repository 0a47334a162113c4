"""Rows whose label is nearest. Enters: labels and queries. Leaves: rows, drawn at random among those of equal label.

Only distinct values are searched: by bisection in one dimension, by a k-d tree up to ten, by comparing with all above.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

MAX_TREE_DIMENSIONS = 10
"""Above it a k-d tree looks at nearly every point, and comparing with all is as fast."""


@dataclass(frozen=True)
class LabelIndex:
    """Distinct values of a label and the rows that carry each.

    Attributes
    ----------
    distinct : (m, k) values, ascending in one dimension
    rows : (n,) rows, those of one value side by side
    first : (m + 1,) value i owns ``rows[first[i]:first[i + 1]]``
    tree : k-d tree on ``distinct``, None where it is not used
    """

    distinct: np.ndarray
    rows: np.ndarray
    first: np.ndarray
    tree: cKDTree | None

    @classmethod
    def build(cls, values: np.ndarray, rows: np.ndarray) -> "LabelIndex":
        """Index the labels ``values`` (n, k) of ``rows`` (n,)."""
        distinct, inverse, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        first = np.concatenate([[0], np.cumsum(counts)])
        uses_tree = 1 < values.shape[1] <= MAX_TREE_DIMENSIONS
        return cls(distinct, rows[order], first, cKDTree(distinct) if uses_tree else None)

    def nearest(self, queries: np.ndarray) -> np.ndarray:
        """Return (q,) the position in ``distinct`` of the value nearest to each query (q, k)."""
        if self.tree is not None:
            return self.tree.query(queries)[1]
        if self.distinct.shape[1] == 1:
            values, asked = self.distinct[:, 0], queries[:, 0]
            right = np.searchsorted(values, asked).clip(1, max(len(values) - 1, 1)) if len(values) > 1 else None
            if right is None:
                return np.zeros(len(asked), dtype=np.int64)
            return np.where(asked - values[right - 1] <= values[right] - asked, right - 1, right)
        squares = (self.distinct**2).sum(axis=1)
        return np.argmin(squares - 2 * queries @ self.distinct.T, axis=1)

    def draw(self, queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return (q,) for each query a row of the nearest value, all such rows equally likely."""
        at = self.nearest(queries)
        low, high = self.first[at], self.first[at + 1]
        return self.rows[low + (rng.random(len(at)) * (high - low)).astype(np.int64)]


@dataclass(frozen=True)
class ClassRows:
    """The rows of every class.

    Attributes
    ----------
    rows : (n,) rows, class after class
    first : (n_classes + 1,) class c owns ``rows[first[c]:first[c + 1]]``
    """

    rows: np.ndarray
    first: np.ndarray

    @classmethod
    def build(cls, codes: np.ndarray, rows: np.ndarray, n_classes: int) -> "ClassRows":
        """Sort ``rows`` (n,) by the class ``codes`` (n,) of each."""
        order = np.argsort(codes, kind="stable")
        return cls(rows[order], np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=n_classes))]))

    @property
    def counts(self) -> np.ndarray:
        """(n_classes,) rows of each class."""
        return np.diff(self.first)

    def draw(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return (q,) a row of each class asked for, all rows of a class equally likely."""
        low, high = self.first[codes], self.first[codes + 1]
        return self.rows[low + (rng.random(len(codes)) * (high - low)).astype(np.int64)]

    def draw_uniform(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return (n,) rows: first a class, all that have rows equally likely, then a row of it."""
        present = np.flatnonzero(self.counts)
        return self.draw(present[rng.integers(len(present), size=n)], rng)


def draw_within(
    indices: Mapping[int, LabelIndex], queries: np.ndarray, codes: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return (q,) for each query a row of the nearest value among the rows of its class."""
    rows = np.empty(len(queries), dtype=np.int64)
    for code in np.unique(codes):
        mine = codes == code
        rows[mine] = indices[int(code)].draw(queries[mine], rng)
    return rows

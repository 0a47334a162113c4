"""Which sorted unit is which true one. Enters: two sets of trains. Leaves: agreement, assignment, confusion."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from .kernels import count_pairs

ASSIGNED, WELL_DETECTED, REDUNDANT = 0.5, 0.8, 0.2
"""Least agreement of an assignment, of a well detected unit, and of a redundant or over-merged one, as in
SpikeInterface's comparison."""


@dataclass(frozen=True)
class Matching:
    """True units against sorted ones.

    Attributes
    ----------
    counts : (n_true, n_sorted) int64, pairs of spikes
    n_true, n_sorted : (n_true,) and (n_sorted,), spikes of each unit
    agreement : (n_true, n_sorted), pairs over all spikes of both less the pairs
    assigned : (n_true,) sorted unit of each true one by the Hungarian method, -1 without
    """

    counts: np.ndarray
    n_true: np.ndarray
    n_sorted: np.ndarray
    agreement: np.ndarray
    assigned: np.ndarray

    def best(self) -> np.ndarray:
        """(n_true,) sorted unit of the largest agreement, whether assigned or not; -1 where there are none."""
        return self.agreement.argmax(axis=1) if self.agreement.shape[1] else np.full(len(self.n_true), -1)

    def redundant(self) -> np.ndarray:
        """(n_sorted,) bool: agrees with a true unit that is assigned to, or better found by, another sorted unit."""
        is_alike = self.agreement >= REDUNDANT
        best = np.where(self.assigned >= 0, self.assigned, self.best())
        is_best = np.zeros_like(is_alike)
        if is_alike.shape[1]:
            is_best[np.arange(len(best)), best] = True
        return (is_alike & ~is_best).any(axis=0) & ~np.isin(np.arange(is_alike.shape[1]), self.assigned)

    def merged(self) -> np.ndarray:
        """(n_sorted,) bool: agrees with two true units or more."""
        return (self.agreement >= REDUNDANT).sum(axis=0) > 1

    def order(self) -> tuple[np.ndarray, np.ndarray]:
        """Return true and sorted units in the order of the assignment, the others behind."""
        found = np.flatnonzero(self.assigned >= 0)
        rows = np.concatenate([found, np.flatnonzero(self.assigned < 0)])
        columns = self.assigned[found]
        rest = np.setdiff1d(np.arange(len(self.n_sorted)), columns)
        return rows, np.concatenate([columns, rest[np.argsort(-self.counts[:, rest].sum(axis=0), kind="stable")]])

    def confusion(self) -> np.ndarray:
        """(n_true + 1, n_sorted + 1) pairs in this order; last column: missed, last row: spikes of no true unit."""
        rows, columns = self.order()
        table = np.zeros((len(rows) + 1, len(columns) + 1), dtype=np.int64)
        inner = self.counts[np.ix_(rows, columns)]
        table[:-1, :-1] = inner
        table[:-1, -1] = np.maximum(self.n_true[rows] - inner.sum(axis=1), 0)
        table[-1, :-1] = np.maximum(self.n_sorted[columns] - inner.sum(axis=0), 0)
        return table


def match(true: list[np.ndarray], found: list[np.ndarray], tolerance: int) -> Matching:
    """Compare trains.

    Parameters
    ----------
    true, found : per unit (n,) samples on one clock, in order
    tolerance : spikes so many samples apart, or fewer, are one
    """
    first, first_offsets = _join(true)
    second, second_offsets = _join(found)
    counts = count_pairs(first, first_offsets, second, second_offsets, tolerance)
    n_true, n_sorted = np.diff(first_offsets), np.diff(second_offsets)
    either = n_true[:, None] + n_sorted[None] - counts
    agreement = counts / np.maximum(either, 1)
    assigned = np.full(len(true), -1)
    rows, columns = linear_sum_assignment(-np.where(agreement >= ASSIGNED, agreement, 0.0))
    is_found = agreement[rows, columns] >= ASSIGNED
    assigned[rows[is_found]] = columns[is_found]
    return Matching(counts, n_true, n_sorted, agreement, assigned)


def _join(trains: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All trains in a row, and where each begins."""
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])]).astype(np.int64)
    return np.concatenate([np.empty(0, np.int64), *trains]).astype(np.int64), offsets

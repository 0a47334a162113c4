"""How alike units fire. Enters: a population. Leaves: the correlations of its units, in the order of their regions."""

from dataclasses import dataclass

import numpy as np

from ..core.errors import PopulationError
from .data import Population

BLOCK = 4096
"""Rows that are taken at a time: counts may be memory-mapped."""
LEAST_ROWS = 3


@dataclass(frozen=True)
class Correlations:
    """Correlations of units.

    Attributes
    ----------
    matrix : (n_units, n_units) in [-1, 1]; NaN where a unit does not vary
    unit_ids, regions : (n_units,) str in the order of the matrix; ``""`` is no region
    order : (n_units,) the unit of the population at each place
    """

    matrix: np.ndarray
    unit_ids: np.ndarray
    regions: np.ndarray
    order: np.ndarray


def correlate_units(population: Population) -> Correlations:
    """Return the correlations of counts over valid bins of segments, units of one region side by side.

    Raises
    ------
    PopulationError
        Fewer than three bins that are valid.
    """
    rows = np.flatnonzero((population.segment_of_row >= 0) & population.valid)
    if len(rows) < LEAST_ROWS:
        raise PopulationError(f"population '{population.session_id}': {len(rows)} valid bins; correlations need three")
    mean = sum(block.sum(axis=0) for block in _blocks(population, rows)) / len(rows)
    shared = np.zeros((population.n_units, population.n_units))
    for block in _blocks(population, rows):
        shared += (block - mean).T @ (block - mean)
    width = np.sqrt(np.diag(shared))
    width = np.where(width > 0, width, np.nan)
    matrix = np.clip(shared / np.outer(width, width), -1, 1)
    units = population.units
    region = units["region"].fillna("") if "region" in units else units["unit_id"].map(lambda _: "")
    names = region.astype(str).to_numpy(dtype=str)
    order = np.argsort(names, kind="stable")
    ids = units["unit_id"].astype(str).to_numpy(dtype=str)
    return Correlations(matrix[np.ix_(order, order)], ids[order], names[order], order)


def _blocks(population: Population, rows: np.ndarray) -> "list[np.ndarray] | map[np.ndarray]":
    starts = range(0, len(rows), BLOCK)
    return map(lambda start: np.asarray(population.counts[rows[start : start + BLOCK]], dtype=float), starts)

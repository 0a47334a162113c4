"""How many dimensions an embedding fills. Enters: an embedding. Leaves: a linear and a local count."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ..core.errors import PopulationError

SHARE = 0.9
"""Of the variance that ``n_components`` explain."""
DRAWN, DRAWS = 300, 20
"""Rows that the local count looks at together, and how often it draws them."""
KEPT = 0.9
"""Share of the rows that the local count uses: the widest ratios of distances are those of outliers."""
FEWEST = 20
"""Fewer distinct rows than this say nothing."""


@dataclass(frozen=True)
class Dimensionality:
    """Dimensions of an embedding.

    Attributes
    ----------
    participation : participation ratio of the principal variances: d for equal ones, 1 for a single direction
    n_components : principal components that explain 90 % of the variance
    local, spread : dimension of the surface on which the rows lie, from the distances to the two nearest of some drawn
        rows; mean and deviation over draws
    n_rows : distinct finite rows behind these numbers
    """

    participation: float
    n_components: int
    local: float
    spread: float
    n_rows: int


def dimensionality(embedding: Any, n_drawn: int = DRAWN, seed: int = 0) -> Dimensionality:
    """Count the dimensions that an embedding fills.

    Parameters
    ----------
    embedding : (n_rows, d); rows that are not finite are left out, equal ones count once
    n_drawn : rows that are looked at together. From far, with few, noise is small and rows that follow each other are
        hardly ever neighbours; with all, what is counted is noise, or the path from one row to the next

    Returns
    -------
    The participation ratio and the two-nearest-neighbours dimension (Facco et al. 2017,
    doi 10.1038/s41598-017-11873-y).

    Raises
    ------
    PopulationError
        Too few distinct rows.
    """
    values = np.asarray(embedding, dtype=float)
    if values.ndim != 2:
        raise PopulationError(f"dimensionality: the embedding is {values.shape}; rows x dimensions is needed")
    rows = np.unique(values[np.isfinite(values).all(axis=1)], axis=0)
    if min(len(rows), n_drawn) < FEWEST:
        raise PopulationError(
            f"dimensionality: {len(rows)} distinct finite rows, {n_drawn} at a time; {FEWEST} are needed"
        )
    variances = np.linalg.eigvalsh(np.atleast_2d(np.cov(rows.T))).clip(0)
    explained = np.cumsum(variances[::-1]) / variances.sum()
    participation = variances.sum() ** 2 / (variances**2).sum()
    n_components = int(np.searchsorted(explained, SHARE) + 1)
    rng, n = np.random.default_rng(seed), min(n_drawn, len(rows))
    found = [_count_locally(rows[rng.choice(len(rows), n, replace=False)]) for _ in range(DRAWS)]
    return Dimensionality(float(participation), n_components, float(np.mean(found)), float(np.std(found)), len(rows))


def _count_locally(rows: np.ndarray) -> float:
    """Slope of the log of the share of rows left against the log of the ratio of distances, through the origin."""
    first, second = cKDTree(rows).query(rows, k=[2, 3])[0].T
    ratio = np.sort(np.log(second / first))
    kept = int(KEPT * len(ratio))
    share = np.arange(1, len(ratio) + 1) / (len(ratio) + 1)
    x, y = ratio[:kept], -np.log(1 - share[:kept])
    return float((x @ y) / (x @ x))

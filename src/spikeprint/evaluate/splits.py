"""Who is tested when. Enters: labels of one dataset. Leaves: a fold number for each unit."""

import numpy as np
from sklearn.model_selection import StratifiedKFold

from ..core.types import UNLABELLED


def make_folds(labels: np.ndarray, n_folds: int, seed: int, min_units_per_class: int) -> np.ndarray:
    """Assign stratified folds in file order, as the published benchmark does.

    Parameters
    ----------
    labels : (n_units,) str, ``""`` where unknown
    n_folds, seed : of the shuffled stratified splitter
    min_units_per_class : units of rarer classes are not scored

    Returns
    -------
    (n_units,) int64: the fold in which the unit is tested, -1 for units that are never tested. All are -1 when fewer
    than two classes remain. A class needs a unit for each fold, and two left to learn from in every training part.
    """
    labels = np.asarray(labels, dtype=str)
    names, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    largest_test = -(-counts // n_folds)
    kept = names[(counts >= max(min_units_per_class, n_folds)) & (counts - largest_test >= 2)]
    folds = np.full(len(labels), -1, dtype=np.int64)
    if len(kept) < 2:
        return folds
    scored = np.flatnonzero(np.isin(labels, kept))
    splitter = StratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(scored, labels[scored])):
        folds[scored[test]] = fold
    return folds


def shuffle_labels(labels: np.ndarray, groups: np.ndarray, folds: np.ndarray, seed: int) -> list[np.ndarray]:
    """Permute the labels of scored units within each group, anew for each fold: the truth of the control.

    One permutation for all folds can agree with the data by chance, and then does so in every fold; independent ones
    make the spread over folds tell how far from chance the mean may be.

    Parameters
    ----------
    labels, groups : (n,) str
    folds : (n,) int64, -1 = not scored: the label stays

    Returns
    -------
    One (n,) str for each fold.
    """
    shuffles = []
    for fold in range(int(folds.max(initial=-1)) + 1):
        rng = np.random.default_rng([seed, fold])
        shuffled = np.array(labels, dtype=str)
        for group in np.unique(groups):
            rows = np.flatnonzero((folds >= 0) & (groups == group))
            shuffled[rows] = shuffled[rng.permutation(rows)]
        shuffles.append(shuffled)
    return shuffles

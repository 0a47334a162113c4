"""Two models on the same units. Enters: who was right about which unit. Leaves: scores and differences with intervals.

Units are drawn anew within each cell type, the same for both models, as many as there are (a paired, stratified
bootstrap; Efron and Tibshirani 1993). What counts of a draw is how often each outcome came up, so outcomes are drawn
from a multinomial distribution instead of units: the same law, without a loop over units.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.95
SIDES = ("champion", "challenger")
KEY, SPLIT = "unit_id", ["cell_type", "fold"]
"""What names a unit, and what must be the same of it for both models."""


@dataclass(frozen=True)
class Interval:
    """A number and the central 95 % of what the bootstrap made of it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class DatasetComparison:
    """One dataset: ``pairs`` as ``pair_units`` makes them, balanced accuracy of each model, and the difference."""

    name: str
    pairs: pd.DataFrame
    champion: Interval
    challenger: Interval
    difference: Interval

    def hits(self, side: str) -> np.ndarray:
        """Which units a side (of ``SIDES``) named rightly, (n_units,) bool."""
        return (self.pairs[f"predicted_{side}"] == self.pairs["cell_type"]).to_numpy()

    @property
    def changed(self) -> pd.DataFrame:
        """The units that the two name differently."""
        return self.pairs[self.pairs["predicted_champion"] != self.pairs["predicted_challenger"]]


@dataclass(frozen=True)
class Comparison:
    """Two models on all datasets that both were scored on.

    ``overall`` is the mean difference over datasets; ``left_out`` are datasets that only one was scored on.
    """

    datasets: list[DatasetComparison]
    overall: Interval
    left_out: list[str]

    @property
    def worst(self) -> DatasetComparison:
        """The dataset on which the challenger may have lost most."""
        return min(self.datasets, key=lambda one: one.difference.low)


def compare_predictions(
    champion: pd.DataFrame, challenger: pd.DataFrame, n_resamples: int, seed: int = 0
) -> Comparison:
    """Compare out-of-fold predictions unit by unit.

    Parameters
    ----------
    champion, challenger : a ``dataset`` column beside those of ``pair_units``

    Raises
    ------
    ValueError
        Not the same units, labels and folds, or no dataset in common: nothing can be said then.
    """
    old, new = (dict(list(table.groupby("dataset"))) for table in (champion, challenger))
    shared = [str(name) for name in new if name in old]
    if not shared:
        raise ValueError(f"no dataset was scored with both ({', '.join(map(str, old))}; {', '.join(map(str, new))})")
    found, draws = [], []
    for i, name in enumerate(shared):
        try:
            pairs = pair_units(old[name], new[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}; train both on the same data and folds") from None
        labels = pairs["cell_type"].to_numpy(str)
        before, after = ((pairs[f"predicted_{side}"] == pairs["cell_type"]).to_numpy(float) for side in SIDES)
        draws.append(resample(after - before, labels, n_resamples, seed + i))
        scores = [bootstrap(hits, labels, n_resamples, seed + i) for hits in (before, after)]
        difference = as_interval(scores[1].value - scores[0].value, draws[-1])
        found.append(DatasetComparison(name, pairs, scores[0], scores[1], difference))
    overall = as_interval(float(np.mean([one.difference.value for one in found])), np.mean(draws, axis=0))
    return Comparison(found, overall, sorted(map(str, old.keys() ^ new.keys())))


def resample(outcomes: np.ndarray, labels: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return the mean over cell types of the mean outcome in each resample.

    Of hits (0, 1) this is balanced accuracy over all folds together, of differences of hits (-1, 0, 1) its difference.

    Parameters
    ----------
    outcomes : (n_units,) of few distinct values; labels : (n_units,) str

    Returns
    -------
    (n_resamples,) float64
    """
    rng = np.random.default_rng(seed)
    names = np.unique(labels)
    total = np.zeros(n_resamples)
    for name in names:
        values, counts = np.unique(outcomes[labels == name], return_counts=True)
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), n_resamples)
        total += drawn @ values / counts.sum()
    return total / len(names)


def bootstrap(outcomes: np.ndarray, labels: np.ndarray, n_resamples: int, seed: int = 0) -> Interval:
    """Return the mean over cell types of the mean outcome, with its interval; parameters as in ``resample``."""
    value = float(np.mean([outcomes[labels == name].mean() for name in np.unique(labels)]))
    return as_interval(value, resample(outcomes, labels, n_resamples, seed))


def as_interval(value: float, draws: np.ndarray) -> Interval:
    """Return a value with the percentile interval of its resamples (n_resamples,)."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def pair_units(champion: pd.DataFrame, challenger: pd.DataFrame) -> pd.DataFrame:
    """Put the out-of-fold predictions of two models for one dataset side by side.

    Parameters
    ----------
    champion, challenger : columns ``unit_id, cell_type, fold, predicted, confidence``, one row per tested unit

    Returns
    -------
    ``unit_id, cell_type, fold`` and ``predicted, confidence`` with the suffixes ``_champion`` and ``_challenger``

    Raises
    ------
    ValueError
        Not the same units, labels and folds: nothing said about the one model would hold for the other.
    """
    both = champion.merge(challenger, on=KEY, how="outer", suffixes=("_champion", "_challenger"), indicator=True)
    alone = int((both["_merge"] != "both").sum())
    if alone:
        raise ValueError(f"{alone} of {len(both)} units were tested with only one of the two")
    for column in SPLIT:
        other = int((both[f"{column}_champion"] != both[f"{column}_challenger"]).sum())
        if other:
            raise ValueError(f"{other} of {len(both)} units have another {column.replace('_', ' ')}")
    same = {f"{column}_challenger": column for column in SPLIT}
    dropped = [f"{column}_champion" for column in SPLIT]
    return both.rename(columns=same).drop(columns=["_merge", *dropped])

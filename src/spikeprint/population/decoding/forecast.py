"""What will fire next. Enters: a population. Leaves: bits per spike that the last bins tell about the next one.

A bin is foretold from the bins before it in its segment; the last part of the recording is asked.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln

from ...core.errors import PopulationError
from ..data import Population
from .models import make_decoder
from .trained import LEAST_RATE

MIN_ROWS = 50
"""Fewer bins than this on any side say nothing."""


@dataclass(frozen=True)
class Windows:
    """Bins to foretell.

    Attributes
    ----------
    rows : (n,) ascending rows of the counts; history : bins before each that are looked at
    """

    counts: np.ndarray
    rows: np.ndarray
    history: int

    @property
    def trials(self) -> np.ndarray:
        """(n, history, n_units) the bins before."""
        return self.counts[self.rows[:, None] + np.arange(-self.history, 0)]

    @property
    def targets(self) -> np.ndarray:
        """(n, n_units) the bins themselves."""
        return np.asarray(self.counts[self.rows])


def forecast(
    population: Any,
    models: str | Sequence[str] = ("linear", "lstm"),
    history: int = 10,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    epochs: int | None = None,
) -> pd.DataFrame:
    """Foretell the counts of each bin from those before it.

    Parameters
    ----------
    population : a ``Population``, or an array of counts (n_rows, n_units)
    models : of ``networks.NETWORKS``; ``linear`` is a Poisson regression on the bins before
    history : bins that are looked at
    fractions : first, middle and last share of the recording: training, to stop by, test; ``history`` bins apart
    epochs : at most; None = as for classes

    Returns
    -------
    A row of ``validate.population.FORECASTS`` for each model. Bits per spike are those of the Poisson likelihood above
    that of each unit's mean rate in training; 0 says nothing was learnt, less is worse than the mean.

    Raises
    ------
    PopulationError
        Signals that are no counts, or segments too short for the history.
    SettingError
        A model that is not known.
    """
    decoders = {name: make_decoder(name, "forecast") for name in ([models] if isinstance(models, str) else models)}
    if not isinstance(population, Population):
        population = Population.from_arrays(population)
    train, val, test = split_windows(population, history, fractions)
    mean = train.targets.mean(axis=0)
    rows = []
    for name, decoder in decoders.items():
        if epochs is not None:
            decoder.epochs = epochs
        start = time.process_time()
        decoder.fit(train.trials, train.targets, population.n_units, seed, (val.trials, val.targets))
        spent = time.process_time() - start
        bits, of_unit = bits_per_spike(decoder.predict(test.trials), test.targets, mean)
        rows.append(
            {
                "session_id": population.session_id, "model": name, "history": history, "seed": seed,
                "n_units": population.n_units, "bits_per_spike": bits,
                "share_better": float((of_unit[np.isfinite(of_unit)] > 0).mean()), "n_train": len(train.rows),
                "n_test": len(test.rows), "fit_seconds": spent,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def split_windows(
    population: Population, history: int, fractions: tuple[float, float, float]
) -> tuple[Windows, Windows, Windows]:
    """Return what is foretold in training, in validation and in the test, no bin of one before or in another."""
    if population.counts.dtype.kind not in "iu":
        raise PopulationError(
            f"population '{population.session_id}': {population.counts.dtype} signals; counts are foretold, as integers"
        )
    if history < 1:
        raise PopulationError(f"forecast: history {history}; 1 bin or more is looked at")
    if len(fractions) != 3 or min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise PopulationError(f"forecast: fractions {tuple(fractions)}; three shares that add up to 1 are needed")
    rows = population.centres((history, 1))
    cuts = np.rint(np.cumsum(fractions)[:2] * population.n_rows)
    part = np.searchsorted(cuts, rows, side="right")
    late = np.concatenate([[0], cuts])[part] + history  # what lies before it belongs to the part, too
    chosen = [rows[(part == index) & ((rows >= late) | (part == 0))] for index in range(3)]
    if len(rows) and not population.counts[rows].any():
        raise PopulationError(
            f"population '{population.session_id}': no spike in {len(rows)} bins; nothing to foretell"
        )
    if min(len(some) for some in chosen) < MIN_ROWS:
        raise PopulationError(
            f"population '{population.session_id}': {[len(some) for some in chosen]} bins to learn from, stop by and "
            f"test; {MIN_ROWS} of each are needed, with {history} valid bins of their segment before them"
        )
    first, second, third = (Windows(population.counts, some, history) for some in chosen)
    return first, second, third


def bits_per_spike(rates: np.ndarray, counts: np.ndarray, mean: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the bits per spike above a constant rate, of all units and of each (NaN where it is silent).

    Parameters
    ----------
    rates : (n, n_units) expected counts; counts : (n, n_units) found; mean : (n_units,) constant rate to beat
    """
    gain = _likelihood(rates, counts) - _likelihood(np.broadcast_to(mean, counts.shape), counts)
    spikes = counts.sum(axis=0, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_unit = np.where(spikes > 0, gain / (spikes * np.log(2)), np.nan)
    return float(gain.sum() / (spikes.sum() * np.log(2))), of_unit


def _likelihood(rates: Any, counts: np.ndarray) -> np.ndarray:
    rates = np.maximum(rates, LEAST_RATE)
    return (counts * np.log(rates) - rates - gammaln(counts + 1.0)).sum(axis=0)

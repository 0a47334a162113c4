"""Decoding by parts of a population. Enters: a session in trials. Leaves: accuracy for each number of units and region.

Draws are nested (the 2 units are among the 4); the test presentations are the same in every row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...core.compute import map_tasks
from ...core.errors import PopulationError
from ..data import Population
from .kshot import Study, prepare
from .models import make_decoder
from .scores import score_trials

EVERY = "all"
"""Stands for all regions in the column ``region``."""
REGION = "region"
"""Column of units that names their region."""
TRAIN, TEST = 0, 2
"""Parts of ``splits.assign_parts``."""
SCORES = ("top1", "top1_low", "top1_high", "balanced", "chance")


@dataclass(frozen=True)
class _Fit:
    """Units that are decoded from; ``train`` and ``test`` are trials and their classes."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    n_classes: int
    told: dict[str, Any]


def decode_by_units(
    population: Population,
    model: str = "lda",
    sizes: Sequence[int] | None = None,
    repeats: int = 5,
    study: Study | None = None,
    n_workers: int = 1,
) -> pd.DataFrame:
    """Decode from random units, more and more of them, of the whole population and of each of its regions.

    Parameters
    ----------
    model : of ``models.MODELS``
    sizes : numbers of units; those above what a region has are left out. Default: 1, 2, 4, ... and all of them
    repeats : draws of units; all of them are drawn once
    study : split, rates and label; all training presentations are learnt from, whatever its shots

    Returns
    -------
    ``session_id, region, model, n_units, seed``, scores, ``n_test``; region ``all`` is the whole population, others are
    those of ``units['region']`` where there is such a column

    Raises
    ------
    PopulationError
        No classes to decode, or no such number of units.
    """
    study = study or Study()
    make_decoder(model)  # a misspelt name is told before anything is fitted
    population, part = prepare(population, study)
    n_units = population.n_units
    if repeats < 1 or (sizes is not None and (len(sizes) == 0 or min(sizes) < 1 or min(sizes) > n_units)):
        raise PopulationError(f"{repeats} draws of {sizes} units; 1 to {n_units} of them in 1 draw or more are needed")
    trials = np.ascontiguousarray(population.tensor())
    classes, codes = np.unique(population.segments[study.label].to_numpy(), return_inverse=True)
    fits = []
    for region, members in _find_regions(population.units).items():
        for seed, units in _draw(members, sizes, repeats, study.seed):
            train, test = ((trials[part == index][:, :, units], codes[part == index]) for index in (TRAIN, TEST))
            told = {"session_id": population.session_id, "region": region, "model": model, "n_units": len(units)}
            fits.append(_Fit(train, test, len(classes), {**told, "seed": seed}))
    return pd.DataFrame(list(map_tasks(_run, fits, n_workers, "spikeprint.population.decoding.classical")))


def summarise_sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread of the accuracy over draws, by session, region and number of units."""
    keys = ["session_id", "region", "n_units"]
    grouped = table.groupby(keys, sort=False)["top1"]
    found = pd.DataFrame({"top1": grouped.mean(), "spread": grouped.std(ddof=0), "n": grouped.size()})
    return found.reset_index()


def _find_regions(units: pd.DataFrame) -> dict[str, np.ndarray]:
    """Region -> its units; first all of them. Units without a region are in none."""
    names = units[REGION].fillna("").astype(str).to_numpy() if REGION in units else np.full(len(units), "")
    return {EVERY: np.arange(len(units)), **{str(n): np.flatnonzero(names == n) for n in sorted(set(names) - {""})}}


def _draw(
    members: np.ndarray, sizes: Sequence[int] | None, repeats: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Seed and units of each draw; nested within a seed, all units are drawn once."""
    n = len(members)
    wanted = {*(2**power for power in range(n.bit_length())), n} if sizes is None else set(sizes)
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(members)
        for size in sorted(wanted):
            if size < n or (size == n and repeat == 0):
                yield seed + repeat, np.sort(order[:size])


def _run(fit: _Fit) -> dict[str, Any]:
    decoder = make_decoder(fit.told["model"]).fit(*fit.train, fit.n_classes, fit.told["seed"], None)
    trials, codes = fit.test
    scores = score_trials(decoder.predict_proba(trials), codes)
    return {**fit.told, **{name: scores[name] for name in SCORES}, "n_test": len(codes)}

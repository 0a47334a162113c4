"""Train, validation and test parts. Enters: a population in trials. Leaves: parts that share no presentation.

Splits act on whole segments, never on rows: no part holds half of a presentation, nothing is cut at the tail.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import PopulationError
from .data import Population

PARTS = ("train", "val", "test")
BLOCKS_PER_PART = 5
"""A blocked split deals this many contiguous blocks to the smallest part."""
DEALS = 200
"""Deals of the blocks that are tried until training and test have every class."""


def split_population(
    population: Population,
    kind: str = "blocked",
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    gap: float = 0.0,
    seed: int = 0,
    label: str = "frame",
) -> dict[str, Population]:
    """Return the parts ``train``, ``val`` and ``test`` of a population; a part of fraction 0 is absent.

    Parameters
    ----------
    kind : ``blocked``, ``time`` or ``stratified``
    fractions : share of the segments of each part
    gap : seconds dropped on each side of a border (not ``stratified``)
    label : column of ``segments`` whose classes must occur in training and test; ignored where there is none

    Raises
    ------
    SettingError, PopulationError
        An unknown kind, fractions that are none, or a class that training or test lacks.
    """
    part = assign_parts(population, kind, fractions, gap, seed, label)
    return {name: population.select(part == index) for index, name in enumerate(PARTS) if (part == index).any()}


def assign_parts(
    population: Population, kind: str, fractions: Sequence[float], gap: float, seed: int, label: str
) -> np.ndarray:
    """Return (n_segments,) the part of each segment: 0 train, 1 val, 2 test, -1 dropped; see ``split_population``."""
    if kind not in KINDS:
        raise PopulationError(f"split '{kind}': unknown; known: {', '.join(KINDS)}")
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (3,) or (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise PopulationError(f"fractions {tuple(fractions)}: three shares of train, val and test that add up to 1")
    segments = population.segments
    classes = segments[label].to_numpy() if label in segments else None
    part = KINDS[kind](segments, shares, gap, np.random.default_rng(seed), classes)
    if classes is not None:
        _check_classes(part, shares, classes)
    return part


def _time(segments: Any, shares: np.ndarray, gap: float, rng: np.random.Generator, classes: Any) -> np.ndarray:
    borders = np.rint(np.cumsum(shares) * len(segments)).astype(int)
    part = np.searchsorted(borders, np.arange(len(segments)), side="right").clip(max=2)
    return _open_gaps(segments, part, gap)


def _blocked(segments: Any, shares: np.ndarray, gap: float, rng: np.random.Generator, classes: Any) -> np.ndarray:
    n_blocks = int(min(len(segments), np.ceil(BLOCKS_PER_PART / shares[shares > 0].min())))
    block = np.arange(len(segments)) * n_blocks // len(segments)
    for _ in range(DEALS):
        of_block = np.searchsorted(np.cumsum(shares) * n_blocks, rng.permutation(n_blocks) + 0.5).clip(max=2)
        part = _open_gaps(segments, of_block[block], gap)
        if classes is None or not _missing(part, shares, classes):
            break
    return part  # if no deal gave every part every class, the caller says which is missing


def _stratified(segments: Any, shares: np.ndarray, gap: float, rng: np.random.Generator, classes: Any) -> np.ndarray:
    if classes is None:
        raise PopulationError("a stratified split needs a column of classes in segments")
    part = np.zeros(len(segments), dtype=int)
    for value in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == value))
        borders = np.rint(np.cumsum(shares) * len(rows)).astype(int)
        part[rows] = np.searchsorted(borders, np.arange(len(rows)), side="right").clip(max=2)
    return part


KINDS: dict[str, Callable[..., np.ndarray]] = {"blocked": _blocked, "time": _time, "stratified": _stratified}


def _open_gaps(segments: Any, part: np.ndarray, gap: float) -> np.ndarray:
    """Drop what starts within ``gap`` seconds after, or stops within it before, a change of part."""
    if gap <= 0:
        return part
    part = part.copy()
    starts, stops = segments["t_start"].to_numpy(), segments["t_stop"].to_numpy()
    changes = np.flatnonzero(np.diff(part)) + 1
    borders = (starts[changes] + stops[changes - 1]) / 2
    for border in borders:
        part[(starts < border + gap) & (stops > border - gap)] = -1
    return part


def _missing(part: np.ndarray, shares: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    """Classes that the training or the test part lacks; validation only watches, it may."""
    lacking = {
        name: np.setdiff1d(classes, classes[part == index])
        for index, name in enumerate(PARTS)
        if name != "val" and shares[index] > 0
    }
    return {name: found for name, found in lacking.items() if len(found)}


def _check_classes(part: np.ndarray, shares: np.ndarray, classes: np.ndarray) -> None:
    for name, missing in _missing(part, shares, classes).items():
        raise PopulationError(
            f"split: part '{name}' has no presentation of class {', '.join(map(str, missing[:5]))} "
            f"({len(missing)} of {len(np.unique(classes))} classes); take larger shares, another seed or fewer classes"
        )


def draw_shots(
    classes: np.ndarray, pool: np.ndarray, shots: Sequence[int | None], seed: int
) -> dict[int | None, np.ndarray]:
    """Return the training trials for each k, nested: those of a smaller k are among those of a larger one.

    Parameters
    ----------
    classes : (n_trials,) class of every trial
    pool : indices of the trials that may be drawn
    shots : how many of each class; None = all

    Raises
    ------
    PopulationError
        A class with fewer than k trials in the pool; it is named.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(pool)
    rank = np.empty(len(order), dtype=int)
    for value in np.unique(classes[order]):
        mine = np.flatnonzero(classes[order] == value)
        rank[mine] = np.arange(len(mine))
    values, n_of = np.unique(classes[pool], return_counts=True)
    largest = max((k for k in shots if k is not None), default=0)
    if (n_of < largest).any():
        few = int(np.argmin(n_of))
        raise PopulationError(
            f"k-shot: class {values[few]} has {n_of[few]} training presentations, k = {largest} needs {largest}"
        )
    return {k: np.sort(order if k is None else order[rank < k]) for k in shots}

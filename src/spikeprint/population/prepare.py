"""What a fit needs before it starts. Enters: arrays or populations, and settings. Leaves: sessions, modes, samplers.

Nothing here trains: it decides the mode, holds rows out, and chooses how batches are laid out.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.errors import PopulationError, SettingError
from .data import Population
from .labels import LabelSpec, Targets
from .networks import count_multiplications, get_offset, is_dense
from .pools import RUN, Pool, Rules, check_classes, make_pool
from .sampling import Layout, Sampler
from .segments import OUTSIDE
from .settings import Settings, hybrid_options, time_offsets

LOGGER = logging.getLogger(__name__)

MANY_SEGMENTS = 10
"""From so many segments on whole ones are held out, else blocks of rows."""
HELD_BLOCKS, HELD_BLOCK = 5, 150
"""Blocks that are held out, and the least rows of each before there are several."""
FULL_NEGATIVES = 2048
"""Negatives of a step over all rows, unless the user asks for others."""
AUTO_BATCH = {"cpu": 512}
GPU_BATCH = 2048
HELD_OUT_MIN = 16
"""Fewer rows than this say nothing about a model."""


def read_sessions(X: Any, segments: Any = None) -> tuple[list[Population], bool]:
    """Return the sessions in ``X`` and whether it is a list of them.

    Parameters
    ----------
    X : (n_rows, n_units) array, a ``Population``, or a list of either
    segments : of the one array, or a list with those of each; see ``Population.from_arrays``

    Raises
    ------
    PopulationError
        An array that is sparse, empty, not of two dimensions, or holds values that are missing or infinite.
    """
    is_multi = isinstance(X, (list, tuple)) and (not len(X) or np.ndim(X[0]) == 2 or isinstance(X[0], Population))
    given = list(X) if is_multi else [X]
    borders = segments if is_multi and segments is not None else [segments] * len(given)
    if not given or len(borders) != len(given):
        raise PopulationError(
            f"X has {len(given)} sessions, segments {len(borders)}; one for each, at least one session"
        )
    return [_read_session(x, border, i) for i, (x, border) in enumerate(zip(given, borders, strict=True))], is_multi


def _read_session(x: Any, segments: Any, number: int) -> Population:
    if isinstance(x, Population):
        if x.counts.dtype.kind == "f" and not np.isfinite(x.counts[x.valid]).all():
            raise PopulationError(
                f"population '{x.session_id}': valid rows with values that are NaN or infinite; pass valid=False there"
            )
        return x
    if hasattr(x, "toarray"):
        raise PopulationError("X is a sparse matrix; pass X.toarray()")
    array = np.asarray(x)
    if array.dtype.kind == "O":
        array = _as_numbers(array)
    if array.dtype.kind not in "biuf":
        raise PopulationError(f"X is of type {array.dtype}; numbers are needed")
    if array.ndim != 2 or 0 in array.shape:
        raise PopulationError(
            f"X has shape {array.shape}: rows x units is needed, both at least 1. Reshape your data to two dimensions"
            + ("; trials x rows x units as Population.from_arrays(X)" if array.ndim == 3 else "")
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise PopulationError(f"X has {int((~np.isfinite(array)).sum())} values that are NaN or infinite")
    return Population.from_arrays(array, segments=segments, session_id=str(number))


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """What a table of mixed columns holds, as float where it all is numbers."""
    try:
        return array.astype(float)
    except (TypeError, ValueError):
        return array


def find_bin_widths(X: Any) -> list[float | None]:
    """Return the bin width of every session, seconds; None where it is an array, which does not know it."""
    given = X if isinstance(X, (list, tuple)) else [X]
    return [x.bin_width if isinstance(x, Population) else None for x in given]


@dataclass(frozen=True)
class InputTransform:
    """What is done to a signal before the encoder sees it.

    Attributes
    ----------
    kind : ``none``, ``sqrt`` or ``zscore``
    mean, scale : (n_units,) of ``zscore``, from training rows
    """

    kind: str
    mean: Any = None
    scale: Any = None

    @classmethod
    def fit(cls, kind: str, population: Population, train_rows: np.ndarray) -> "InputTransform":
        """Choose and fit a transform."""
        if kind == "auto":
            is_count = population.counts.dtype.kind in "iu" and np.min(population.counts) >= 0
            kind = "sqrt" if is_count else "none"
        if kind != "zscore":
            return cls(kind)
        rows = np.asarray(population.counts[train_rows], dtype=np.float64)
        spread = rows.std(axis=0)
        return cls(kind, rows.mean(axis=0), np.where(spread > 0, spread, 1.0))

    def apply(self, counts: np.ndarray) -> torch.Tensor:
        """Return (n_rows, n_units) float32.

        Raises
        ------
        PopulationError
            A square root of negative values.
        """
        x = np.asarray(counts, dtype=np.float32)
        if not np.isfinite(x).all():
            x = np.nan_to_num(x, posinf=0.0, neginf=0.0)  # rows that are not valid: nothing is drawn from them
        if self.kind == "sqrt":
            if (x < 0).any():
                raise PopulationError("input_transform 'sqrt': X has values below 0; take 'none' or 'zscore'")
            x = np.sqrt(x)
        elif self.kind == "zscore":
            x = ((x - self.mean) / self.scale).astype(np.float32)
        return torch.from_numpy(np.array(x, dtype=np.float32, order="C"))


def choose_mode(settings: Settings, kind: str, n_sessions: int) -> str:
    """Return the row of ``pools.MODES`` for labels of this kind.

    Raises
    ------
    SettingError, PopulationError
        A conditional that the labels cannot serve, or several sessions that nothing aligns.
    """
    conditional = "delta" if settings.conditional == "delta_normal" else settings.conditional
    if settings.hybrid and kind == "none":
        raise SettingError("hybrid = True needs a label beside time; without one use conditional = 'time'")
    if kind == "none":
        if conditional in ("time_delta", "delta"):
            raise SettingError(
                f"conditional = '{conditional}' needs a continuous label; without one it can only be 'time'"
            )
        if n_sessions > 1 and not (settings.shared_trunk or settings.within_session):
            raise PopulationError(
                "several sessions without labels: time alone aligns nothing between them; pass a label for each, or "
                "set shared_trunk or within_session"
            )
        return "time"
    if conditional == "time" and n_sessions > 1:
        raise SettingError(
            "conditional = 'time' would not use the labels of several sessions; leave labels or take None"
        )
    if kind == "discrete":
        return "discrete"
    if kind == "mixed":
        if conditional == "delta":
            raise SettingError("conditional = 'delta' cannot be used with a discrete label beside the continuous one")
        return "mixed"
    return conditional or "time_delta"


def make_rules(settings: Settings, mode: str, offset: tuple[int, int], spec: LabelSpec) -> Rules:
    """Return how pairs are made."""
    delta = None if mode != "delta" else float(settings.delta or 0) / spec.scale
    by_class = mode == "mixed" or (mode == "discrete" and settings.prior == "uniform")
    has_time_pair = hybrid_options(settings) is not None
    return Rules(mode, time_offsets(settings), offset, delta, has_time_pair, by_class)


def hold_out(population: Population, fraction: float) -> np.ndarray:
    """Return (n_rows,) bool, the rows that training never draws from, spread over the whole recording.

    Whole segments where there are many, else some blocks of rows, so that no single state of the animal decides.
    """
    held = np.zeros(population.n_rows, dtype=bool)
    if not fraction:
        return held
    table = population.segments
    if len(table) >= MANY_SEGMENTS:
        n_held = np.ceil(np.arange(1, len(table) + 1) * fraction) - np.ceil(np.arange(len(table)) * fraction)
        pairs = zip(table["start_row"][::-1], table["stop_row"][::-1], n_held, strict=True)  # the last is held out
        blocks = [(start, stop) for start, stop, is_held in pairs if is_held]
    else:
        n_blocks = int(np.clip(population.n_rows * fraction // HELD_BLOCK, 1, HELD_BLOCKS))
        stops = population.n_rows * np.arange(1, n_blocks + 1) // n_blocks
        length = int(np.ceil(population.n_rows * fraction / n_blocks))
        blocks = [(stop - length, stop) for stop in stops]
    for start, stop in blocks:
        held[start:stop] = True
    return held


def make_pools(
    populations: Sequence[Population],
    targets: Sequence[Targets],
    rules: Rules,
    spec: LabelSpec,
    helds: Sequence[np.ndarray],
) -> tuple[tuple[Pool, ...], tuple[Pool, ...] | None]:
    """Return the pools of training rows, and of those held out (None where there are too few to say anything).

    Parameters
    ----------
    helds : of each session, see ``hold_out``

    Raises
    ------
    PopulationError
        A session without a usable reference, or without a class that another has.
    """
    sides: list[list[np.ndarray]] = [[], []]
    for population, held in zip(populations, helds, strict=True):
        for side, mask in zip(sides, (~held, held), strict=True):
            side.append(np.where(mask, population.segment_of_row, OUTSIDE))
    longest = max(rules.time_offsets)
    for population in populations:
        if longest >= population.n_rows:
            raise PopulationError(
                f"time_offsets {longest}: session '{population.session_id}' has {population.n_rows} rows; a time "
                "offset must be shorter than the recording"
            )
    made = [
        make_pool(of_row, population.valid, target, rules, spec)
        for of_row, population, target in zip(sides[0], populations, targets, strict=True)
    ]
    check_classes(made, spec, [population.session_id for population in populations])
    if not any(held.any() for held in helds):
        return tuple(made), None
    try:
        unseen = [
            make_pool(of_row, population.valid, target, rules, spec)
            for of_row, population, target in zip(sides[1], populations, targets, strict=True)
        ]
        check_classes(unseen, spec, [population.session_id for population in populations])
    except PopulationError as error:
        LOGGER.warning("no held-out check: the last part of the recording is too short (%s)", error)
        return tuple(made), None
    if min(len(pool.references) for pool in unseen) < HELD_OUT_MIN:
        LOGGER.warning("no held-out check: fewer than %d rows can be held out", HELD_OUT_MIN)
        return tuple(made), None
    return tuple(made), tuple(unseen)


def make_sampler(
    settings: Settings, pools: tuple[Pool, ...], rules: Rules, encoders: Sequence[nn.Module], device: torch.device
) -> Sampler:
    """Return the sampler of training: batch size, negatives, and the cheapest layout."""
    if settings.batch_size is None:
        n_negatives = settings.num_negatives or min(FULL_NEGATIVES, *(len(pool.references) for pool in pools))
        layout: Layout = "full" if is_dense(encoders[0]) else "iid"
        return Sampler(pools, rules, None, n_negatives, layout)
    batch = AUTO_BATCH.get(device.type, GPU_BATCH) if settings.batch_size == "auto" else int(settings.batch_size)
    wanted = settings.sampling
    if wanted != "auto":
        if wanted != "iid" and not is_dense(encoders[0]):
            raise SettingError(
                f"sampling = '{wanted}' needs a convolutional model; '{settings.model_architecture}' is none"
            )
        if wanted == "block" and rules.by_class:
            raise SettingError("sampling = 'block' cannot draw classes first; take iid or full")
        return Sampler(pools, rules, batch, settings.num_negatives, wanted)  # type: ignore[arg-type]
    costs = layout_costs(pools[0], rules, encoders[0], batch, settings.num_negatives or 0)
    return Sampler(pools, rules, batch, settings.num_negatives, min(costs, key=costs.__getitem__))


def layout_costs(pool: Pool, rules: Rules, encoder: Any, batch: int, n_negatives: int) -> dict[Layout, float]:
    """Return the multiply-adds of the encoder in one step of each layout that is possible."""
    n_units = encoder.num_input
    window = count_multiplications(encoder, n_units, 1)
    n_single = n_negatives + (0 if rules.mode == "time" else batch)
    in_time = batch if rules.needs_partner else 0
    costs: dict[Layout, float] = {"iid": (batch + in_time + n_single) * window}
    if not is_dense(encoder):
        return costs
    costs["full"] = count_multiplications(encoder, n_units, pool.n_rows)
    if not rules.by_class:
        reach = RUN + (max(rules.time_offsets) if rules.needs_partner else 0)
        n_runs = batch * len(pool.run_starts) / (len(pool.references) * RUN)
        costs["block"] = n_runs * count_multiplications(encoder, n_units, reach) + n_single * window
    return costs


def check_lengths(populations: Sequence[Population], encoders: Sequence[nn.Module]) -> None:
    """Raise PopulationError for a session with fewer rows than the receptive field."""
    width = sum(get_offset(encoders[0]))
    for population in populations:
        if population.n_rows < width:
            raise PopulationError(
                f"session '{population.session_id}' has {population.n_rows} rows, the model sees {width}; record more "
                "or take a shorter model"
            )

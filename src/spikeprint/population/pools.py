"""What may be drawn of a session. Enters: segments, validity, labels. Leaves: a ``Pool`` of references and positives.

Modes differ in how a positive belongs to its reference: ``MODES`` says how each asks for one and how it is found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..core.errors import PopulationError
from .labels import LabelSpec, Targets
from .neighbours import ClassRows, LabelIndex, draw_within
from .segments import find_centres, find_pairs

RUN = 16
"""References in one run of the layout ``block``."""


@dataclass(frozen=True)
class Pool:
    """Rows of one session that may be drawn, and indices of their labels.

    Attributes
    ----------
    n_rows : rows of the session
    references : rows that may be references, all of them with a partner in time where the mode needs one
    values, codes : labels of all rows, see ``Targets``
    steps : (m, k) differences of the label over a time offset, never across a border of segments
    nearest : class -> index of the label's values; class 0 where there are no classes
    classes : rows of every class
    """

    n_rows: int
    references: np.ndarray
    values: Any = None
    codes: Any = None
    steps: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    nearest: dict[int, LabelIndex] = field(default_factory=dict)
    classes: Any = None

    @cached_property
    def run_starts(self) -> np.ndarray:
        """First rows of all runs of ``RUN`` rows that touch a reference; some are negative."""
        n_before = np.cumsum(np.concatenate([np.zeros(RUN), self.is_reference[RUN:]]))
        return np.flatnonzero(n_before[RUN:] - n_before[:-RUN]) - RUN + 1

    @cached_property
    def is_reference(self) -> np.ndarray:
        """(n_rows + 2 RUN,) bool, row r at ``r + RUN``."""
        found = np.zeros(self.n_rows + 2 * RUN, dtype=bool)
        found[self.references + RUN] = True
        return found


@dataclass(frozen=True)
class Rules:
    """How pairs are made.

    Attributes
    ----------
    mode : row of ``MODES``
    time_offsets : rows between the parts of a pair in time, one drawn for each pair
    delta : (k,) standard deviation of the step of mode ``delta``, in the model's scale
    offset : (left, right) of the encoder
    has_time_pair : whether a pair in time is needed beside the one by label (hybrid)
    by_class : draw a class first, then a row
    """

    mode: str
    time_offsets: tuple[int, ...]
    offset: tuple[int, int]
    delta: Any = None
    has_time_pair: bool = False
    by_class: bool = False

    @property
    def needs_partner(self) -> bool:
        """Whether a reference needs a row later in its segment."""
        return self.mode == "time" or self.has_time_pair


def make_pool(of_row: np.ndarray, valid: np.ndarray, targets: Targets, rules: Rules, spec: LabelSpec) -> Pool:
    """Return what may be drawn of one session.

    Parameters
    ----------
    of_row : (n_rows,) segment of each row
    valid : (n_rows,) bool

    Raises
    ------
    PopulationError
        No reference, no pair in time, or no step of the label.
    """
    centres = find_centres(of_row, valid, rules.offset)
    references = centres
    if rules.needs_partner:
        for step in rules.time_offsets:
            references = np.intersect1d(references, find_pairs(of_row, centres, step), assume_unique=True)
    if not len(references):
        raise PopulationError(
            f"no row of {len(of_row)} can be a reference: windows of {sum(rules.offset)} rows"
            + (f" and partners {max(rules.time_offsets)} rows later" if rules.needs_partner else "")
            + " must fit into a segment of valid rows; take a shorter model, smaller offsets or longer segments"
        )
    mode = MODES[rules.mode]
    pool: dict[str, Any] = {
        "n_rows": len(of_row),
        "references": references,
        "values": targets.values,
        "codes": targets.codes,
    }
    if mode.uses_steps:
        pool["steps"] = _steps(of_row, valid, targets.values, rules.time_offsets)
    if mode.by_value and mode.by_class:
        present = np.unique(targets.codes[centres])
        groups = {int(code): centres[targets.codes[centres] == code] for code in present}
        pool["nearest"] = {code: LabelIndex.build(targets.values[rows], rows) for code, rows in groups.items()}
    elif mode.by_value:
        pool["nearest"] = {0: LabelIndex.build(targets.values[centres], centres)}
    if mode.by_class:
        pool["classes"] = ClassRows.build(targets.codes[references], references, len(spec.classes))
    return Pool(**pool)


def _steps(of_row: np.ndarray, valid: np.ndarray, values: np.ndarray, time_offsets: Sequence[int]) -> np.ndarray:
    """Differences of the label between rows of one segment that lie a time offset apart."""
    usable = find_centres(of_row, valid, (0, 1))
    pairs = [(find_pairs(of_row, usable, step), step) for step in time_offsets]
    steps = np.concatenate([values[rows + step] - values[rows] for rows, step in pairs])
    if not len(steps):
        raise PopulationError(
            f"no two rows of a segment lie {min(time_offsets)} apart; take a smaller time offset or longer segments"
        )
    return steps


Asked = tuple[Any, Any]
"""(q, k) label values and (q,) classes that positives are asked to have."""


def _ask_step(pool: Pool, rows: np.ndarray, steps: np.ndarray, rules: Rules, rng: np.random.Generator) -> Asked:
    drawn = steps[rng.integers(len(steps), size=len(rows))]
    return pool.values[rows] + drawn, None if pool.codes is None else pool.codes[rows]


def _ask_noise(pool: Pool, rows: np.ndarray, steps: np.ndarray, rules: Rules, rng: np.random.Generator) -> Asked:
    return pool.values[rows] + rng.normal(size=(len(rows), pool.values.shape[1])) * rules.delta, None


def _ask_class(pool: Pool, rows: np.ndarray, steps: np.ndarray, rules: Rules, rng: np.random.Generator) -> Asked:
    return None, pool.codes[rows]


def _find_value(pool: Pool, asked: Asked, rng: np.random.Generator) -> np.ndarray:
    return pool.nearest[0].draw(asked[0], rng)


def _find_class(pool: Pool, asked: Asked, rng: np.random.Generator) -> np.ndarray:
    return pool.classes.draw(asked[1], rng)


def _find_both(pool: Pool, asked: Asked, rng: np.random.Generator) -> np.ndarray:
    return draw_within(pool.nearest, asked[0], asked[1], rng)


@dataclass(frozen=True)
class Mode:
    """How positives are asked for and found; without ``ask`` they are the rows a time offset later."""

    ask: Callable[..., Asked] | None = None
    find: Callable[[Pool, Asked, np.random.Generator], np.ndarray] | None = None
    uses_steps: bool = False
    by_value: bool = False
    by_class: bool = False


MODES: dict[str, Mode] = {
    "time": Mode(),
    "time_delta": Mode(_ask_step, _find_value, uses_steps=True, by_value=True),
    "delta": Mode(_ask_noise, _find_value, by_value=True),
    "discrete": Mode(_ask_class, _find_class, by_class=True),
    "mixed": Mode(_ask_step, _find_both, uses_steps=True, by_value=True, by_class=True),
}


def check_classes(pools: Sequence[Pool], spec: LabelSpec, names: Sequence[str]) -> None:
    """Raise PopulationError when a session lacks a class that another has; both are named."""
    for pool, name in zip(pools, names, strict=True):
        missing = np.flatnonzero([] if pool.classes is None else pool.classes.counts == 0)
        if len(pools) > 1 and len(missing):
            raise PopulationError(
                f"session '{name}' has no usable row of class {spec.classes[missing[0]]!r}, which others have; every "
                "session needs every class"
            )

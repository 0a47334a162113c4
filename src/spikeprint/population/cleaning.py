"""Which units and presentations may be used. Enters: a session or population. Leaves: less of it, a count per rule.

Presentations are kept whole or dropped whole, so bins never lose their presentation.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import PopulationError
from ..core.sessions import SpikeSession
from .data import Population

DISPLAY_FRAME_S = 1 / 60
"""A presentation whose duration is further than this from the median was not shown as planned."""
IGNORED_TAGS = frozenset({"optotagging"})
WIDE_TAGS = frozenset({"stimulus", "all_probes", "session"})

Criterion = Literal["at_most", "at_least"]
ProbeRule = Literal["drop_presentations", "drop_units"]
QUALITY: dict[str, Criterion] = {
    "isi_violations": "at_most",
    "amplitude_cutoff": "at_most",
    "presence_ratio": "at_least",
}
"""Quality column -> on which side of its threshold a unit is good."""


@dataclass(frozen=True)
class Step:
    """What one rule left: ``what`` is units or presentations."""

    what: str
    rule: str
    before: int
    after: int

    def as_row(self) -> dict[str, Any]:
        """The step as a row of a table."""
        return asdict(self)


def select_presentations(
    session: SpikeSession, probe_invalid: ProbeRule = "drop_presentations"
) -> tuple[SpikeSession, list[Step]]:
    """Return the session with the presentations that can be trusted.

    Parameters
    ----------
    probe_invalid : what an interval that concerns one probe takes away

    Raises
    ------
    PopulationError
        Presentations that overlap, lie outside the recording, or none that is left.
    """
    table = session.presentations
    if table is None or table.empty:
        raise PopulationError(f"session '{session.session_id}': no presentations")
    table = table.sort_values("start_time", kind="stable").reset_index(drop=True)
    _check_order(session, table)
    steps = []
    duration = (table["stop_time"] - table["start_time"]).to_numpy()
    regular = np.abs(duration - np.median(duration)) <= DISPLAY_FRAME_S
    steps.append(Step("presentations", "duration", len(table), int(regular.sum())))
    table = table[regular]
    touched = np.zeros(len(table), dtype=bool)
    bad_probes: set[str] = set()
    probes = set(session.units["probe"].astype(str)) if "probe" in session.units else set()
    for row in session.invalid.itertuples():
        tags = {str(tag) for tag in row.tags}
        if tags & IGNORED_TAGS:
            continue
        if probe_invalid == "drop_units" and tags & probes and not tags & WIDE_TAGS:
            bad_probes |= tags & probes
            continue
        touched |= ((table["start_time"] < row.stop) & (table["stop_time"] > row.start)).to_numpy()
    steps.append(Step("presentations", "invalid times", len(table), int((~touched).sum())))
    table = table[~touched]
    if table.empty:
        raise PopulationError(f"session '{session.session_id}': no presentations left ({_tell(steps)})")
    session = replace(session, presentations=table)
    if bad_probes:
        keep = ~session.units["probe"].astype(str).isin(bad_probes).to_numpy()
        steps.append(Step("units", f"invalid probes {', '.join(sorted(bad_probes))}", len(keep), int(keep.sum())))
        session = take_units(session, keep)
    return session, steps


def _check_order(session: SpikeSession, table: pd.DataFrame) -> None:
    here = f"session '{session.session_id}'"
    starts, stops = table["start_time"].to_numpy(), table["stop_time"].to_numpy()
    if (early := stops <= starts).any():
        raise PopulationError(f"{here}: presentation {table.index[early][0]} stops before it starts")
    over = np.flatnonzero(starts[1:] < stops[:-1] - 1e-6)
    if len(over):
        first = over[0]
        raise PopulationError(
            f"{here}: presentations {first} and {first + 1} overlap ({starts[first + 1]:g} s is before "
            f"{stops[first]:g} s); one stimulus at a time is needed"
        )
    outside = (starts < session.t_start) | (stops > session.t_stop)
    if outside.any():
        at = int(np.argmax(outside))
        raise PopulationError(
            f"{here}: presentation {at} ({starts[at]:g} to {stops[at]:g} s) lies outside the recording "
            f"({session.t_start:g} to {session.t_stop:g} s); {int(outside.sum())} do"
        )


def take_units(session: SpikeSession, keep: np.ndarray) -> SpikeSession:
    """Return the session of the units where ``keep`` is true."""
    if not keep.any():
        raise PopulationError(f"session '{session.session_id}': no unit of {len(keep)} is left")
    chosen = np.flatnonzero(keep).tolist()
    times = np.concatenate([session.train(unit) for unit in chosen])
    offsets = np.concatenate([[0], np.cumsum([len(session.train(unit)) for unit in chosen])])
    return replace(session, spike_times_s=times, offsets=offsets, units=session.units[keep].reset_index(drop=True))


def select_by_quality(units: pd.DataFrame, thresholds: Mapping[str, float | None]) -> tuple[np.ndarray, list[Step]]:
    """Return which units pass every threshold, (n_units,) bool, and a step per rule.

    A column that the units lack, and a threshold of None, is no rule; a missing value fails. Units that say ``quality``
    must say good.
    """
    keep, steps = np.ones(len(units), dtype=bool), []
    tests = {}
    for name, side in QUALITY.items():
        limit = thresholds.get(name)
        if limit is not None and name in units:
            values = units[name].to_numpy(dtype=float)
            tests[f"{name} {side.replace('_', ' ')} {limit:g}"] = (
                values <= limit if side == "at_most" else values >= limit
            )
    if "quality" in units and tests:
        tests["quality is good"] = (units["quality"] == "good").to_numpy()
    for rule, passed in tests.items():
        steps.append(Step("units", rule, int(keep.sum()), int((keep & passed).sum())))
        keep &= passed
    return keep, steps


def select_by_rate(train: Population, rates_hz: tuple[float, float]) -> tuple[np.ndarray, list[Step]]:
    """Return which units fire at a usable rate and vary, judged on training segments only."""
    counts = np.concatenate(
        [train.counts[a:b] for a, b in zip(train.segments["start_row"], train.segments["stop_row"], strict=True)]
    )
    rate = counts.mean(axis=0) / train.bin_width
    in_range = (rate >= rates_hz[0]) & (rate <= rates_hz[1])
    varies = counts.var(axis=0) > 0
    steps = [
        Step("units", f"{rates_hz[0]:g} to {rates_hz[1]:g} Hz in training", len(rate), int(in_range.sum())),
        Step("units", "variance in training", int(in_range.sum()), int((in_range & varies).sum())),
    ]
    return in_range & varies, steps


def _tell(steps: list[Step]) -> str:
    return "; ".join(f"{step.rule}: {step.before} -> {step.after}" for step in steps)

"""How alike templates are. Enters: two sets of mean waveforms. Leaves: a table of all pairs, best over small shifts."""

from typing import Literal

import numpy as np
import pandas as pd

from ..core.hybrid_plan import Plan
from ..io.hybrid.sortings import Trains
from ..io.hybrid.source import RawSource
from .events import Window, cut_windows, detrend, pick

Measure = Literal["correlation", "cosine", "frobenius"]
MAX_SHIFT = 5
MAX_EVENTS = 100


def compare_templates(
    first: np.ndarray, second: np.ndarray, measure: Measure = "correlation", max_shift: int = MAX_SHIFT
) -> np.ndarray:
    """Compare all pairs of templates.

    Parameters
    ----------
    first, second : (n_first, n_samples, n_channels) and (n_second, ...)
    measure : Pearson's correlation, cosine, or the norm of the difference over that of ``first``
    max_shift : the best of shifts by at most so many samples; zeros move in

    Returns
    -------
    (n_first, n_second) float64
    """
    n_samples = first.shape[1]
    shifts = range(-min(max_shift, n_samples - 1), min(max_shift, n_samples - 1) + 1)
    moved = np.stack([_shift(first, shift) for shift in shifts]).reshape(len(shifts) * len(first), -1)
    other = second.reshape(len(second), -1).astype(np.float64)
    if measure == "correlation":
        moved, other = (flat - flat.mean(axis=1, keepdims=True) for flat in (moved, other))
    product = moved @ other.T
    norms = np.linalg.norm(moved, axis=1)[:, None], np.linalg.norm(other, axis=1)[None]
    if measure == "frobenius":
        own = np.linalg.norm(first.reshape(len(first), -1).astype(np.float64), axis=1)
        distance = np.sqrt(np.maximum(norms[0] ** 2 + norms[1] ** 2 - 2 * product, 0))
        shaped = distance.reshape(len(shifts), len(first), -1) / np.maximum(own, 1e-12)[None, :, None]
        return shaped.min(axis=0)
    alike = product / np.maximum(norms[0] * norms[1], 1e-12)
    return alike.reshape(len(shifts), len(first), -1).max(axis=0)


def measure_templates(source: RawSource, trains: Trains, units: list[int], window: Window, seed: int) -> np.ndarray:
    """(n, n_samples, n_channels) float32 mean of at most 100 detrended windows of sorted units; zeros without any."""
    channels = np.arange(source.n_channels)
    found = np.zeros((len(units), window.n_samples, source.n_channels), dtype=np.float32)
    for row, unit in enumerate(units):
        spikes = trains.of_unit(unit)
        spikes = pick(spikes[window.fits(trains, spikes, source)], MAX_EVENTS, np.random.default_rng([seed, 4, unit]))
        for spike in spikes:
            found[row] += detrend(cut_windows(source, trains, np.array([spike]), window, channels))[0] / len(spikes)
    return found


def measure_before_after(
    plan: Plan, source: RawSource, trains: Trains, hybrid: RawSource
) -> tuple[np.ndarray, np.ndarray]:
    """Measure what the spikes of each source unit and of its hybrid look like, each on the contact of its peak.

    Parameters
    ----------
    source, trains : the traces of the plan and their sorting
    hybrid : the traces with the hybrid units

    Returns
    -------
    before, after : (n_units, n_samples) float32, in µV where gains are known, else in bits; the extremum of ``before``
        lies where that of ``after`` does
    """
    window, units = Window(plan.before, plan.n_samples), range(len(plan.units))
    owners = trains.index([unit.source_unit for unit in plan.units])
    found = measure_templates(source, trains, owners, window, plan.seed)
    added = measure_templates(hybrid, _trains_of(plan), list(units), window, plan.seed)
    gains = np.where(np.isfinite(plan.source.gains_uv), plan.source.gains_uv, 1.0).astype(np.float32)
    before, after = np.zeros((2, len(units), plan.n_samples), dtype=np.float32)
    for k in units:
        old, new = int(np.ptp(found[k], axis=0).argmax()), plan.units[k].peak_channel
        after[k] = added[k, :, new] * gains[new]
        trace = found[k, :, old] * gains[old]
        before[k] = _shift(trace[None, :, None], int(np.abs(after[k]).argmax() - np.abs(trace).argmax()))[0, :, 0]
    return before, after


def _trains_of(plan: Plan) -> Trains:
    """The hybrid spikes, unit after unit."""
    order = np.argsort(plan.spikes["unit"], kind="stable")
    counts = np.bincount(plan.spikes["unit"], minlength=len(plan.units))
    ids = np.array([str(unit.unit_id) for unit in plan.units], dtype=str)
    segment, sample = (plan.spikes[name][order].astype(np.int64) for name in ("segment", "sample"))
    return Trains(ids, segment, sample, np.concatenate([[0], np.cumsum(counts)]))


def _shift(templates: np.ndarray, shift: int) -> np.ndarray:
    """Templates later by ``shift`` samples."""
    moved = np.zeros(templates.shape, dtype=np.float64)
    n = templates.shape[1]
    moved[:, max(shift, 0) : n + min(shift, 0)] = templates[:, max(-shift, 0) : n - max(shift, 0)]
    return moved


def compare_found(plan: Plan, source: RawSource, trains: Trains, assigned: np.ndarray) -> pd.DataFrame:
    """Compare each hybrid unit's template with that of the sorted unit it was assigned to, on the unit's contacts.

    Parameters
    ----------
    source : the traces with the hybrid units
    assigned : (n_units,) sorted unit of each hybrid, -1 without

    Returns
    -------
    (n_units,) columns template_correlation and template_distance (Frobenius norm of the difference over that of the
    hybrid's); NaN where the unit was not found
    """
    found = np.flatnonzero(assigned >= 0)
    window = Window(plan.before, plan.n_samples)
    measured = measure_templates(source, trains, [int(unit) for unit in assigned[found]], window, plan.seed)
    true = plan.templates()
    table = np.full((len(assigned), 2), np.nan)
    for row, unit in enumerate(found):
        used = true[unit].any(axis=0)
        pair = true[unit : unit + 1][:, :, used], measured[row : row + 1][:, :, used]
        table[unit] = compare_templates(*pair)[0, 0], compare_templates(*pair, "frobenius")[0, 0]
    return pd.DataFrame(table, columns=["template_correlation", "template_distance"])

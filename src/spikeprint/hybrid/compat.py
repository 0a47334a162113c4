"""Hybrid units as hybridfactory 0.1 makes them, to compare. Enters: windows, trains. Leaves: events, anchor, times.

Steps 3 to 10 of its algorithm: detrending, low rank of all events, a shift that favours far places, jittered times
without a check of intervals, events drawn with replacement, and a triangular factor that reshapes each.
"""

import numpy as np

from .events import detrend
from .waveforms import fit_low_rank

MAX_SPIKES = 25_000


def make_events(windows: np.ndarray, rank: int) -> np.ndarray:
    """(n_events, n_samples, m) artificial events of low rank, each times a triangle that peaks at its extremum."""
    events = fit_low_rank(detrend(windows), rank)
    n_events, n_samples, m = events.shape
    extremum = np.abs(events).reshape(n_events, -1).argmax(axis=1) // m
    t = np.arange(n_samples)[None]
    at = np.clip(extremum, 1, n_samples - 2)[:, None]
    triangle = np.where(t <= at, t / at, (n_samples - 1 - t) / (n_samples - 1 - at))
    return (events * triangle[:, :, None]).astype(np.float32)


def pick_anchor(channels: np.ndarray, positions_um: np.ndarray) -> int:
    """Return the unit's channel farthest from the centre of the probe."""
    centre = np.nanmean(positions_um, axis=0)
    return int(channels[np.linalg.norm(positions_um[channels] - centre, axis=1).argmax()])


def jitter(sample: np.ndarray, half_isi: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Move half of the spikes later by half_isi + |N|, the others earlier by half_isi + |half_isi + N|."""
    n = len(sample)
    is_later = rng.permutation(np.arange(n) < n // 2)
    noise = rng.normal(0, spread, n)
    later = half_isi + np.abs(noise)
    earlier = half_isi + np.abs(half_isi + noise)
    return sample + np.where(is_later, later, -earlier).astype(np.int64)


def draw_times(
    segment: np.ndarray,
    sample: np.ndarray,
    spans: list[tuple[int, int]],
    rates: tuple[float | None, float, float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return jittered times of the unit, or of a regular grid.

    Parameters
    ----------
    segment, sample : (n,) of the source unit
    spans : of each segment, the first sample allowed and the one after the last
    rates : synthetic rate (Hz, None = the unit's own times), sampling rate (Hz), spread of the jitter (samples)
    """
    rate_hz, sampling_hz, spread = rates
    half_isi = int(sampling_hz) * 2 // 2000
    if rate_hz is not None:
        step = max(int(sampling_hz // rate_hz), 1)
        grids = [np.arange(start, stop, step) for start, stop in spans]
        segment = np.repeat(np.arange(len(spans)), [len(grid) for grid in grids])
        sample, half_isi = np.concatenate(grids), 0
    moved = jitter(sample, half_isi, spread, rng)
    starts, stops = np.array(spans).T
    is_inside = (moved >= starts[segment]) & (moved < stops[segment])
    segment, moved = segment[is_inside], moved[is_inside]
    if len(moved) > MAX_SPIKES:
        chosen = rng.choice(len(moved), MAX_SPIKES, replace=False)
        segment, moved = segment[chosen], moved[chosen]
    return segment, moved

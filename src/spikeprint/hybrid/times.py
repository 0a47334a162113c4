"""When hybrid units fire. Enters: trains and options. Leaves: segment and sample of each spike."""

from bisect import bisect_left

import numpy as np

from ..core.errors import ConfigError, DataError
from ..core.hybrid_params import TimesParams

TRIES = 20


def draw_renewal(
    params: TimesParams, rate_hz: float, spans: list[tuple[int, int]], sampling_hz: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a train whose intervals are the refractory period and a gamma variate.

    Parameters
    ----------
    rate_hz : mean rate
    spans : of each segment, the first sample allowed and the one after the last

    Returns
    -------
    segment, sample : (n,) each

    Raises
    ------
    ConfigError
        The rate leaves no room for the refractory period, or for the bursts.
    """
    dead = params.refractory_ms / 1000
    mean = 1 / rate_hz - dead
    short = 0.0
    p = 0.0 if params.burst is None else params.burst.probability
    if params.burst is not None:
        short = params.burst.interval_ms / 1000 - dead
        mean = (mean - p * short) / max(1 - p, 1e-9)
    if mean <= 0 or short < 0:
        raise ConfigError(
            f"times: {rate_hz:g} Hz with a refractory period of {params.refractory_ms:g} ms"
            f"{' and these bursts' if params.burst else ''} leaves no interval to draw; lower rate_hz or refractory_ms"
        )
    least = int(np.ceil(dead * sampling_hz))
    segments, samples = [], []
    for segment, (start, stop) in enumerate(spans):
        n = int((stop - start) / sampling_hz * rate_hz * 1.5) + 50
        at = start + rng.uniform(0, 1) * (mean + dead) * sampling_hz
        train: list[np.ndarray] = []
        while at < stop:
            drawn = rng.gamma(params.shape, mean / params.shape, n)
            if p:
                drawn = np.where(rng.uniform(size=n) < p, rng.exponential(short, n), drawn)
            steps = np.maximum(np.ceil((dead + drawn) * sampling_hz), least)
            train.append(np.floor(at) + np.concatenate([[0], np.cumsum(steps[:-1])]))
            at = np.floor(at) + steps.sum()
        whole = np.concatenate(train) if train else np.empty(0)
        whole = whole[whole < stop].astype(np.int64)
        segments.append(np.full(len(whole), segment))
        samples.append(whole)
    return np.concatenate(segments), np.concatenate(samples)


def draw_jitter(
    params: TimesParams,
    segment: np.ndarray,
    sample: np.ndarray,
    spans: list[tuple[int, int]],
    sampling_hz: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Move the spikes of the source unit by guard + |normal|, to either side.

    A spike is drawn anew, up to 20 times, until it is at least ``guard_ms`` from every spike of the source unit and
    ``refractory_ms`` from every spike placed before; else it is left out.

    Parameters
    ----------
    segment, sample : (n,) of the source unit, in order

    Returns
    -------
    segment, sample : of those placed; n_dropped : of those left out
    """
    guard = int(np.ceil(params.guard_ms * sampling_hz / 1000))
    dead = int(np.ceil(params.refractory_ms * sampling_hz / 1000))
    spread = params.jitter_ms * sampling_hz / 1000
    segments, samples, n_dropped = [], [], 0
    for number, (start, stop) in enumerate(spans):
        own = sample[segment == number]
        sources: list[int] = own.tolist()
        placed: list[int] = []
        shifts = guard + np.floor(np.abs(rng.normal(0, spread, (len(own), TRIES)))).astype(np.int64)
        shifts *= rng.choice(np.array([-1, 1]), (len(own), TRIES))
        for tries in own[:, None] + shifts:
            free = (
                at
                for at in tries.tolist()
                if start <= at < stop and _distance(at, sources) >= guard and _distance(at, placed) >= dead
            )
            found = next(free, None)
            if found is None:
                n_dropped += 1
            else:
                placed.insert(bisect_left(placed, found), found)
        segments.append(np.full(len(placed), number))
        samples.append(np.array(placed, dtype=np.int64))
    return np.concatenate(segments), np.concatenate(samples), n_dropped


def _distance(at: int, times: list[int]) -> float:
    """Samples to the nearest of ordered times."""
    i = bisect_left(times, at)
    return min((abs(times[k] - at) for k in (i - 1, i) if 0 <= k < len(times)), default=float("inf"))


def check_given(
    segment: np.ndarray, sample: np.ndarray, spans: list[tuple[int, int]], names: list[str], unit: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return times that were given, in order and once each.

    Raises
    ------
    DataError
        A window would cross the end of a segment.
    """
    for number, (start, stop) in enumerate(spans):
        mine = sample[segment == number]
        bad = mine[(mine < start) | (mine >= stop)]
        if len(bad):
            raise DataError(
                f"unit {unit}: the window of the spike given at sample {bad[0]} of {names[number]} crosses its end "
                f"(samples {start} to {stop - 1} are possible); leave it out"
            )
    pairs = np.unique(np.column_stack([segment, sample]), axis=0)
    return pairs[:, 0], pairs[:, 1]

"""The kernels and their NumPy twins against all-pairs brute force, on random and adversarial trains."""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikeprint.features import correlograms
from spikeprint.features.correlograms import (
    Backend,
    compute_close_pairs,
    compute_crosscorrelogram,
    compute_isi_acg,
)

RNG = np.random.default_rng(7)
TRAINS = {
    "empty": np.array([], dtype=np.int64),
    "single": np.array([5_000]),
    "pair_at_half_bin": np.array([0, 1_500]),
    "pair_below_half_bin": np.array([0, 1_499]),
    "close_pair": np.array([0, 499]),
    "first_counted_pair": np.array([0, 500]),
    "last_isi_bin": np.array([0, 99_999]),
    "first_uncounted_isi": np.array([0, 100_000]),
    "last_acg_pair": np.array([0, 100_499]),
    "first_uncounted_acg_pair": np.array([0, 100_500]),
    "duplicates": np.array([10, 10, 10, 2_010, 2_010]),
    "half_bin_grid": np.arange(0, 400_000, 500),
    "bursts": np.sort((np.arange(60)[:, None] * 90_000 + RNG.integers(0, 9_000, (60, 4))).ravel()),
    "sparse": np.sort(RNG.integers(0, 10**9, 50)),
    "dense": np.sort(RNG.integers(0, 2 * 10**6, 600)),
    "random": np.sort(RNG.integers(0, 20 * 10**6, 800)),
    "one_long_burst": np.arange(0, 60_000, 700),
    "off_by_one_around_bins": np.cumsum(np.tile([499, 500, 501, 999, 1_000, 1_001, 1_499, 1_500, 99_500, 100_500], 9)),
    "late": np.sort(RNG.integers(0, 10**6, 100)) + 8 * 10**11,
}


RUNS = {
    "one_gap": ("random", [400]),
    "every_spike_alone": ("duplicates", [1, 2, 3, 4]),
    "gap_after_the_first": ("dense", [1]),
    "gap_before_the_last": ("bursts", [239]),
    "many_gaps": ("dense", [50, 51, 52, 200, 450]),
}
"""Train and the spikes at which an unbroken stretch begins."""
both = pytest.mark.parametrize("backend", ["numba", "numpy"])


def brute_force(ticks: np.ndarray, starts: Sequence[int] = ()) -> tuple[list[int], list[int], list[int]]:
    """ISI, ACG and close pairs of all pairs, in Python integers, straight from the definitions."""
    isi, acg, close = [0] * 100, [0] * 201, [0] * 40
    for begin, end in pairwise([0, *starts, len(ticks)]):
        times = [int(tick) for tick in ticks[begin:end]]
        for before, after in pairwise(times):
            if (after - before) // 1000 < 100:
                isi[(after - before) // 1000] += 1
        for i, first in enumerate(times):
            for second in times[i + 1 :]:
                lag = (second - first + 500) // 1000
                if second > first and 1 <= lag <= 100:
                    acg[100 + lag] += 1
                    acg[100 - lag] += 1
                if (second - first) // 250 < 40:
                    close[(second - first) // 250] += 1
    return isi, acg, close


def brute_cross(first: np.ndarray, second: np.ndarray) -> list[int]:
    """Crosscorrelogram of all pairs, in Python integers."""
    lags: Counter[int] = Counter()
    for a in first.tolist():
        for b in second.tolist():
            lags[(b - a + 500) // 1000 if b >= a else -((a - b + 500) // 1000)] += 1
    return [lags[lag] for lag in range(-100, 101)]


def count(trains: list[np.ndarray], backend: Backend, starts: Sequence[int] = ()) -> list[np.ndarray]:
    """ISI, ACG and close pairs of units; ``starts`` are further borders of runs."""
    ticks, offsets = pack(trains)
    runs = np.unique(np.concatenate([offsets, starts]).astype(np.int64)) if starts else None
    return [*compute_isi_acg(ticks, offsets, runs, backend), compute_close_pairs(ticks, offsets, runs, backend)]


def pack(trains: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Trains one after another, and their offsets."""
    return np.concatenate(trains), np.concatenate([[0], np.cumsum([len(t) for t in trains])])


@both
@pytest.mark.parametrize("name", TRAINS)
def test_counts_equal_brute_force(name: str, backend: Backend) -> None:
    found = count([TRAINS[name]], backend)
    for part, expected in zip(found, brute_force(TRAINS[name]), strict=True):
        assert part[0].tolist() == expected


@both
@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_counted_across_a_gap(name: str, backend: Backend) -> None:
    train, starts = RUNS[name]
    found = count([TRAINS[train]], backend, starts)
    for part, expected in zip(found, brute_force(TRAINS[train], starts), strict=True):
        assert part[0].tolist() == expected


@both
@pytest.mark.parametrize("seed", range(8))
def test_random_units_with_random_gaps_equal_brute_force(seed: int, backend: Backend) -> None:
    rng = np.random.default_rng(seed)
    trains = [np.sort(rng.integers(0, 10 ** rng.integers(5, 8), rng.integers(0, 200))) for _ in range(6)]
    ticks, offsets = pack(trains)
    starts = sorted(set(rng.integers(0, len(ticks) + 1, 8).tolist()))
    found = count(trains, backend, starts)
    for i, train in enumerate(trains):
        own = [s - int(offsets[i]) for s in starts if offsets[i] < s < offsets[i + 1]]
        for part, expected in zip(found, brute_force(train, own), strict=True):
            assert part[i].tolist() == expected


@both
def test_units_do_not_mix(backend: Backend) -> None:
    together = count(list(TRAINS.values()), backend)
    alone = [count([train], backend) for train in TRAINS.values()]
    for part, counts in enumerate(together):
        assert np.array_equal(counts, np.concatenate([found[part] for found in alone]))


def test_numpy_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = count(list(TRAINS.values()), "numba")
    monkeypatch.setattr(correlograms, "BLOCK", 37)
    for expected, found in zip(whole, count(list(TRAINS.values()), "numpy"), strict=True):
        assert np.array_equal(expected, found)


@both
def test_two_segments_far_apart_are_the_sum_of_both(backend: Backend) -> None:
    first, second = TRAINS["random"], TRAINS["bursts"]
    merged = count([np.concatenate([first, second + first[-1] + 10])], backend, [len(first)])
    parts = [count([first], backend), count([second], backend)]
    for whole, one, two in zip(merged, *parts, strict=True):
        assert np.array_equal(whole, one + two)


@both
def test_acg_is_symmetric_with_an_empty_centre(backend: Backend) -> None:
    _, acg, _ = count(list(TRAINS.values()), backend)
    assert np.array_equal(acg, acg[:, ::-1])
    assert not acg[:, 100].any()


@both
def test_every_interval_of_a_millisecond_or_more_is_a_pair(backend: Backend) -> None:
    isi, acg, _ = count(list(TRAINS.values()), backend)
    assert (acg.sum(axis=1) / 2 >= isi[:, 1:].sum(axis=1)).all()


def test_poisson_train_has_a_flat_acg() -> None:
    rate_hz, duration_s = 20.0, 5_000.0
    rng = np.random.default_rng(1)
    ticks = np.sort(rng.integers(0, int(duration_s * 1e6), rng.poisson(rate_hz * duration_s)))
    _, acg = compute_isi_acg(*pack([ticks]))
    expected = len(ticks) * rate_hz * 1e-3
    assert np.abs(acg[0, 101:] - expected).max() < 5 * np.sqrt(expected)


@both
def test_no_units(backend: Backend) -> None:
    found = [
        *compute_isi_acg(np.empty(0, dtype=np.int64), np.array([0]), backend=backend),
        compute_close_pairs(np.empty(0, dtype=np.int64), np.array([0]), backend=backend),
    ]
    assert [part.shape for part in found] == [(0, 100), (0, 201), (0, 40)]


@both
@pytest.mark.parametrize(
    "names", [("random", "dense"), ("dense", "half_bin_grid"), ("empty", "single"), ("late", "late")]
)
def test_crosscorrelogram_equals_brute_force(names: tuple[str, str], backend: Backend) -> None:
    first, second = (TRAINS[name] for name in names)
    assert compute_crosscorrelogram(first, second, backend).tolist() == brute_cross(first, second)


@both
def test_swapping_the_trains_reverses_the_crosscorrelogram(backend: Backend) -> None:
    first, second = TRAINS["half_bin_grid"], TRAINS["random"]
    forward = compute_crosscorrelogram(first, second, backend)
    assert np.array_equal(forward, compute_crosscorrelogram(second, first, backend)[::-1])


@both
@pytest.mark.parametrize(
    ("distance", "lag"), [(0, 0), (499, 0), (500, 1), (-499, 0), (-500, -1), (100_499, 100), (-100_499, -100)]
)
def test_lag_of_one_pair(distance: int, lag: int, backend: Backend) -> None:
    counts = compute_crosscorrelogram(np.array([10**6]), np.array([10**6 + distance]), backend)
    assert (counts.argmax() - 100, counts.sum()) == (lag, 1)


@both
@pytest.mark.parametrize("distance", [100_500, -100_500])
def test_far_pairs_have_no_lag(distance: int, backend: Backend) -> None:
    assert not compute_crosscorrelogram(np.array([10**6]), np.array([10**6 + distance]), backend).any()


def test_the_autocorrelogram_is_the_crosscorrelogram_with_itself() -> None:
    ticks = TRAINS["bursts"]
    crossed = compute_crosscorrelogram(ticks, ticks)
    _, acg = compute_isi_acg(*pack([ticks]))
    assert np.array_equal(np.delete(crossed, 100), np.delete(acg[0], 100))


def test_without_numba_numpy_counts_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected: Any = compute_isi_acg(*pack([TRAINS["random"]]))
    monkeypatch.setattr(correlograms, "kernels", None)
    correlograms._tell_slow.cache_clear()
    logger = logging.getLogger("spikeprint")
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = compute_isi_acg(*pack([TRAINS["random"]]), backend="numba")
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    told = {id(record): record.message for record in caplog.records}  # one record may reach two handlers
    assert list(told.values()) == [
        "numba cannot be imported: spikes are counted by NumPy, with equal results, several times slower"
    ]

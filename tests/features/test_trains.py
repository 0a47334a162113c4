"""The ISI + ACG kernel against all-pairs brute force, and the cleaning of trains."""

from itertools import pairwise

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.features.trains import clean_trains, compute_isi_acg, to_ticks

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
    "late": np.sort(RNG.integers(0, 10**6, 100)) + 8 * 10**11,
}


def brute_force(ticks: np.ndarray) -> tuple[list[int], list[int]]:
    """All pairs, in Python integers, straight from the definitions."""
    isi, acg = [0] * 100, [0] * 201
    times = [int(tick) for tick in ticks]
    for before, after in pairwise(times):
        if (after - before) // 1000 < 100:
            isi[(after - before) // 1000] += 1
    for i, first in enumerate(times):
        for second in times[i + 1 :]:
            lag = (second - first + 500) // 1000
            if second > first and 1 <= lag <= 100:
                acg[100 + lag] += 1
                acg[100 - lag] += 1
    return isi, acg


def pack(trains: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Trains one after another, and their offsets."""
    return np.concatenate(trains), np.concatenate([[0], np.cumsum([len(t) for t in trains])])


@pytest.mark.parametrize("name", TRAINS)
def test_isi_equals_brute_force(name: str) -> None:
    isi, _ = compute_isi_acg(*pack([TRAINS[name]]))
    assert isi[0].tolist() == brute_force(TRAINS[name])[0]


@pytest.mark.parametrize("name", TRAINS)
def test_acg_equals_brute_force(name: str) -> None:
    _, acg = compute_isi_acg(*pack([TRAINS[name]]))
    assert acg[0].tolist() == brute_force(TRAINS[name])[1]


def test_units_do_not_mix() -> None:
    together = compute_isi_acg(*pack(list(TRAINS.values())))
    alone = [compute_isi_acg(*pack([train])) for train in TRAINS.values()]
    for part, counts in enumerate(together):
        assert np.array_equal(counts, np.concatenate([pair[part] for pair in alone]))


def test_acg_is_symmetric_with_an_empty_centre() -> None:
    _, acg = compute_isi_acg(*pack(list(TRAINS.values())))
    assert np.array_equal(acg, acg[:, ::-1])
    assert not acg[:, 100].any()


def test_every_interval_of_a_millisecond_or_more_is_a_pair() -> None:
    isi, acg = compute_isi_acg(*pack(list(TRAINS.values())))
    assert (acg.sum(axis=1) / 2 >= isi[:, 1:].sum(axis=1)).all()


def test_poisson_train_has_a_flat_acg() -> None:
    rate_hz, duration_s = 20.0, 5_000.0
    rng = np.random.default_rng(1)
    ticks = np.sort(rng.integers(0, int(duration_s * 1e6), rng.poisson(rate_hz * duration_s)))
    _, acg = compute_isi_acg(*pack([ticks]))
    expected = len(ticks) * rate_hz * 1e-3
    assert np.abs(acg[0, 101:] - expected).max() < 5 * np.sqrt(expected)


def test_no_units() -> None:
    isi, acg = compute_isi_acg(np.empty(0, dtype=np.int64), np.array([0]))
    assert (isi.shape, acg.shape) == ((0, 100), (0, 201))


def test_ticks_of_an_odd_sampling_rate_are_rounded_once() -> None:
    samples = np.array([0, 1, 30_000, 10**9])
    expected = [round(1e6 * int(s) / 30_000.390639481) for s in samples]
    assert to_ticks(samples, 30_000.390639481).tolist() == expected


def test_ticks_do_not_depend_on_the_representation() -> None:
    samples = np.arange(0, 60_000, 7)
    in_samples = to_ticks(samples.astype(np.uint64), 20_000.0)
    assert np.array_equal(in_samples, to_ticks(samples / 20_000.0, 1.0))


def test_input_order_does_not_matter() -> None:
    train = TRAINS["random"]
    shuffled = np.random.default_rng(3).permutation(train)
    cleaned = clean_trains(shuffled, np.array([0, len(train)]), 1e6, 100.0)
    assert np.array_equal(cleaned.ticks, np.unique(train))


def test_unsorted_steps_are_counted() -> None:
    cleaned = clean_trains(np.array([10, 30, 20, 40, 5, 6]), np.array([0, 4, 6]), 1000.0, 1.0)
    assert cleaned.n_unsorted.tolist() == [1, 0]


def test_duplicates_are_removed_and_counted() -> None:
    cleaned = clean_trains(np.array([10, 10, 20, 20, 20, 7, 20]), np.array([0, 5, 7]), 1000.0, 1.0)
    assert cleaned.n_duplicates.tolist() == [3, 0]
    assert cleaned.ticks.tolist() == [10_000, 20_000, 7_000, 20_000]
    assert cleaned.offsets.tolist() == [0, 2, 4]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.5, 1e5])
def test_a_rare_impossible_time_is_dropped_and_counted(bad: float) -> None:
    times = np.concatenate([np.linspace(0.1, 900, 200), [bad]])
    cleaned = clean_trains(times, np.array([0, 100, 201]), 1.0, 1000.0)
    assert cleaned.n_invalid.tolist() == [0, 1]
    assert cleaned.n_spikes.tolist() == [100, 100]


def test_many_impossible_times_are_an_error() -> None:
    times = np.concatenate([np.linspace(0, 900, 100), np.full(5, np.nan)])
    with pytest.raises(DataError, match=r"5 of 105 are NaN"):
        clean_trains(times, np.array([0, 105]), 1.0, 1000.0)


def test_samples_given_as_seconds_are_an_error() -> None:
    with pytest.raises(DataError, match="at most 10 days"):
        clean_trains(np.arange(0, 10**8, 10**5), np.array([0, 1000]), 1.0, 1e9)


def test_an_impossible_rate_is_an_error() -> None:
    with pytest.raises(DataError, match="median inter-spike interval is 3 µs"):
        clean_trains(np.arange(0, 3_000, 3), np.array([0, 1000]), 1e6, 1.0)


def test_cluster_numbers_are_an_error() -> None:
    clusters = np.random.default_rng(0).integers(0, 30, 1000)
    with pytest.raises(DataError, match="repeat another one"):
        clean_trains(clusters, np.array([0, 1000]), 1.0, 1000.0)


def test_a_reversed_train_is_an_error() -> None:
    with pytest.raises(DataError, match="step back in time"):
        clean_trains(np.arange(1000)[::-1], np.array([0, 1000]), 1.0, 1000.0)


@pytest.mark.parametrize("rate_hz", [0.0, np.nan, -1.0])
def test_a_missing_rate_is_an_error(rate_hz: float) -> None:
    with pytest.raises(DataError, match="sampling frequency"):
        clean_trains(np.array([1, 2]), np.array([0, 2]), rate_hz, 1.0)


def test_empty_trains_stay() -> None:
    cleaned = clean_trains(np.array([5, 6]), np.array([0, 0, 2, 2]), 1000.0, 1.0)
    assert cleaned.n_spikes.tolist() == [0, 2, 0]


def test_intervals_stay_within_units() -> None:
    cleaned = clean_trains(np.array([1, 2, 5, 3, 4]), np.array([0, 3, 5]), 1000.0, 1.0)
    intervals, unit = cleaned.intervals()
    assert intervals.tolist() == [1000, 3000, 1000]
    assert unit.tolist() == [0, 0, 1]

"""Cleaning of trains: what is dropped is counted, what cannot be spike times is refused."""

import logging

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.features.trains import clean_trains, to_ticks


def test_ticks_of_an_odd_sampling_rate_are_rounded_once() -> None:
    samples = np.array([0, 1, 30_000, 10**9])
    expected = [round(1e6 * int(s) / 30_000.390639481) for s in samples]
    assert to_ticks(samples, 30_000.390639481).tolist() == expected


def test_ticks_do_not_depend_on_the_representation() -> None:
    samples = np.arange(0, 60_000, 7)
    in_samples = to_ticks(samples.astype(np.uint64), 20_000.0)
    assert np.array_equal(in_samples, to_ticks(samples / 20_000.0, 1.0))


def test_input_order_does_not_matter() -> None:
    train = np.sort(np.random.default_rng(7).integers(0, 20 * 10**6, 800))
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
    intervals, unit, run = cleaned.intervals
    assert intervals.tolist() == [1000, 3000, 1000]
    assert (unit.tolist(), run.tolist()) == ([0, 0, 1], [0, 0, 1])


def test_intervals_stay_within_segments() -> None:
    times = np.array([0.1, 0.2, 0.4, 0.5, 0.1, 0.3])
    segment = np.array([0, 0, 1, 1, 0, 2])
    cleaned = clean_trains(times, np.array([0, 4, 6]), 1.0, 1.0, segment)
    intervals, unit, run = cleaned.intervals
    assert (intervals.tolist(), unit.tolist(), run.tolist()) == ([100_000, 100_000], [0, 0], [0, 1])
    assert cleaned.runs.tolist() == [0, 2, 4, 5, 6]


def test_one_time_in_two_segments_is_two_spikes() -> None:
    cleaned = clean_trains(np.array([0.1, 0.5, 0.5, 0.7]), np.array([0, 4]), 1.0, 1.0, np.array([0, 0, 1, 1]))
    assert (cleaned.n_duplicates.tolist(), cleaned.n_spikes.tolist()) == ([0], [4])


def test_empty_units_own_no_run() -> None:
    cleaned = clean_trains(np.array([5, 6]), np.array([0, 0, 2, 2]), 1000.0, 1.0)
    assert cleaned.runs.tolist() == [0, 2]


def test_the_end_is_that_of_each_unit() -> None:
    times = np.concatenate([np.linspace(0.01, 9.9, 150), np.linspace(0.01, 9.9, 149), [20.5]])
    cleaned = clean_trains(times, np.array([0, 150, 300]), 1.0, np.array([30.0, 20.0]))
    assert cleaned.n_invalid.tolist() == [0, 1]
    assert cleaned.duration_s.tolist() == [30.0, 20.0]


def test_kept_points_at_the_spikes_of_the_source() -> None:
    times = np.concatenate([[0.3, 0.1, 0.1, 0.2], np.linspace(1, 9, 200), [np.nan]])
    cleaned = clean_trains(times, np.array([0, 205]), 1.0, 10.0)
    assert cleaned.kept[:3].tolist() == [1, 3, 0]
    assert np.array_equal(to_ticks(times[cleaned.kept], 1.0), cleaned.ticks)


@pytest.mark.parametrize(
    ("times_ms", "left"),
    [
        ([0, 0.3, 10], [0, 10]),
        ([0, 0.5, 10], [0, 0.5, 10]),
        ([0, 0.3, 0.6, 0.9, 1.2], [0, 0.6, 1.2]),
        ([0, 0.49, 0.98, 1.0, 5, 5.1, 5.2], [0, 0.98, 5]),
        ([], []),
        ([3], [3]),
    ],
)
def test_the_second_of_two_close_spikes_is_censored(times_ms: list[float], left: list[float]) -> None:
    cleaned = clean_trains(np.array(times_ms) * 1e-3, np.array([0, len(times_ms)]), 1.0, 1.0, censor_ms=0.5)
    assert (cleaned.ticks / 1000).tolist() == left
    assert cleaned.n_censored.tolist() == [len(times_ms) - len(left)]
    assert cleaned.censor_s == 0.0005


def test_censoring_equals_a_loop_and_keeps_units_and_segments_apart() -> None:
    rng = np.random.default_rng(5)
    trains = [np.sort(rng.integers(0, 200_000, 400)) for _ in range(3)]
    segment = np.concatenate([(train > 90_000).astype(int) for train in trains])
    offsets = np.array([0, 400, 800, 1200])
    cleaned = clean_trains(np.concatenate(trains), offsets, 1e6, 1.0, segment, censor_ms=1.0)
    for i, train in enumerate(trains):
        expected: list[int] = []
        for tick in np.unique(train).tolist():
            is_new = not expected or (tick > 90_000) != (expected[-1] > 90_000)
            if is_new or tick - expected[-1] >= 1000:
                expected.append(tick)
        assert cleaned.ticks[cleaned.offsets[i] : cleaned.offsets[i + 1]].tolist() == expected
    total = cleaned.n_spikes + cleaned.n_censored + cleaned.n_duplicates
    assert total.tolist() == [400] * 3


@pytest.mark.parametrize("kind", [np.uint64, np.uint32, np.int32])
def test_unsigned_times_may_step_back(kind: type) -> None:
    cleaned = clean_trains(np.array([30, 10, 20], dtype=kind), np.array([0, 3]), 1000.0, 1.0)
    assert cleaned.ticks.tolist() == [10_000, 20_000, 30_000]


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The package's warnings, also where the command line has cut its log off from the root."""
    monkeypatch.setattr(logging.getLogger("spikeprint"), "propagate", True)
    caplog.set_level(logging.WARNING)
    return caplog


def test_coarse_seconds_are_warned_of(warnings: pytest.LogCaptureFixture) -> None:
    clean_trains(np.linspace(1, 5_000, 300, dtype=np.float32), np.array([0, 300]), 1.0, 5_001.0)
    clean_trains(np.linspace(1, 900, 300, dtype=np.float32), np.array([0, 300]), 1.0, 901.0)
    assert [r.message for r in warnings.records] == [
        "spike times: float32 seconds up to 5000 s resolve no better than 488 µs there; float64 would"
    ]


def test_a_rate_above_1_khz_is_warned_of(warnings: pytest.LogCaptureFixture) -> None:
    clean_trains(np.concatenate([np.arange(0, 1, 0.0007), [0.5]]), np.array([0, 1429, 1430]), 1.0, 1.0)
    assert "1 units fire faster than 1000 Hz" in warnings.text


def test_milliseconds_that_look_like_a_slow_unit_are_warned_of(warnings: pytest.LogCaptureFixture) -> None:
    times = np.cumsum(np.random.default_rng(0).exponential(200, 500))
    clean_trains(times, np.array([0, 500]), 1.0, float(times[-1]))
    assert "are these milliseconds given as seconds?" in warnings.text


def test_whole_seconds_are_an_error() -> None:
    with pytest.raises(DataError, match=r"all 400 are whole numbers of seconds; .* samples or milliseconds"):
        clean_trains(np.cumsum(np.tile([90.0, 110.0], 200)), np.array([0, 400]), 1.0, 1e5)


def test_a_few_whole_seconds_are_fine() -> None:
    assert clean_trains(np.arange(50.0), np.array([0, 50]), 1.0, 100.0).n_spikes.tolist() == [50]

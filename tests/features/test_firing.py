"""Train scalars against their loops; too few spikes leave them undefined."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikeprint.features.correlograms import compute_close_pairs
from spikeprint.features.scalars import Evidence, compute_scalars
from spikeprint.features.trains import clean_trains, compute_isi_acg


def of_trains(*seconds: list[float], duration_s: float | np.ndarray = 300.0, **more: Any) -> dict[str, np.ndarray]:
    """Scalars of trains without waveforms; ``more`` goes to ``clean_trains``."""
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in seconds])])
    trains = clean_trains(np.concatenate(seconds), offsets, 1.0, duration_s, **more)
    _, acg = compute_isi_acg(trains.ticks, trains.offsets, trains.runs)
    close = compute_close_pairs(trains.ticks, trains.offsets, trains.runs)
    n = len(seconds)
    return compute_scalars(
        Evidence(np.full((n, 50), np.nan), np.full(n, 20), trains=trains, acg=acg, close_pairs=close)
    )


def test_train_scalars_equal_their_loops() -> None:
    rng = np.random.default_rng(2)
    train = np.cumsum(rng.gamma(2.0, 0.02, 2_000))
    intervals = np.diff(np.rint(train * 1e6)) / 1e6
    scalars = of_trains(list(train))
    pairs = list(pairwise(intervals))
    assert scalars["n_spikes"][0] == 2_000
    assert scalars["firing_rate_hz"][0] == pytest.approx(2_000 / 300)
    assert scalars["cv"][0] == pytest.approx(intervals.std() / intervals.mean())
    assert scalars["cv2"][0] == pytest.approx(np.mean([2 * abs(b - a) / (a + b) for a, b in pairs]))
    assert scalars["burst_index"][0] == pytest.approx((intervals < 0.006).mean())
    assert scalars["isi_overflow"][0] == (intervals >= 0.1).sum()
    assert scalars["lv"][0] == pytest.approx(np.mean([3 * ((b - a) / (a + b)) ** 2 for a, b in pairs]))
    n_violations = (intervals < 0.0015).sum()
    assert scalars["isi_violations_ratio"][0] == pytest.approx(n_violations * 300 / (2 * 2_000**2 * 0.0015))


def test_a_regular_train_peaks_at_its_interval() -> None:
    assert of_trains(list(np.arange(0, 100, 0.025)))["acg_peak_ms"][0] == 25


@pytest.mark.parametrize(("train", "name"), [([], "cv"), ([1.0], "cv2"), ([1.0, 2.0], "cv"), ([1.0], "acg_peak_ms")])
def test_too_few_spikes_leave_a_scalar_undefined(train: list[float], name: str) -> None:
    assert np.isnan(of_trains(train, [1.0, 2.0, 3.0, 4.5])[name][0])


def test_adjacent_intervals_do_not_cross_segments() -> None:
    times = [0.1, 0.2, 0.4, 1.0, 1.3, 1.4]
    scalars = of_trains(times, segment=np.array([0, 0, 0, 1, 1, 1]))
    assert scalars["cv2"][0] == pytest.approx(np.mean([2 * 0.1 / 0.3, 2 * 0.2 / 0.4]))
    assert scalars["lv"][0] == pytest.approx(np.mean([3 * (0.1 / 0.3) ** 2, 3 * (0.2 / 0.4) ** 2]))


def test_the_rate_uses_the_time_each_unit_was_observed() -> None:
    scalars = of_trains([1.0, 2.0, 3.0], [1.5, 2.5], duration_s=np.array([30.0, 10.0]))
    assert scalars["firing_rate_hz"].tolist() == [0.1, 0.2]


def test_the_refractory_period_ends_at_half_of_the_plateau() -> None:
    acg = np.zeros((3, 201))
    lags = np.abs(np.arange(-100, 101))
    acg[0] = np.where(lags >= 7, 40, np.where(lags == 6, 19, 3))
    acg[1] = np.where(lags > 60, 5, 0)
    found = compute_scalars(Evidence(np.full((3, 50), np.nan), np.full(3, 20), acg=acg))["refractory_ms"]
    assert np.array_equal(found, [7, np.nan, np.nan], equal_nan=True)

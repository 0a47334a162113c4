"""Declared scalars against closed forms and loops; undefined means NaN."""

from itertools import pairwise

import numpy as np
import pytest

from spikeprint.features.scalars import SCALARS, Evidence, compute_scalars
from spikeprint.features.trains import Trains, clean_trains, compute_isi_acg

TIME_MS = (np.arange(50) - 20) / 20


def of_waveform(*rows: np.ndarray, time_base: float | None = 0.05) -> dict[str, np.ndarray]:
    """Scalars of canonical waveforms without trains."""
    waveform = np.stack(rows)
    return compute_scalars(Evidence(waveform, np.full(len(rows), 20), time_base))


def of_trains(*seconds: list[float], duration_s: float = 300.0) -> dict[str, np.ndarray]:
    """Scalars of trains without waveforms."""
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in seconds])])
    trains: Trains = clean_trains(np.concatenate(seconds), offsets, 1.0, duration_s)
    n = len(seconds)
    _, acg = compute_isi_acg(trains.ticks, trains.offsets)
    return compute_scalars(Evidence(np.full((n, 50), np.nan), np.full(n, 20), trains=trains, acg=acg))


SPIKE = (
    10 * np.exp(-0.5 * ((TIME_MS + 0.5) / 0.08) ** 2)
    - 100 * np.exp(-0.5 * (TIME_MS / 0.1) ** 2)
    + 30 * np.exp(-0.5 * ((TIME_MS - 0.62) / 0.12) ** 2)
)


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("trough_to_peak_ms", 0.62, 0.005),
        ("fwhm_ms", 2.3548 * 0.1, 0.01),
        ("peak_to_trough_ratio", 0.30, 0.005),
        ("pre_peak_ratio", 0.10, 0.002),
        ("asymmetry", 0.5, 0.01),
        ("amplitude", 130.0, 0.5),
    ],
)
def test_shape_of_a_known_spike(name: str, expected: float, tolerance: float) -> None:
    assert of_waveform(SPIKE)[name][0] == pytest.approx(expected, abs=tolerance)


def test_a_missing_waveform_has_no_shape() -> None:
    scalars = of_waveform(np.full(50, np.nan), SPIKE)
    for name, scalar in SCALARS.items():
        if "waveform" in scalar.needs:
            assert np.isnan(scalars[name][0]), name


def test_without_a_time_base_only_ratios_are_known() -> None:
    scalars = of_waveform(SPIKE, time_base=None)
    assert np.isnan(scalars["trough_to_peak_ms"][0])
    assert scalars["peak_to_trough_ratio"][0] == pytest.approx(0.3, abs=0.005)


def test_a_peak_at_the_end_of_the_window_has_no_delay() -> None:
    still_rising = -np.exp(-0.5 * (TIME_MS / 0.1) ** 2) + np.clip(TIME_MS, 0, None) * 0.2
    assert np.isnan(of_waveform(still_rising)["trough_to_peak_ms"][0])


def test_a_trough_that_never_recovers_has_no_width() -> None:
    assert np.isnan(of_waveform(-1.0 - np.exp(-(TIME_MS**2)))["fwhm_ms"][0])


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
    n_violations = (intervals < 0.0015).sum()
    assert scalars["isi_violations_ratio"][0] == pytest.approx(n_violations * 300 / (2 * 2_000**2 * 0.0015))


def test_units_do_not_mix() -> None:
    first, second = list(np.arange(0, 100, 0.01)), list(np.arange(0.5, 200, 0.37))
    together, alone = of_trains(first, second), of_trains(second)
    for name in SCALARS:
        assert together[name][1] == pytest.approx(alone[name][0], nan_ok=True), name


def test_a_regular_train_peaks_at_its_interval() -> None:
    assert of_trains(list(np.arange(0, 100, 0.025)))["acg_peak_ms"][0] == 25


def test_presence_counts_the_minutes_with_spikes() -> None:
    assert of_trains([1.0, 2.0, 65.0, 290.0])["presence_ratio"][0] == pytest.approx(3 / 5)


def test_presence_of_a_short_session_is_unknown() -> None:
    assert np.isnan(of_trains([1.0, 2.0], duration_s=59.0)["presence_ratio"][0])


def test_a_poisson_train_looks_half_contaminated() -> None:
    train = np.sort(np.random.default_rng(4).uniform(0, 3_000, 60_000))
    assert of_trains(list(train), duration_s=3_000.0)["isi_violations_ratio"][0] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("train", "name"), [([], "cv"), ([1.0], "cv2"), ([1.0, 2.0], "cv"), ([1.0], "acg_peak_ms")])
def test_too_few_spikes_leave_a_scalar_undefined(train: list[float], name: str) -> None:
    assert np.isnan(of_trains(train, [1.0, 2.0, 3.0, 4.5])[name][0])


def test_no_evidence_gives_nan_in_every_column() -> None:
    scalars = compute_scalars(Evidence(np.full((3, 50), np.nan), np.full(3, 20)))
    assert list(scalars) == list(SCALARS)
    assert all(np.isnan(values).all() and values.shape == (3,) for values in scalars.values())

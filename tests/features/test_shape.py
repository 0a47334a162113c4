"""Shape scalars against closed forms; what was not measured is NaN."""

from dataclasses import replace

import numpy as np
import pytest

from spikeprint.features.scalars import SCALARS, Evidence, compute_scalars
from spikeprint.features.waveform import align_waveforms

TIME_MS = (np.arange(50) - 20) / 20
SPIKE = (
    10 * np.exp(-0.5 * ((TIME_MS + 0.5) / 0.08) ** 2)
    - 100 * np.exp(-0.5 * (TIME_MS / 0.1) ** 2)
    + 30 * np.exp(-0.5 * ((TIME_MS - 0.62) / 0.12) ** 2)
)


def of_waveform(*rows: np.ndarray, time_base: float | None = 0.05) -> dict[str, np.ndarray]:
    """Scalars of canonical waveforms without trains."""
    waveform = np.stack(rows)
    return compute_scalars(Evidence(waveform, np.full(len(rows), 20), time_base))


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("trough_to_peak_ms", 0.62, 0.005),
        ("fwhm_ms", 2.3548 * 0.1, 0.01),
        ("half_rise_ms", 1.1774 * 0.1, 0.005),
        ("peak_to_trough_ratio", 0.30, 0.005),
        ("pre_peak_ratio", 0.10, 0.002),
        ("asymmetry", 0.5, 0.01),
        ("amplitude", 130.0, 0.5),
        ("energy", float((SPIKE**2).sum()), 1e-6),
    ],
)
def test_shape_of_a_known_spike(name: str, expected: float, tolerance: float) -> None:
    assert of_waveform(SPIKE)[name][0] == pytest.approx(expected, abs=tolerance)


def test_slopes_equal_a_least_squares_fit() -> None:
    scalars = of_waveform(SPIKE)
    back = 21 + int(np.argmax(SPIKE[21:] >= 0))
    peak = 21 + int(np.argmax(SPIKE[21:]))
    expected = [np.polyfit(TIME_MS[a : b + 1], SPIKE[a : b + 1], 1)[0] for a, b in ((20, back), (peak, peak + 14))]
    assert [scalars["repolarisation_slope"][0], scalars["recovery_slope"][0]] == pytest.approx(expected)


def test_the_recovery_is_clipped_at_the_end_of_the_window() -> None:
    late = -100 * np.exp(-0.5 * (TIME_MS / 0.1) ** 2) + 30 * np.exp(-0.5 * ((TIME_MS - 1.3) / 0.2) ** 2)
    assert of_waveform(late)["recovery_slope"][0] == pytest.approx(np.polyfit(TIME_MS[46:], late[46:], 1)[0])


def test_a_missing_waveform_has_no_shape() -> None:
    scalars = of_waveform(np.full(50, np.nan), SPIKE)
    for name, scalar in SCALARS.items():
        if "waveform" in scalar.needs:
            assert np.isnan(scalars[name][0]), name


def test_without_a_time_base_only_ratios_are_known() -> None:
    scalars = of_waveform(SPIKE, time_base=None)
    assert all(np.isnan(scalars[name][0]) for name, scalar in SCALARS.items() if "time_base" in scalar.needs)
    assert scalars["peak_to_trough_ratio"][0] == pytest.approx(0.3, abs=0.005)


def test_a_peak_at_the_end_of_the_window_has_no_delay() -> None:
    still_rising = -np.exp(-0.5 * (TIME_MS / 0.1) ** 2) + np.clip(TIME_MS, 0, None) * 0.2
    scalars = of_waveform(still_rising)
    assert np.isnan([scalars["trough_to_peak_ms"][0], scalars["recovery_slope"][0]]).all()


@pytest.mark.parametrize("name", ["fwhm_ms", "half_rise_ms", "repolarisation_slope"])
def test_a_trough_that_never_recovers_has_no_width_nor_slope(name: str) -> None:
    assert np.isnan(of_waveform(-1.0 - 0.9 * np.exp(-(TIME_MS**2)))[name][0])


def test_a_trough_above_the_baseline_has_no_shape() -> None:
    scalars = of_waveform(1 + SPIKE * 0.001)
    assert all(np.isnan(scalars[name][0]) for name in ("fwhm_ms", "trough_to_peak_ms", "recovery_slope"))


def test_samples_that_alignment_made_up_are_not_measured() -> None:
    aligned = align_waveforms(SPIKE[None, 7:30, None], 20_000.0, 0.4)  # ends 0.45 ms after the trough, still rising
    evidence = Evidence(aligned.waveform.astype(float), np.array([20]), 0.05, aligned)
    cut, pretended = compute_scalars(evidence), compute_scalars(replace(evidence, aligned=None))
    assert np.isnan(cut["trough_to_peak_ms"][0])
    assert np.isfinite(pretended["trough_to_peak_ms"][0])
    assert cut["fwhm_ms"][0] == pytest.approx(pretended["fwhm_ms"][0])
    assert cut["wf_coverage"][0] == pytest.approx(23 / 50, abs=0.021)


def test_polarity_is_that_of_the_largest_value_and_unknown_without_one() -> None:
    templates = np.stack([SPIKE, -SPIKE, np.zeros(50)])[:, :, None]
    aligned = align_waveforms(templates, 20_000.0, 0.5)
    polarity = compute_scalars(Evidence(aligned.waveform.astype(float), np.full(3, 20), 0.05, aligned))["polarity"]
    assert np.array_equal(polarity, [-1, 1, np.nan], equal_nan=True)

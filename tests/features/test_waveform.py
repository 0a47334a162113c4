"""Alignment and resampling against closed-form waveforms."""

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.features.waveform import align_waveforms


def spike_uv(time_ms: np.ndarray) -> np.ndarray:
    """A smooth spike, trough at time 0; its energy is well below 8 kHz."""
    return -100 * np.exp(-0.5 * (time_ms / 0.12) ** 2) + 35 * np.exp(-0.5 * ((time_ms - 0.6) / 0.22) ** 2)


def sample(fs_hz: float, before_ms: float = 2.0, after_ms: float = 3.0, shift_ms: float = 0.0) -> np.ndarray:
    """(1, n_samples, 1) template of ``spike_uv`` with the trough ``before_ms + shift_ms`` into the window."""
    time_ms = np.arange(-before_ms, after_ms, 1e3 / fs_hz)
    return spike_uv(time_ms - shift_ms)[None, :, None]


REFERENCE = spike_uv((np.arange(50) - 20) / 20)


@pytest.mark.parametrize("fs_hz", [12_500.0, 20_000.0, 25_000.0, 30_000.0, 30_000.390639481, 40_000.0])
@pytest.mark.parametrize("shift_ms", [0.0, 0.013, -0.021])
def test_resampling_is_within_2_percent_of_the_truth(fs_hz: float, shift_ms: float) -> None:
    waveform = align_waveforms(sample(fs_hz, shift_ms=shift_ms), fs_hz, 0.5).waveform[0]
    assert np.linalg.norm(waveform - REFERENCE) / np.linalg.norm(REFERENCE) < 0.02 + 0.03 * (fs_hz < 20_000)


def test_the_canonical_rate_is_untouched_but_for_the_baseline() -> None:
    template = sample(20_000.0)
    template[0, 40 - 1, 0] = template[0, 40 + 1, 0]  # a symmetric trough: no sub-sample shift
    waveform = align_waveforms(template, 20_000.0, 0.5).waveform[0]
    assert np.allclose(waveform, template[0, 20:70, 0], atol=1e-4)


@pytest.mark.parametrize("fs_hz", [10_000.0, 20_000.0, 30_000.0, 50_000.0])
def test_the_trough_is_at_20(fs_hz: float) -> None:
    rng = np.random.default_rng(0)
    shifts = rng.uniform(-0.8, 0.8, 40)
    templates = np.concatenate([sample(fs_hz, shift_ms=shift) for shift in shifts])
    aligned = align_waveforms(templates, fs_hz, 0.5)
    assert (aligned.waveform.argmin(axis=1) == 20).all()


def test_the_baseline_is_the_median_of_the_first_tenth() -> None:
    waveform = align_waveforms(sample(20_000.0) + 500.0, 20_000.0, 0.5).waveform[0]
    assert waveform[:5] == pytest.approx(0, abs=0.01)


def test_the_peak_channel_has_the_largest_peak_to_peak() -> None:
    template = sample(20_000.0) * np.array([0.2, 1.0, 0.5])
    assert align_waveforms(template, 20_000.0, 0.5).peak_channel.tolist() == [1]


def test_ties_go_to_the_lowest_channel() -> None:
    template = sample(20_000.0) * np.array([0.2, 1.0, 1.0])
    assert align_waveforms(template, 20_000.0, 0.5).peak_channel.tolist() == [1]


def test_a_broken_channel_is_never_the_peak_channel() -> None:
    template = sample(20_000.0) * np.array([3.0, 1.0])
    template[0, 7, 0] = np.nan
    aligned = align_waveforms(template, 20_000.0, 0.5)
    assert np.linalg.norm(aligned.waveform[0] - REFERENCE) < 5


def test_a_short_window_counts_its_coverage_and_tapers() -> None:
    aligned = align_waveforms(sample(20_000.0, before_ms=0.5, after_ms=1.0), 20_000.0, 0.5)
    assert aligned.coverage[0] == pytest.approx(30 / 50, abs=0.021)
    assert not aligned.waveform[0, :5].any()


def test_too_little_coverage_is_missing_not_zero() -> None:
    aligned = align_waveforms(sample(20_000.0, before_ms=0.4, after_ms=0.6), 20_000.0, 0.5)
    assert np.isnan(aligned.waveform).all()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("flat", np.full(60, 3.0)),
        ("clipped", np.clip(sample(20_000.0)[0, :60, 0], -60, None)),
        ("clipped", np.clip(-sample(20_000.0)[0, :60, 0], None, 60)),
    ],
)
def test_unusable_waveforms_are_missing_and_flagged(name: str, values: np.ndarray) -> None:
    aligned = align_waveforms(values[None, :, None], 20_000.0, 0.5)
    assert np.isnan(aligned.waveform).all()
    assert [flag for flag, rows in aligned.flags.items() if rows[0]] == [name]


def test_an_all_nan_template_is_missing_without_a_flag() -> None:
    aligned = align_waveforms(np.full((1, 60, 2), np.nan), 20_000.0, 0.5)
    assert np.isnan(aligned.waveform).all()
    assert not any(rows[0] for rows in aligned.flags.values())


def test_an_artefact_at_the_edge_does_not_steal_the_trough() -> None:
    template = sample(20_000.0)
    template[0, -1, 0] = -400
    aligned = align_waveforms(template, 20_000.0, 0.5)
    assert np.linalg.norm(aligned.waveform[0] - REFERENCE) < 5
    assert not aligned.flags["trough_at_edge"][0]


def test_a_trough_outside_the_window_is_flagged() -> None:
    ramp = -(np.linspace(0, 10, 60) ** 3)
    assert align_waveforms(ramp[None, :, None], 20_000.0, 0.1).flags["trough_at_edge"][0]


def test_a_positive_spike_is_flagged_and_not_flipped() -> None:
    time_ms = np.arange(-1.5, 2.5, 0.05)
    positive = 100 * np.exp(-0.5 * (time_ms / 0.1) ** 2) - 30 * np.exp(-0.5 * ((time_ms - 0.4) / 0.15) ** 2)
    aligned = align_waveforms(positive[None, :, None], 20_000.0, 0.5)
    assert aligned.flags["positive_spike"][0]
    assert aligned.polarity[0] == 1
    assert aligned.waveform[0].max() == pytest.approx(100, rel=0.05)


def test_a_slow_source_is_flagged_as_upsampled() -> None:
    assert align_waveforms(sample(10_000.0), 10_000.0, 0.5).flags["upsampled"][0]


def test_splitting_the_work_changes_nothing() -> None:
    templates = np.random.default_rng(5).normal(size=(2_100, 60, 2))
    whole = align_waveforms(templates, 25_000.0, 0.3).waveform
    parts = [align_waveforms(part, 25_000.0, 0.3).waveform for part in np.array_split(templates, 7)]
    assert np.array_equal(whole, np.concatenate(parts), equal_nan=True)


def test_no_units() -> None:
    assert align_waveforms(np.empty((0, 60, 3)), 30_000.0, 0.5).waveform.shape == (0, 50)


@pytest.mark.parametrize(("n_samples", "fs_hz"), [(4, 20_000.0), (60, 0.0), (60, np.nan)])
def test_an_unusable_window_or_rate_is_an_error(n_samples: int, fs_hz: float) -> None:
    with pytest.raises(DataError, match="waveforms"):
        align_waveforms(np.zeros((1, n_samples, 1)), fs_hz, 0.5)


def test_an_unrefined_trough_is_a_sample_of_the_source() -> None:
    template = sample(20_000.0, shift_ms=0.02)
    waveform = align_waveforms(template, 20_000.0, 0.5, refine_trough=False).waveform[0]
    assert np.allclose(waveform, template[0, 20:70, 0], atol=1e-3)
    assert not np.allclose(align_waveforms(template, 20_000.0, 0.5).waveform[0], waveform, atol=1)


def test_the_inside_samples_are_those_of_the_source() -> None:
    aligned = align_waveforms(sample(20_000.0, before_ms=0.5, after_ms=1.0), 20_000.0, 0.5, refine_trough=False)
    where = np.flatnonzero(aligned.inside[0])
    assert (where[0], where[-1], len(where)) == (10, 39, 30)
    assert aligned.coverage[0] == aligned.inside[0].mean()


def test_each_channel_has_its_size_and_trough_time() -> None:
    delays = np.array([0.0, 0.11, -0.07, 0.2])
    sizes = np.array([0.5, 1.0, 0.8, 0.3])
    template = np.concatenate([sample(30_000.0, shift_ms=d) for d in delays], axis=2) * sizes
    template[:, :, 3] = np.nan
    aligned = align_waveforms(template, 30_000.0, 0.5)
    assert aligned.trough_ms[0, :3] == pytest.approx(2.0 + delays[:3], abs=0.005)
    assert aligned.peak_to_peak[0, :3] == pytest.approx(sizes[:3] * np.ptp(sample(30_000.0)), rel=0.01)
    assert np.isnan([aligned.trough_ms[0, 3], aligned.peak_to_peak[0, 3]]).all()


def test_one_channel_has_no_trough_times_to_compare() -> None:
    assert np.isnan(align_waveforms(sample(30_000.0), 30_000.0, 0.5).trough_ms).all()


def test_many_channels_change_nothing_on_the_peak_channel() -> None:
    quiet = 0.01 * np.random.default_rng(0).normal(size=(1, 150, 1500))
    template = np.concatenate([quiet, sample(30_000.0)[:, :150]], axis=2)
    alone = align_waveforms(sample(30_000.0)[:, :150], 30_000.0, 0.5)
    aligned = align_waveforms(np.repeat(template, 3, axis=0), 30_000.0, 0.5)
    assert aligned.peak_channel.tolist() == [1500] * 3
    assert np.array_equal(aligned.waveform, np.repeat(alone.waveform, 3, axis=0))


def test_templates_without_channels_are_an_error() -> None:
    with pytest.raises(DataError, match=r"60 samples on 0 channels per template; .* one channel are needed"):
        align_waveforms(np.zeros((2, 60, 0)), 20_000.0, 0.5)

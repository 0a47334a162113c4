"""Quality metrics against closed forms, and against SpikeInterface where the definitions agree."""

from typing import Any

import numpy as np
import pytest

from spikeprint.features.correlograms import compute_close_pairs
from spikeprint.features.quality import CONTAMINATIONS, compare_low_bins, estimate_amplitude_cutoff
from spikeprint.features.scalars import Evidence, compute_scalars
from spikeprint.features.trains import Trains, clean_trains, compute_isi_acg

FS_HZ, DURATION_S = 20_000.0, 600.0
RNG = np.random.default_rng(3)


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


def noisy_trains() -> list[np.ndarray]:
    """Samples of units with refractory periods of 0 to 4 ms, rates of 1 to 40 Hz, and contamination."""
    rng, trains = np.random.default_rng(11), []
    for rate, refractory_ms, foreign_hz in [(1, 2, 0), (5, 3, 0.2), (40, 4, 1), (20, 0, 0), (10, 2, 4), (30, 3, 0)]:
        own = np.cumsum(refractory_ms / 1e3 + rng.exponential(1 / rate, int(rate * DURATION_S * 1.2)))
        other = rng.uniform(0, DURATION_S, rng.poisson(foreign_hz * DURATION_S))
        times = np.concatenate([own[own < DURATION_S - 1], other[other < DURATION_S - 1]])
        train = np.unique((times * FS_HZ).astype(np.int64))
        # SpikeInterface takes pairs exactly 1 ms apart as violations, those 1.5 ms apart as its rounding goes
        for n_samples in (20, 30):
            train = train[~np.isin(train - n_samples, train)]
        trains.append(train)
    return trains


def of_samples(trains: list[np.ndarray], **more: Any) -> dict[str, np.ndarray]:
    """Scalars of trains in samples; ``more`` is evidence per spike."""
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    clean: Trains = clean_trains(np.concatenate(trains), offsets, FS_HZ, DURATION_S)
    close = compute_close_pairs(clean.ticks, clean.offsets, clean.runs)
    n = len(trains)
    return compute_scalars(Evidence(np.full((n, 50), np.nan), np.full(n, 20), trains=clean, close_pairs=close, **more))


@pytest.fixture(scope="module")
def analyzer() -> Any:
    """SpikeInterface's view of ``noisy_trains``."""
    si = pytest.importorskip("spikeinterface")
    core = pytest.importorskip("spikeinterface.core")
    generation = pytest.importorskip("spikeinterface.generation")
    trains = noisy_trains()
    sorting = si.NumpySorting.from_unit_dict({str(i): train for i, train in enumerate(trains)}, FS_HZ)
    traces = generation.NoiseGeneratorRecording(num_channels=4, sampling_frequency=FS_HZ, durations=[DURATION_S])
    traces.set_dummy_probe_from_locations(np.column_stack([np.zeros(4), np.arange(4) * 20.0]))
    return core.create_sorting_analyzer(sorting, traces, sparse=False, format="memory")


METRICS = "spikeinterface.metrics.quality.misc_metrics"


def test_refractory_metrics_equal_those_of_spikeinterface(analyzer: Any) -> None:
    metrics = pytest.importorskip(METRICS)
    ours = of_samples(noisy_trains())
    theirs = {
        "isi_violations_ratio": metrics.compute_isi_violations(analyzer)[0],
        "rp_contamination": metrics.compute_refrac_period_violations(analyzer)[0],
        "sliding_rp": metrics.compute_sliding_rp_violations(analyzer),
        "presence_ratio": metrics.compute_presence_ratios(analyzer, bin_duration_s=60),
    }
    for name, found in theirs.items():
        expected = np.array([found[unit] for unit in analyzer.unit_ids], dtype=float)
        assert ours[name] == pytest.approx(expected, rel=1e-6, nan_ok=True), name


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cut_uv", [0, 40, 50, 55])
def test_size_metrics_equal_those_of_spikeinterface(seed: int, cut_uv: float) -> None:
    metrics = pytest.importorskip(METRICS)
    sizes = np.random.default_rng(seed).normal(60, 12, 200_000)  # many: it rounds the smoothed counts down
    sizes = sizes[sizes > cut_uv]
    assert estimate_amplitude_cutoff(sizes) == pytest.approx(metrics.amplitude_cutoff(sizes), abs=0.002)
    assert compare_low_bins(sizes) == pytest.approx(metrics._noise_cutoff(sizes))


def test_presence_counts_the_minutes_with_spikes() -> None:
    assert of_trains([1.0, 2.0, 65.0, 290.0])["presence_ratio"][0] == pytest.approx(3 / 5)


def test_presence_of_a_short_session_is_unknown() -> None:
    assert np.isnan(of_trains([1.0, 2.0], duration_s=59.0)["presence_ratio"][0])


def test_a_poisson_train_looks_half_contaminated() -> None:
    train = np.sort(np.random.default_rng(4).uniform(0, 3_000, 60_000))
    assert of_trains(list(train), duration_s=3_000.0)["isi_violations_ratio"][0] == pytest.approx(0.5, abs=0.03)


def test_presence_uses_the_time_each_unit_was_observed() -> None:
    scalars = of_trains([1.0, 65.0, 121.0], [1.0, 65.0, 121.0], duration_s=np.array([125.0, 240.0]))
    assert scalars["presence_ratio"].tolist() == [1.0, 0.75]


def test_isi_violations_and_pairs_count_different_things() -> None:
    burst = [10.0, 10.0004, 10.0008, 10.0009]
    scalars = of_trains([*burst, *np.arange(20, 100, 0.8)])
    n, n_adjacent, n_pairs = 104, 3, 6
    assert scalars["n_spikes"][0] == n
    assert scalars["isi_violations_ratio"][0] == pytest.approx(n_adjacent / (2 * n * 0.0015) / (n / 300))
    assert scalars["rp_contamination"][0] == 1.0
    assert 1 - n_pairs * 300 / (n**2 * 0.001) < 0
    assert scalars["n_close_pairs"][0] == 3


def test_censoring_shortens_the_refractory_window() -> None:
    train = np.sort(np.random.default_rng(1).uniform(0, 3_000, 30_000))
    scalars = of_trains(list(train), duration_s=3_000.0, censor_ms=0.5)
    assert scalars["isi_violations_ratio"][0] == pytest.approx(0.5, abs=0.05)
    n, d = scalars["n_spikes"][0], 3_000.0
    ticks = clean_trains(train, np.array([0, 30_000]), 1.0, d, censor_ms=0.5).ticks
    n_pairs = compute_close_pairs(ticks, np.array([0, len(ticks)]))[0, :4].sum()
    root = 1 - n_pairs * (d - 2 * n * 0.0005) / (n**2 * 0.0005)
    assert scalars["rp_contamination"][0] == pytest.approx(1 - np.sqrt(root) if root >= 0 else 1.0)


def test_censoring_the_whole_window_leaves_nothing_to_judge() -> None:
    scalars = of_trains(list(np.arange(0.001, 100, 0.05)), censor_ms=2.0)
    assert np.isnan([scalars["isi_violations_ratio"][0], scalars["rp_contamination"][0]]).all()


def test_contamination_needs_two_spikes() -> None:
    scalars = of_trains([], [1.0], [1.0, 2.0])
    assert np.array_equal(scalars["rp_contamination"], [np.nan, np.nan, 0.0], equal_nan=True)
    assert np.isnan(scalars["sliding_rp"]).all()


def test_a_clean_fast_unit_slides_to_the_smallest_contamination() -> None:
    train = np.cumsum(0.006 + np.random.default_rng(0).exponential(0.02, 20_000))
    assert of_trains(list(train), duration_s=float(train[-1]) + 1)["sliding_rp"][0] == CONTAMINATIONS[0]


@pytest.mark.parametrize("missing", [0.02, 0.1, 0.3])
def test_the_fraction_of_spikes_that_are_missing_is_found(missing: float) -> None:
    sizes = np.sort(np.random.default_rng(2).normal(70, 10, 100_000))
    assert estimate_amplitude_cutoff(sizes[int(missing * len(sizes)) :]) == pytest.approx(missing, abs=0.035)


def test_half_missing_is_the_most_that_can_be_told() -> None:
    sizes = np.sort(np.random.default_rng(2).exponential(10, 20_000))
    assert estimate_amplitude_cutoff(sizes) <= 0.5


def test_few_spikes_tell_no_amplitude_cutoff() -> None:
    sizes = np.random.default_rng(2).normal(70, 10, 499)
    assert np.isnan(estimate_amplitude_cutoff(sizes))
    assert np.isfinite(estimate_amplitude_cutoff(np.append(sizes, 70.0)))


@pytest.mark.parametrize("sizes", [np.full(600, 50.0), np.array([1.0]), np.array([1.0, 2.0])])
def test_sizes_without_low_bins_tell_no_noise_cutoff(sizes: np.ndarray) -> None:
    assert np.isnan(compare_low_bins(sizes)[0])


def test_sizes_and_depths_belong_to_their_units() -> None:
    trains = [np.arange(1, 12_000_000, 20_000), np.empty(0, np.int64), np.arange(7, 12_000_000, 20_000)]
    sizes = np.concatenate([-RNG.normal(60, 5, 600), RNG.normal(90, 5, 600)])
    sizes[5] = np.nan
    minute = np.arange(600) // 60
    depths = np.concatenate([100 + 3.0 * minute, np.full(600, 50.0)])
    found = of_samples(trains, amplitudes=sizes, depths_um=depths)
    medians = [np.median(-np.delete(sizes[:600], 5)), np.nan, np.median(sizes[600:])]
    assert np.array_equal(found["amplitude_median_uv"], medians, equal_nan=True)
    assert np.array_equal(found["drift_ptp_um"], [27.0, np.nan, 0.0], equal_nan=True)
    assert np.isfinite(found["amplitude_cutoff"]).tolist() == [True, False, True]
    assert np.isfinite(found["noise_cutoff_ratio"]).tolist() == [True, False, True]


def test_windows_of_few_spikes_do_not_tell_drift() -> None:
    train = np.concatenate([np.arange(1, 60, 5.0), [70.5]]) * FS_HZ  # 12 spikes, then 1
    found = of_samples([train.astype(np.int64)], depths_um=np.append(np.full(12, 10.0), 500.0))
    assert np.isnan(found["drift_ptp_um"][0])


def test_snr_is_the_trough_over_the_noise() -> None:
    waveform = np.zeros((3, 50))
    waveform[:, 20] = [-80, -80, -80]
    evidence = Evidence(waveform, np.full(3, 20), noise=np.array([8.0, np.nan, 0.0]))
    assert np.array_equal(compute_scalars(evidence)["snr"], [10, np.nan, np.nan], equal_nan=True)


@pytest.mark.parametrize("censor_ms", [0.0, 0.5, 1.0, 1.5])
def test_censoring_does_not_make_a_contaminated_unit_look_clean(censor_ms: float) -> None:
    seconds = np.cumsum(np.random.default_rng(5).exponential(0.1, 6_000))  # Poisson: no refractory period at all
    trains = clean_trains(seconds, np.array([0, len(seconds)]), 1.0, float(seconds[-1]) + 1, censor_ms=censor_ms)
    pairs = compute_close_pairs(trains.ticks, trains.offsets, trains.runs)
    evidence = Evidence(np.full((1, 50), np.nan), np.full(1, 20), trains=trains, close_pairs=pairs)
    assert not compute_scalars(evidence)["sliding_rp"][0] < 0.1

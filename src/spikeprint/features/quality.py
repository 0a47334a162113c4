"""How far a unit can be trusted. Enters: trains, spike sizes, noise. Leaves: one column per entry of ``QUALITY``.

Two refractory metrics differ on purpose: ``isi_violations_ratio`` counts adjacent intervals, ``rp_contamination`` and
``sliding_rp`` all pairs.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import pdtri

from .correlograms import CLOSE_BIN_TICKS, N_CLOSE_BINS
from .evidence import Evidence, Scalar, divide, trains_of
from .ticks import TICKS_PER_S

ISI_REFRACTORY_S = 1.5e-3
PAIR_REFRACTORY_S = 1e-3
CLOSE_S = 0.5e-3
CONTAMINATIONS = np.arange(0.5, 35.5, 0.5) / 100
CONFIDENCE = 0.9
PRESENCE_BIN_S = 60
N_AMPLITUDE_BINS = 100
AMPLITUDE_SMOOTHING = 3
MIN_SPIKES_PER_BIN = 5
LOW_QUANTILE, HIGH_QUANTILE = 0.1, 0.75
MIN_WINDOW_SPIKES = 10
BLOCK = 1024


def _isi_violations_ratio(evidence: Evidence) -> np.ndarray:
    """Hill et al. 2011, linear form: ``n_v / (2 n (t_r - t_c)) / (n / D)``, adjacent intervals under t_r = 1.5 ms."""
    trains = trains_of(evidence)
    intervals, unit, _ = trains.intervals
    violates = intervals < ISI_REFRACTORY_S * TICKS_PER_S
    n_violations = np.bincount(unit[violates], minlength=len(evidence.waveform))
    n_spikes = trains.n_spikes.astype(np.float64)
    open_s = max(ISI_REFRACTORY_S - trains.censor_s, 0.0)
    return divide(n_violations * trains.duration_s, 2 * n_spikes**2 * open_s)


def _pairs_within(evidence: Evidence, seconds: float) -> np.ndarray:
    """(n_units,) all pairs of spikes closer than ``seconds``."""
    n_bins = round(seconds * TICKS_PER_S) // CLOSE_BIN_TICKS
    return np.asarray(evidence.close_pairs)[:, :n_bins].sum(axis=1)


def _rp_contamination(evidence: Evidence) -> np.ndarray:
    """Llobet, Wyngaard & Barbour 2022: ``1 - sqrt(1 - n_v (D - 2 n t_c) / (n^2 (t_r - t_c)))``, pairs under 1 ms.

    1 where the root is negative; NaN for units of less than two spikes.
    """
    trains = trains_of(evidence)
    n = trains.n_spikes.astype(np.float64)
    open_s = max(PAIR_REFRACTORY_S - trains.censor_s, 0.0)
    violations = _pairs_within(evidence, PAIR_REFRACTORY_S) * (trains.duration_s - 2 * n * trains.censor_s)
    inside = 1 - divide(violations, n**2 * open_s)
    contamination = 1 - np.sqrt(np.maximum(inside, 0))
    return np.where(n >= 2, contamination, np.nan)


def _sliding_rp(evidence: Evidence) -> np.ndarray:
    """Smallest contamination that some refractory period of 0.5-10 ms excludes with > 90 % confidence.

    International Brain Laboratory, slidingRefractory; expected pairs as in Llobet et al. 2022:
    ``2 t_r / D * n_c (n_b + (n_c - 1) / 2)``, n_c = C n contaminating spikes and n_b = (1 - C) n of the unit. Pairs
    closer than the censored period cannot occur and are not expected. NaN where even 35 % cannot be excluded.
    """
    trains, pairs = trains_of(evidence), np.asarray(evidence.close_pairs)
    edges_s = np.arange(1, N_CLOSE_BINS + 1) * CLOSE_BIN_TICKS / TICKS_PER_S
    tested = edges_s - CLOSE_BIN_TICKS / TICKS_PER_S / 2 > max(CLOSE_S, trains.censor_s)
    # P(more than k pairs | expected) > 90 % is expected > this: one inverse instead of a probability per contamination
    least = pdtri(np.cumsum(pairs, axis=1)[:, tested], 1 - CONFIDENCE)
    n, result = trains.n_spikes.astype(np.float64)[:, None], np.full(len(pairs), np.nan)
    n_foreign = n * CONTAMINATIONS
    per_second = 2 / trains.duration_s[:, None] * n_foreign * (n - n_foreign + (n_foreign - 1) / 2)
    for start in range(0, len(pairs), BLOCK):
        block = slice(start, start + BLOCK)
        excluded = (per_second[block, :, None] * (edges_s[tested] - trains.censor_s) > least[block, None, :]).any(
            axis=2
        )
        result[block] = np.where(excluded.any(axis=1), CONTAMINATIONS[excluded.argmax(axis=1)], np.nan)
    return result


def _presence_ratio(evidence: Evidence) -> np.ndarray:
    """Over the whole 60 s bins of the time observed; NaN when it is shorter than one."""
    trains = trains_of(evidence)
    n_bins = (trains.duration_s // PRESENCE_BIN_S).astype(np.int64)
    bin_, unit = trains.ticks // (PRESENCE_BIN_S * TICKS_PER_S), trains.unit
    # ticks ascend within a unit, so a bin is entered once
    entered = (bin_ < n_bins[unit]) & ((np.diff(bin_, prepend=-1) != 0) | (np.diff(unit, prepend=-1) != 0))
    return divide(np.bincount(unit[entered], minlength=len(n_bins)), n_bins)


def _per_unit(evidence: Evidence, values: np.ndarray | None, measure: Callable[[np.ndarray], float]) -> np.ndarray:
    """``measure`` of each unit's known values per spike; NaN where there are none."""
    offsets, values = trains_of(evidence).offsets, np.asarray(values, dtype=np.float64)
    result = np.full(len(offsets) - 1, np.nan)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        known = values[start:stop][np.isfinite(values[start:stop])]
        result[i] = measure(known) if len(known) else np.nan
    return result


def _sizes(evidence: Evidence, measure: Callable[[np.ndarray], float]) -> np.ndarray:
    """``measure`` of each unit's spike sizes, as positive numbers."""
    return _per_unit(evidence, np.abs(np.asarray(evidence.amplitudes, dtype=np.float64)), measure)


def _amplitude_median_uv(evidence: Evidence) -> np.ndarray:
    """NaN where sizes are in the amplifier's own unit."""
    sizes = _sizes(evidence, np.median)
    return sizes if evidence.unit == "uV" else np.full_like(sizes, np.nan)


def _fill_bins(sizes: np.ndarray) -> bool:
    """Whether a histogram of the sizes says anything."""
    return len(sizes) >= MIN_SPIKES_PER_BIN * N_AMPLITUDE_BINS and np.ptp(sizes) > 0


def estimate_amplitude_cutoff(sizes: np.ndarray) -> float:
    """Return the fraction of spikes too small to be detected, at most 0.5, from the symmetry of the sizes.

    Hill et al. 2011 as in SpikeInterface: 100 bins, smoothed by a Gaussian of 3 bins; what lies above the last bin as
    high as the lowest one is missing below it. NaN with fewer than 5 spikes per bin, or without any spread.

    Parameters
    ----------
    sizes : (n,) float64, positive
    """
    if not _fill_bins(sizes):
        return np.nan
    counts = np.histogram(sizes, N_AMPLITUDE_BINS)[0].astype(np.float64)
    smooth = gaussian_filter1d(counts, AMPLITUDE_SMOOTHING, mode="nearest")
    mirrored = np.flatnonzero(smooth >= smooth[0])[-1]
    n_missing = smooth[mirrored + 1 :].sum()
    return float(min(n_missing / (len(sizes) + n_missing), 0.5))


def compare_low_bins(sizes: np.ndarray) -> tuple[float, float]:
    """Return whether the sizes are cut off at the low end: (noise cutoff, low / maximum ratio).

    IBL white paper 2022 as in SpikeInterface: 100 bins; mean count of those below the 10 % quantile, minus the mean of
    those above the 75 % quantile, in standard deviations of the latter; and over the highest bin. NaN where there are
    no such bins, and as for the amplitude cutoff.

    Parameters
    ----------
    sizes : (n,) float64, positive
    """
    if not _fill_bins(sizes):
        return np.nan, np.nan
    counts, edges = np.histogram(sizes, N_AMPLITUDE_BINS)
    low_end, high_start = np.quantile(sizes, (LOW_QUANTILE, HIGH_QUANTILE))
    low, high = counts[edges[1:] <= low_end], counts[edges[:-1] >= high_start]
    if not len(low):
        return np.nan, np.nan
    ratio = float(low.mean() / counts.max())
    spread = float(high.std()) if len(high) >= 2 else 0.0
    return (float((low.mean() - high.mean()) / spread) if spread else np.nan), ratio


def _snr(evidence: Evidence) -> np.ndarray:
    trough = np.take_along_axis(evidence.waveform, evidence.trough[:, None], axis=1)[:, 0]
    return divide(np.abs(trough), np.asarray(evidence.noise))


def _drift_ptp_um(evidence: Evidence) -> np.ndarray:
    """Range of the median depth of 60 s windows with at least 10 spikes; NaN with fewer than two of them."""
    trains, depth = trains_of(evidence), np.asarray(evidence.depths_um, dtype=np.float64)
    known = np.isfinite(depth)
    window = trains.ticks[known] // (PRESENCE_BIN_S * TICKS_PER_S)
    unit, depth = trains.unit[known], depth[known]
    order = np.lexsort((depth, window, unit))
    unit, window, depth = unit[order], window[order], depth[order]
    new = (np.diff(unit, prepend=-1) != 0) | (np.diff(window, prepend=-1) != 0)
    first = np.flatnonzero(new)
    n = np.diff(np.append(first, len(depth)))
    first, n = first[n >= MIN_WINDOW_SPIKES], n[n >= MIN_WINDOW_SPIKES]
    median, owner = (depth[first + (n - 1) // 2] + depth[first + n // 2]) / 2, unit[first]
    n_units = len(evidence.waveform)
    low, high = np.full(n_units, np.inf), np.full(n_units, -np.inf)
    np.minimum.at(low, owner, median)
    np.maximum.at(high, owner, median)
    return np.where(np.bincount(owner, minlength=n_units) >= 2, high - low, np.nan)


QUALITY: dict[str, Scalar] = {
    "n_close_pairs": Scalar(
        "1",
        ("trains", "close_pairs"),
        "pairs of spikes under 0.5 ms, in no bin of the autocorrelogram",
        lambda e: _pairs_within(e, CLOSE_S),
    ),
    "isi_violations_ratio": Scalar(
        "1", ("trains",), "contamination from intervals < 1.5 ms (Hill et al. 2011)", _isi_violations_ratio, "< 0.5"
    ),
    "rp_contamination": Scalar(
        "1",
        ("trains", "close_pairs"),
        "contamination from all pairs < 1 ms (Llobet et al. 2022)",
        _rp_contamination,
        "< 0.1",
    ),
    "sliding_rp": Scalar(
        "1",
        ("trains", "close_pairs"),
        "smallest contamination of 0.5-35 % that a refractory period of 0.5-10 ms excludes with 90 % confidence (IBL)",
        _sliding_rp,
        "< 0.1",
    ),
    "presence_ratio": Scalar("1", ("trains",), "fraction of 60 s bins with a spike", _presence_ratio, "> 0.9"),
    "amplitude_cutoff": Scalar(
        "1",
        ("trains", "amplitudes"),
        "fraction of spikes missing below the detection threshold (Hill et al. 2011)",
        lambda e: _sizes(e, estimate_amplitude_cutoff),
        "< 0.1",
    ),
    "noise_cutoff": Scalar(
        "1",
        ("trains", "amplitudes"),
        "count of small spikes over that of large ones, in standard deviations of the latter (IBL 2022)",
        lambda e: _sizes(e, lambda sizes: compare_low_bins(sizes)[0]),
        "< 20 and ratio < 0.1",
    ),
    "noise_cutoff_ratio": Scalar(
        "1",
        ("trains", "amplitudes"),
        "count of small spikes / largest count",
        lambda e: _sizes(e, lambda sizes: compare_low_bins(sizes)[1]),
        "< 0.1",
    ),
    "snr": Scalar("1", ("waveform", "noise"), "trough of the mean / noise of the peak channel", _snr, "> 3"),
    "amplitude_median_uv": Scalar(
        "uV",
        ("trains", "amplitudes"),
        "median size of the spikes, if the gain is known",
        _amplitude_median_uv,
        "> 50",
    ),
    "drift_ptp_um": Scalar(
        "um", ("trains", "depths_um"), "range of the median spike depth in 60 s windows", _drift_ptp_um, "report only"
    ),
}
"""Columns that judge the sorting."""

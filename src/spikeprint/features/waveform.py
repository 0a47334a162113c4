"""Templates -> aligned 50-sample waveforms. Enters: mean waveforms at any rate. Leaves: 20 kHz, trough at sample 20."""

from dataclasses import dataclass, fields

import numpy as np
from scipy.signal import butter, sosfiltfilt

from ..core.errors import DataError
from ..core.types import MODALITIES

N_SAMPLES = MODALITIES["waveform"].length
TROUGH_INDEX = 20
CANONICAL_HZ = 20_000.0
CANONICAL_MS_PER_SAMPLE = 1e3 / CANONICAL_HZ

LOW_PASS_HZ = 8_000.0
LOW_PASS_ORDER = 5
MIN_FILTER_WINDOW_S = 1e-3
N_TAPER = 5
N_EDGE = 3
POSITIVE_RATIO = 1.5
MIN_CLIPPED_SAMPLES = 4
MIN_SOURCE_SAMPLES = 5
BLOCK_ROWS = 1024
"""Rows (unit x channel) at a time, so that the temporaries stay in the processor's cache."""


@dataclass(frozen=True)
class AlignedWaveforms:
    """Canonical waveforms and what was noticed on the way.

    Attributes
    ----------
    waveform : (n_units, 50) float32, the unit of the source; a missing row is all NaN
    inside : (n_units, 50) bool, samples inside the source window; the others were made up by holding its edge
    coverage : (n_units,) float64, fraction of the 50 samples inside the source window; NaN where nothing was usable
    polarity : (n_units,) int8, sign of the largest absolute value; 0 where nothing was usable
    peak_channel : (n_units,) int64, channel with the largest peak-to-peak
    peak_to_peak : (n_units, n_channels) float64, the unit of the source; NaN on bad channels
    trough_ms : (n_units, n_channels) float64, time of each channel's trough in the source window; NaN as above, and
        where there is only one channel
    flags : name -> (n_units,) bool; ``positive_spike, trough_at_edge, upsampled, flat, clipped``
    """

    waveform: np.ndarray
    inside: np.ndarray
    coverage: np.ndarray
    polarity: np.ndarray
    peak_channel: np.ndarray
    peak_to_peak: np.ndarray
    trough_ms: np.ndarray
    flags: dict[str, np.ndarray]


def align_waveforms(
    templates: np.ndarray, sampling_frequency_hz: float, min_coverage: float, refine_trough: bool = True
) -> AlignedWaveforms:
    """Take each unit's peak channel, remove its baseline, align its trough and resample it to 20 kHz.

    Catmull-Rom interpolation around the parabola-refined minimum, after a zero-phase 8 kHz low-pass when the source
    is faster than 20 kHz. Samples outside the source window hold the edge value, tapered to 0 over 5 samples.
    The polarity is kept as recorded.

    Parameters
    ----------
    templates : (n_units, n_samples, n_channels) float, any unit; a channel that is not finite is a bad one
    sampling_frequency_hz : float
    min_coverage : smallest fraction of the 2.5 ms inside the source window; less is a missing waveform
    refine_trough : align on a parabola through the trough; else on its sample

    Raises
    ------
    DataError
        The rate is not positive, there is no channel, or the window has fewer than 5 samples.
    """
    fs_hz, (_, n_source, n_channels) = sampling_frequency_hz, templates.shape
    if not (np.isfinite(fs_hz) and fs_hz > 0):
        raise DataError(f"waveforms: sampling frequency {fs_hz} Hz; a positive number is needed")
    if n_source < MIN_SOURCE_SAMPLES or n_channels == 0:
        raise DataError(
            f"waveforms: {n_source} samples on {n_channels} channels per template; at least {MIN_SOURCE_SAMPLES} "
            "samples and one channel are needed"
        )
    block = max(1, BLOCK_ROWS // n_channels)
    starts = range(0, max(len(templates), 1), block)
    parts = [_align_block(templates[start : start + block], fs_hz, min_coverage, refine_trough) for start in starts]
    columns = {
        column.name: np.concatenate([getattr(part, column.name) for part in parts])
        for column in fields(AlignedWaveforms)
        if column.name != "flags"
    }
    flags = {name: np.concatenate([part.flags[name] for part in parts]) for name in parts[0].flags}
    return AlignedWaveforms(**columns, flags=flags)


def _align_block(templates: np.ndarray, fs_hz: float, min_coverage: float, refine_trough: bool) -> AlignedWaveforms:
    """``align_waveforms`` of a few units."""
    n_source = templates.shape[1]
    rows, peak_channel, peak_to_peak, trough_ms = _read_channels(np.asarray(templates, dtype=np.float64), fs_hz)
    usable = np.isfinite(rows).all(axis=1)
    rows = np.where(usable[:, None], rows, 0.0)
    flat = usable & (np.ptp(rows, axis=1) == 0)
    rows = rows - np.median(rows[:, : max(3, round(0.1 * n_source))], axis=1, keepdims=True)

    trough, at_edge = _find_troughs(rows)
    clipped = _is_clipped(rows, trough) | _is_clipped(-rows, rows.argmax(axis=1))
    before = np.where(np.arange(n_source) < trough[:, None], rows, -np.inf).max(axis=1)
    positive = before > POSITIVE_RATIO * np.abs(np.take_along_axis(rows, trough[:, None], axis=1)[:, 0])
    position = trough + (_parabola_offset(rows, trough) if refine_trough else 0.0)

    waveform, inside = _resample(_low_pass(rows, fs_hz), position, fs_hz)
    present, coverage = usable & ~flat & ~clipped, inside.mean(axis=1)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)[:, 0]
    waveform[~(present & (coverage >= min_coverage))] = np.nan
    return AlignedWaveforms(
        waveform=waveform.astype(np.float32),
        inside=inside,
        coverage=np.where(present, coverage, np.nan),
        polarity=np.where(present, np.sign(largest), 0).astype(np.int8),
        peak_channel=peak_channel,
        peak_to_peak=peak_to_peak,
        trough_ms=trough_ms,
        flags={
            "positive_spike": present & positive,
            "trough_at_edge": present & at_edge,
            "upsampled": present & (fs_hz < CANONICAL_HZ),
            "flat": flat,
            "clipped": clipped & usable & ~flat,
        },
    )


def _read_channels(templates: np.ndarray, fs_hz: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row of the peak channel (ties: lowest index) and its index; peak-to-peak and trough time of all channels."""
    n_units, n_source, n_channels = templates.shape
    finite = np.isfinite(templates).all(axis=1)
    filled = np.where(finite[:, None, :], templates, 0.0)
    spread = np.where(finite, np.ptp(filled, axis=1), np.nan)
    channel = np.where(finite, spread, -1.0).argmax(axis=1)
    if n_channels == 1:  # one channel has no delays to others
        trough_ms = np.full((n_units, 1), np.nan)
    else:
        rows = filled.transpose(0, 2, 1).reshape(-1, n_source)
        trough = rows.argmin(axis=1)
        position = (trough + _parabola_offset(rows, trough)).reshape(n_units, n_channels)
        trough_ms = np.where(finite, position * (1e3 / fs_hz), np.nan)
    return np.take_along_axis(templates, channel[:, None, None], axis=2)[:, :, 0], channel, spread, trough_ms


def _find_troughs(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each row's minimum; near an edge, that of the central 80 %, flagged unless it is a local minimum."""
    n = rows.shape[1]
    trough = rows.argmin(axis=1)
    near_edge = (trough < N_EDGE) | (trough >= n - N_EDGE)
    margin = max(1, round(0.1 * n))
    central = rows[:, margin : n - margin].argmin(axis=1) + margin
    trough = np.where(near_edge, central, trough)
    left, middle, right = _around(rows, trough)
    return trough, near_edge & ((middle > left) | (middle > right))


def _around(rows: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values one before, at, and one after ``index`` (n,); an edge repeats."""
    steps = np.clip(index[:, None] + np.array([-1, 0, 1]), 0, rows.shape[1] - 1)
    left, middle, right = np.take_along_axis(rows, steps, axis=1).T
    return left, middle, right


def _parabola_offset(rows: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Offset of the extremum of the parabola through three points, within half a sample."""
    left, middle, right = _around(rows, index)
    curvature = left - 2 * middle + right
    offset = np.divide(left - right, 2 * curvature, out=np.zeros(len(rows)), where=curvature != 0)
    return np.clip(offset, -0.5, 0.5)


def _is_clipped(rows: np.ndarray, trough: np.ndarray) -> np.ndarray:
    """Whether the extremum is a plateau of at least four equal samples: the amplifier's limit, not a spike."""
    index = np.clip(trough[:, None] + np.arange(MIN_CLIPPED_SAMPLES), 0, rows.shape[1] - 1)
    plateau = np.take_along_axis(rows, index, axis=1)
    return (plateau == plateau[:, :1]).all(axis=1) & (trough <= rows.shape[1] - MIN_CLIPPED_SAMPLES)


def _low_pass(rows: np.ndarray, fs_hz: float) -> np.ndarray:
    """Zero-phase Butterworth before going down to 20 kHz; a window under 1 ms is too short to filter."""
    if fs_hz <= CANONICAL_HZ or rows.shape[1] < MIN_FILTER_WINDOW_S * fs_hz or not len(rows):
        return rows
    return sosfiltfilt(butter(LOW_PASS_ORDER, LOW_PASS_HZ, fs=fs_hz, output="sos"), rows, axis=1)


def _resample(rows: np.ndarray, trough: np.ndarray, fs_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Cubic convolution (Catmull-Rom) at 20 kHz steps around ``trough`` (n,) float; which samples are inside."""
    last = rows.shape[1] - 1
    step = fs_hz / CANONICAL_HZ
    position = trough[:, None] + (np.arange(N_SAMPLES) - TROUGH_INDEX) * step
    inside = np.clip(position, 0, last)
    base = np.minimum(inside.astype(np.int64), last - 1)
    t = inside - base
    weights = (
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (-(t**2) + t**3),
    )
    resampled = np.zeros(position.shape)
    for shift, weight in zip((-1, 0, 1, 2), weights, strict=True):
        resampled += weight * np.take_along_axis(rows, np.clip(base + shift, 0, last), axis=1)
    beyond = np.abs(position - inside) / step
    return resampled * np.clip(1 - beyond / N_TAPER, 0, 1), beyond == 0

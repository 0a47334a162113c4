"""Spikes cut out of stored traces. Enters: a source, spike trains. Leaves: windows, noise, rough means of all units."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfiltfilt

from ..io.hybrid.sortings import Trains
from ..io.hybrid.source import RawSource

NOISE_PIECES, NOISE_PIECE_S, SHORT_PIECE_S = 20, 0.05, 0.01
HIGH_PASS_HZ = 300.0
PROBE_EVENTS = 100
"""Spikes per unit over all channels, to find where a unit is."""
SHARED_FRACTION = 0.2
"""A contact whose peak-to-peak is a smaller part of the unit's largest is not of its footprint."""


@dataclass(frozen=True)
class Window:
    """Samples before the spike and of the whole window."""

    before: int
    n_samples: int

    def fits(self, trains: Trains, spikes: np.ndarray, source: RawSource) -> np.ndarray:
        """Whether the windows of spikes, given by their index, lie inside their segments."""
        counts = np.asarray(source.counts)[trains.segment[spikes]]
        first = trains.sample[spikes] - self.before
        return (first >= 0) & (first + self.n_samples <= counts)


def make_window(window_ms: tuple[float, float], rate_hz: float) -> Window:
    """Return the window: ``before`` samples, the trough, and the samples after it."""
    before, after = (round(ms * rate_hz / 1000) for ms in window_ms)
    return Window(before, before + after + 1)


def cut_windows(
    source: RawSource, trains: Trains, spikes: np.ndarray, window: Window, channels: np.ndarray, shift: int = 0
) -> np.ndarray:
    """Read the windows of spikes.

    Parameters
    ----------
    spikes : (n,) indices into ``trains``; their windows must lie inside the traces
    channels : (m,) absolute channels
    shift : samples by which windows are moved

    Returns
    -------
    (n, n_samples, m) float32, as stored
    """
    found = np.empty((len(spikes), window.n_samples, len(channels)), dtype=np.float32)
    for row, spike in enumerate(spikes):
        start = int(trains.sample[spike]) - window.before + shift
        found[row] = source.read(int(trains.segment[spike]), start, start + window.n_samples)[:, channels]
    return found


def detrend(windows: np.ndarray) -> np.ndarray:
    """Take from each channel of each window the straight line through its first and last sample.

    Shapes: (..., n_samples, m) -> the same.
    """
    n_samples = windows.shape[-2]
    ramp = np.linspace(0, 1, n_samples, dtype=windows.dtype)[:, None]
    first, last = windows[..., :1, :], windows[..., -1:, :]
    return windows - first - ramp * (last - first)


def pick(spikes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``n`` of the indices, drawn at random, in order."""
    return spikes if len(spikes) <= n else np.sort(rng.choice(spikes, n, replace=False))


def measure_noise(source: RawSource) -> np.ndarray:
    """(n_channels,) noise above 300 Hz, in bits: the median over pieces of 10 ms of their MAD x 1.4826.

    Most pieces hold no large spike, so busy units raise the noise less than they do the MAD of all samples.
    """
    rate_hz = source.sampling_frequency_hz
    rows, short = max(int(NOISE_PIECE_S * rate_hz), 64), max(int(SHORT_PIECE_S * rate_hz), 16)
    sections = butter(3, HIGH_PASS_HZ, "highpass", fs=rate_hz, output="sos")
    deviations = []
    share = max(NOISE_PIECES // len(source.counts), 1)
    for segment, count in enumerate(source.counts):
        for start in np.unique(np.linspace(0, max(count - rows, 0), share).astype(np.int64)):
            piece = source.read(segment, int(start), min(int(start) + rows, count)).astype(np.float32)
            if len(piece) < max(short, 33):
                continue
            piece = sosfiltfilt(sections, piece, axis=0)
            parts = piece[: len(piece) // short * short].reshape(-1, short, source.n_channels)
            deviations.append(np.median(np.abs(parts - np.median(parts, axis=1, keepdims=True)), axis=1))
    if not deviations:
        return np.full(source.n_channels, np.nan)
    return 1.4826 * np.median(np.concatenate(deviations), axis=0)


@dataclass(frozen=True)
class Sketch:
    """Where all sorted units are, roughly.

    Attributes
    ----------
    peaks : (n_units,) channel of the largest peak-to-peak, -1 without a whole window
    offsets : (n_units,) samples from the spike time to the extremum
    footprint : (n_units, n_channels) bool
    """

    peaks: np.ndarray
    offsets: np.ndarray
    footprint: np.ndarray


def sketch_units(source: RawSource, trains: Trains, window: Window, seed: int) -> Sketch:
    """Average a few spikes of every unit over all connected channels."""
    channels = np.flatnonzero(np.isfinite(source.probe.positions_um).all(axis=1))
    n_units = len(trains.unit_ids)
    peaks, offsets = np.full(n_units, -1), np.zeros(n_units, dtype=np.int64)
    footprint = np.zeros((n_units, source.n_channels), dtype=bool)
    for unit in range(n_units):
        rng = np.random.default_rng([seed, 1, unit])
        spikes = trains.of_unit(unit)
        spikes = pick(spikes[window.fits(trains, spikes, source)], PROBE_EVENTS, rng)
        if not len(spikes):
            continue
        mean = np.zeros((window.n_samples, len(channels)))
        for spike in spikes:
            mean += cut_windows(source, trains, np.array([spike]), window, channels)[0]
        mean = detrend(mean / len(spikes))
        size = np.ptp(mean, axis=0)
        peak = int(size.argmax())
        peaks[unit] = channels[peak]
        offsets[unit] = int(np.abs(mean[:, peak]).argmax()) - window.before
        footprint[unit, channels] = size >= SHARED_FRACTION * size[peak]
    return Sketch(peaks, offsets, footprint)

"""Single-channel spike shapes. Enters: a random generator. Leaves: a bank of waves on a fine grid of time.

Three exponentials, depolarisation, repolarisation and recovery, as in SpikeInterface's generator (Buccino & Garcia),
with wider ranges of every time constant.
"""

from dataclasses import dataclass

import numpy as np

FINE = 8
"""Points of the bank between two samples."""


@dataclass(frozen=True)
class WaveBank:
    """Spikes of size 1 (trough -1) at one sampling rate.

    Attributes
    ----------
    values : (n_waves, 3 T FINE) float32: a window before, the window of a snippet, and a window after it
    origin : index of the window's first sample; its trough is at sample ``n_before``
    """

    values: np.ndarray
    origin: int


def make_waves(
    rng: np.random.Generator, n: int, fs_hz: float, n_before: int, n_after: int, band_hz: tuple[float, float] | None
) -> WaveBank:
    """Draw spike shapes.

    Parameters
    ----------
    n_before, n_after : samples of a snippet
    band_hz : zero-phase band-pass that recorded spikes went through, None = none
    """
    length = n_before + n_after
    t = (np.arange(3 * length * FINE) / FINE - length - n_before) / fs_hz * 1000
    depolarise, repolarise, recover = rng.uniform([0.07, 0.35, 0.6], [0.2, 1.0, 2.0], (n, 3)).T[:, :, None]
    after = rng.uniform(0.0, 0.4, (n, 1))
    values = np.zeros((n, len(t)))
    rising = -_grow((t + depolarise) / depolarise, 0.2)
    values = np.where((t >= -depolarise) & (t < 0), rising, values)
    values = np.where((t >= 0) & (t < repolarise), after - (after + 1) * _grow(1 - t / repolarise, 0.5), values)
    late = t - repolarise
    values = np.where((late >= 0) & (late < recover), after * _grow(1 - late / recover, 0.5), values)
    smooth = _smoothing(t, rng.uniform(0.02, 0.08, n))
    spectrum = np.fft.rfft(values, axis=1) * smooth
    if band_hz is not None:
        spectrum = spectrum * _band_gain(np.fft.rfftfreq(len(t), 1 / (fs_hz * FINE)), band_hz)
    values = np.fft.irfft(spectrum, n=len(t), axis=1)
    return WaveBank(_align(values, (length + n_before) * FINE).astype(np.float32), length * FINE)


def _grow(share: np.ndarray, tau: float) -> np.ndarray:
    """Exponential rise from 0 at share 0 to 1 at share 1."""
    return (np.exp(np.clip(share, 0, 1) / tau) - 1) / (np.exp(1 / tau) - 1)


def _smoothing(t: np.ndarray, sigma_ms: np.ndarray) -> np.ndarray:
    """(n, n_frequencies) gain of a Gaussian smoothing."""
    frequency = np.fft.rfftfreq(len(t), t[1] - t[0])
    return np.exp(-2 * (np.pi * frequency * sigma_ms[:, None]) ** 2)


def _band_gain(frequency_hz: np.ndarray, band_hz: tuple[float, float]) -> np.ndarray:
    """Gain of a fifth-order Butterworth band-pass run forwards and backwards, as SpikeInterface filters."""
    from scipy.signal import butter, sosfreqz

    fs_hz = max(2.2 * frequency_hz[-1], 4 * band_hz[1])
    sos = butter(5, band_hz, btype="bandpass", fs=fs_hz, output="sos")
    _, gain = sosfreqz(sos, frequency_hz, fs=fs_hz)
    return np.abs(gain) ** 2


def _align(values: np.ndarray, trough: int) -> np.ndarray:
    """Shift every wave so that its trough lies at index ``trough`` and is -1."""
    at = values.argmin(axis=1)
    rows = np.arange(values.shape[1])[None] + (at - trough)[:, None]
    inside = (rows >= 0) & (rows < values.shape[1])
    moved = np.take_along_axis(values, np.clip(rows, 0, values.shape[1] - 1), axis=1) * inside
    return moved / -values.min(axis=1, keepdims=True)

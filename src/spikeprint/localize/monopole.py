"""Monopole fit of all spikes at once. Enters: snippets. Leaves: positions and source amplitudes."""

import numpy as np

from ..core.spikes import Neighbourhoods, Positions
from .kernels import fit_monopoles

REACH_UM = 80.0
"""Sources are looked for that far from their peak contact."""
N_NEIGHBOURS = 8
"""Nearest contacts that are fitted: farther ones see a spike too weakly and tilt the fit."""
LAGS_MS = (0.0, 0.07, 0.13)
"""A spike travels: its wave is looked for that much later on the other contacts."""
BEFORE_MS, AFTER_MS = 0.4, 0.8


def measure_sizes(snippets: np.ndarray, own: np.ndarray, n_before: int, fs_hz: float) -> np.ndarray:
    """Return how large a spike is on each contact: its projection on the spike's own wave at the peak contact.

    The largest of a few lags is taken. Less noise than peak to peak, more bias in z.

    Parameters
    ----------
    snippets : (n, k, T) float32; own : (n,) place of the peak contact
    n_before, fs_hz : sample of the trough, and sampling rate

    Returns
    -------
    (n, k) float64, at least 0, in the unit of the snippets
    """
    start = max(n_before - round(BEFORE_MS * fs_hz / 1000), 0)
    stop = min(n_before + round(AFTER_MS * fs_hz / 1000), snippets.shape[2])
    wave = snippets[np.arange(len(snippets)), own, start:stop]
    power = np.maximum(np.square(wave).sum(axis=1, keepdims=True), 1e-12)
    lags = sorted({min(round(ms * fs_hz / 1000), snippets.shape[2] - stop) for ms in LAGS_MS})
    shares = [np.matmul(snippets[:, :, start + lag : stop + lag], wave[:, :, None])[:, :, 0] for lag in lags]
    share = np.maximum(np.max(shares, axis=0) / power, 0.0)
    return (share * np.ptp(wave, axis=1, keepdims=True)).astype(np.float64)


def localise_monopoles(
    snippets: np.ndarray,
    channels: np.ndarray,
    around: Neighbourhoods,
    n_before: int,
    fs_hz: float,
) -> Positions:
    """Fit size = alpha / distance (Boussard et al. 2021) to every spike, the amplitude in closed form.

    Parameters
    ----------
    snippets : (n, k, T) float32 µV; channels : (n,) peak channels; around : their neighbourhoods
    n_before, fs_hz : see ``measure_sizes``
    """
    near = is_near(around)
    sizes = np.where(near[channels], measure_sizes(snippets, around.own[channels], n_before, fs_hz), 0.0)
    offsets = around.offsets_um[channels].astype(np.float64)
    total = np.maximum(sizes.sum(axis=1, keepdims=True), 1e-12)
    start = np.column_stack([(sizes[:, :, None] * offsets).sum(axis=1) / total, np.full(len(sizes), 20.0)])
    found, alpha = np.empty((len(sizes), 3)), np.empty(len(sizes))
    fit_monopoles(sizes, offsets, start, REACH_UM, found, alpha)
    found[:, :2] += around.contacts_um[channels]
    return Positions(found.astype(np.float32), alpha.astype(np.float32))


def is_near(around: Neighbourhoods) -> np.ndarray:
    """(n_channels, k) bool, the ``N_NEIGHBOURS`` nearest contacts of each channel."""
    distance = np.where(around.is_there, np.linalg.norm(around.offsets_um, axis=2), np.inf)
    rank = np.argsort(np.argsort(distance, axis=1, kind="stable"), axis=1)
    return (rank < N_NEIGHBOURS) & around.is_there

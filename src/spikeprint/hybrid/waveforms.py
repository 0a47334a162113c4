"""What the spikes of a unit look like. Enters: its windows. Leaves: the contacts it is on, a bank of waveforms.

Low rank as in hybridfactory: detrended events, first differences, truncated singular value decomposition; found through
the smaller Gram matrix, which gives the same to rounding and needs no complete bases.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.signal.windows import tukey

from ..core.errors import DataError, NotEnoughSpikes
from ..core.hybrid_params import ChannelParams
from .events import detrend


@dataclass(frozen=True)
class UnitModel:
    """One unit, ready to be copied.

    Attributes
    ----------
    channels : (m,) absolute channels, the peak first
    mean : (n_samples, m) float32
    bank : (n_bank, n_samples, m) float32; ends are zero
    """

    channels: np.ndarray
    mean: np.ndarray
    bank: np.ndarray


def pick_channels(
    windows: np.ndarray, channels: np.ndarray, positions_um: np.ndarray, params: ChannelParams
) -> np.ndarray:
    """Return the contacts of a unit, as indices into ``channels``, the peak first.

    Parameters
    ----------
    windows : (n_events, n_samples, m) detrended
    channels : (m,) absolute, connected
    positions_um : (m, 2)

    Raises
    ------
    DataError
        No contact stands out of the noise: the unit has no compact footprint.
    """
    mean = windows.mean(axis=0)
    size = np.ptp(mean, axis=0)
    peak = int(size.argmax())
    error = np.median(windows.std(axis=0), axis=0) / np.sqrt(len(windows))
    is_near = np.linalg.norm(positions_um - positions_um[peak], axis=1) <= params.radius_um
    is_kept = is_near & (size >= params.min_fraction * size[peak]) & (size >= params.min_snr * error) & (size > 0)
    if not is_kept[peak]:
        raise DataError(
            f"no compact footprint: channel {channels[peak]}, its largest, has {size[peak]:.3g} bits peak to peak, "
            f"{size[peak] / max(error[peak], 1e-12):.1f} standard errors (channels.min_snr = {params.min_snr:g})"
        )
    kept = np.flatnonzero(is_kept)
    return kept[np.argsort(-size[kept], kind="stable")][: params.max_channels]


def fit_low_rank(windows: np.ndarray, rank: int) -> np.ndarray:
    """Replace events by their part in the ``rank`` largest singular vectors of their first differences.

    Parameters
    ----------
    windows : (n_events, n_samples, m) detrended, so that every one begins and ends at zero

    Returns
    -------
    (n_events, n_samples, m) float32, still zero at both ends

    Raises
    ------
    NotEnoughSpikes
        There are fewer events, or values per event, than the rank.
    """
    n_events, n_samples, m = windows.shape
    size = (n_samples - 1) * m
    if min(n_events, size) < rank:
        raise NotEnoughSpikes(f"{n_events} events of {size} differences; rank {rank} needs as many of both")
    steps = np.diff(windows, axis=1).reshape(n_events, size).astype(np.float64)
    if n_events <= size:
        _, left = eigh(steps @ steps.T, subset_by_index=[n_events - rank, n_events - 1])
        low = left @ (left.T @ steps)
    else:
        _, right = eigh(steps.T @ steps, subset_by_index=[size - rank, size - 1])
        low = (steps @ right) @ right.T
    found = np.zeros((n_events, n_samples, m), dtype=np.float32)
    found[:, 1:] = np.cumsum(low.reshape(n_events, n_samples - 1, m), axis=1)
    return found


def taper(waveforms: np.ndarray, fraction: float) -> np.ndarray:
    """Bring both ends to exactly zero: (..., n_samples, m) -> the same."""
    shape = tukey(waveforms.shape[-2], fraction).astype(np.float32)[:, None]
    tapered = waveforms * shape
    tapered[..., 0, :] = tapered[..., -1, :] = 0
    return tapered.astype(np.float32)


def make_bank(
    windows: np.ndarray, rank: int | None, n_bank: int, taper_fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the bank of a unit.

    Parameters
    ----------
    windows : (n_events, n_samples, m) detrended
    rank : None = the mean alone

    Returns
    -------
    mean : (n_samples, m); bank : (n_bank or fewer, n_samples, m), events of low rank drawn without replacement
    """
    if rank is None:
        mean = taper(windows.mean(axis=0), taper_fraction)
        return mean, mean[None]
    events = fit_low_rank(windows, rank)
    chosen = np.arange(len(events)) if len(events) <= n_bank else rng.choice(len(events), n_bank, replace=False)
    bank = taper(events[chosen], taper_fraction)
    return bank.mean(axis=0), bank


def model_unit(
    windows: np.ndarray,
    channels: np.ndarray,
    positions_um: np.ndarray,
    params: ChannelParams,
    rank: int | None,
    bank: tuple[int, float],
    rng: np.random.Generator,
) -> UnitModel:
    """Return the model of a unit from its windows (n_events, n_samples, m) on the contacts around its peak.

    ``bank`` : number of waveforms, taper
    """
    windows = detrend(windows)
    kept = pick_channels(windows, channels, positions_um, params)
    mean, waveforms = make_bank(windows[:, :, kept], rank, *bank, rng)
    return UnitModel(channels[kept], mean, waveforms)

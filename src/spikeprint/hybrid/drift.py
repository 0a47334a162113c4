"""Waveforms that follow the tissue. Enters: a bank, displacements. Leaves: a bank of shapes at their places."""

from dataclasses import dataclass

import numpy as np

from .events import detrend
from .relocate import displace

FEW = 30
"""Fewer spikes say nothing of motion."""


@dataclass(frozen=True)
class Placed:
    """A bank on contacts of its own for each row.

    Attributes
    ----------
    row : (n_spikes,) row of each spike; displacement : (n_spikes,) steps
    waveforms : (n_bank, n_samples, width) float32; channels : (n_bank, width) int32, filled up with -1
    """

    row: np.ndarray
    displacement: np.ndarray
    waveforms: np.ndarray
    channels: np.ndarray


def carry_along(
    bank: np.ndarray,
    row: np.ndarray,
    channels: np.ndarray,
    positions_um: np.ndarray,
    radius_um: float,
    steps: np.ndarray,
    step_um: float,
) -> Placed:
    """Displace each spike along the probe.

    Parameters
    ----------
    bank : (n_bank, n_samples, m) on ``channels`` (m,)
    row : (n_spikes,) waveform of each spike
    positions_um : (n_channels, 2)
    steps : (n_spikes,) displacement of each spike in multiples of ``step_um``, towards larger y

    Returns
    -------
    Only the shapes and displacements that are used are made, one matrix of weights per displacement.
    """
    if not steps.any():
        tiled = np.tile(channels.astype(np.int32), (len(bank), 1))
        return Placed(row, steps.astype(np.int32), bank.astype(np.float32), tiled)
    order = np.argsort(-np.ptp(bank.mean(axis=0), axis=0), kind="stable")
    channels, bank = channels[order], bank[:, :, order]
    pairs, where = np.unique(np.column_stack([steps, row]), axis=0, return_inverse=True)
    parts, places = [], []
    for step in np.unique(pairs[:, 0]):
        rows = pairs[pairs[:, 0] == step, 1]
        move = displace(channels, positions_um, np.array([0.0, step * step_um]), radius_um)
        moved = move.carry(bank[rows]) if step else bank[rows]
        on = move.channels if step else channels
        parts.append(moved)
        places.append(np.tile(on.astype(np.int32), (len(rows), 1)))
    return Placed(where.ravel(), steps.astype(np.int32), *stack_banks(parts, places))


def stack_banks(parts: list[np.ndarray], places: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Join banks (n, n_samples, m) and their channels (n, m) of different width into one of the largest."""
    width = max(part.shape[2] for part in parts)
    waveforms = [np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2]))) for part in parts]
    channels = [np.pad(place, ((0, 0), (0, width - place.shape[1])), constant_values=-1) for place in places]
    return np.concatenate(waveforms).astype(np.float32), np.concatenate(channels).astype(np.int32)


def measure_shift(windows: np.ndarray, depths_um: np.ndarray) -> float:
    """Return how far a unit's centre of mass moves from the first third of its spikes to the last, µm.

    Parameters
    ----------
    windows : (n_spikes, n_samples, m) in the order of time
    depths_um : (m,)
    """
    third = len(windows) // 3
    if len(windows) < FEW:
        return 0.0
    centres = []
    for part in (windows[:third], windows[-third:]):
        size = np.ptp(detrend(part.mean(axis=0)), axis=0)
        weight = np.where(size >= 0.3 * size.max(), size, 0.0) ** 2
        centres.append(float((weight * depths_um).sum() / max(weight.sum(), 1e-12)))
    return centres[1] - centres[0]

"""Where a unit is seen on the probe. Enters: templates of all channels. Leaves: one column per ``FOOTPRINT`` entry."""

from collections.abc import Callable

import numpy as np

from .evidence import Evidence, Scalar, aligned_of, divide

MIN_RELATIVE_PTP = 0.2
MIN_CHANNELS = 4
MIN_R2 = 0.2


def _of_peak(evidence: Evidence, values: np.ndarray) -> np.ndarray:
    """(n_units,) of (n_units, n_channels) values that of the peak channel; NaN where no template was usable."""
    aligned = aligned_of(evidence)
    value = np.take_along_axis(values.astype(np.float64), aligned.peak_channel[:, None], axis=1)[:, 0]
    return np.where(aligned.polarity == 0, np.nan, value)


def _channels(evidence: Evidence) -> np.ndarray:
    """(n_units, n_channels) index of each channel."""
    return np.broadcast_to(
        np.arange(aligned_of(evidence).peak_to_peak.shape[1]), aligned_of(evidence).peak_to_peak.shape
    )


def _positions(evidence: Evidence) -> np.ndarray:
    return np.asarray(evidence.positions_um, dtype=np.float64)


def _over_units(
    evidence: Evidence, measure: Callable[[np.ndarray, np.ndarray], float], min_known: int, min_seen: int
) -> np.ndarray:
    """``measure(positions (k, 2), trough_ms (k,))`` of the channels with 20 % of the peak's peak-to-peak, unit by unit.

    NaN where fewer than ``min_known`` channels have data and a position, or fewer than ``min_seen`` see the unit.
    """
    aligned, positions = aligned_of(evidence), _positions(evidence)
    relative = divide(aligned.peak_to_peak, _of_peak(evidence, aligned.peak_to_peak)[:, None])
    known = np.isfinite(relative) & np.isfinite(positions).all(axis=2)
    seen = known & (np.nan_to_num(relative) >= MIN_RELATIVE_PTP)
    result = np.full(len(seen), np.nan)
    for i in np.flatnonzero((known.sum(axis=1) >= min_known) & (seen.sum(axis=1) >= min_seen)):
        result[i] = measure(positions[i, seen[i]], aligned.trough_ms[i, seen[i]])
    return result


def _largest_distance(positions: np.ndarray, trough_ms: np.ndarray) -> float:
    return float(np.linalg.norm(positions[:, None] - positions[None], axis=2).max())


def fit_velocity(positions: np.ndarray, trough_ms: np.ndarray) -> float:
    """Return the speed along y at which the trough travels, µm/ms; positive towards larger y.

    Theil-Sen line of trough time over y (Theil 1950; Sen 1968), of which the speed is the inverse slope.

    Parameters
    ----------
    positions : (k, 2) float64, µm
    trough_ms : (k,) float64

    Returns
    -------
    NaN where all channels are at one height, all troughs at one time, or the line explains less than 20 % (R^2).
    """
    depth = positions[:, 1]
    first, second = np.triu_indices(len(depth), 1)
    apart = depth[second] != depth[first]
    first, second = first[apart], second[apart]
    if not len(first):
        return np.nan
    slope = float(np.median((trough_ms[second] - trough_ms[first]) / (depth[second] - depth[first])))
    residual = trough_ms - slope * depth
    total = float(((trough_ms - trough_ms.mean()) ** 2).sum())
    if slope == 0 or total == 0 or 1 - ((residual - np.median(residual)) ** 2).sum() / total < MIN_R2:
        return np.nan
    return 1 / slope


def _place(evidence: Evidence, axis: int) -> np.ndarray:
    """(n_units,) where a unit was localised, else where its peak channel is."""
    channel = _of_peak(evidence, _positions(evidence)[:, :, axis])
    if evidence.places_um is None:
        return channel
    return np.where(np.isfinite(evidence.places_um[:, axis]), evidence.places_um[:, axis], channel)


FOOTPRINT: dict[str, Scalar] = {
    "peak_channel": Scalar(
        "1",
        ("aligned",),
        "place of the channel with the largest peak-to-peak among those of the source, from 0",
        lambda e: _of_peak(e, _channels(e)),
    ),
    "x_um": Scalar(
        "um", ("aligned", "positions_um"), "place of the localised unit, else its peak channel", lambda e: _place(e, 0)
    ),
    "y_um": Scalar(
        "um", ("aligned", "positions_um"), "place of the localised unit, else its peak channel", lambda e: _place(e, 1)
    ),
    "depth_um": Scalar(
        "um",
        ("places_um",),
        "depth of the localised unit in the frame of the tissue, its motion taken away",
        lambda e: np.asarray(e.places_um)[:, 2],
    ),
    "spread_um": Scalar(
        "um",
        ("aligned", "positions_um"),
        "largest distance between channels with >= 20 % of the peak channel's peak-to-peak",
        lambda e: _over_units(e, _largest_distance, min_known=2, min_seen=1),
    ),
    "velocity_um_per_ms": Scalar(
        "um/ms",
        ("aligned", "positions_um"),
        "speed of the trough along y over those channels (>= 4), by a robust line with R^2 >= 0.2",
        lambda e: _over_units(e, fit_velocity, min_known=MIN_CHANNELS, min_seen=MIN_CHANNELS),
    ),
}
"""Columns from all channels of the template."""

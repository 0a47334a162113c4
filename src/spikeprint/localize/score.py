"""Positions against truth. Enters: peaks, positions, motion and what was simulated. Leaves: errors, by name.

Definitions are those of the specification's table of ground-truth metrics; z is scored by itself.
"""

from dataclasses import dataclass

import numpy as np

from ..core.errors import NotEnoughSpikes
from ..core.spikes import AXES, GroundTruth, Motion, Peaks, Positions

MATCH_MS, MATCH_UM = 0.4, 60.0
MIN_UNIT_SPIKES = 50
N_NEAREST = 10


@dataclass(frozen=True)
class Matches:
    """Which true spike a peak is.

    Attributes
    ----------
    units : (n_peaks,) int64, -1 = none; xyz_um : (n_peaks, 3) where that neuron was, NaN = none
    detected : share of the true spikes that some peak is
    """

    units: np.ndarray
    xyz_um: np.ndarray
    detected: float


def match_peaks(peaks: Peaks, contacts_um: np.ndarray, truth: GroundTruth) -> Matches:
    """Give each peak the true spike within ±0.4 ms whose neuron is nearest to the peak channel, at most 60 µm away."""
    window = round(MATCH_MS * peaks.fs_hz / 1000)
    first = np.searchsorted(truth.samples, peaks.samples - window)
    last = np.searchsorted(truth.samples, peaks.samples + window, side="right")
    counts = last - first
    peak = np.repeat(np.arange(len(peaks)), counts)
    spike = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    place = truth.locations_um[truth.units[spike]].copy()
    place[:, :2] += truth.moved_um(truth.units[spike], truth.samples[spike] / peaks.fs_hz)
    distance = np.linalg.norm(place[:, :2] - contacts_um[peaks.channels[peak]], axis=1)
    order = np.lexsort((distance, peak))
    order = order[distance[order] <= MATCH_UM]
    chosen, rows = np.unique(peak[order], return_index=True)
    taken = order[rows]
    units = np.full(len(peaks), -1, dtype=np.int64)
    xyz = np.full((len(peaks), 3), np.nan)
    units[chosen], xyz[chosen] = truth.units[spike[taken]], place[taken]
    return Matches(units, xyz, len(np.unique(spike[taken])) / max(len(truth.samples), 1))


def score_positions(positions: Positions, matches: Matches) -> dict[str, float]:
    """Return errors in the frame of the probe, µm.

    ``median_um, p90_um`` of the distance in (x, y); ``mae_x_um, mae_y_um, mae_z_um``; ``bias_um, spread_um``: norm of
    the median error of a neuron, and the median distance to it, means over neurons with at least 50 spikes.

    Raises
    ------
    NotEnoughSpikes
        No peak is a true spike.
    """
    known = matches.units >= 0
    if not known.any():
        raise NotEnoughSpikes("truth: none of the peaks is a true spike; is it the truth of this recording?")
    error = positions.xyz_um[known] - matches.xyz_um[known]
    plane = np.linalg.norm(error[:, :2], axis=1)
    found = {"median_um": float(np.median(plane)), "p90_um": float(np.percentile(plane, 90))}
    found |= {f"mae_{axis}_um": float(np.abs(error[:, i]).mean()) for i, axis in enumerate(AXES)}
    biases, spreads = [], []
    for unit, count in zip(*np.unique(matches.units[known], return_counts=True), strict=True):
        if count >= MIN_UNIT_SPIKES:
            mine = error[matches.units[known] == unit, :2]
            middle = np.median(mine, axis=0)
            biases.append(np.linalg.norm(middle))
            spreads.append(np.median(np.linalg.norm(mine - middle, axis=1)))
    if biases:
        found |= {"bias_um": float(np.mean(biases)), "spread_um": float(np.mean(spreads))}
    return found


def score_tissue(corrected: Positions, matches: Matches, truth: GroundTruth) -> dict[str, float]:
    """Return ``tissue_median_um, tissue_p90_um``: after correction, against the resting place, one y offset removed."""
    known = matches.units >= 0
    error = corrected.xyz_um[known, :2] - truth.locations_um[matches.units[known], :2]
    error[:, 1] -= np.median(error[:, 1])
    plane = np.linalg.norm(error, axis=1)
    return {"tissue_median_um": float(np.median(plane)), "tissue_p90_um": float(np.percentile(plane, 90))}


def score_motion(motion: Motion, truth: GroundTruth) -> dict[str, float]:
    """Return ``drift_mae_um, drift_rmse_um, drift_max_um`` on the motion's own grid, medians removed."""
    bin_s = float(np.median(np.diff(motion.times_s))) if len(motion.times_s) > 1 else 1.0
    error = motion.displacement_um - truth.motion(motion.times_s, motion.depths_um, bin_s)
    error = error - np.median(error)
    return {
        "drift_mae_um": float(np.abs(error).mean()),
        "drift_rmse_um": float(np.sqrt(np.square(error).mean())),
        "drift_max_um": float(np.abs(error).max()),
    }


def score_purity(corrected: Positions, matches: Matches, n_nearest: int = N_NEAREST) -> dict[str, float]:
    """Return ``purity``: share of the nearest neighbours in (x, corrected y) that are of the same neuron.

    ``purity_xyz`` is the same in three dimensions, where z is estimated: neurons above one another, nearer in (x, y)
    than any error, cannot be told apart in the plane but by an error of their own for each.
    """
    from scipy.spatial import cKDTree

    known = matches.units >= 0
    units, places = matches.units[known], corrected.xyz_um[known].astype(np.float64)
    found = {}
    for name, n_axes in (("purity", 2), ("purity_xyz", 3)):
        if np.isfinite(places[:, :n_axes]).all():
            points = places[:, :n_axes]
            _, nearest = cKDTree(points).query(points, k=min(n_nearest + 1, len(points)))
            found[name] = float((units[nearest[:, 1:]] == units[:, None]).mean())
    return found

"""What is said of a localiser's result. Enters: a source, positions, motions, truth if known. Leaves: numbers."""

import numpy as np

from ..core.spikes import GroundTruth, Motion, Positions, Source
from .histograms import make_grids, score_with_control
from .motion import correct_positions
from .score import match_peaks, score_motion, score_positions, score_purity, score_tissue

ALPHA_BIN_UM, ALPHA_MIN_SPIKES = 20.0, 5


def assess(
    source: Source, positions: Positions, motions: list[Motion], truth: GroundTruth | None = None
) -> dict[str, float]:
    """Score positions and motion.

    Returns
    -------
    ``rho_<grid>, H_<grid>`` beside ``..._collapsed`` (every x at the median: worse positions, more rho), ``alpha_std``;
    with truth the errors of ``score``, where what counts is decided
    """
    peaks = source.peaks
    corrected = correct_positions(positions, peaks.times_s, motions)
    xy = corrected.xyz_um[:, :2]
    found = score_with_control(xy, peaks.times_s, peaks.duration_s, make_grids(source.contacts_um))
    if positions.alpha_uv_um is not None:
        found["alpha_std"] = measure_alpha_drift(corrected, peaks.times_s)
    if truth is not None:
        matches = match_peaks(peaks, source.contacts_um, truth)
        found |= {"detected": matches.detected, **score_positions(positions, matches)}
        found |= {**score_tissue(corrected, matches, truth), **score_purity(corrected, matches)}
        along = [motion for motion in motions if motion.axis == 1]
        found |= score_motion(along[0], truth) if along else {}
    return found


def measure_alpha_drift(corrected: Positions, times_s: np.ndarray) -> float:
    """Return the standard deviation over time of the mean log10 alpha in depths of 20 µm, mean over depths.

    Seconds with at least 5 spikes in a depth count; NaN where no depth has two.
    """
    if corrected.alpha_uv_um is None:
        return float("nan")
    depth = np.floor(corrected.xyz_um[:, 1] / ALPHA_BIN_UM).astype(np.int64)
    value = np.log10(np.maximum(corrected.alpha_uv_um, 1e-6))
    cell = (depth - depth.min()) * (int(times_s.max()) + 1) + times_s.astype(np.int64)
    cells, inverse, counts = np.unique(cell, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, value) / counts
    owner = cells // (int(times_s.max()) + 1)
    enough = counts >= ALPHA_MIN_SPIKES
    spreads = [means[enough & (owner == one)].std() for one in np.unique(owner) if (enough & (owner == one)).sum() > 1]
    return float(np.mean(spreads)) if spreads else float("nan")

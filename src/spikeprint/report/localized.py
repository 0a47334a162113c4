"""All figures of a recording. Enters: how two methods localise it. Leaves: the figures of ``localization``, by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..core.spikes import GroundTruth, Motion, Peaks, Positions
from ..localize.histograms import correlate_bins, count_cells, entropies, make_grids
from ..training import Curve
from .agreement import plot_agreement, plot_motions
from .localization import (
    Cloud,
    number_rounds,
    plot_convergence,
    plot_displacements,
    plot_entropy,
    plot_local,
    plot_ncc,
    plot_projections,
    plot_rasters,
    plot_sizes,
)
from .movie import Film

GRID_NAME = "soft4"


@dataclass(frozen=True)
class Located:
    """What one method says: positions in the frame of the probe, motions, positions without them."""

    positions: Positions
    corrected: Positions
    motions: Sequence[Motion]


def draw_figures(
    peaks: Peaks,
    contacts_um: np.ndarray,
    methods: Mapping[str, Located],
    curves: Sequence[Curve],
    truth: GroundTruth | None = None,
) -> dict[str, Figure]:
    """Draw a recording.

    Parameters
    ----------
    contacts_um : (n_channels, 2)
    methods : a baseline first, the method last; the same peaks for both. One alone is drawn without comparison
    curves : of training; truth : of a simulated recording, its motion is what motions are compared with
    """
    (base_name, base), (name, found) = next(iter(methods.items())), list(methods.items())[-1]
    own = contacts_um[peaks.channels]
    clouds = {f"{name}, before correction": _cloud(peaks, found.positions)}
    clouds |= {f"{key}, corrected": _cloud(peaks, one.corrected) for key, one in methods.items()}
    after = clouds[f"{name}, corrected"]
    counts = {key: count_seconds(cloud, peaks.duration_s, contacts_um) for key, cloud in clouds.items()}
    matrices = {key: correlate_bins(values) for key, values in counts.items()}
    banners = {key: f"mean correlation {_mean_off(matrix):.3f}" for key, matrix in matrices.items()}
    local = found.positions.xyz_um - np.column_stack([own, np.zeros(len(own))])
    figures = {
        "raster": plot_rasters(clouds),
        "raster_z": plot_rasters({f"{name}, corrected": after}, "z"),
        "correlations": plot_ncc(matrices),
        "entropy": plot_entropy({key: entropies(values) for key, values in counts.items()}),
        "projections": plot_projections({f"{name}, corrected": after}, contacts_um, banners),
        "comparison": plot_projections(clouds, contacts_um, banners),
        "local": plot_local(local, after.log_size),
        "sizes": plot_sizes(after),
    }
    if base is not found:
        pairs = base.corrected.xyz_um, found.corrected.xyz_um
        figures["displacements"] = plot_displacements(*pairs, contacts_um)
        figures["agreement"] = plot_agreement(pairs[1], pairs[0], own, (name, base_name))
    motions = {key: _along(one.motions) for key, one in methods.items()}
    reference = (
        motions.pop(base_name) if truth is None and base is not found else _true_motion(_along(found.motions), truth)
    )
    figures["motion"] = plot_motions(motions, reference)
    if curves:
        figures["convergence"] = plot_convergence(_name_phases(curves))
    return figures


def make_film(peaks: Peaks, contacts_um: np.ndarray, located: Located) -> Film:
    """Return the movie of a method: displacement in the middle of the probe, mean correlation and entropy below."""
    cloud = _cloud(peaks, located.corrected)
    counts = count_seconds(cloud, peaks.duration_s, contacts_um)
    seconds = np.arange(len(counts)) + 0.5
    middle = np.full(len(seconds), contacts_um[:, 1].mean())
    matrix = correlate_bins(counts)
    alike = (matrix.sum(axis=1) - np.diag(matrix)) / max(len(matrix) - 1, 1)
    moved = _along(located.motions).at(seconds, middle)
    return Film(cloud, contacts_um, {"motion (µm)": moved, "correlation": alike, "entropy": entropies(counts)})


def count_seconds(cloud: Cloud, duration_s: float, contacts_um: np.ndarray) -> np.ndarray:
    """Return the (n_seconds, n_cells) histograms of ``localize.histograms``, grid ``soft4``."""
    n_bins = int(np.ceil(duration_s))
    return count_cells(cloud.xyz_um[:, :2], cloud.times_s.astype(np.int64), n_bins, make_grids(contacts_um)[GRID_NAME])


def _cloud(peaks: Peaks, positions: Positions) -> Cloud:
    sizes = positions.alpha_uv_um
    sizes = np.abs(peaks.amplitudes_uv) if sizes is None else sizes
    return Cloud(peaks.times_s, positions.xyz_um, np.log10(np.maximum(sizes, 1e-3)))


def _mean_off(matrix: np.ndarray) -> float:
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def _name_phases(curves: Sequence[Curve]) -> pd.DataFrame:
    """The table of curves; the joint phase's total, another sum than the training's, has a name of its own."""
    table = pd.DataFrame([vars(point) for point in curves])
    if {"rho", "position"} <= set(table["part"]):
        for _, rows in table[table["part"] == "total"].groupby("split"):
            table.loc[rows.index[number_rounds(rows["epoch"]) > 0], "part"] = "total, joint phase"
    return table


def _along(motions: Sequence[Motion]) -> Motion:
    return next(motion for motion in motions if motion.axis == 1)


def _true_motion(mine: Motion, truth: GroundTruth | None) -> Motion:
    """The true motion on the method's grid; where it is not known, none."""
    if truth is None:
        return Motion(np.zeros_like(mine.displacement_um), mine.times_s, mine.depths_um)
    bin_s = float(np.median(np.diff(mine.times_s)))
    return Motion(truth.motion(mine.times_s, mine.depths_um, bin_s), mine.times_s, mine.depths_um)

"""Two methods side by side. Enters: positions, or motions, of the same recording. Leaves: figures."""

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..core.errors import DataError
from ..core.spikes import AXES, Motion
from .style import GRID, MUTED, PALETTE, RC, WIDTH_IN, make_grid

MAX_DRAWN = 200_000
MAX_WINDOWS = 4
LINES = ("solid", "dashed", "dotted")


def measure_agreement(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Return ``rms``, ``bias`` and ``r`` of pairs of numbers, NaN left out; NaN where no pair is known."""
    known = np.isfinite(ours) & np.isfinite(theirs)
    if known.sum() < 2:
        return dict.fromkeys(("rms", "bias", "r"), float("nan"))
    away = ours[known].astype(np.float64) - theirs[known]
    spread = float(np.std(ours[known]) * np.std(theirs[known]))
    r = float(np.corrcoef(ours[known], theirs[known])[0, 1]) if spread > 0 else float("nan")
    return {"rms": float(np.sqrt(np.square(away).mean())), "bias": float(away.mean()), "r": r}


def plot_agreement(
    ours_um: np.ndarray, theirs_um: np.ndarray, anchors_um: np.ndarray, names: tuple[str, str]
) -> Figure:
    """Draw positions of two methods against each other: on the probe above, around the peak contact below.

    Parameters
    ----------
    ours_um, theirs_um : (n, 3) of the same spikes; anchors_um : (n, 2) their peak contacts
    names : of ours and theirs

    Raises
    ------
    DataError
        Not the same number of spikes.
    """
    if ours_um.shape != theirs_um.shape or len(anchors_um) != len(ours_um):
        raise DataError(f"agreement: {ours_um.shape}, {theirs_um.shape}, anchors {anchors_um.shape}; they must agree")
    own = np.column_stack([anchors_um, np.zeros(len(anchors_um))])
    some = np.arange(len(ours_um))
    if len(some) > MAX_DRAWN:
        some = np.random.default_rng(0).choice(len(some), MAX_DRAWN, replace=False)
    with rc_context(RC):
        grid = make_grid(6, 3, 3.2)
        for i, axis in enumerate(grid.axes):
            column, where = i % 3, "global" if i < 3 else "local"
            shift = own[:, column] if i >= 3 else 0.0
            a, b = ours_um[:, column] - shift, theirs_um[:, column] - shift
            said = measure_agreement(a, b)
            _draw_pairs(axis, b[some], a[some])
            axis.set(xlabel=f"{names[1]} (µm)", ylabel=f"{names[0]} (µm)")
            numbers = f"RMS {said['rms']:.1f}, bias {said['bias']:+.1f}, r {said['r']:.3f}"
            axis.set_title(f"{where} {AXES[column]}\n{numbers}")
    return grid.figure


def plot_motions(motions: dict[str, Motion], reference: Motion) -> Figure:
    """Draw the displacement of each method, its difference to a reference, and traces at some depths.

    Parameters
    ----------
    motions : along the shank; reference : the true motion, or that of a baseline, on a grid of its own
    """
    times, depths = reference.times_s, reference.depths_um
    maps = {name: _sample(motion, times, depths) for name, motion in motions.items()}
    size = max(float(np.abs(values).max()) for values in [*maps.values(), reference.displacement_um])
    size = max(size, 1e-9)
    n = len(maps)
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 2.3 * (n + 2)), layout="constrained")
        axes = figure.subplots(n + 2, 2, squeeze=False)
        for spare in axes[0, 1:]:
            spare.remove()
        _draw_map(axes[0, 0], reference, reference.displacement_um, size, "reference")
        for row, (name, values) in enumerate(maps.items(), start=1):
            _draw_map(axes[row, 0], reference, values, size, name)
            away = values - reference.displacement_um
            away = away - np.median(away)
            rms = np.sqrt(np.square(away).mean())
            title = f"{name} − reference: RMS {rms:.2f} µm"
            _draw_map(axes[row, 1], reference, away, max(float(np.abs(away).max()), 1e-9), title)
        for spare in axes[n + 1]:
            spare.remove()
        _draw_traces(figure.add_subplot(axes[0, 0].get_gridspec()[n + 1, :]), maps, reference)
    return figure


def _draw_pairs(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    style: dict[str, Any] = {"s": 1.5, "color": PALETTE[0], "alpha": 0.3, "linewidth": 0, "rasterized": True}
    axis.scatter(x, y, **style)
    both = np.concatenate([x, y])
    both = both[np.isfinite(both)]
    if len(both):
        low, high = np.percentile(both, [0.3, 99.7])
        axis.plot([low, high], [low, high], color=MUTED, linewidth=1)
        axis.set(xlim=(low - 2, high + 2), ylim=(low - 2, high + 2))
    axis.grid(color=GRID, linewidth=0.5)


def _sample(motion: Motion, times_s: np.ndarray, depths_um: np.ndarray) -> np.ndarray:
    """(n_times, n_depths) of a motion on another grid."""
    t, d = np.meshgrid(times_s, depths_um, indexing="ij")
    return motion.at(t.ravel(), d.ravel()).reshape(t.shape)


def _draw_map(axis: Axes, grid: Motion, values: np.ndarray, size: float, title: str) -> None:
    drawn = axis.pcolormesh(grid.times_s, _spread(grid.depths_um), _widen(values), cmap="RdBu_r", vmin=-size, vmax=size)
    axis.set(title=title, xlabel="time (s)", ylabel="depth (µm)")
    if len(grid.depths_um) == 1:
        axis.set(yticks=[], ylabel="all depths")
    axis.figure.colorbar(drawn, ax=axis, label="µm", pad=0.01)


def _spread(depths_um: np.ndarray) -> np.ndarray:
    """A rigid motion has one depth; a map needs two."""
    return depths_um if len(depths_um) > 1 else np.array([depths_um[0] - 1, depths_um[0] + 1])


def _widen(values: np.ndarray) -> np.ndarray:
    return (values if values.shape[1] > 1 else np.repeat(values, 2, axis=1)).T


def _draw_traces(axis: Axes, maps: dict[str, np.ndarray], reference: Motion) -> None:
    n = len(reference.depths_um)
    some = np.unique(np.linspace(0, n - 1, min(n, MAX_WINDOWS)).round().astype(np.int64))
    for color, column in zip(PALETTE, some, strict=False):
        depth = reference.depths_um[column]
        axis.plot(reference.times_s, reference.displacement_um[:, column], color=color, linewidth=2.5, alpha=0.35)
        for line, values in zip(LINES, maps.values(), strict=False):
            axis.plot(reference.times_s, values[:, column], color=color, linestyle=line, linewidth=1.1)
        axis.plot([], [], color=color, label=f"{depth:.0f} µm")
    axis.legend(title="depth", ncols=2)
    names = [f"{name} ({line})" for name, line in zip(maps, LINES, strict=False)]
    axis.set(title=f"reference (broad), {', '.join(names)}", xlabel="time (s)", ylabel="displacement (µm)")

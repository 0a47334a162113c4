"""One panel each: what is drawn into one axes. Enters: axes and arrays. Leaves: nothing; the axes are filled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from ..core.types import UNLABELLED, UnitTable
from .style import BAND, GRID, HEADS, INK, MUTED, PALETTE, UNLABELLED_STYLE, ClassStyle

SHADES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#cfe3f1", "#5a9fcd", PALETTE[0], "#003a5c"])
UNLABELLED_NAME = "unlabelled"

PROFILES: dict[str, tuple[np.ndarray, str, tuple[int, ...]]] = {
    "waveform": ((np.arange(50) - 20) / 20.0, "waveform, ms from trough", (-1, 0, 1)),
    "isi": (np.arange(100) + 0.5, "inter-spike interval, ms", (1, 10, 100)),
    "acg": (np.arange(-100, 101), "autocorrelogram, lag in ms", (-50, 0, 50)),
}
"""Modality -> horizontal axis, its title, its ticks."""

SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "waveform": lambda rows: np.abs(rows).max(axis=1, initial=0),
    "isi": lambda rows: rows.sum(axis=1),
    "acg": lambda rows: rows.mean(axis=1),
}
"""Modality -> what a unit's row is divided by."""


def say(axes: Axes, message: str) -> None:
    """Leave the axes empty but for one line of text."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=MUTED, style="italic")


def count_units(table: UnitTable) -> dict[str, tuple[int, int]]:
    """Return cell type -> (units that pass quality control, units that fail), by name, the unlabelled last."""
    passes = passing(table)
    names = sorted(set(table.labels) - {UNLABELLED}) + [UNLABELLED] * bool((table.labels == UNLABELLED).any())
    counts = {}
    for name in names:
        of_type = table.labels == name
        counts[name or UNLABELLED_NAME] = (int((of_type & passes).sum()), int((of_type & ~passes).sum()))
    return counts


def passing(table: UnitTable) -> np.ndarray:
    """(n_units,) bool, units that pass quality control"""
    return table.metadata["passes_qc"].to_numpy(dtype=bool)


def normalise_profile(rows: np.ndarray, modality: str) -> np.ndarray:
    """Return rows on a scale that units share; rows without a scale (missing, silent, flat) are left out.

    Waveforms are divided by their largest deflection, ISI histograms by their sum, ACGs by their mean.

    Parameters
    ----------
    rows : (n_units, n_values) float

    Returns
    -------
    (n_kept, n_values) float64
    """
    rows = np.asarray(rows, dtype=np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    scale = SCALES[modality](rows)
    return rows[scale > 0] / scale[scale > 0, None]


def draw_profile(axes: Axes, table: UnitTable, modality: str, styles: Mapping[str, ClassStyle]) -> None:
    """Draw the mean of one modality for every cell type of a dataset, the unlabelled units in grey behind."""
    x, title, ticks = PROFILES[modality]
    rows, passes = getattr(table, modality), passing(table)
    means = {}
    for name in (UNLABELLED, *styles):
        kept = normalise_profile(rows[passes & (table.labels == name)], modality)
        if len(kept):
            means[name] = kept.mean(axis=0)
    if not means:
        is_recorded = np.isfinite(rows).any()
        say(axes, "no unit passes\nquality control" if is_recorded else f"no {title.split(',')[0]} recorded")
        return
    for name, mean in means.items():
        style = styles.get(name, UNLABELLED_STYLE)
        axes.plot(x, mean, color=style.color, linestyle=style.line, linewidth=1.4 if name else 1.0)
    axes.set_xlabel(title)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0)
    if modality == "isi":
        axes.set_xscale("log")
        axes.set_xlim(0.5, 110)
    axes.set_xticks(ticks, [f"{tick}".replace("-", "−") for tick in ticks])
    if modality != "waveform":
        # Unlabelled units may be nearly silent; their noise must not set the scale.
        labelled = [mean.max() for name, mean in means.items() if name != UNLABELLED]
        axes.set_ylim(0, 1.08 * max(labelled or [means[UNLABELLED].max()]))


def draw_counts(axes: Axes, counts: Mapping[str, tuple[int, int]], styles: Mapping[str, ClassStyle]) -> None:
    """Draw the number of units per cell type as bars, those that fail quality control hatched.

    The colours of the bars are the legend of the dataset's row.
    """
    size = 8.5 if len(counts) <= 8 else 7.5
    for row, (name, (n_passed, n_failed)) in enumerate(counts.items()):
        style = styles.get(name, UNLABELLED_STYLE)
        axes.barh(row, n_passed, height=0.72, facecolor=style.face, edgecolor=style.color)
        axes.barh(row, n_failed, left=n_passed, height=0.72, facecolor="white", edgecolor=style.color, hatch="////")
        axes.text(n_passed + n_failed, row, f" {n_passed + n_failed:,}", va="center", fontsize=size, color=MUTED)
    axes.set_yticks(range(len(counts)), list(counts))
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=size)
    axes.set_xlim(0, 1.2 * max(map(sum, counts.values()), default=1))
    axes.set_ylim(max(len(counts), 5) - 0.4, -0.6)
    axes.set_xticks([])
    axes.spines[["left", "bottom"]].set_visible(False)


def draw_intervals(axes: Axes, scores: Sequence[Mapping[str, Mapping[str, Any]]], served: str) -> None:
    """Draw one line of intervals per ablation: for each read-out its folds, mean and sd, the served one in numbers too.

    Parameters
    ----------
    scores : per ablation, read-out -> ``{"mean", "sd", "folds"}``
    served : the read-out whose mean is printed at the right edge
    """
    present = [head for head in HEADS if any(head in row for row in scores)]
    offsets = dict(zip(present, np.linspace(-0.13, 0.13, len(present)) * (len(present) - 1), strict=True))
    for y, row in enumerate(scores):
        if y % 2 == 0:
            axes.axhspan(y - 0.5, y + 0.5, color=BAND, zorder=0, lw=0)
        for head, score in row.items():
            style, place = HEADS[head], y + offsets[head]
            mean, sd = score["mean"], score.get("sd") or 0.0
            folds = [value for value in score.get("folds", ()) if value is not None]
            axes.plot(folds, [place] * len(folds), "|", color=style.color, markersize=5, alpha=0.55, zorder=2)
            axes.plot([mean - sd, mean + sd], [place, place], color=style.color, linewidth=1.8, zorder=3)
            axes.plot(mean, place, style.marker, color=style.color, markersize=6, mec="white", mew=0.7, zorder=4)
            if head == served:
                axes.text(1.05, place, f"{mean:.2f}", color=style.color, fontsize=8.5, va="center")
    axes.set_xlim(0, 1.03)
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    axes.grid(axis="x", color=GRID, linewidth=0.7, zorder=0)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)


def draw_confusion(axes: Axes, table: pd.DataFrame, side_in: float, is_crowded: bool) -> None:
    """Draw one confusion matrix: shade = share of the actual class, number = units.

    Parameters
    ----------
    table : counts, one row per actual and one column per predicted class
    side_in : width of the matrix on paper, inches
    is_crowded : turn the names of the columns upright
    """
    counts = table.to_numpy()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap=SHADES, vmin=0, vmax=1, aspect="equal")
    n_rows, n_columns = counts.shape
    cell_points = 72 * side_in / n_columns
    for row, column in zip(*np.nonzero(counts), strict=True):
        shade = share[row, column]
        text = f"{counts[row, column]}\n{shade:.0%}" if cell_points > 28 else f"{counts[row, column]}"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=min(9.5, 0.45 * cell_points),
            color="white" if shade > 0.5 else INK,
        )
    axes.set_yticks(range(n_rows), [f"{name} ({n})" for name, n in zip(table.index, counts.sum(axis=1), strict=True)])
    axes.set_xticks(range(n_columns), list(table.columns), rotation=90 if is_crowded else 0)
    axes.set_xticks(np.arange(n_columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0, labelcolor=INK, labelsize=min(8.5, 0.75 * cell_points))
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual (units)")

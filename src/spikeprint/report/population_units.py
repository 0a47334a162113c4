"""Figures of the units of a population. Enters: accuracy by number of units, correlations. Leaves: figures."""

from collections.abc import Mapping
from itertools import cycle, product

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import FAINT, INK, LINES, MUTED, PALETTE, RC, make_grid

EVERY = "all"
CENTILE = 98
"""The scale of correlations ends at this percentile of their size."""


def plot_sizes(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Return accuracy against the number of units, a panel per session, a line per region.

    Parameters
    ----------
    tables : session -> table of ``decode_by_units``

    Notes
    -----
    Bars are the spread over draws of units; where all units were drawn once, the 95 % interval over test presentations.
    """
    with matplotlib.rc_context(RC):
        grid = make_grid(len(tables), 3, 3.6)
        for axes, (name, table) in zip(grid.axes, tables.items(), strict=True):
            _draw_sizes(axes, table)
            axes.set_title(f"{name}: {', '.join(table['model'].unique())}")
        return grid.figure


def _draw_sizes(axes: Axes, table: pd.DataFrame) -> None:
    looks = cycle(product(LINES, PALETTE))
    for region, rows in table.groupby("region", sort=False):
        line, colour = ("-", INK) if region == EVERY else next(looks)
        at = rows.groupby("n_units").agg(
            mean=("top1", "mean"), spread=("top1", "std"), n=("top1", "size"), low=("top1_low", "min"),
            high=("top1_high", "max"),
        )  # fmt: skip
        is_once = (at["n"] == 1).to_numpy()
        down = np.where(is_once, at["mean"] - at["low"], at["spread"].fillna(0))
        up = np.where(is_once, at["high"] - at["mean"], at["spread"].fillna(0))
        bars = np.maximum(np.stack([down, up]), 0)
        label = f"{region} ({rows['n_units'].max()} units)"
        axes.errorbar(
            at.index, at["mean"], bars, color=colour, linestyle=line, marker="o", markersize=3, capsize=2, label=label
        )
    axes.axhline(table["chance"].iloc[0], color=MUTED, linestyle=":", label="chance")
    axes.set_xscale("log", base=2)
    sizes = [2**power for power in range(int(table["n_units"].max()).bit_length())]
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set(ylim=(0, 1), xlabel="units", ylabel="top-1 accuracy")
    axes.legend()


def plot_correlations(matrix: np.ndarray, regions: np.ndarray, title: str = "Correlations of units") -> Figure:
    """Return the correlations of units as a map, regions set apart; the diagonal and units that do not vary are blank.

    Parameters
    ----------
    matrix : (n_units, n_units); regions : (n_units,) str, units of one region side by side
    """
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(6.4, 5.4), layout="constrained")
        axes = figure.add_subplot()
        shown = np.array(matrix, dtype=float)
        np.fill_diagonal(shown, np.nan)
        known = np.abs(shown[np.isfinite(shown)])
        end = float(np.percentile(known, CENTILE)) if len(known) else 0.0
        end = end if end > 0 else 1.0
        image = axes.imshow(shown, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
        figure.colorbar(image, ax=axes, shrink=0.8, label="correlation", extend="both")
        borders = np.flatnonzero(regions[1:] != regions[:-1]) + 0.5
        for border in borders:
            axes.axhline(border, color=INK, linewidth=0.8)
            axes.axvline(border, color=INK, linewidth=0.8)
        edges = np.concatenate([[-0.5], borders, [len(regions) - 0.5]])
        names = [regions[int(edge + 0.5)] or "none" for edge in edges[:-1]]
        if len(names) > 1 or names != ["none"]:
            middles = (edges[1:] + edges[:-1]) / 2
            axes.set_xticks(middles, names, rotation=30)
            axes.set_yticks(middles, names)
        else:
            axes.set(xlabel="unit", ylabel="unit")
        axes.tick_params(length=0)
        axes.spines[:].set_color(FAINT)
        axes.set_title(title)
        return figure

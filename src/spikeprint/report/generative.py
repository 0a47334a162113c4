"""The figure of what the model makes up. Enters: numbers and traces of stage ``generate``. Leaves: a matplotlib figure.

The same rows draw what ``spikeprint generate`` made: a panel without data is left out.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from .panels import say
from .style import BAND, FAINT, INK, MUTED, PALETTE, RC, WIDTH_IN

MODALITIES: dict[str, tuple[str, np.ndarray, tuple[int, ...]]] = {
    "waveform": ("waveform, ms from trough", (np.arange(50) - 20) / 20.0, (-1, 0, 1)),
    "isi": ("inter-spike interval, ms", 2.0 * np.arange(50) + 1, (0, 50, 100)),
    "acg": ("autocorrelogram, lag in ms", 2.0 * np.arange(50) + 1.5, (0, 50, 100)),
}
"""Modality -> title, horizontal axis of its normalised trace, ticks."""
TITLES = {"waveform": "waveform", "isi": "ISI", "acg": "ACG"}

BASELINES = {
    "mse": ("imputed", PALETTE[0]),
    "mse_dataset_mean": ("mean trace of its dataset", PALETTE[1]),
    "mse_mean": ("mean trace of all", FAINT),
}
"""Error of stage ``generate`` -> what it is of, colour; predicting zero is printed, not drawn: it is off the scale."""
KINDS = {
    "real": ("measured", INK, "-"),
    "imputed": ("imputed from the other modalities", PALETTE[3], "-"),
    "before": ("decoded as from where they are", PALETTE[5], "-"),
    "after": ("decoded as from elsewhere", PALETTE[3], "-"),
    "target": ("mean of the real units there", INK, (0, (3, 1.2))),
    "sampled": ("sampled", PALETTE[2], "-"),
}
"""Kind of trace -> name, colour, line."""
SHADES = LinearSegmentedColormap.from_list("path", [PALETTE[0], "#b9a7c4", PALETTE[3]])
NOTHING = "nothing was made up: no dataset has units to be tested on"


def plot_generative(imputation: Mapping[str, Mapping[str, Mapping[str, Any]]], traces: pd.DataFrame) -> Figure:
    """Draw what the model makes up, one row per panel: errors of imputation, examples, a swap, a way, samples.

    Parameters
    ----------
    imputation : dataset -> modality -> scores (``evaluate.generation.score_imputation``); may be empty
    traces : columns ``panel, modality, name, kind, position, value``; of several swaps the first is drawn
    """
    rows: list[tuple[str, float, Callable[[SubFigure], None]]] = []
    if imputation:
        height = 1.0 + 0.5 * max(len(imputation), 2)
        rows.append(
            ("How far imputed traces are from the measured", height, partial(_draw_errors, imputation=imputation))
        )
    for panel, (title, height, draw) in PANELS.items():
        mine = traces[traces["panel"] == panel]
        if len(mine):
            names = list(dict.fromkeys(mine["name"]))
            rows.append((title.format(names[0]), height, partial(draw, traces=mine)))
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, sum(height for _, height, _ in rows) or 1.0), layout="constrained")
        if not rows:
            say(figure.subplots(), NOTHING)
            return figure
        heights = [height for _, height, _ in rows]
        parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, (title, _, fill) in zip(parts, rows, strict=True):
            part.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10.5)
            fill(part)
    return figure


def _draw_errors(part: SubFigure, imputation: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    datasets = list(imputation)
    for number, (axes, modality) in enumerate(zip(part.subplots(1, len(TITLES)), TITLES, strict=True)):
        for row, dataset in enumerate(datasets):
            score = imputation[dataset].get(modality)
            if row % 2 == 0:
                axes.axhspan(row - 0.5, row + 0.5, color=BAND, zorder=0, lw=0)
            if not score:
                axes.text(0, row, " not recorded", va="center", color=MUTED, fontsize=8.5, style="italic")
                continue
            for place, (key, (_, color)) in enumerate(BASELINES.items()):
                y = row + 0.26 * (place - 1)
                axes.barh(y, score[key], height=0.24, color=color, zorder=2)
                axes.text(score[key], y, f" {score[key]:.3f}", va="center", fontsize=7.5, color=MUTED)
        axes.set_yticks(range(len(datasets)), datasets if number == 0 else [""] * len(datasets))
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(datasets) - 0.5, -0.5)
        largest = [score[modality][key] for score in imputation.values() if modality in score for key in BASELINES]
        axes.set_xlim(0, 1.2 * max(largest, default=1.0))
        axes.set_xlabel(f"{TITLES[modality]}: mean squared error")
        axes.spines["left"].set_visible(False)
    _add_legend(part, [(name, color, "-") for name, color in BASELINES.values()], width=5)


def _draw_examples(part: SubFigure, traces: pd.DataFrame) -> None:
    """Units one below the other, measured and made up on top of each other."""
    for axes, modality in zip(part.subplots(1, len(MODALITIES)), MODALITIES, strict=True):
        mine = traces[traces["modality"] == modality]
        shifts = {name: i for i, name in enumerate(dict.fromkeys(mine["name"]))}
        gap = 1.1 * _height(mine)
        for (name, kind), line in mine.groupby(["name", "kind"], sort=False):
            _plot(axes, modality, line, kind, -gap * shifts[name])
        _dress(axes, modality, bool(len(mine)))
    _add_kinds(part, traces)


def _draw_swap(part: SubFigure, traces: pd.DataFrame) -> None:
    first = traces[traces["name"] == traces["name"].iloc[0]]
    for axes, modality in zip(part.subplots(1, len(MODALITIES)), MODALITIES, strict=True):
        mine = first[first["modality"] == modality]
        for kind, line in mine.groupby("kind", sort=False):
            _plot(axes, modality, line, kind, 0.0)
        _dress(axes, modality, bool(len(mine)))
    _add_kinds(part, first)


def _draw_path(part: SubFigure, traces: pd.DataFrame) -> None:
    """A waterfall: every step a little lower than the one before, coloured by how far it has come."""
    for axes, modality in zip(part.subplots(1, len(MODALITIES)), MODALITIES, strict=True):
        mine = traces[traces["modality"] == modality]
        steps = list(dict.fromkeys(mine["kind"]))
        gap = 0.25 * _height(mine)
        for i, step in enumerate(steps):
            line = mine[mine["kind"] == step]
            x = MODALITIES[modality][1][line["position"].to_numpy(int)]
            color = SHADES(i / max(len(steps) - 1, 1))
            axes.plot(x, line["value"] - gap * i, color=color, lw=1.2)
        _dress(axes, modality, bool(len(mine)))


PANELS: dict[str, tuple[str, float, Callable[..., None]]] = {
    "examples": ("Units as measured, and as judged by their other modalities", 3.8, _draw_examples),
    "swap": ("What units would look like elsewhere: {}", 2.4, _draw_swap),
    "path": ("The way between two cell types: {}", 2.8, _draw_path),
    "samples": ("Units that never were", 3.4, _draw_examples),
}
"""Panel -> title, height in inches, what draws it."""


def _plot(axes: Axes, modality: str, line: pd.DataFrame, kind: str, shift: float) -> None:
    _, color, style = KINDS[kind]
    x = MODALITIES[modality][1][line["position"].to_numpy(int)]
    axes.plot(x, line["value"] + shift, color=color, linestyle=style, linewidth=1.2)


def _height(traces: pd.DataFrame) -> float:
    """Distance that keeps traces apart: the usual height of one."""
    spans = traces.groupby(["name", "kind"])["value"].agg(lambda x: x.max() - x.min())
    return float(spans.quantile(0.75)) if len(spans) else 1.0


def _dress(axes: Axes, modality: str, is_drawn: bool) -> None:
    title, _, ticks = MODALITIES[modality]
    if not is_drawn:
        say(axes, f"no {TITLES[modality]}")
        return
    axes.set_xlabel(title)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0)
    axes.set_xticks(ticks, [f"{tick}".replace("-", "−") for tick in ticks])


def _add_kinds(part: SubFigure, traces: pd.DataFrame) -> None:
    _add_legend(part, [KINDS[kind] for kind in KINDS if kind in set(traces["kind"])], width=1.4)


def _add_legend(part: SubFigure, looks: list[tuple[str, str, Any]], width: float) -> None:
    handles = [Line2D([], [], color=color, linestyle=line, linewidth=width, label=name) for name, color, line in looks]
    part.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=8.5)

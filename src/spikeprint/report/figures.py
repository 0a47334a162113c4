"""The figures of the static report. Enters: tables as the stages wrote them. Leaves: matplotlib figures.

Every function takes any number of datasets and cell types; what was not recorded or not scored is said, not drawn.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..core.types import UNLABELLED, UnitTable
from .panels import PROFILES, count_units, draw_confusion, draw_counts, draw_intervals, draw_profile, say
from .style import FAINT, GRID, HEADS, INK, MUTED, PALETTE, RC, WIDTH_IN, ClassStyle, make_grid, make_markers

LOSS_PARTS = {
    "total": "total",
    "waveform": "waveform",
    "isi": "ISI",
    "acg": "ACG",
    "kl": "KL divergence",
    "classification": "classification",
    "consistency": "consistency",
}
"""Part of the loss -> title of its panel."""
NOT_SCORED = "no dataset has enough labelled units to be scored"
CHANCE: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (1, 1.5))}


def plot_data(tables: Mapping[str, UnitTable], styles: Mapping[str, ClassStyle]) -> Figure:
    """Draw each dataset in one row: mean waveform, ISI, ACG of every cell type, and how many units there are.

    Only units that pass quality control are averaged, each on its own scale (see `panels.normalise_profile`), so that a
    busy unit counts no more than a quiet one. Units that fail are the hatched ends of the bars.

    Parameters
    ----------
    tables : dataset name -> canonical table
    styles : cell type -> style, see `style.make_styles`
    """
    counts = {name: count_units(table) for name, table in tables.items()}
    heights = [
        0.85 + 0.2 * float(np.clip(len(count), 5, 8)) + 0.15 * max(len(count) - 8, 0) for count in counts.values()
    ]
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
        ratios = {"height_ratios": heights, "width_ratios": (1, 1, 1, 1.1)}
        rows = figure.subplots(len(tables), 4, squeeze=False, gridspec_kw=ratios)
        for axes, (name, table) in zip(rows, tables.items(), strict=True):
            for axis, modality in zip(axes, PROFILES, strict=False):
                draw_profile(axis, table, modality, styles)
            draw_counts(axes[3], counts[name], styles)
            n_failed = sum(failed for _, failed in counts[name].values())
            units = f"{len(table.labels):,} units" + f" (▨ {n_failed:,} fail QC)" * bool(n_failed)
            facts = [table.card.get("technology"), table.card.get("species"), units]
            axes[0].set_title(name)
            axes[3].set_title(
                " · ".join(filter(None, facts)), loc="right", fontweight="normal", fontsize=9, color=MUTED
            )
    return figure


def plot_losses(losses: pd.DataFrame) -> Figure:
    """Draw each named part of the training loss against the epoch: the final model, the models of the folds behind it.

    Parameters
    ----------
    losses : columns ``model, epoch, split, part, value``; curves that are zero everywhere are left out
    """
    losses = losses[~losses["model"].str.startswith("control")]
    curves = {key: line for key, line in losses.groupby(["part", "model", "split"]) if line["value"].abs().max() > 0}
    parts = [part for part in LOSS_PARTS if any(key[0] == part for key in curves)]
    colors = {"train": PALETTE[0], "val": PALETTE[3]}
    with rc_context(RC):
        grid = make_grid(max(len(parts), 1), 4, 2.1)
        for axis, part in zip(grid.axes, parts, strict=False):
            for (of_part, model, split), line in curves.items():
                if of_part == part:
                    is_final = model == "final"
                    width, alpha = (1.8, 1.0) if is_final else (0.7, 0.35)
                    look = {"color": colors[split], "lw": width, "alpha": alpha, "zorder": 2 + is_final}
                    axis.plot(line["epoch"], line["value"], **look)
            axis.set_title(LOSS_PARTS[part])
            axis.margins(x=0.02)
            axis.grid(axis="y", color=GRID, linewidth=0.7)
            axis.set_xlabel("epoch")
        names = {"train": "training units", "val": "validation units"}
        handles = [Line2D([], [], color=colors[split], linewidth=1.8, label=name) for split, name in names.items()]
        handles.append(Line2D([], [], color=MUTED, linewidth=0.8, alpha=0.7, label="models of the folds"))
        grid.figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return grid.figure


def plot_ablations(metrics: Mapping[str, Mapping[str, Any]], registered: str, served: str) -> Figure:
    """Draw the balanced accuracy of every ablation, one panel per dataset: folds as ticks, mean and sd as intervals.

    Parameters
    ----------
    metrics : ablation -> content of ``reports/metrics/<ablation>.json``
    registered : the ablation that becomes the registered model, printed first and bold
    served : the read-out that is served
    """
    rows = sorted(metrics, key=lambda name: name != registered)
    names = dict.fromkeys(name for row in rows for name in metrics[row]["datasets"])
    panels = {name: [read_scores(metrics[row], name) for row in rows] for name in names}
    panels = {name: scores for name, scores in panels.items() if any(scores)}
    with rc_context(RC):
        grid = make_grid(max(len(panels), 1), 3, 0.5 * len(rows) + 0.95)
        for axis, (name, scores) in zip(grid.axes, panels.items(), strict=False):
            draw_intervals(axis, scores, served)
            n_classes = max(len(metrics[row]["datasets"].get(name, {}).get("classes", ())) for row in rows)
            axis.axvline(1 / max(n_classes, 1), zorder=1, **CHANCE)
            axis.set_title(name)
            axis.set_xlabel("balanced accuracy")
            is_first = axis in grid.axes[:: grid.n_columns]
            axis.set_yticks(range(len(rows)), rows if is_first else [""] * len(rows))
            axis.get_yticklabels()[0].set_fontweight("bold")
        if not panels:
            say(grid.axes[0], NOT_SCORED)
        present = {head for scores in panels.values() for row in scores for head in row}
        handles = [
            Line2D(
                [],
                [],
                color=look.color,
                marker=look.marker,
                lw=1.8,
                mec="white",
                label=look.title + " (served)" * (head == served),
            )
            for head, look in HEADS.items()
            if head in present
        ]
        grid.figure.legend(
            handles=[*handles, Line2D([], [], label="chance", **CHANCE)], loc="outside upper left", ncols=4
        )
    return grid.figure


def read_scores(metrics: Mapping[str, Any], dataset: str) -> dict[str, Mapping[str, Any]]:
    """Return read-out -> balanced accuracy ``{"mean", "sd", "folds"}`` of one dataset; the unscored are absent."""
    found = {head: metrics["datasets"].get(dataset, {}).get(head, {}).get("balanced_accuracy") for head in HEADS}
    return {head: score for head, score in found.items() if score and score["mean"] is not None}


def plot_confusion(confusion: pd.DataFrame) -> Figure:
    """Draw one confusion matrix per dataset: shade = share of the actual class, number = units.

    Parameters
    ----------
    confusion : columns ``dataset, actual, predicted``, one row per test unit
    """
    tables = {}
    for dataset, rows in confusion.groupby("dataset", sort=False):
        actual = sorted(set(rows["actual"]))
        predicted = actual + sorted(set(rows["predicted"]) - set(actual))
        counts = pd.crosstab(rows["actual"], rows["predicted"])
        tables[str(dataset)] = counts.reindex(index=actual, columns=predicted, fill_value=0)
    longest = max((len(name) for table in tables.values() for name in table.columns), default=0)
    most = max((table.shape[1] for table in tables.values()), default=1)
    with rc_context(RC):
        width = float(np.clip(0.4 * most + 1.7, WIDTH_IN / 3, WIDTH_IN / 2))
        grid = make_grid(max(len(tables), 1), int(WIDTH_IN / width), 3.0)
        # Square cells: the height follows from the width that the names leave.
        side = width - 0.085 * (longest + 6) - 0.3
        is_crowded = 0.075 * longest > side / most
        height = side + 0.65 + (0.085 * longest if is_crowded else 0.1)
        grid.figure.set_size_inches(width * grid.n_columns, height * grid.n_rows)
        for axis, (dataset, table) in zip(grid.axes, tables.items(), strict=False):
            draw_confusion(axis, table, side, is_crowded)
            axis.set_title(dataset)
        if not tables:
            say(grid.axes[0], NOT_SCORED)
    return grid.figure


def plot_map(points: pd.DataFrame, styles: Mapping[str, ClassStyle]) -> Figure:
    """Draw the embedding in two dimensions: colour = cell type, shape = dataset, grey = unlabelled.

    Parameters
    ----------
    points : columns ``dataset, unit_id, cell_type, x, y``
    styles : cell type -> style, see `style.make_styles`
    """
    points = points.assign(cell_type=points["cell_type"].fillna(UNLABELLED))
    markers = make_markers(list(dict.fromkeys(points["dataset"])))
    size = float(np.clip(24_000 / max(len(points), 1), 9, 45))
    spans = points[["x", "y"]].max() - points[["x", "y"]].min()
    with rc_context(RC):
        # The map keeps its proportions: the height follows from the width beside the legends.
        n_lines = points["cell_type"].nunique() + len(markers) + 4
        height = max(float(np.clip(7.4 * spans["y"] / max(spans["x"], 1e-9), 4.0, 6.6)), 0.2 * n_lines)
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axis = figure.subplots()
        # One draw per dataset, units in random order: no cell type lies on top of the others.
        shuffled = points.sample(frac=1.0, random_state=0)
        for dataset, marker in markers.items():
            here = shuffled[shuffled["dataset"] == dataset]
            known = here[here["cell_type"] != UNLABELLED]
            unknown = here.drop(known.index)
            axis.scatter(unknown["x"], unknown["y"], s=0.6 * size, marker=marker, c=GRID, edgecolors=FAINT, lw=0.5)
            looks = [styles[name] for name in known["cell_type"]]
            edges = ["white" if look.fill == "full" else look.color for look in looks]
            faces = [look.face for look in looks]
            axis.scatter(known["x"], known["y"], s=size, marker=marker, c=faces, edgecolors=edges, lw=0.5, zorder=2)
        axis.set_aspect("equal", adjustable="datalim")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        _add_map_legends(axis, points, styles, markers)
    return figure


def _add_map_legends(
    axis: Axes, points: pd.DataFrame, styles: Mapping[str, ClassStyle], markers: Mapping[str, str]
) -> None:
    counts = points["cell_type"].value_counts()
    cells = [
        Line2D([], [], ls="", marker="o", ms=7, mfc=look.face, mec=look.color, label=f"{name}  {counts[name]:,}")
        for name, look in styles.items()
        if name in counts
    ]
    if UNLABELLED in counts:
        label = f"unlabelled  {counts[UNLABELLED]:,}"
        cells.append(Line2D([], [], ls="", marker="o", ms=6, mfc=GRID, mec=FAINT, label=label))
    sets = points["dataset"].value_counts()
    shapes = [
        Line2D([], [], ls="", marker=marker, ms=7, mfc=MUTED, mec="white", label=f"{name}  {sets[name]:,}")
        for name, marker in markers.items()
    ]
    look = {"alignment": "left", "title_fontproperties": {"weight": "bold", "size": 9.5}, "handletextpad": 0.3}
    first = axis.legend(handles=cells, title="cell type", loc="upper left", bbox_to_anchor=(1.0, 1.0), **look)
    axis.add_artist(first)
    axis.legend(handles=shapes, title="dataset", loc="lower left", bbox_to_anchor=(1.0, 0.0), **look)

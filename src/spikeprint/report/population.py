"""Figures and page of populations. Enters: embeddings, curves and tables of the stages. Leaves: figures, Markdown."""

from collections.abc import Mapping
from itertools import cycle, product
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .style import FAINT, LINES, MUTED, PALETTE, RC, make_grid

MAX_POINTS = 4000


def plot_embeddings(embeddings: Mapping[str, np.ndarray], colours: Mapping[str, np.ndarray]) -> Figure:
    """Return one 3-D panel per mode, its first three dimensions by variance, coloured by a label or time."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(4.2 * len(embeddings), 4.2), layout="constrained")
        for number, (name, embedding) in enumerate(embeddings.items()):
            axes: Any = figure.add_subplot(1, len(embeddings), number + 1, projection="3d")
            rows = np.flatnonzero(np.isfinite(embedding).all(axis=1))
            rows = rows[:: max(1, len(rows) // MAX_POINTS)]
            first = np.argsort(-np.var(embedding[rows], axis=0))[:3]
            axes.scatter(*embedding[rows][:, first].T, c=colours[name][rows], s=2, cmap="viridis", linewidths=0)
            axes.set(title=name, xticklabels=[], yticklabels=[], zticklabels=[])
        return figure


def plot_curves(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Return loss (in training, held out) and temperature of every mode over steps."""
    with matplotlib.rc_context(RC):
        grid = make_grid(2, 2, 3.2)
        losses, temperatures = grid.axes
        for colour, (name, table) in zip(cycle(PALETTE), tables.items(), strict=False):
            held = table.dropna(subset=["held_out_loss"])
            losses.plot(
                table["step"], table["loss"], color=colour, linewidth=0.8, alpha=0.6, label=f"{name}, in training"
            )
            losses.plot(
                held["step"], held["held_out_loss"], "o--", color=colour, markersize=3, label=f"{name}, held out"
            )
            temperatures.plot(table["step"], table["temperature"], color=colour, label=name)
        losses.set(title="Loss", xlabel="step", ylabel="InfoNCE, nats")
        temperatures.set(title="Temperature", xlabel="step")
        losses.legend()
        temperatures.legend()
        return grid.figure


def plot_consistency(matrices: Mapping[str, list[list[float]]]) -> Figure:
    """Return how well each run's embedding predicts each other's, one matrix per mode."""
    with matplotlib.rc_context(RC):
        grid = make_grid(len(matrices), 4, 3.0)
        for axes, (name, cells) in zip(grid.axes, matrices.items(), strict=True):
            n = int(max(max(a, b) for a, b, _ in cells)) + 1
            matrix = np.full((n, n), np.nan)
            for a, b, score in cells:
                matrix[int(a), int(b)] = score
                axes.text(b, a, f"{score:.2f}", ha="center", va="center")
            axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1.3)
            axes.set(title=name, xlabel="to run", ylabel="from run", xticks=range(n), yticks=range(n))
        return grid.figure


def plot_kshot(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Return accuracy against training presentations of each class, a panel per session, all of them at the right.

    Bars: spread over the draws of few; of all, which are drawn once, the 95 % interval over test presentations.
    """
    with matplotlib.rc_context(RC):
        grid = make_grid(len(tables), 3, 3.4)
        for axes, (name, table) in zip(grid.axes, tables.items(), strict=True):
            shots = sorted(k for k in table["k"].unique() if k > 0) + ([0] if (table["k"] == 0).any() else [])
            at = {k: place for place, k in enumerate(shots)}
            looks = cycle(product(LINES, PALETTE))
            for (line, colour), (model, rows) in zip(looks, table.groupby("model", sort=False), strict=False):
                mean, bars = _accuracy(rows, shots)
                axes.errorbar([at[k] for k in shots], mean, bars, color=colour, linestyle=line, capsize=2, label=model)
            axes.axhline(table["chance"].iloc[0], color=MUTED, linestyle=":", label="chance")
            axes.set(title=name, ylim=(0, 1), xlabel="training presentations per class", ylabel="top-1 accuracy")
            axes.set_xticks(list(at.values()), ["all" if k == 0 else str(k) for k in shots])
            axes.legend()
        return grid.figure


def _accuracy(rows: pd.DataFrame, shots: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean accuracy of one model at each number of shots, and how far its bars reach down and up (2, n)."""
    by_k = rows.groupby("k")["top1"].agg(["mean", "std"]).reindex(shots)
    mean, bars = by_k["mean"].to_numpy(), np.tile(by_k["std"].fillna(0), (2, 1))
    for place, k in enumerate(shots):
        some = rows[rows["k"] == k]
        if len(some) == 1:
            low, high = some["top1_low"].iloc[0], some["top1_high"].iloc[0]
            bars[:, place] = np.maximum((mean[place] - low, high - mean[place]), 0)
    return mean, bars


def plot_confusions(answers: Mapping[str, pd.DataFrame], models: Mapping[str, str]) -> Figure:
    """Return the confusion of each session's model with all training presentations, rows add up to 1."""
    with matplotlib.rc_context(RC):
        grid = make_grid(len(answers), 3, 3.6)
        for axes, (name, table) in zip(grid.axes, answers.items(), strict=True):
            rows = table[(table["model"] == models[name]) & (table["k"] == table["k"].min())]
            counts = pd.crosstab(rows["actual"], rows["predicted"], normalize="index")
            axes.imshow(counts.to_numpy(), cmap="Blues", vmin=0, vmax=1)
            axes.set(title=f"{name}: {models[name]}", xlabel="predicted", ylabel="shown")
            axes.spines[:].set_color(FAINT)
        return grid.figure


def render_page(contrast: Mapping[str, Any], kshot: Mapping[str, pd.DataFrame], figures: list[str]) -> str:
    """Return the page: a table of modes, a table of decoding, the figures."""
    lines = [
        "# Populations",
        "",
        "Contrastive embeddings; build on the cebra package. Bits above a collapsed embedding.",
        "",
    ]
    lines += [
        "| mode | session | held-out bits | gap to training | shuffled rows, held out | consistency |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in contrast.items():
        shuffled = next(row for key, row in found["control"].items() if key != "data")
        numbers = (found["held_out_bits"], found["gap_bits"], shuffled["held_out_bits"], found["consistency"])
        told = " | ".join("" if cell is None else f"{cell:.2f}" for cell in numbers)
        lines.append(f"| {name} | {found['session']} | {told} |")
    lines += ["", "Top-1 accuracy on held-out presentations, mean over draws (95 % interval of all presentations).", ""]
    for name, table in kshot.items():
        shots = sorted(k for k in table["k"].unique() if k > 0) + ([0] if (table["k"] == 0).any() else [])
        heads = ["all" if k == 0 else f"{k}-shot" for k in shots]
        lines += [f"| {name} | {' | '.join(heads)} |", "|---|" + "---|" * len(shots)]
        for model, rows in table.groupby("model", sort=False):
            cells = []
            for k in shots:
                some = rows[rows["k"] == k]
                interval = f" ({some['top1_low'].iloc[0]:.2f}-{some['top1_high'].iloc[0]:.2f})" if k == 0 else ""
                cells.append(f"{some['top1'].mean():.2f}{interval}")
            lines.append(f"| {model} | {' | '.join(cells)} |")
        lines += [f"| chance | {' | '.join([f'{table.chance.iloc[0]:.2f}'] * len(shots))} |", ""]
    lines += [f"![{name}](figures/{name}.png)" for name in figures]
    return "\n".join(lines) + "\n"

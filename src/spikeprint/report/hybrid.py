"""Figures of hybrid ground truth. Enters: a plan and a piece of traces, or the tables of a score. Leaves: figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..core.hybrid_plan import Plan
from .style import FAINT, GRID, INK, MUTED, PALETTE, RC, WIDTH_IN

SHOWN_UNITS, SHOWN_CHANNELS = 7, 10
SHOWN_SORTED = 24
"""Columns of the confusion matrix, the assigned units first; the others are drawn as one."""
DPI = 150


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; without the tag of the software the bytes depend on the numbers only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


@dataclass(frozen=True)
class Change:
    """What a plan has done to its traces, measured.

    Attributes
    ----------
    before, after : (n_units, n_samples) mean waveform of each source unit, and of its hybrid
    original, changed : (n, n_channels), the same piece of the first segment without and with the hybrid units
    first : its first sample
    """

    before: np.ndarray
    after: np.ndarray
    original: np.ndarray
    changed: np.ndarray
    first: int


def plot_plan(plan: Plan, change: Change) -> Figure:
    """Draw what was put where: the probe, the waveforms and a piece of traces before and after."""
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 4.6), layout="constrained")
        probe, shapes, traces = figure.subplots(1, 3, gridspec_kw={"width_ratios": (0.6, 1.1, 1.6)})
        _draw_probe(probe, plan)
        _draw_waveforms(shapes, plan, change)
        _draw_traces(traces, plan, change)
    return figure


def plot_score(
    units: pd.DataFrame, confusion: pd.DataFrame, lags: pd.DataFrame, fits: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Draw a score: accuracy against SNR, size and rate, detection against collisions, and the confusion matrix.

    Parameters
    ----------
    units, confusion, lags, fits : of ``hybrid.score.Score``
    """
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 5.6), layout="constrained")
        (upper,), (lower,) = figure.subfigures(
            2, 1, squeeze=False
        )  # of their own: labels below would tear the panels above apart
        axes = dict(zip(("snr", "amplitude_uv", "rate_hz"), upper.subplots(1, 3), strict=True))
        lag, matrix = lower.subplots(1, 2, gridspec_kw={"width_ratios": (1, 2)})
        titles = {"snr": "SNR", "amplitude_uv": "amplitude (µV)", "rate_hz": "rate (Hz)"}
        for name, title in titles.items():
            axis = axes[name]
            axis.scatter(units[name], units["accuracy"], s=22, color=PALETTE[0], label="accuracy", zorder=3)
            ring = {"facecolor": "none", "edgecolor": PALETTE[3], "linewidth": 1.2}
            axis.scatter(units[name], units["recall"], s=70, **ring, label="recall", zorder=3)
            _draw_fit(axis, units[name], fits.get(name, {}))
            axis.set(xlabel=title, ylim=(-0.04, 1.04))
            axis.grid(axis="y", color=GRID, linewidth=0.7)
        axes["snr"].legend(loc="lower right")
        axes["snr"].set_title("found, against what they are")
        _draw_lags(lag, lags)
        _draw_confusion(matrix, confusion)
    return figure


def _draw_probe(axis: Axes, plan: Plan) -> None:
    """Contacts, and an arrow from the source unit's place to the hybrid's."""
    positions = plan.source.positions_um
    axis.scatter(positions[:, 0], positions[:, 1], s=8, marker="s", color=FAINT, linewidth=0)
    for unit in plan.units:
        color = PALETTE[unit.unit_id % len(PALETTE)]
        start = (unit.x_um - unit.shift_x_um, unit.y_um - unit.shift_y_um)
        arrow = {"arrowstyle": "->", "color": color, "linewidth": 1.2}
        axis.annotate("", (unit.x_um, unit.y_um), start, arrowprops=arrow)
        axis.scatter(unit.x_um, unit.y_um, s=26, color=color, zorder=3)
    named: dict[tuple[float, float], list[str]] = {}  # several may be put on one contact
    for unit in plan.units:
        named.setdefault((unit.x_um, unit.y_um), []).append(str(unit.unit_id))
    for place, names in named.items():
        axis.annotate(", ".join(names), place, (4, 2), textcoords="offset points", fontsize=8)
    axis.margins(x=0.4)
    axis.set(title="from source to hybrid", xlabel="µm", ylabel="depth (µm)")


def _draw_waveforms(axis: Axes, plan: Plan, change: Change) -> None:
    """The mean of every unit on its peak channel: dashed where it was copied from, whole where it was put."""
    time_ms = (np.arange(plan.n_samples) - plan.before) / plan.source.sampling_frequency_hz * 1000
    for unit in plan.units[:SHOWN_UNITS]:
        color = PALETTE[unit.unit_id % len(PALETTE)]
        axis.plot(time_ms, change.before[unit.unit_id], color=color, linewidth=0.9, linestyle=(0, (3, 1.5)))
        axis.plot(time_ms, change.after[unit.unit_id], color=color, label=f"{unit.unit_id}")
    axis.axhline(0, color=GRID, linewidth=0.8, zorder=0)
    axis.legend(title="hybrid unit", loc="lower right", ncols=2)
    unit_text = "µV" if np.isfinite(plan.source.gains_uv).any() else "bits"
    axis.set(title="waveforms: source (dashed), hybrid", xlabel="ms from the trough", ylabel=unit_text)


def _draw_traces(axis: Axes, plan: Plan, change: Change) -> None:
    """The channels that change most, before and after."""
    original, changed, first = change.original, change.changed, change.first
    size = np.abs(changed.astype(np.float64) - original).max(axis=0)
    shown = np.sort(np.argsort(-size, kind="stable")[:SHOWN_CHANNELS])
    rate_hz = plan.source.sampling_frequency_hz
    time_ms = np.arange(len(original)) / rate_hz * 1000
    step = max(float(np.ptp(changed[:, shown].astype(np.float64), axis=0).max()) * 0.6, 1.0)
    for row, channel in enumerate(shown):
        for traces, color, width in ((changed, PALETTE[3], 1.1), (original, INK, 0.7)):
            level = traces[:, channel].astype(np.float64)
            axis.plot(time_ms, level - np.median(original[:, channel]) + row * step, color=color, linewidth=width)
    axis.set_yticks(np.arange(len(shown)) * step, [str(channel) for channel in shown])
    axis.set(
        title="traces: before (black), after (orange)", xlabel=f"ms from {first / rate_hz:.3f} s", ylabel="channel"
    )


def _draw_fit(axis: Axes, values: pd.Series, fit: Mapping[str, float]) -> None:
    """The fitted share of detected spikes."""
    if len(values) < 2 or not np.isfinite(fit.get("slope", np.nan)):
        return
    x = np.linspace(values.min(), values.max(), 100)
    curve = 1 / (1 + np.exp(-np.clip(fit["intercept"] + fit["slope"] * x, -30, 30)))
    axis.plot(x, curve, color=MUTED, linewidth=1.0, zorder=1)


def _draw_lags(axis: Axes, lags: pd.DataFrame) -> None:
    """Detected spikes by distance to the nearest colliding spike."""
    names = [f"< {edge:g}" if np.isfinite(edge) else "more" for edge in lags["lag_below_ms"]]
    axis.bar(range(len(lags)), lags["recall"], color=PALETTE[0], width=0.7)
    for k, n in enumerate(lags["n_spikes"]):
        axis.annotate(f"{n:,}", (k, 0.02), ha="center", fontsize=7, color="white")
    axis.set_xticks(range(len(lags)), names)
    axis.set(title="detected, by collision", xlabel="ms to the nearest sorted spike", ylim=(0, 1.04))


def _draw_confusion(axis: Axes, confusion: pd.DataFrame) -> None:
    """Pairs of spikes as a share of each row."""
    if (n_others := confusion.shape[1] - 1 - SHOWN_SORTED) > 0:
        others = confusion.iloc[:, SHOWN_SORTED:-1].sum(axis=1).rename(f"{n_others} others")
        confusion = pd.concat([confusion.iloc[:, :SHOWN_SORTED], others, confusion.iloc[:, -1:]], axis=1)
    values = confusion.to_numpy(dtype=np.float64)
    axis.imshow(values / np.maximum(values.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_yticks(range(len(confusion)), list(confusion.index))
    axis.set_xticks(range(confusion.shape[1]), list(confusion.columns), rotation=60, fontsize=7)
    axis.set(title="spikes of each hybrid unit in the sorted ones")

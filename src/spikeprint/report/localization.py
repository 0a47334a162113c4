"""Figures of a localised recording. Enters: clouds of spikes and what was measured of them. Leaves: figures.

Colour limits come from the data (1st to 99th percentile), ranges from the data and the probe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, hsv_to_rgb
from matplotlib.figure import Figure

from .style import GRID, MUTED, PALETTE, RC, WIDTH_IN, make_grid

MAX_DRAWN = 200_000
MIN_SPIKES = 5
"""Fewer in a second say little of a depth's mean size."""
INKS = LinearSegmentedColormap.from_list("inks", ["#cfcfcf", "#000000"])
"""Greys that can be seen on white."""
DARK = "#000000"


@dataclass(frozen=True)
class Cloud:
    """Spikes of a recording as one method sees them.

    Attributes
    ----------
    times_s : (n,); xyz_um : (n, 3), NaN where an axis is not told; log_size : (n,) log10 of alpha or of the amplitude
    """

    times_s: np.ndarray
    xyz_um: np.ndarray
    log_size: np.ndarray


def plot_rasters(clouds: Mapping[str, Cloud], colour: Literal["size", "z"] = "size") -> Figure:
    """Draw depth against time, one panel per cloud: grey by size, the largest last, or coloured by z."""
    with rc_context(RC):
        grid = make_grid(len(clouds), 1, 2.4)
        for axis, (name, cloud) in zip(grid.axes, clouds.items(), strict=True):
            values = cloud.log_size if colour == "size" else cloud.xyz_um[:, 2]
            rows = _order(values)
            style: dict[str, Any] = {
                "cmap": INKS if colour == "size" else "viridis",
                "s": 2,
                "linewidth": 0,
                "rasterized": True,
            }
            drawn = axis.scatter(
                cloud.times_s[rows], cloud.xyz_um[rows, 1], c=values[rows], **find_limits(values), **style
            )
            axis.set(title=name, xlabel="time (s)", ylabel="depth (µm)", ylim=find_reach(cloud.xyz_um[:, 1]))
            grid.figure.colorbar(drawn, ax=axis, label="log10 size" if colour == "size" else "z (µm)", pad=0.01)
    return grid.figure


def plot_ncc(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Draw the correlations of all pairs of seconds, one panel per method; the mean is in the title."""
    with rc_context(RC):
        grid = make_grid(len(matrices), 3, 3.4)
        off = np.concatenate([matrix[~np.eye(len(matrix), dtype=bool)] for matrix in matrices.values()])
        low = float(np.percentile(off, 1))
        for axis, (name, matrix) in zip(grid.axes, matrices.items(), strict=True):
            mean = matrix[~np.eye(len(matrix), dtype=bool)].mean()
            drawn = axis.imshow(matrix, cmap="Reds", vmin=low, vmax=1, origin="lower")
            axis.set(title=f"{name}\nmean {mean:.3f}", xlabel="time (s)", ylabel="time (s)")
        grid.figure.colorbar(drawn, ax=grid.axes, label="correlation", shrink=0.8)
    return grid.figure


def plot_entropy(traces: Mapping[str, np.ndarray]) -> Figure:
    """Draw the spatial entropy of each second; the means are in the legend."""
    with rc_context(RC):
        grid = make_grid(1, 1, 2.6)
        for color, (name, values) in zip(PALETTE, traces.items(), strict=False):
            grid.axes[0].plot(values, color=color, linewidth=1.2, label=f"{name}: mean {np.nanmean(values):.3f}")
        grid.axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3)
        grid.axes[0].grid(axis="y", color=GRID, linewidth=0.7)
        grid.axes[0].set(title="spatial entropy, lower is sharper", xlabel="time (s)", ylabel="nats")
    return grid.figure


def plot_projections(clouds: Mapping[str, Cloud], contacts_um: np.ndarray, banners: Mapping[str, str]) -> Figure:
    """Draw all spikes from three sides on black, one row per cloud, contacts as white squares.

    Parameters
    ----------
    contacts_um : (n_channels, 2)
    banners : what is said above a row, by its cloud; a missing one says its name only
    """
    limits = find_limits(np.concatenate([cloud.log_size for cloud in clouds.values()]))
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 4.6 * len(clouds)), layout="constrained")
        parts = figure.subfigures(len(clouds), 1, squeeze=False).ravel()
        for part, (name, cloud) in zip(parts, clouds.items(), strict=True):
            part.suptitle(f"{name}   {banners.get(name, '')}", x=0.02, ha="left", fontsize=10.5, fontweight="bold")
            axes = part.subplot_mosaic([["yx", "zx"], ["yz", "."]], width_ratios=(3, 1), height_ratios=(1.3, 1))
            for key, axis in axes.items():
                _project(axis, str(key), cloud, contacts_um, limits)
    return figure


def plot_displacements(base_um: np.ndarray, moved_um: np.ndarray, contacts_um: np.ndarray) -> Figure:
    """Draw spikes where a baseline puts them: hue says in which direction a method moves them, saturation how far.

    Parameters
    ----------
    base_um, moved_um : (n, 3) of the same spikes; the 95th percentile of the length is fully saturated
    """
    away = moved_um[:, :2] - base_um[:, :2]
    length = np.linalg.norm(away, axis=1)
    full = max(float(np.nanpercentile(length, 95)), 1e-9)
    rows = _order(length)
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
        axis = figure.subplots()
        colors = _wheel(away[rows] / full)
        axis.scatter(base_um[rows, 1], base_um[rows, 0], s=2, c=colors, linewidth=0, rasterized=True)
        axis.scatter(contacts_um[:, 1], contacts_um[:, 0], s=12, marker="s", facecolor="none", edgecolor=MUTED)
        title = f"where spikes go: median {np.nanmedian(length):.1f} µm, fully coloured from {full:.1f} µm"
        axis.set(title=title, xlabel="depth (µm)", ylabel="x (µm)")
        axis.set(xlim=find_reach(base_um[:, 1]), ylim=find_reach(base_um[:, 0]))
        inset = axis.inset_axes((1.01, 0.62, 0.14, 0.38))
        x, y = np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101))
        disc = _wheel(np.column_stack([x.ravel(), y.ravel()])).reshape(101, 101, 3)
        disc[np.hypot(x, y) > 1] = 1
        # the panel lies on its side: depth runs to the right, x upwards
        inset.imshow(disc.transpose(1, 0, 2), origin="lower", extent=(-1, 1, -1, 1))
        inset.set(xticks=[], yticks=[], xlabel="+ depth", ylabel="+ x")
    return figure


def plot_local(local_um: np.ndarray, log_size: np.ndarray) -> Figure:
    """Draw where spikes lie around their peak contact: (n, 3) offsets, three projections."""
    pairs = ((0, 1), (0, 2), (1, 2))
    names = ("x − contact (µm)", "y − contact (µm)", "z (µm)")
    rows = _order(log_size)
    with rc_context(RC):
        grid = make_grid(3, 3, 3.2)
        for axis, (h, v) in zip(grid.axes, pairs, strict=True):
            style: dict[str, Any] = {"s": 2, "cmap": "inferno", "linewidth": 0, "rasterized": True}
            drawn = axis.scatter(
                local_um[rows, h], local_um[rows, v], c=log_size[rows], **find_limits(log_size), **style
            )
            axis.set(xlabel=names[h], ylabel=names[v], xlim=find_reach(local_um[:, h]), ylim=find_reach(local_um[:, v]))
        grid.figure.colorbar(drawn, ax=grid.axes, label="log10 size", pad=0.01)
    return grid.figure


def plot_sizes(cloud: Cloud, depth_um: float = 20.0) -> Figure:
    """Draw size against x, depth and z, and its mean by depth and second with the spread over time.

    Parameters
    ----------
    cloud : with positions corrected for motion; depth_um : height of a row of the map
    """
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 5.4), layout="constrained")
        (upper,), (lower,) = figure.subfigures(
            2, 1, squeeze=False
        )  # of their own: the colour bar would tear the panels above apart
        axes = dict(zip("xyz", upper.subplots(1, 3), strict=True))
        axes["map"], axes["spread"] = lower.subplots(1, 2, gridspec_kw={"width_ratios": (2.2, 1)})
        for i, name in enumerate("xyz"):
            values = cloud.xyz_um[:, i]
            style: dict[str, Any] = {"s": 1.5, "color": PALETTE[0], "alpha": 0.3, "linewidth": 0, "rasterized": True}
            axes[name].scatter(values, cloud.log_size, **style)
            axes[name].set(xlabel=f"{name} (µm)", ylabel="log10 size", xlim=find_reach(values))
        depths, means = average_sizes(cloud, depth_um)
        extent = (0.0, float(means.shape[1]), float(depths[0] - depth_um / 2), float(depths[-1] + depth_um / 2))
        drawn = axes["map"].imshow(means, aspect="auto", origin="lower", extent=extent, cmap="viridis")
        lower.colorbar(drawn, ax=axes["map"], label="mean log10 size", pad=0.01)
        axes["map"].set(title="does a depth keep its size?", xlabel="time (s)", ylabel="depth (µm)")
        _, certain = average_sizes(cloud, depth_um, MIN_SPIKES)
        spread = np.array([np.nanstd(row) if np.isfinite(row).sum() > 1 else np.nan for row in certain])
        mean = spread[np.isfinite(spread)].mean() if np.isfinite(spread).any() else np.nan
        axes["spread"].scatter(spread, depths, color=PALETTE[0], s=14)
        axes["spread"].set(title=f"mean {mean:.3f}", xlabel="std over time", ylabel="depth (µm)")
    return figure


def average_sizes(cloud: Cloud, depth_um: float, min_spikes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return depths (n_depths,) and the mean size (n_depths, n_seconds) there, NaN with fewer spikes than asked for."""
    known = np.isfinite(cloud.xyz_um[:, 1])
    depth = np.floor(cloud.xyz_um[known, 1] / depth_um).astype(np.int64)
    second = cloud.times_s[known].astype(np.int64)
    low, n_seconds = depth.min(), int(second.max()) + 1
    shape = (int(depth.max() - low) + 1, n_seconds)
    cell = (depth - low) * n_seconds + second
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    total = np.bincount(cell, cloud.log_size[known], minlength=len(count))
    means = np.where(count >= min_spikes, total / np.maximum(count, 1), np.nan)
    return (np.arange(shape[0]) + low + 0.5) * depth_um, means.reshape(shape)


def plot_convergence(curves: pd.DataFrame, parts: Sequence[str] = ()) -> Figure:
    """Draw what training logged: one panel per part, by epoch; a round after another is a line of its own.

    Parameters
    ----------
    curves : columns epoch, split, part, value; parts : those to draw, none = all
    """
    names = list(parts or dict.fromkeys(curves["part"]))
    with rc_context(RC):
        grid = make_grid(len(names), 3, 2.4)
        for axis, name in zip(grid.axes, names, strict=True):
            mine = curves[curves["part"] == name]
            length = int(mine["epoch"].max()) + 1
            for color, (split, rows) in zip(PALETTE, mine.groupby("split", sort=False), strict=False):
                for turn, part in rows.groupby(number_rounds(rows["epoch"])):
                    label = str(split) if turn == 0 else None
                    axis.plot(part["epoch"] + turn * length, part["value"], color=color, marker="o", ms=3, label=label)
            axis.set(title=name, xlabel="epoch")
            axis.legend()
    return grid.figure


def number_rounds(epochs: pd.Series) -> np.ndarray:
    """Return the round of each row: a new one begins where the epoch does not rise."""
    return np.concatenate([[0], np.cumsum(np.diff(epochs.to_numpy()) <= 0)])


def _project(axis: Axes, key: str, cloud: Cloud, contacts_um: np.ndarray, limits: dict[str, Any]) -> None:
    """One view; the key's letters are the horizontal and the vertical axis."""
    h, v = ("xyz".index(letter) for letter in key)
    places = np.column_stack([contacts_um, np.zeros(len(contacts_um))])
    if np.isfinite(cloud.xyz_um[:, [h, v]]).all(axis=1).any():
        rows = _order(cloud.log_size)
        style: dict[str, Any] = {"s": 1.5, "cmap": "inferno", "linewidth": 0, "rasterized": True}
        axis.scatter(cloud.xyz_um[rows, h], cloud.xyz_um[rows, v], c=cloud.log_size[rows], **limits, **style)
    else:
        axis.text(0.5, 0.5, "z is not told", color=MUTED, ha="center", transform=axis.transAxes)
    axis.scatter(places[:, h], places[:, v], s=9, marker="s", facecolor="none", edgecolor="white", linewidth=0.6)
    names = ("x (µm)", "depth (µm)", "z (µm)")
    reaches = [find_reach(np.concatenate([cloud.xyz_um[:, i], places[:, i]])) for i in (h, v)]
    axis.set(xlabel=names[h], ylabel=names[v], facecolor=DARK, xlim=reaches[0], ylim=reaches[1])


def _order(values: np.ndarray) -> np.ndarray:
    """Rows to draw, at most ``MAX_DRAWN``, the largest value last."""
    rows = np.arange(len(values))
    if len(rows) > MAX_DRAWN:
        rows = np.sort(np.random.default_rng(0).choice(len(rows), MAX_DRAWN, replace=False))
    return rows[np.argsort(values[rows], kind="stable")]


def find_limits(values: np.ndarray) -> dict[str, Any]:
    """Return ``vmin`` and ``vmax``: the 1st and 99th percentile of what is known."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [1, 99]) if len(known) else (0.0, 1.0)
    return {"vmin": float(low), "vmax": float(max(high, low + 1e-9))}


def find_reach(values: np.ndarray, share: float = 0.3) -> tuple[float, float]:
    """Return the range of an axis: all but the outermost ``share`` percent on each side, and some room."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [share, 100 - share]) if len(known) else (0.0, 1.0)
    room = max(0.04 * (high - low), 1.0)
    return float(low - room), float(high + room)


def _wheel(steps: np.ndarray) -> np.ndarray:
    """(n, 3) colours of steps (n, 2) of length 0 (white) to 1 (full)."""
    hue = np.arctan2(steps[:, 1], steps[:, 0]) / (2 * np.pi) % 1
    length = np.nan_to_num(np.clip(np.linalg.norm(steps, axis=1), 0, 1))
    return hsv_to_rgb(np.column_stack([np.nan_to_num(hue), length, np.full(len(hue), 0.92)]))

"""The explorer of spikes. Enters: a view of a localised recording. Leaves: one page that opens without a network.

Plotly is written into the page, arrays travel as base64 of quantised integers (16 bits for numbers, 8 for waveforms).
``make_payload`` is what the page is told, ``render`` is the page; the script in ``assets`` draws.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.spikes import Motion, Peaks, Positions
from .assets import read_asset
from .style import PALETTE

N_BACKGROUND, N_SHOWN = 60_000, 1_000
MISSING = -32768
"""16-bit number of what is not known."""
MAX_DEPTHS = 12
"""Curves of motion that are drawn."""


@dataclass(frozen=True)
class Snippets:
    """Spikes that can be looked at one by one.

    Attributes
    ----------
    rows : (m,) int64, rising, which peaks they are
    channels : (m, k) int64, contacts of each, -1 = none
    raw_uv, smooth_uv : (m, k, T) float32; n_before : sample of the trough
    estimates : localiser -> (m, 3) µm, NaN for an axis that it does not tell
    """

    rows: np.ndarray
    channels: np.ndarray
    raw_uv: np.ndarray
    smooth_uv: np.ndarray
    n_before: int
    estimates: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        m, k = self.channels.shape
        shapes = {name: getattr(self, name).shape for name in ("rows", "raw_uv", "smooth_uv")}
        places = {name: places.shape for name, places in self.estimates.items()}
        good = shapes["rows"] == (m,) and shapes["raw_uv"] == shapes["smooth_uv"] and shapes["raw_uv"][:2] == (m, k)
        if not good or any(shape != (m, 3) for shape in places.values()) or m == 0:
            raise DataError(f"explorer: {m} spikes on {k} contacts, but {shapes}, estimates {places}; they must agree")


@dataclass(frozen=True)
class SpikeView:
    """What the explorer shows of a recording.

    Attributes
    ----------
    title : name of the recording, method : name of the localiser; contacts_um : (n_channels, 2)
    peaks, positions, corrected, motions : as localised
    snippets : some of the peaks with all that is known of them
    units : (n,) int64, unit of each peak, -1 = none; None = not sorted
    truth_um : (n, 3) where each spike was, in the frame of the probe, NaN = not known; None = no truth
    """

    title: str
    method: str
    contacts_um: np.ndarray
    peaks: Peaks
    positions: Positions
    corrected: Positions
    motions: list[Motion]
    snippets: Snippets
    units: np.ndarray | None = None
    truth_um: np.ndarray | None = None
    about: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.peaks)
        lengths = {name: len(getattr(self, name).xyz_um) for name in ("positions", "corrected")}
        lengths |= {name: len(v) for name in ("units", "truth_um") if (v := getattr(self, name)) is not None}
        wrong = {name: length for name, length in lengths.items() if length != n}
        if wrong or (rows := self.snippets.rows).min() < 0 or rows.max() >= n:
            raise DataError(f"explorer: {n} peaks, but {wrong or 'rows of snippets beyond them'}; they must agree")


def choose_rows(n: int, n_chosen: int, seed: int = 0) -> np.ndarray:
    """Return at most ``n_chosen`` of ``n`` rows, rising, every one as likely.

    >>> choose_rows(3, 5)
    array([0, 1, 2])
    """
    return np.sort(np.random.default_rng(seed).choice(n, min(n, n_chosen), replace=False))


def make_payload(view: SpikeView, n_background: int = N_BACKGROUND, seed: int = 0) -> dict[str, Any]:
    """Return what the page is told: names, numbers, and arrays as base64.

    Spikes of the background are drawn by lot; those of ``view.snippets`` come first, so row i of the page is snippet i.

    Parameters
    ----------
    n_background : spikes that are drawn beside those that can be looked at

    Returns
    -------
    dict for ``json``; an array is ``{"type", "shape", "data"}`` with ``scale`` and ``offset`` where it is quantised
    """
    shown = view.snippets.rows
    rest = np.setdiff1d(np.arange(len(view.peaks)), shown)
    rows = np.concatenate([shown, rest[choose_rows(len(rest), n_background, seed)]])
    return {
        "title": view.title,
        "method": view.method,
        "n_spikes": len(view.peaks),
        "duration_s": view.peaks.duration_s,
        "fs_hz": view.peaks.fs_hz,
        "about": dict(view.about),
        "palette": list(PALETTE),
        "size_title": "log10 peak (µV)" if view.positions.alpha_uv_um is None else "log10 α (µV µm)",
        "contacts": _plain(view.contacts_um.astype(np.float32)),
        "spikes": {name: _pack(values) for name, values in _list_columns(view, rows).items()},
        "motions": [_pack_motion(motion) for motion in view.motions],
        "snippets": _pack_snippets(view.snippets, view.peaks.times_s[shown]),
    }


def render(payload: Mapping[str, Any]) -> str:
    """Return the page: markup, style, Plotly, payload and script in one file."""
    from plotly.offline import get_plotlyjs

    parts = {name: read_asset(f"explorer.{name}") for name in ("html", "css", "js")}
    # nothing in a name may close the element that carries the payload
    told = json.dumps(payload, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    inserts = {"title": escape(str(payload["title"])), "css": parts["css"], "js": parts["js"], "payload": told}
    inserts["plotly"] = get_plotlyjs()
    return re.sub(r"<!--(\w+)-->", lambda found: inserts[found[1]], parts["html"])


def _list_columns(view: SpikeView, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of each spike of the page, by the name the script has for them."""
    peaks, here, moved = view.peaks, view.positions.xyz_um[rows], view.corrected.xyz_um[rows]
    columns = {"time": peaks.times_s[rows], "x": here[:, 0], "y": here[:, 1], "z": here[:, 2]}
    columns |= {"xc": moved[:, 0], "yc": moved[:, 1], "channel": peaks.channels[rows].astype(np.int32)}
    alpha = view.positions.alpha_uv_um
    sizes = np.abs(peaks.amplitudes_uv[rows]) if alpha is None else alpha[rows]
    columns["size"] = np.log10(np.maximum(sizes, 1e-3))
    if view.units is not None:
        columns["unit"] = view.units[rows].astype(np.int32)
    if view.positions.sd_um is not None:
        columns["sd"] = np.linalg.norm(view.positions.sd_um[rows, :2], axis=1)
    if view.truth_um is not None:
        columns |= {f"true_{axis}": view.truth_um[rows, i] for i, axis in enumerate("xyz")}
        columns["error"] = np.linalg.norm(here[:, :2] - view.truth_um[rows, :2], axis=1)
    return columns


def _pack_snippets(snippets: Snippets, times_s: np.ndarray) -> dict[str, Any]:
    """Waveforms in 8 bits with a scale for each spike, and what every localiser says of it."""
    both = np.stack([snippets.raw_uv, snippets.smooth_uv], axis=1)
    scale = np.maximum(np.abs(both).max(axis=(1, 2, 3)) / 127, 1e-9).astype(np.float32)
    waves = np.rint(both / scale[:, None, None, None]).astype(np.int8)
    return {
        "n_before": snippets.n_before,
        "times": _plain(times_s.astype(np.float32)),
        "channels": _plain(snippets.channels.astype(np.int32)),
        "waves": _plain(waves),
        "scale": _plain(scale),
        "estimates": {name: _plain(places.astype(np.float32)) for name, places in snippets.estimates.items()},
    }


def _pack_motion(motion: Motion) -> dict[str, Any]:
    """Displacement at some of its depths."""
    n = len(motion.depths_um)
    some = np.unique(np.linspace(0, n - 1, min(n, MAX_DEPTHS)).round().astype(np.int64))
    arrays = {
        "displacement": motion.displacement_um[:, some],
        "times": motion.times_s,
        "depths": motion.depths_um[some],
    }
    return {"axis": motion.axis} | {name: _plain(values.astype(np.float32)) for name, values in arrays.items()}


def _pack(values: np.ndarray) -> dict[str, Any]:
    """Integers as they are; numbers in 65,535 steps between the smallest and the largest, NaN as ``MISSING``."""
    if values.dtype.kind in "iu":
        is_small = np.abs(values.astype(np.int64)).max(initial=0) <= np.iinfo(np.int16).max
        return _plain(values.astype(np.int16 if is_small else np.int32))
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    scale = max(float(high - low), 1e-9) / 65_534
    steps = np.rint((np.where(known, values, low).astype(np.float64) - low) / scale) - 32_767
    packed = _plain(np.where(known, steps, MISSING).astype(np.int16))
    return {**packed, "scale": scale, "offset": float(low) + 32_767 * scale}


def _plain(values: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    text = base64.b64encode(data.tobytes()).decode("ascii")
    return {"type": values.dtype.name, "shape": list(values.shape), "data": text}

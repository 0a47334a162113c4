"""A recording second by second. Enters: spikes, measures of each second. Leaves: an mp4, where ffmpeg is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.animation import FFMpegWriter
from matplotlib.figure import Figure

from ..core.errors import DataError
from .localization import Cloud, find_limits, find_reach
from .style import MUTED, PALETTE, RC

FPS = 25
MAX_FRAMES = 500
"""Frames of a movie, spread over the recording: one each second where it is shorter."""
DPI = 90
VIEWS = {"yx": (1, 0), "zx": (2, 0), "yz": (1, 2)}


def can_write_movies() -> bool:
    """Whether ffmpeg is on this machine."""
    return bool(FFMpegWriter.isAvailable())


class Film:
    """The figure of a movie; ``show`` turns it to a second.

    Parameters
    ----------
    cloud : spikes to show; contacts_um : (n_channels, 2)
    traces : title -> (n_seconds,) drawn below with a cursor, e.g. displacement, mean correlation, entropy

    Attributes
    ----------
    figure : as it is now; n_seconds : that it can show

    Raises
    ------
    DataError
        Traces of different lengths, or none.
    """

    def __init__(self, cloud: Cloud, contacts_um: np.ndarray, traces: Mapping[str, np.ndarray]) -> None:
        lengths = {len(values) for values in traces.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise DataError(f"movie: traces of {sorted(lengths) or 'no'} seconds; all must be of the same length")
        self.n_seconds = lengths.pop()
        self._cloud = cloud
        self._edges = np.searchsorted(cloud.times_s, np.arange(self.n_seconds + 1))
        with rc_context(RC):
            self.figure = Figure(figsize=(10, 5 + 0.9 * len(traces)), layout="constrained")
            rows: list[Any] = [["yx", "zx"], ["yz", "."], *([name, name] for name in traces)]
            heights = (1.4, 1.1, *([0.5] * len(traces)))
            axes = self.figure.subplot_mosaic(rows, width_ratios=(3, 1), height_ratios=heights)
            self._clouds = {key: self._project(axes[key], key, contacts_um) for key in VIEWS}
            self._cursors = []
            for color, (name, values) in zip(PALETTE, traces.items(), strict=False):
                axes[name].plot(np.arange(self.n_seconds), values, color=color, linewidth=1.1)
                axes[name].set_ylabel(name, rotation=0, ha="right", va="center")
                self._cursors.append(axes[name].axvline(0, color=MUTED, linewidth=1.2))
        self.show(0)
        with rc_context(RC):
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")  # laid out once: it takes longer than a frame

    def show(self, second: int) -> None:
        """Show the spikes of one second."""
        rows = slice(int(self._edges[second]), int(self._edges[second + 1]))
        for key, drawn in self._clouds.items():
            drawn.set_offsets(self._cloud.xyz_um[rows][:, VIEWS[key]])
            drawn.set_array(self._cloud.log_size[rows])
        for cursor in self._cursors:
            cursor.set_xdata([second, second])
        self.figure.suptitle(f"{second} s", x=0.02, ha="left", fontsize=10.5, fontweight="bold")

    def write(self, path: Path) -> list[int]:
        """Write the movie and return the seconds that it shows; ``can_write_movies`` must be true."""
        seconds = np.unique(np.linspace(0, self.n_seconds - 1, min(self.n_seconds, MAX_FRAMES)).astype(np.int64))
        writer = FFMpegWriter(fps=FPS, extra_args=["-threads", "1", "-pix_fmt", "yuv420p"])
        with writer.saving(self.figure, str(path), DPI):
            for second in seconds.tolist():
                self.show(second)
                writer.grab_frame()
        return [int(second) for second in seconds]

    def _project(self, axis: Any, key: str, contacts_um: np.ndarray) -> Any:
        """An empty cloud in front of the contacts, with the ranges and colours of all seconds."""
        places = np.column_stack([contacts_um, np.zeros(len(contacts_um))])
        names = ("x (µm)", "depth (µm)", "z (µm)")
        h, v = VIEWS[key]
        reaches = [find_reach(np.concatenate([self._cloud.xyz_um[:, i], places[:, i]])) for i in (h, v)]
        axis.set(xlabel=names[h], ylabel=names[v], facecolor="black", xlim=reaches[0], ylim=reaches[1])
        style: dict[str, Any] = {"s": 9, "marker": "s", "facecolor": "none", "edgecolor": "white", "linewidth": 0.6}
        axis.scatter(places[:, h], places[:, v], **style)
        limits = find_limits(self._cloud.log_size)
        return axis.scatter([], [], c=[], s=7, cmap="inferno", linewidth=0, **limits)

"""One look for every figure. Enters: labels of units. Leaves: colours, fills, line styles and empty figures.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by people with any kind of colour
vision, less the yellow, which vanishes on white. A class beyond the seventh keeps a colour and changes its fill and
its line; shapes are left for datasets.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ..core.types import UNLABELLED

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#333333")
FILLS = ("full", "open", "pale")
LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
INK, MUTED, FAINT, GRID, BAND = "#1a1a1a", "#6b6b6b", "#b4b4b4", "#e8e8e8", "#f6f6f6"
WIDTH_IN = 10.0
"""Width of every figure, inches: text of 9-10 pt stays readable where a README shows it."""

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 0.6,
}
"""Settings of every figure, applied with ``matplotlib.rc_context``."""


@dataclass(frozen=True)
class ClassStyle:
    """How one cell type is drawn: its colour, the fill of its markers and bars, its line."""

    color: str
    fill: str
    line: Any

    @property
    def face(self) -> tuple[float, float, float]:
        """Inside of a marker or bar: the colour, white, or half-way between."""
        share = {"full": 1.0, "open": 0.0, "pale": 0.4}[self.fill]
        red, green, blue = to_rgb(self.color)
        return (1 - share * (1 - red), 1 - share * (1 - green), 1 - share * (1 - blue))


@dataclass(frozen=True)
class HeadStyle:
    """How one read-out of the embedding is drawn and called."""

    title: str
    color: str
    marker: str


UNLABELLED_STYLE = ClassStyle(FAINT, "full", "-")

HEADS = {
    "network": HeadStyle("read-out trained with the latent", PALETTE[2], "^"),
    "logistic": HeadStyle("logistic regression", PALETTE[0], "o"),
    "knn": HeadStyle("k nearest neighbours", PALETTE[1], "s"),
    "mlp": HeadStyle("multilayer perceptron", PALETTE[3], "v"),
    "control": HeadStyle("control: trained on shuffled labels", MUTED, "D"),
}
"""Read-outs in the order of the report; ``control`` repeats the whole training with shuffled labels."""


def make_styles(labels: Iterable[str]) -> dict[str, ClassStyle]:
    """Return one style per cell type, in order of name, so that every figure of a report agrees.

    The most frequent types take the full colours, the next the open ones; within a fill the order is that of the name,
    so up to seven types keep their colours when units are added.

    Parameters
    ----------
    labels : one label per unit of all datasets, ``""`` where unknown

    >>> make_styles(["SOM", "PV", "SOM", ""])["PV"].color
    '#0072B2'
    """
    counts = Counter(label for label in labels if label != UNLABELLED)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    cycle = len(PALETTE)
    styles = {}
    for start in range(0, len(names), cycle):
        level = start // cycle % len(FILLS)
        for color, name in zip(PALETTE, sorted(names[start : start + cycle]), strict=False):
            styles[name] = ClassStyle(color, FILLS[level], LINES[level])
    return dict(sorted(styles.items()))


def make_markers(datasets: Sequence[str]) -> dict[str, str]:
    """Return one marker shape per dataset, in the order given."""
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(datasets)}


@dataclass(frozen=True)
class Grid:
    """A figure of the common width and its panels, row by row."""

    figure: Figure
    axes: list[Axes]
    n_rows: int
    n_columns: int


def make_grid(n_panels: int, max_columns: int, panel_height_in: float) -> Grid:
    """Return ``n_panels`` empty panels, at most ``max_columns`` in a row.

    Rows are filled evenly: four panels with at most three columns stand two by two.
    """
    n_rows = -(-n_panels // max_columns)
    n_columns = -(-n_panels // n_rows)
    figure = Figure(figsize=(WIDTH_IN, panel_height_in * n_rows), layout="constrained")
    axes = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for spare in axes[n_panels:]:
        spare.remove()
    return Grid(figure, axes[:n_panels], n_rows, n_columns)

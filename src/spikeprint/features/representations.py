"""What the bins of a histogram are. Enters: a declared name. Leaves: edges and unit of ISI and ACG, and what may mix.

Published folders do not share a representation: bins of 1 ms, of 0.5 ms, logarithmic ones, counts, rates and
probabilities occur under the same file names, and the number of columns does not tell them apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.types import MODALITIES

LEGACY = "legacy"
HISTOGRAMS = ("isi", "acg")
SUM_TOLERANCE = 0.01
"""Probabilities printed with few digits do not sum to 1 exactly."""
COUNTS = "counts_1ms"
N_ISI, N_ACG = MODALITIES["isi"].length, MODALITIES["acg"].length


@dataclass(frozen=True)
class Histogram:
    """Bins and unit of one histogram; ``None`` where they are not known.

    Attributes
    ----------
    name : written into the card as ``representation``
    edges_ms : bin edges, ms
    unit : counts, probability (a row sums to 1) or Hz
    """

    name: str
    edges_ms: tuple[float, ...] | None
    unit: str | None


ISI_MS = tuple(float(edge) for edge in range(N_ISI + 1))
ACG_MS = tuple(lag - 0.5 for lag in range(-(N_ACG // 2), N_ACG // 2 + 2))
UNKNOWN = Histogram(LEGACY, None, None)

REPRESENTATIONS: dict[str, dict[str, Histogram]] = {
    COUNTS: {"isi": Histogram(COUNTS, ISI_MS, "counts"), "acg": Histogram(COUNTS, ACG_MS, "counts")},
    "probability_1ms": {
        "isi": Histogram("probability_1ms", ISI_MS, "probability"),
        "acg": Histogram("probability_1ms", ACG_MS, "probability"),
    },
    "rate_1ms": {"isi": Histogram("rate_1ms", ISI_MS, "Hz"), "acg": Histogram("rate_1ms", ACG_MS, "Hz")},
    "cellexplorer": {
        "isi": Histogram("log_1ms_10s", tuple(np.logspace(0, 4, N_ISI + 1).tolist()), "probability"),
        "acg": Histogram("rate_0.5ms", tuple((np.array(ACG_MS) / 2).tolist()), "Hz"),
    },
    LEGACY: {"isi": UNKNOWN, "acg": UNKNOWN},
}
"""Declared name -> histograms. ``cellexplorer`` is acg.narrow and isi.log10 of its files."""

SAME_AXIS = frozenset({COUNTS, "probability_1ms", "rate_1ms"})
"""Equal bins in unequal units: the model divides every histogram by its mean, so these are one representation to it."""


def describe_axis(representation: str, dataset: str) -> str:
    """Return the word under which a model is told what a dataset's histograms are; equal words may mix freely.

    A legacy dataset promises nothing, so it equals no other one.

    >>> describe_axis("rate_1ms", "a"), describe_axis("legacy", "a")
    ('1ms', 'legacy a')
    """
    if representation in SAME_AXIS:
        return "1ms"
    return f"{LEGACY} {dataset}" if representation == LEGACY else representation


def check_declared(file: str, histogram: Histogram, values: np.ndarray) -> None:
    """Raise DataError when histograms cannot be what they are declared to be.

    The schema of the canonical folder adds what must hold of counts: whole, symmetric, centre 0, consistent.

    Parameters
    ----------
    file : named in the message
    values : (n_units, width); NaN rows are missing
    """
    if histogram.edges_ms is None:
        return
    needed, otherwise = len(histogram.edges_ms) - 1, "declare what it is, or --representation legacy"
    if values.shape[1] != needed:
        raise DataError(f"{file}: {values.shape[1]} columns, but '{histogram.name}' has {needed}; {otherwise}")
    total = values.sum(axis=1)
    off = (np.abs(total - 1) > SUM_TOLERANCE) & (total > 0)
    if histogram.unit == "probability" and off.any():
        row = int(np.argmax(off))
        raise DataError(
            f"{file}: row {row + 1} sums to {total[row]:g}, but '{histogram.name}' are probabilities, which sum to 1 "
            f"({off.sum()} such rows); {otherwise}"
        )


def make_histogram_card(name: str, representation: str, source_bins: int | None) -> dict[str, Any]:
    """Return the card entry of a histogram.

    Parameters
    ----------
    name : isi or acg
    representation : key of ``REPRESENTATIONS``
    source_bins : columns of the source, None when counted here from spike times
    """
    histogram = REPRESENTATIONS[representation][name]
    return {
        "representation": histogram.name,
        "n_bins": MODALITIES[name].length,
        "bin_edges_ms": None if histogram.edges_ms is None else list(histogram.edges_ms),
        "unit": histogram.unit,
        "source_bins": source_bins,
    }

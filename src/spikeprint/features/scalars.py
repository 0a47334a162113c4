"""Named numbers per unit. Enters: canonical waveforms, trains, histograms. Leaves: one column per entry of ``SCALARS``.

A number that does not exist (no crossing, a flat line, a train too short, a source without the data) is NaN, never 0.
"""

import numpy as np

from .evidence import Evidence, Scalar
from .firing import FIRING
from .footprint import FOOTPRINT
from .quality import QUALITY
from .shape import SHAPE

__all__ = ["SCALARS", "SCALAR_GROUPS", "Evidence", "Scalar", "compute_scalars"]

SCALAR_GROUPS: dict[str, dict[str, Scalar]] = {
    "Shape of the waveform": SHAPE,
    "Place on the probe": FOOTPRINT,
    "Firing": FIRING,
    "Quality": QUALITY,
}
SCALARS: dict[str, Scalar] = {name: scalar for group in SCALAR_GROUPS.values() for name, scalar in group.items()}
"""Metadata columns, in order. Adding one is one entry and one function."""


def compute_scalars(evidence: Evidence) -> dict[str, np.ndarray]:
    """Return every entry of ``SCALARS`` as (n_units,) float64; NaN where undefined or not computable."""
    unknown = np.full(len(evidence.waveform), np.nan)
    return {
        name: np.asarray(scalar.compute(evidence), dtype=np.float64)
        if all(getattr(evidence, need) is not None for need in scalar.needs)
        else unknown.copy()
        for name, scalar in SCALARS.items()
    }

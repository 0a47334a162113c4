"""What scalars are computed from, and how one is declared. Enters: nothing. Leaves: ``Evidence``, ``Scalar``, helpers.

A number that does not exist (no crossing, a flat line, a train too short, a source without the data) is NaN, never 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .trains import Trains
from .waveform import AlignedWaveforms

Need = Literal[
    "waveform",
    "time_base",
    "aligned",
    "positions_um",
    "places_um",
    "trains",
    "acg",
    "close_pairs",
    "amplitudes",
    "depths_um",
    "noise",
]


@dataclass(frozen=True)
class Evidence:
    """What is known about the units of one session; ``None`` where the source does not say.

    Attributes
    ----------
    waveform : (n_units, 50) float64, NaN rows where missing
    trough : (n_units,) int64, sample of the trough
    time_base : float, milliseconds per sample of ``waveform``
    aligned : what was noticed when the waveforms were aligned
    positions_um : (n_units, n_channels, 2) float64, x and y of the channels
    places_um : (n_units, 3) float64, x, y and depth without motion of localised units, NaN where one is not
    trains : clean spike trains
    acg : (n_units, 201) counts with 1 ms bins
    close_pairs : (n_units, 40) pairs of spikes under 10 ms apart, bins of 0.25 ms
    amplitudes, depths_um : (n_spikes,) of the clean trains, sizes in ``unit``
    noise : (n_units,) float64, noise of the peak channel in ``unit``
    unit : of waveforms, sizes and noise
    """

    waveform: np.ndarray
    trough: np.ndarray
    time_base: float | None = None
    aligned: AlignedWaveforms | None = None
    positions_um: np.ndarray | None = None
    places_um: np.ndarray | None = None
    trains: Trains | None = None
    acg: np.ndarray | None = None
    close_pairs: np.ndarray | None = None
    amplitudes: np.ndarray | None = None
    depths_um: np.ndarray | None = None
    noise: np.ndarray | None = None
    unit: Literal["uV", "au"] = "uV"


@dataclass(frozen=True)
class Scalar:
    """One declared column: its unit, what it needs, what it means, the function that computes it for all units.

    ``threshold`` is the usual limit of a quality metric, for people; what fails is in ``assemble.QC_RULES``.
    """

    unit: str
    needs: tuple[Need, ...]
    description: str
    compute: Callable[[Evidence], np.ndarray]
    threshold: str = ""


def divide(numerator: np.ndarray, denominator: np.ndarray | float) -> np.ndarray:
    """Return the quotient as float64, NaN where the denominator is zero or not finite."""
    numerator = np.asarray(numerator, dtype=np.float64)
    denominator = np.broadcast_to(np.asarray(denominator, dtype=np.float64), numerator.shape)
    defined = (denominator != 0) & np.isfinite(denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=defined)


def trains_of(evidence: Evidence) -> Trains:
    """Return the trains of an evidence whose ``needs`` were checked.

    Raises
    ------
    TypeError
        A scalar uses trains and does not declare them.
    """
    if evidence.trains is None:
        raise TypeError("a scalar that uses trains must declare them in needs")
    return evidence.trains


def aligned_of(evidence: Evidence) -> AlignedWaveforms:
    """Return the aligned waveforms of an evidence whose ``needs`` were checked.

    Raises
    ------
    TypeError
        A scalar uses them and does not declare it.
    """
    if evidence.aligned is None:
        raise TypeError("a scalar that uses aligned waveforms must declare them in needs")
    return evidence.aligned

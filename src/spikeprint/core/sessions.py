"""One recorded session as its source holds it. Enters: spike times, tables, time series. Leaves: a checked record."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .errors import PopulationError

INVALID_COLUMNS = ("start", "stop", "tags")


@dataclass(frozen=True)
class Series:
    """A signal beside the spikes, such as position or running speed.

    Attributes
    ----------
    times_s : (n,) ascending
    values : (n,) or (n, d); NaN where nothing was measured
    period : of a circular signal, None = linear
    """

    times_s: np.ndarray
    values: np.ndarray
    period: float | None = None


@dataclass(frozen=True)
class SpikeSession:
    """Spike trains of one session, what was shown, and when the recording cannot be trusted.

    Attributes
    ----------
    session_id : name of the session
    spike_times_s : (n_spikes,) float64 seconds, unit after unit, ascending within a unit
    offsets : (n_units + 1,) unit i owns ``spike_times_s[offsets[i]:offsets[i + 1]]``
    units : one row per unit: ``unit_id``, and as far as known ``probe``, ``region`` and quality columns
    t_start, t_stop : recorded time, seconds
    presentations : ``start_time, stop_time`` and columns of the stimulus (``frame``, ``stimulus_block``, ...), or None
    invalid : ``start, stop, tags`` (a list of words for each interval)
    series : signals by name
    """

    session_id: str
    spike_times_s: np.ndarray
    offsets: np.ndarray
    units: pd.DataFrame
    t_start: float
    t_stop: float
    presentations: pd.DataFrame | None = None
    invalid: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(INVALID_COLUMNS)))
    series: Mapping[str, Series] = field(default_factory=dict)

    def __post_init__(self) -> None:
        here = f"session '{self.session_id}'"
        n_units = len(self.units)
        if n_units == 0 or len(self.spike_times_s) == 0:
            raise PopulationError(f"{here}: {n_units} units, {len(self.spike_times_s)} spikes; an empty session")
        if len(self.offsets) != n_units + 1 or self.offsets[-1] != len(self.spike_times_s):
            raise PopulationError(
                f"{here}: {n_units} units and {len(self.spike_times_s)} spikes, but {len(self.offsets) - 1} trains"
            )
        steps = np.diff(self.spike_times_s)
        inner = self.offsets[1:-1]
        steps[inner[(inner > 0) & (inner < len(self.spike_times_s))] - 1] = 0  # from one unit to the next
        if not np.isfinite(self.spike_times_s).all() or (steps < 0).any():
            raise PopulationError(f"{here}: spike times must be finite and ascending within each unit")
        if not self.t_stop > self.t_start:
            raise PopulationError(
                f"{here}: recorded from {self.t_start} to {self.t_stop} s; a stretch of time is needed"
            )

    def train(self, unit: int) -> np.ndarray:
        """Return the spike times of one unit, seconds."""
        return self.spike_times_s[self.offsets[unit] : self.offsets[unit + 1]]

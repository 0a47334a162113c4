"""A hybrid plan as a type. Enters: arrays. Leaves: frozen records that say which sample changes by how much.

The value added to a sample is ``round(scale * waveform)``, half to even, the product taken in double precision, where
it is exact: so a plan means the same on every machine.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import DataError

VERSION = 1
SPIKE = np.dtype(
    [
        ("segment", "<i4"),
        ("sample", "<i8"),
        ("unit", "<i4"),
        ("bank", "<i4"),
        ("scale", "<f4"),
        ("displacement", "<i4"),
        ("collision_lag", "<i4"),
    ],
    align=True,
)
"""One hybrid spike: file or segment, sample of its trough in it, row of ``units``, row of ``waveforms``, factor,
displacement in steps of ``drift_step_um``, and samples to the nearest spike of a sorted unit that shares a contact."""
NO_COLLISION = np.iinfo(np.int32).max
"""``collision_lag`` where no spike of a unit on the same contacts is known."""


@dataclass(frozen=True)
class HybridUnit:
    """One artificial unit.

    Attributes
    ----------
    unit_id : the hybrid's own number, from 0
    source_unit : id of the unit it was made from, as the sorter wrote it
    peak_channel : absolute channel of the traces
    x_um, y_um : where that contact is
    amplitude_uv : size of the mean trough with the mean factor (bits where the gain is not known)
    snr : the same over the noise of that channel
    n_spikes, rate_hz : of its train
    shift_x_um, shift_y_um : how far it was moved
    """

    unit_id: int
    source_unit: str
    peak_channel: int
    x_um: float
    y_um: float
    amplitude_uv: float
    snr: float
    n_spikes: int
    rate_hz: float
    shift_x_um: float
    shift_y_um: float


@dataclass(frozen=True)
class SegmentInfo:
    """One file, or one segment of a source that is no flat binary.

    Attributes
    ----------
    name : of the file; ``segment0`` and so on elsewhere
    n_samples : per channel
    start : its first sample on the sorter's clock
    n_bytes : of the file, or of the samples
    quick, full : BLAKE2b over parts, and over all bytes; full is ``""`` under ``fast_fingerprint``
    """

    name: str
    n_samples: int
    start: int
    n_bytes: int
    quick: str
    full: str


@dataclass(frozen=True)
class SourceInfo:
    """What a plan fits: the traces it was made for.

    Attributes
    ----------
    path : where they were
    format : layout; ``binary`` and ``spikeglx`` are flat files that can be changed in place
    gains_uv : (n_channels,) µV per bit, NaN = not known
    positions_um : (n_channels, 2), NaN where there is no contact
    shanks : (n_channels,) int64
    """

    path: str
    format: str
    dtype: str
    n_channels: int
    sampling_frequency_hz: float
    byte_offset: int
    segments: tuple[SegmentInfo, ...]
    gains_uv: np.ndarray
    positions_um: np.ndarray
    shanks: np.ndarray


@dataclass(frozen=True)
class Plan:
    """All that is needed to add the hybrid units and to take them away again.

    Attributes
    ----------
    spikes : (n_spikes,) of ``SPIKE``, ordered by segment, sample, unit
    waveforms : (n_bank, n_samples, width) float32, in bits; zero at both ends
    channels : (n_bank, width) int32, absolute; filled up with -1
    before : samples of the window before the trough
    units : one per hybrid unit
    dropped : source unit -> why there is no hybrid of it
    config : the options it was made with
    seed : int
    drift_step_um : size of a displacement step
    notes : what a person should know, one line each
    """

    spikes: np.ndarray
    waveforms: np.ndarray
    channels: np.ndarray
    before: int
    units: tuple[HybridUnit, ...]
    source: SourceInfo
    config: dict[str, Any]
    seed: int
    dropped: dict[str, str] = field(default_factory=dict)
    drift_step_um: float = 1.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_bank, n_samples, width = self.waveforms.shape if self.waveforms.ndim == 3 else (-1, 0, 0)
        if self.channels.shape != (n_bank, width) or not 0 <= self.before < max(n_samples, 1):
            raise DataError(f"plan: waveforms {self.waveforms.shape}, channels {self.channels.shape}; they must agree")
        if len(self.channels) and self.channels.max() >= self.source.n_channels:
            raise DataError(
                f"plan: channel {self.channels.max()}, the source has {self.source.n_channels}; make the plan again"
            )
        spikes = self.spikes
        if spikes.dtype != SPIKE:
            raise DataError(f"plan: spikes are {spikes.dtype}; the fields {', '.join(SPIKE.names or ())} are needed")
        if not len(spikes):
            return
        lengths = np.array([segment.n_samples for segment in self.source.segments])
        is_known = (spikes["segment"] >= 0) & (spikes["segment"] < len(lengths))
        is_known &= (spikes["bank"] >= 0) & (spikes["bank"] < n_bank) & (spikes["unit"] < len(self.units))
        if not is_known.all():
            raise DataError("plan: a spike names a segment, waveform or unit that is not there; make the plan again")
        first = spikes["sample"] - self.before
        is_inside = (first >= 0) & (first + n_samples <= lengths[spikes["segment"]])
        if not is_inside.all():
            spike = spikes[~is_inside][0]
            raise DataError(
                f"plan: the window of the spike at sample {spike['sample']} of {self._name(spike['segment'])} crosses "
                f"its end ({lengths[spike['segment']]} samples, {self.before} before and {n_samples - self.before} "
                "from the spike on are needed); leave it out"
            )
        key = np.lexsort((spikes["unit"], spikes["sample"], spikes["segment"]))
        if not np.array_equal(key, np.arange(len(key))):
            raise DataError("plan: spikes are not in the order of segment, sample and unit; sort them")

    def _name(self, segment: int) -> str:
        return self.source.segments[segment].name

    @property
    def n_samples(self) -> int:
        """Samples of a window."""
        return self.waveforms.shape[1]

    def of_segment(self, segment: int) -> slice:
        """Return which spikes lie in a segment."""
        return slice(*(int(i) for i in np.searchsorted(self.spikes["segment"], [segment, segment + 1])))

    def templates(self) -> np.ndarray:
        """(n_units, n_samples, n_channels) float32, mean waveform of each unit as injected, in bits."""
        dense = np.zeros((len(self.units), self.n_samples, self.source.n_channels), dtype=np.float32)
        for unit in range(len(self.units)):
            mine = self.spikes[self.spikes["unit"] == unit]
            rows, which = np.unique(mine["bank"], return_inverse=True)
            weights = np.bincount(which, weights=mine["scale"], minlength=len(rows)) / max(len(mine), 1)
            for row, weight in zip(rows, weights, strict=True):
                used = self.channels[row] >= 0
                dense[unit][:, self.channels[row, used]] += np.float32(weight) * self.waveforms[row][:, used]
        return dense

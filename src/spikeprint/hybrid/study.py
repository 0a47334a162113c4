"""What the parts of a plan share. Enters: a source, trains, options. Leaves: frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.hybrid_params import HybridParams
from ..core.spikes import Motion
from ..io.hybrid.sortings import Trains
from ..io.hybrid.source import RawSource
from .events import Sketch, Window


@dataclass(frozen=True)
class Copy:
    """One hybrid unit, before it is put together with the others.

    Attributes
    ----------
    source_unit : number of the unit it was made from
    segment, sample, bank, scale, displacement : (n_spikes,) as in ``SPIKE``; ``bank`` counts its own waveforms
    waveforms, channels : (n_bank, n_samples, width) and (n_bank, width), filled up with -1
    mean : (n_samples, m) on the channels ``target`` (m,), where it does not drift
    shift_um : (2,) how far it was moved
    n_dropped : spikes that found no free place
    moved_um : along the probe, from the first third of its spikes to the last: the tissue's motion, roughly
    """

    source_unit: int
    segment: np.ndarray
    sample: np.ndarray
    bank: np.ndarray
    scale: np.ndarray
    displacement: np.ndarray
    waveforms: np.ndarray
    channels: np.ndarray
    shift_um: np.ndarray
    mean: np.ndarray
    target: np.ndarray
    n_dropped: int
    moved_um: float


@dataclass(frozen=True)
class Study:
    """What all units share."""

    source: RawSource
    trains: Trains
    params: HybridParams
    window: Window
    noise: np.ndarray
    sketch: Sketch
    motion: Motion | None
    given: Mapping[str, np.ndarray]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Of each segment, the first sample a spike may have and the one after the last."""
        after = self.window.n_samples - self.window.before
        return [(self.window.before, max(count - after + 1, self.window.before)) for count in self.source.counts]

    def name(self, unit: int) -> str:
        """The sorter's id of a unit."""
        return str(self.trains.unit_ids[unit])

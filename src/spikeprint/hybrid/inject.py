"""Blocks of traces with and without hybrid spikes. Enters: a plan, a block. Leaves: the block changed, what was lost.

Pure: nothing here knows of files. ``hybrid.files`` runs it over them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ..core.hybrid_plan import Plan
from .kernels import add_floats, add_integers, gather, restore, subtract_integers

LOST = np.dtype([("segment", "<i4"), ("spike", "<i8"), ("index", "<i8"), ("lost", "<i8")])
"""One clipped sample: the plan's spike that it was clipped for, index in the segment's samples, what was cut off."""


class Kept(Protocol):
    """Samples under the spikes, (n_spikes, n_samples, width): an array, or a file that is mapped in parts."""

    def __getitem__(self, spikes: slice, /) -> np.ndarray:
        """Return those of some spikes; what is written there stays."""


NOTHING_LOST = np.empty(0, dtype=LOST)


@dataclass(frozen=True)
class Injector:
    """A plan over blocks of one sample type.

    Attributes
    ----------
    plan : the plan
    kept : (n_spikes, n_samples, width) of the traces' type for floating point traces, whose sums cannot be undone: the
        samples as they were, filled by ``add`` and used by ``remove``; None for integers
    """

    plan: Plan
    kept: Kept | None = None

    @cached_property
    def _trains(self) -> list[tuple[int, np.ndarray]]:
        """Of each segment, the number of its first spike and the samples of all: asked for once per block."""
        parts = [self.plan.of_segment(k) for k in range(len(self.plan.source.segments))]
        return [(part.start, np.ascontiguousarray(self.plan.spikes["sample"][part])) for part in parts]

    @cached_property
    def _limits(self) -> np.ndarray:
        return limits_of(np.dtype(self.plan.source.dtype))

    def find(self, segment: int, first: int, stop: int) -> slice:
        """Return which spikes of the plan touch samples ``first`` to ``stop`` of a segment."""
        offset, samples = self._trains[segment]
        before = self.plan.before
        start = samples.searchsorted(first + before - self.plan.n_samples + 1)
        return slice(offset + int(start), offset + int(samples.searchsorted(stop + before)))

    def add(self, block: np.ndarray, segment: int, first: int, spikes: slice | None = None) -> np.ndarray:
        """Add the spikes that touch a block, in place.

        Parameters
        ----------
        block : (n_rows, n_channels) of the source's type, sample ``first`` of the segment and the following
        spikes : which of the plan; None = all that touch the block

        Returns
        -------
        (n_clipped,) of ``LOST``
        """
        plan = self.plan
        chosen = self.find(segment, first, first + len(block)) if spikes is None else spikes
        if chosen.start == chosen.stop:
            return NOTHING_LOST
        records = plan.spikes[chosen]
        if self.kept is not None:
            add_floats(block, first, records, plan.waveforms, plan.channels, plan.before, self.kept[chosen])
            return NOTHING_LOST
        limits = self._limits
        lost = add_integers(block, first, records, plan.waveforms, plan.channels, plan.before, limits)
        if not len(lost):
            return NOTHING_LOST
        found = np.empty(len(lost), dtype=LOST)
        found["segment"], found["spike"] = segment, lost[:, 0] + chosen.start
        found["index"], found["lost"] = lost[:, 1] + first * block.shape[1], lost[:, 2]
        return found

    def remove(
        self, block: np.ndarray, segment: int, first: int, ledger: np.ndarray, spikes: slice | None = None
    ) -> None:
        """Take the spikes that touch a block away, in place: the inverse of ``add``, exactly.

        Parameters
        ----------
        ledger : what ``add`` has returned for all blocks
        """
        plan = self.plan
        chosen = self.find(segment, first, first + len(block)) if spikes is None else spikes
        if chosen.start == chosen.stop:
            return
        records = plan.spikes[chosen]
        if self.kept is not None:
            restore(block, first, records, plan.channels, plan.before, self.kept[chosen])
            return
        subtract_integers(block, first, records, plan.waveforms, plan.channels, plan.before)
        start = first * block.shape[1]
        mine = (ledger["segment"] == segment) & (ledger["spike"] >= chosen.start) & (ledger["spike"] < chosen.stop)
        mine &= (ledger["index"] >= start) & (ledger["index"] < start + block.size)
        rows, columns = np.divmod(ledger["index"][mine] - start, block.shape[1])
        with np.errstate(over="ignore"):
            np.add.at(block, (rows, columns), ledger["lost"][mine].astype(block.dtype))

    def gather(self, block: np.ndarray, first: int, spikes: slice) -> np.ndarray:
        """(n, n_samples, width), the samples under the windows of some spikes as they are."""
        shape = (spikes.stop - spikes.start, self.plan.n_samples, self.plan.channels.shape[1])
        found = np.zeros(shape, dtype=block.dtype)
        gather(block, first, self.plan.spikes[spikes], self.plan.channels, self.plan.before, found)
        return found

    def surely_fits(self, block: np.ndarray, first: int, spikes: slice) -> bool:
        """Whether no sample can leave its type, judged by the largest sample, change and number of overlaps."""
        plan, records = self.plan, self.plan.spikes[spikes]
        rows = np.unique(records["bank"])
        largest = float(np.abs(plan.waveforms[rows]).max()) * float(records["scale"].max()) + 1
        samples = plan.spikes["sample"]
        around = np.searchsorted(samples[plan.of_segment(int(records["segment"][0]))], [
            records["sample"] - plan.n_samples, records["sample"] + plan.n_samples,
        ])  # fmt: skip
        most = largest * float((around[1] - around[0]).max())
        found = self.gather(block, first, spikes)
        low, high = limits_of(block.dtype)
        return bool(found.min() - most > low and found.max() + most < high)

    def put_back(self, block: np.ndarray, first: int, spikes: slice, found: np.ndarray) -> None:
        """Write what ``gather`` has returned."""
        restore(block, first, self.plan.spikes[spikes], self.plan.channels, self.plan.before, found)


def limits_of(dtype: np.dtype) -> np.ndarray:
    """(2,) int64, least and largest value of an integer type of at most 32 bits."""
    info = np.iinfo(dtype)
    return np.array([info.min, info.max], dtype=np.int64)

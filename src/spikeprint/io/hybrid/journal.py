"""Changes in place that survive a kill. Enters: files, batches of spikes. Leaves: the files changed, or as far as told.

Before a batch is changed, the samples under it are written to one of two slots beside the plan. After a kill the newest
whole slot says where the run was: its samples are put back, so the batch counts as not begun, and from there the run is
continued or undone. Slots are handed to the system, not forced to the disk: the file survives the end of the process,
not the loss of power.
"""

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ...core.errors import DataError

SLOTS = ("journal.0", "journal.1")
_HEAD = struct.Struct("<8sqqqqqI")
_MAGIC = b"SPKHYB01"
BATCH = 256
"""Spikes per batch, at most."""
SPAN_BYTES = 32 << 20
"""Bytes of the file that a batch may span: what is mapped at a time."""


class Batches(Protocol):
    """What a batch of spikes does to the mapped rows it touches."""

    def gather(self, block: np.ndarray, first: int, spikes: slice) -> np.ndarray:
        """Return the samples under the spikes."""

    def put_back(self, block: np.ndarray, first: int, spikes: slice, found: np.ndarray) -> None:
        """Write them back."""


@dataclass(frozen=True)
class Mapped:
    """Flat files that are changed in place.

    Attributes
    ----------
    files : one per segment
    counts : samples per channel of each
    segment, first, stop : (n_spikes,) of all spikes in order: file, first sample and end of the window
    """

    files: tuple[Path, ...]
    counts: tuple[int, ...]
    dtype: np.dtype
    n_channels: int
    byte_offset: int
    segment: np.ndarray
    first: np.ndarray
    stop: np.ndarray

    def open_rows(self, spikes: slice, writable: bool = True) -> tuple[np.ndarray, int]:
        """Return the rows that spikes of one file touch, mapped, and the number of the first."""
        start, stop = int(self.first[spikes].min()), int(self.stop[spikes].max())
        row_bytes = self.n_channels * self.dtype.itemsize
        block = np.memmap(
            self.files[int(self.segment[spikes.start])],
            self.dtype,
            "r+" if writable else "r",
            offset=self.byte_offset + start * row_bytes,
            shape=(stop - start, self.n_channels),
        )
        return block.view(np.ndarray), start

    def cut(self, begin: int, end: int) -> list[slice]:
        """Cut spikes into batches that lie in one file and span few bytes."""
        row_bytes = self.n_channels * self.dtype.itemsize
        most = max(SPAN_BYTES // row_bytes, int((self.stop - self.first).max(initial=1)))
        batches = []
        at = begin
        while at < end:
            stop = min(at + BATCH, end)
            is_near = (self.segment[at:stop] == self.segment[at]) & (self.stop[at:stop] - self.first[at] <= most)
            stop = at + (len(is_near) if is_near.all() else max(int(np.argmin(is_near)), 1))
            batches.append(slice(at, stop))
            at = stop
        return batches


def run_in_place(
    mapped: Mapped,
    folder: Path,
    batches: Batches,
    change: Callable[[np.ndarray, int, slice], None],
    done: int,
    is_removal: bool,
) -> None:
    """Change files batch by batch, forwards from spike ``done``, or backwards down to the first.

    Parameters
    ----------
    folder : gets the journal
    change : (mapped rows, first row, spikes) -> None
    done : so many spikes are in the files
    is_removal : take them away, else add the rest

    The journal stays; ``close_journal`` removes it once the outcome is noted elsewhere.
    """
    todo = mapped.cut(0, done)[::-1] if is_removal else mapped.cut(done, len(mapped.first))
    start = _next_number(folder)
    slots = [os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644) for name in SLOTS]
    try:
        for number, spikes in enumerate(todo, start):
            block, first = mapped.open_rows(spikes)
            _write_slot(slots[number % 2], number, spikes, is_removal, batches.gather(block, first, spikes))
            change(block, first, spikes)
    finally:
        for slot in slots:
            os.close(slot)


def close_journal(folder: Path) -> None:
    """Remove the journal."""
    for name in SLOTS:
        (folder / name).unlink(missing_ok=True)


def recover(mapped: Mapped, folder: Path, batches: Batches, shape: tuple[int, int]) -> int | None:
    """Bring files whose change was interrupted to the state between two batches.

    Parameters
    ----------
    shape : samples and channels of a window in the journal

    Returns
    -------
    so many spikes are in the files; None = the run had not changed anything yet

    Raises
    ------
    DataError
        The journal is of another plan, or damaged: a kill tears the record it meets, never both.
    """
    contents = _read_slots(folder)
    records = [record for content in contents if (record := _parse(content))]
    if not records:
        if all(contents) and len(contents) == len(SLOTS):
            raise DataError(f"{folder}: neither record of its journal is whole; copy the source again")
        return None  # the first record is written before anything is changed
    newest = max(records, key=lambda record: record.number)
    spikes = newest.spikes
    if spikes.stop > len(mapped.first):
        raise DataError(f"{folder}: its journal is of another plan ({spikes.stop} spikes, here {len(mapped.first)})")
    samples = np.frombuffer(newest.payload, mapped.dtype).reshape(spikes.stop - spikes.start, *shape)
    block, first = mapped.open_rows(spikes)
    batches.put_back(block, first, spikes, samples)
    return spikes.stop if newest.is_removal else spikes.start


@dataclass(frozen=True)
class _Record:
    """One slot."""

    number: int
    spikes: slice
    is_removal: bool
    payload: memoryview


def _write_slot(slot: int, number: int, spikes: slice, is_removal: bool, samples: np.ndarray) -> None:
    """One record; a torn one shows in its checksum."""
    payload = np.ascontiguousarray(samples).data.cast("B")
    body = struct.pack("<qqqqq", number, spikes.start, spikes.stop, int(is_removal), len(payload))
    check = zlib.crc32(payload, zlib.crc32(body))
    head = _MAGIC + body + struct.pack("<I", check)
    size = len(head) + len(payload)
    try:
        written = os.pwritev(slot, [head, payload], 0)
    except OSError as error:
        raise DataError(f"the journal cannot be written ({error.strerror}); make room, then use --resume") from None
    if written != size:
        raise DataError(f"the journal cannot be written ({written} of {size} bytes); make room, then use --resume")


def _parse(content: bytes) -> _Record | None:
    """The record of a slot; None where it is torn or there is none."""
    if len(content) < _HEAD.size or content[:8] != _MAGIC:
        return None
    _, number, start, stop, is_removal, n_bytes, check = _HEAD.unpack(content[: _HEAD.size])
    payload = memoryview(content)[_HEAD.size : _HEAD.size + n_bytes]
    is_whole = len(payload) == n_bytes and zlib.crc32(payload, zlib.crc32(content[8 : _HEAD.size - 4])) == check
    return _Record(number, slice(start, stop), bool(is_removal), payload) if is_whole else None


def _next_number(folder: Path) -> int:
    """The number after the newest whole record: the next one goes over the older or the torn slot."""
    return max((record.number for content in _read_slots(folder) if (record := _parse(content))), default=-1) + 1


def _read_slots(folder: Path) -> list[bytes]:
    """What the slots that there are hold; an empty one has not been written yet."""
    return [(folder / name).read_bytes() for name in SLOTS if (folder / name).exists()]

"""From file to file, a block at a time. Enters: a source and what is done to a block. Leaves: files of the same size.

Memory: one block per thread, whatever the length. A file takes its name when it is whole.
"""

import errno
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from math import gcd
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.files import atomic_path
from .source import RawSource

BLOCK_BYTES = 1 << 20
"""Fits the caches: a block is read, changed and written while it is there."""
PAGE_BYTES = 4096
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Change = Callable[[np.ndarray, int, int], Any]
"""(block, segment, first sample) -> what is to be told of it; changes the block in place."""


def copy_changed(
    source: RawSource, targets: Sequence[Path], change: Change, block_rows: int | None = None, n_threads: int = 1
) -> list[Any]:
    """Write each segment of a source into a file, each block changed on the way.

    Parameters
    ----------
    source : not touched
    targets : one file per segment; headers are copied
    change : called once per block, from several threads where ``n_threads`` > 1
    block_rows : samples per block; None = see ``choose_rows``

    Returns
    -------
    what ``change`` has returned, in the order of the blocks

    Raises
    ------
    DataError
        The disk has not enough space; nothing has been written.
    """
    _check_space(source, targets)
    rows = block_rows or choose_rows(source.row_bytes)
    told: list[Any] = []
    with ExitStack() as stack:  # all files are whole before the first takes its name
        for segment, target in enumerate(targets):
            temporary = stack.enter_context(atomic_path(target))
            told += _copy_segment(source, segment, temporary, change, rows, n_threads)
    return told


def choose_rows(row_bytes: int) -> int:
    """Return the samples of a block of about 1 MB, a whole number of memory pages where that is not far from it.

    Measured once: the system copied aligned pages a fifth faster, which is more than adding spikes costs.
    """
    rows = max(1, BLOCK_BYTES // row_bytes)
    page = PAGE_BYTES // gcd(PAGE_BYTES, row_bytes)
    return max(round(rows / page), 1) * page if page <= 4 * rows else rows


def make_buffer(n_rows: int, n_channels: int, dtype: np.dtype) -> tuple[np.ndarray, memoryview]:
    """Return room for a block, (n_rows, n_channels) and its bytes, that begins with a memory page.

    NumPy's own begins 16 bytes into one, where the system took up to 1.45 times as long to copy (measured once).
    """
    room = memoryview(mmap.mmap(-1, n_rows * n_channels * dtype.itemsize))
    return np.frombuffer(room, dtype).reshape(n_rows, n_channels), room


def _reserve(file: int, n_bytes: int, folder: Path) -> None:
    """Give a file its place on the disk at once: no run ends half-way for want of room, and all blocks are known.

    Writing took a quarter less processor time for it (ext4, measured once). A system that cannot do it goes without.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, n_bytes)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DataError(
                f"{folder}: no room for {n_bytes / 1e9:.3g} GB ({error.strerror}); make room, name another target, or "
                "change the files in place"
            ) from None


def _check_space(source: RawSource, targets: Sequence[Path]) -> None:
    """Raise unless the disk has room for all targets."""
    folder = next(parent for parent in targets[0].absolute().parents if parent.exists())
    needed = sum(source.byte_offset + count * source.row_bytes for count in source.counts)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{targets[0].parent}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed for the copy; make room, "
            "name another target, or change the files in place"
        )


def _copy_segment(
    source: RawSource, segment: int, target: Path, change: Change, rows: int, n_threads: int
) -> list[Any]:
    """One segment into one file."""
    count, row_bytes, head = source.counts[segment], source.row_bytes, source.byte_offset
    rows = min(rows, count)
    starts = range(0, count, rows)
    buffers: SimpleQueue[tuple[np.ndarray, memoryview]] = SimpleQueue()
    for _ in range(n_threads):
        buffers.put(make_buffer(rows, source.n_channels, source.dtype))
    out = os.open(target, os.O_RDWR)
    given = os.open(source.files[segment], os.O_RDONLY) if source.files else -1
    try:
        _reserve(out, head + count * row_bytes, target.parent)
        if head:
            os.pwrite(out, os.pread(given, head, 0), 0)

        def work(start: int) -> Any:
            n = min(rows, count - start)
            buffer, view = buffers.get()
            try:
                block, part, offset = buffer[:n], view[: n * row_bytes], head + start * row_bytes
                if given < 0:
                    block[:] = source.read(segment, start, start + n)
                else:
                    _read_into(given, part, offset, source.files[segment])
                told = change(block, segment, start)
                _write_all(out, part, offset)
            finally:
                buffers.put((buffer, view))  # also when it fails: other threads wait for it
            return told

        if n_threads == 1:
            return [work(start) for start in starts]
        with ThreadPoolExecutor(n_threads) as pool:
            return list(_in_order(pool, work, starts, 2 * n_threads))
    finally:
        os.close(out)
        if given >= 0:
            os.close(given)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[int], Any], starts: range, ahead: int) -> Iterator[Any]:
    """Results in order; no more than ``ahead`` blocks are under way, so that memory does not grow."""
    todo = iter(starts)
    waiting = [pool.submit(work, start) for start in islice(todo, ahead)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(work, start) for start in islice(todo, 1)]


def _read_into(file: int, view: memoryview, offset: int, path: Path) -> None:
    """Fill a block from a file."""
    done = 0
    while done < len(view):
        n = os.preadv(file, [view[done:]], offset + done)
        if n == 0:
            raise DataError(f"{path}: ends at byte {offset + done} while it is read; it was cut, copy it again")
        done += n


def _write_all(file: int, view: memoryview, offset: int) -> None:
    """Write a block into a file."""
    done = 0
    while done < len(view):
        done += os.pwrite(file, view[done:], offset + done)

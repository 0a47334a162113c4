"""Files are copied block by block, from memory that begins with a page, into room that is there beforehand."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.io.hybrid.probes import ProbeTable
from spikeprint.io.hybrid.source import RawSource
from spikeprint.io.hybrid.stream import choose_rows, copy_changed, make_buffer

N, ROWS = 5, 40_000
SRC = str(Path(__file__).resolve().parents[3] / "src")


@pytest.fixture
def source(tmp_path: Path) -> RawSource:
    """One flat file."""
    path = tmp_path / "raw.bin"
    np.random.default_rng(0).integers(-99, 99, (ROWS, N)).astype("<i2").tofile(path)
    probe = ProbeTable(np.zeros((N, 2)), np.zeros(N, dtype=np.int64))
    return RawSource(path, "binary", (path,), (ROWS,), (0,), np.dtype("<i2"), N, 30_000.0, 0, np.ones(N), probe)


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """The system refuses larger files, as a disk or a quota does that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("dtype", ["int8", "int16", "float64"])
def test_a_block_begins_with_a_page(dtype: str) -> None:
    block, room = make_buffer(333, 7, np.dtype(dtype))
    assert block.ctypes.data % 4096 == 0
    block[:] = 3
    assert bytes(room) == block.tobytes()


def test_blocks_are_whole_pages_where_rows_allow_it() -> None:
    for n_channels in (4, 32, 64, 385):
        n_bytes = choose_rows(2 * n_channels) * 2 * n_channels
        assert n_bytes % 4096 == 0
        assert 1 << 19 <= n_bytes <= 1 << 21


def test_room_is_refused_before_the_first_block(source: RawSource, tmp_path: Path) -> None:
    target = tmp_path / "target" / "a.bin"
    called = []
    with largest_file(ROWS), pytest.raises(DataError, match=r"target: no room for 0\.0004 GB \(File too large\); make"):
        copy_changed(source, [target], lambda *_: called.append(1))
    assert called == []
    assert list(target.parent.iterdir()) == []


def test_a_source_that_is_cut_while_it_is_read(source: RawSource, tmp_path: Path) -> None:
    target = tmp_path / "target" / "a.bin"

    def cut(*_: object) -> None:
        with source.files[0].open("r+b") as file:
            file.truncate(ROWS * N)

    with pytest.raises(DataError, match=r"raw\.bin: ends at byte 200000 while it is read; it was cut, copy it again"):
        copy_changed(source, [target], cut, block_rows=1000)
    assert list(target.parent.iterdir()) == []


REFUSING = """
import sys
from pathlib import Path
import numpy as np
from spikeprint.core.errors import DataError
from spikeprint.io.hybrid.probes import ProbeTable
from spikeprint.io.hybrid.source import RawSource
from spikeprint.io.hybrid.stream import copy_changed
path, n = Path(sys.argv[1]), 5
probe = ProbeTable(np.zeros((n, 2)), np.zeros(n, dtype=np.int64))
source = RawSource(path, "binary", (path,), (40_000,), (0,), np.dtype("<i2"), n, 30_000.0, 0, np.ones(n), probe)
def refuse(*_):
    raise DataError("no")
try:
    copy_changed(source, [path.parent / "target" / "a.bin"], refuse, 1000, 2)
except DataError as error:
    print(error)
"""


def test_a_change_that_fails_ends_a_run_of_several_threads(source: RawSource, tmp_path: Path) -> None:
    """In a process of its own: once each failure kept a buffer, others waited for it, and the run never ended."""
    words = [sys.executable, "-W", "ignore", "-c", REFUSING, str(source.files[0])]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": SRC}, capture_output=True, text=True, timeout=60)
    assert done.stdout == "no\n", done.stderr
    assert list((tmp_path / "target").iterdir()) == []


@pytest.mark.parametrize("n_threads", [1, 3])
def test_what_blocks_tell_comes_in_their_order(source: RawSource, n_threads: int, tmp_path: Path) -> None:
    told = copy_changed(source, [tmp_path / "a.bin"], lambda _, __, first: first, 777, n_threads)
    assert told == list(range(0, ROWS, 777))
    assert (tmp_path / "a.bin").read_bytes() == source.files[0].read_bytes()


def test_segments_without_a_file_are_read_through_the_recording(source: RawSource, tmp_path: Path) -> None:
    from spikeinterface.core import NumpyRecording

    traces = source.read(0, 0, ROWS)
    through = replace(source, files=(), recording=NumpyRecording([traces], 30_000.0))
    copy_changed(through, [tmp_path / "a.bin"], lambda block, _, __: np.add(block, 1, out=block), 999)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.bin", "<i2").reshape(-1, N), traces + 1)

"""Apply and remove: bytes are those of a dense sum, whatever the blocks, and come back, whatever happens between."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_data import make_positions
from hybrid_data import random_plan as make_plan
from spikeprint.core.errors import DataError
from spikeprint.core.hybrid_plan import Plan
from spikeprint.hybrid.files import apply, apply_in_place, copy_without, read_ledger, remove
from spikeprint.io.hybrid.fingerprint import describe_source
from spikeprint.io.hybrid.journal import SLOTS, _parse
from spikeprint.io.hybrid.plans import read_plan, read_state, write_plan
from spikeprint.io.hybrid.probes import ProbeTable
from spikeprint.io.hybrid.source import RawSource

N_CHANNELS = 6
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "hybrid.py"
SRC = str(Path(__file__).resolve().parents[2] / "src")


def make_source(folder: Path, traces: list[np.ndarray], byte_offset: int = 0) -> RawSource:
    """Flat files of these traces."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for k, part in enumerate(traces):
        files.append(folder / f"t{k}.bin")
        files[-1].write_bytes(b"x" * byte_offset + part.tobytes())
    counts = tuple(len(part) for part in traces)
    starts = tuple(np.cumsum([0, *counts[:-1]]).tolist())
    probe = ProbeTable(make_positions(N_CHANNELS), np.zeros(N_CHANNELS, dtype=np.int64))
    gains = np.ones(N_CHANNELS)
    dtype = traces[0].dtype
    return RawSource(
        folder, "binary", tuple(files), counts, starts, dtype, N_CHANNELS, 20_000.0, byte_offset, gains, probe
    )


def add_densely(plan: Plan, traces: list[np.ndarray]) -> list[np.ndarray]:
    """The reference: ten lines of NumPy, spike by spike, clipped to the type."""
    changed = [part.copy() for part in traces]
    for spike in plan.spikes:
        part = changed[spike["segment"]]
        rows = slice(int(spike["sample"]) - plan.before, int(spike["sample"]) - plan.before + plan.n_samples)
        for k, channel in enumerate(plan.channels[spike["bank"]]):
            if channel < 0:
                continue
            delta = np.float64(spike["scale"]) * plan.waveforms[spike["bank"], :, k].astype(np.float64)
            if part.dtype.kind == "f":
                part[rows, channel] = (part[rows, channel] + delta).astype(part.dtype)
            else:
                info = np.iinfo(part.dtype)
                part[rows, channel] = np.clip(part[rows, channel] + np.rint(delta).astype(int), info.min, info.max)
    return changed


def noise(dtype: str, counts: tuple[int, ...] = (3000,), spread: float = 100.0) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    centre = np.iinfo(dtype).max / 2 if np.dtype(dtype).kind == "u" else 0
    return [(rng.normal(centre, spread, (n, N_CHANNELS))).astype(dtype) for n in counts]


def bytes_of(source: RawSource) -> list[bytes]:
    return [path.read_bytes() for path in source.files]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


CASES = {
    "int16": ("int16", (3000,), 0),
    "several files": ("int16", (900, 2100, 500), 0),
    "header": ("int16", (1500, 800), 40),
    "uint16": ("uint16", (2000,), 0),
    "int32": ("int32", (2000,), 0),
    "float32": ("float32", (2000, 700), 0),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", ["stream", "in place"])
def test_the_bytes_are_those_of_the_dense_sum_and_come_back(case: str, how: str, tmp_path: Path, target: Path) -> None:
    dtype, counts, byte_offset = CASES[case]
    traces = noise(dtype, counts)
    source = make_source(tmp_path / "raw", traces, byte_offset)
    plan, before = make_plan(source), bytes_of(source)
    if how == "stream":
        report = apply(plan, source, target, [f"{path.stem}.GT.bin" for path in source.files])
        assert bytes_of(source) == before
    else:
        report = apply_in_place(plan, source, target)
    hybrid = replace(source, files=report.files)
    expected = [b"x" * byte_offset + part.tobytes() for part in add_densely(plan, traces)]
    assert bytes_of(hybrid) == expected
    assert report.n_spikes == len(plan.spikes)
    copies = [tmp_path / "back" / path.name for path in source.files]
    copy_without(plan, hybrid, target, copies)
    assert [path.read_bytes() for path in copies] == before
    assert bytes_of(hybrid) == expected
    remove(plan, hybrid, target)
    assert bytes_of(hybrid) == before
    assert read_state(target).stage == "removed"


@pytest.mark.parametrize("block_rows", [1, 7, 500, 10_000])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_blocks_and_threads_do_not_matter(
    block_rows: int, n_threads: int, dtype: str, tmp_path: Path, target: Path
) -> None:
    traces = noise(dtype, (700, 300))
    source = make_source(tmp_path / "raw", traces)
    plan = make_plan(source, 100)
    report = apply(plan, source, target, ["a.bin", "b.bin"], block_rows, n_threads)
    expected = [part.tobytes() for part in add_densely(plan, traces)]
    assert [path.read_bytes() for path in report.files] == expected
    remove(plan, replace(source, files=report.files), target)
    assert [path.read_bytes() for path in report.files] == bytes_of(source)


@pytest.mark.parametrize("how", ["stream", "in place"])
@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_clipping_is_refused_before_anything_is_written(how: str, dtype: str, tmp_path: Path, target: Path) -> None:
    source = make_source(tmp_path / "raw", noise(dtype, (2000, 1000)))
    plan, before = make_plan(source, size=20_000), bytes_of(source)
    with pytest.raises(DataError, match=r"samples leave the range of u?int16, first sample \d+ of channel \d.*on_clip"):
        apply(plan, source, target, ["a.bin", "b.bin"]) if how == "stream" else apply_in_place(plan, source, target)
    assert bytes_of(source) == before
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("how", ["stream", "in place"])
@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_clipped_samples_come_back(how: str, dtype: str, tmp_path: Path, target: Path) -> None:
    traces = noise(dtype, (2000, 1000))
    source = make_source(tmp_path / "raw", traces)
    plan, before = make_plan(source, size=20_000, on_clip="clip"), bytes_of(source)
    names = ["a.bin", "b.bin"]
    report = apply(plan, source, target, names, 333, 2) if how == "stream" else apply_in_place(plan, source, target)
    hybrid = replace(source, files=report.files)
    assert bytes_of(hybrid) == [part.tobytes() for part in add_densely(plan, traces)]
    assert report.n_clipped == len(read_ledger(target)) > 100
    remove(plan, hybrid, target)
    assert bytes_of(hybrid) == before


def test_another_source_is_refused(tmp_path: Path, target: Path) -> None:
    source = make_source(tmp_path / "raw", noise("int16"))
    plan = make_plan(source)
    with source.files[0].open("r+b") as file:
        file.write(b"\x01\x02")
    before = bytes_of(source)
    for change in (lambda: apply(plan, source, target, ["a.bin"]), lambda: apply_in_place(plan, source, target)):
        with pytest.raises(DataError, match=r"t0.bin of .*: not what the plan was made for .*fingerprint differs"):
            change()
    assert bytes_of(source) == before
    shorter = make_source(tmp_path / "other", noise("int16", (100, 100)))
    with pytest.raises(DataError, match="2 segments of 6 channels int16; the plan was made for 1 of 6"):
        apply(plan, shorter, target, ["a.bin", "b.bin"])


def test_a_target_that_exists_is_kept(tmp_path: Path, target: Path) -> None:
    source = make_source(tmp_path / "raw", noise("int16"))
    plan = make_plan(source)
    (target / "a.bin").write_text("mine")
    with pytest.raises(DataError, match=r"holds a.bin already; --force replaces it"):
        apply(plan, source, target, ["a.bin"])
    assert (target / "a.bin").read_text() == "mine"
    apply(plan, source, target, ["a.bin"], force=True)
    assert (target / "a.bin").stat().st_size == source.files[0].stat().st_size


def test_a_full_disk_is_noticed_first(tmp_path: Path, target: Path) -> None:
    small = make_source(tmp_path / "raw", noise("int16"))
    plan = make_plan(small)
    size = min(os.statvfs(target).f_bavail * os.statvfs(target).f_frsize + (1 << 30), 1 << 43)
    n_samples = size // (2 * N_CHANNELS)
    with small.files[0].open("r+b") as file:
        try:
            file.truncate(n_samples * 2 * N_CHANNELS)  # sparse: takes no space
        except OSError as error:
            pytest.skip(f"no sparse file of this size here: {error}")
    source = replace(small, counts=(n_samples,))
    plan = replace(plan, source=describe_source(source, is_fast=True))
    with pytest.raises(DataError, match=r"GB free, .* GB are needed for the copy"):
        apply(plan, source, target, ["a.bin"])
    assert list(target.iterdir()) == []


def test_what_is_not_applied_cannot_be_removed(tmp_path: Path, target: Path) -> None:
    source = make_source(tmp_path / "raw", noise("int16"))
    plan = make_plan(source)
    with pytest.raises(DataError, match="its plan is planned, not applied"):
        remove(plan, source, target)
    apply_in_place(plan, source, target)
    with pytest.raises(DataError, match="its plan is applied already to"):
        apply_in_place(plan, source, target)


def test_a_changed_hybrid_fails_loudly(tmp_path: Path, target: Path) -> None:
    source = make_source(tmp_path / "raw", noise("int16"))
    plan = make_plan(source)
    report = apply(plan, source, target, ["a.bin"])
    content = bytearray(report.files[0].read_bytes())
    content[1001] ^= 64
    report.files[0].write_bytes(content)
    with pytest.raises(DataError, match=r"a.bin: without the hybrid units it is not t0.bin"):
        remove(plan, replace(source, files=report.files), target)


def test_a_plan_reads_back_as_it_was(tmp_path: Path) -> None:
    plan = make_plan(make_source(tmp_path / "raw", noise("int16", (800, 900))))
    write_plan(tmp_path, plan)
    found = read_plan(tmp_path)
    np.testing.assert_array_equal(found.spikes, plan.spikes)
    for name in ("waveforms", "channels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plan, name))
    assert found.units == plan.units
    assert found.source.segments == plan.source.segments
    assert (found.before, found.seed, found.config) == (plan.before, plan.seed, plan.config)


def test_a_window_across_the_end_is_no_plan(tmp_path: Path) -> None:
    plan = make_plan(make_source(tmp_path / "raw", noise("int16")))
    spikes = plan.spikes.copy()
    spikes["sample"][-1] = 2999
    with pytest.raises(DataError, match=r"the spike at sample 2999 of t0.bin crosses its end \(3000 samples"):
        replace(plan, spikes=spikes)


# Kills ---------------------------------------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from test_files import open_again
from spikeprint.hybrid.files import apply_in_place, remove
from spikeprint.io.hybrid.journal import SLOTS
from spikeprint.io.hybrid.plans import read_plan
raw, target = Path(sys.argv[1]), Path(sys.argv[2])
plan = read_plan(target)
{"apply": apply_in_place, "remove": remove}[sys.argv[3]](plan, open_again(raw), target)
"""


def open_again(raw: Path) -> RawSource:
    """The source of a plan, in another process."""
    traces = [np.fromfile(path, np.int16).reshape(-1, N_CHANNELS) for path in sorted(raw.glob("*.bin"))]
    return _source_at(raw, tuple(len(part) for part in traces))


def _source_at(raw: Path, counts: tuple[int, ...]) -> RawSource:
    files = tuple(sorted(raw.glob("*.bin")))
    starts = tuple(np.cumsum([0, *counts[:-1]]).tolist())
    probe = ProbeTable(make_positions(N_CHANNELS), np.zeros(N_CHANNELS, dtype=np.int64))
    gains = np.ones(N_CHANNELS)
    return RawSource(raw, "binary", files, counts, starts, np.dtype("<i2"), N_CHANNELS, 20_000.0, 0, gains, probe)


def kill_in_the_middle(verb: str, raw: Path, target: Path) -> int:
    """Start a run in place in another process and kill it, with SIGKILL, at some batch; return how many had begun."""
    for name in SLOTS:
        assert not (target / name).exists()
    words = [sys.executable, "-W", "ignore", "-c", WORKER, str(raw), str(target), verb]
    here = Path(__file__).resolve().parent
    process = subprocess.Popen([*words, str(here), str(here.parent)], env=os.environ | {"PYTHONPATH": SRC})
    until = time.monotonic() + 120
    number = -1
    while number < 20:
        assert process.poll() is None, f"ended with {process.returncode} before it could be killed"
        assert time.monotonic() < until
        slot = target / SLOTS[0]
        head = slot.read_bytes()[:16] if slot.exists() else b""
        number = struct.unpack("<q", head[8:])[0] if len(head) == 16 else -1
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return number


def spoil(plan: Plan, source: RawSource, target: Path) -> None:
    """Do the worst a kill can: the batch under way has changed any of its samples, the record of the next is torn."""
    whole = {name: record for name in SLOTS if (record := _parse((target / name).read_bytes()))}
    newest = max(whole, key=lambda name: whole[name].number)
    for spike in plan.spikes[whole[newest].spikes][::3]:
        traces = np.memmap(source.files[spike["segment"]], source.dtype, "r+").reshape(-1, N_CHANNELS)
        channels = plan.channels[spike["bank"]]
        traces[int(spike["sample"]) : int(spike["sample"]) + 5, channels[channels >= 0]] = 77
        traces.flush()
    (older,) = set(SLOTS) - {newest}
    with (target / older).open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<q", whole[newest].number + 1))
        file.truncate(4096)


@pytest.fixture
def long_run(tmp_path: Path, target: Path) -> tuple[Plan, RawSource, list[bytes], list[bytes]]:
    """A plan of so many spikes that a run in place takes a second; the bytes of source and hybrid."""
    traces = noise("int16", (60_000, 40_000), 20.0)
    make_source(tmp_path / "raw", traces)
    source = _source_at(tmp_path / "raw", (60_000, 40_000))
    plan = make_plan(source, 300_000, 30.0, "clip")
    write_plan(target, plan)
    before = bytes_of(source)
    (tmp_path / "whole").mkdir()
    report = apply(plan, source, tmp_path / "whole", ["t0.bin", "t1.bin"])
    return plan, source, before, [path.read_bytes() for path in report.files]


@pytest.mark.parametrize("goes_on", ["resume", "remove"])
def test_a_killed_apply_is_continued_or_undone(
    goes_on: str, long_run: tuple[Plan, RawSource, list[bytes], list[bytes]], tmp_path: Path, target: Path
) -> None:
    plan, source, before, hybrid = long_run
    assert kill_in_the_middle("apply", tmp_path / "raw", target) >= 20
    assert read_state(target).stage == "applying"
    assert bytes_of(source) not in (before, hybrid)
    for change in (lambda: apply_in_place(plan, source, target), lambda: remove(plan, source, target)):
        with pytest.raises(DataError, match=r"applying in place was interrupted, .*t0.bin.* --resume goes on"):
            change()
    spoil(plan, source, target)
    if goes_on == "resume":
        apply_in_place(plan, source, target, resume=True)
        assert bytes_of(source) == hybrid
        remove(plan, source, target)
    else:
        remove(plan, source, target, resume=True)
    assert bytes_of(source) == before
    assert not any((target / name).exists() for name in SLOTS)


def test_a_killed_remove_is_continued(
    long_run: tuple[Plan, RawSource, list[bytes], list[bytes]], tmp_path: Path, target: Path
) -> None:
    plan, source, before, hybrid = long_run
    apply_in_place(plan, source, target)
    assert bytes_of(source) == hybrid
    kill_in_the_middle("remove", tmp_path / "raw", target)
    assert read_state(target).stage == "removing"
    spoil(plan, source, target)
    remove(plan, source, target, resume=True)
    assert bytes_of(source) == before


def test_a_damaged_journal_is_refused(
    long_run: tuple[Plan, RawSource, list[bytes], list[bytes]], tmp_path: Path, target: Path
) -> None:
    plan, source, _, _ = long_run
    kill_in_the_middle("apply", tmp_path / "raw", target)
    for name in SLOTS:
        with (target / name).open("r+b") as file:
            file.truncate(100)
    found = bytes_of(source)
    with pytest.raises(DataError, match="neither record of its journal is whole; copy the source again"):
        apply_in_place(plan, source, target, resume=True)
    assert bytes_of(source) == found


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """2 GB through apply and remove, in a process of its own; every byte comes back, or the benchmark fails."""
    out = tmp_path / "rows.json"
    words = [BENCHMARK, "--only", "measure_length", "--json", out]
    subprocess.run([sys.executable, "-W", "ignore", *map(str, words)], env=os.environ | {"PYTHONPATH": SRC}, check=True)
    rows = json.loads(out.read_text())
    assert rows[0]["unit"] == "MB"
    assert rows[0]["value"] < 200

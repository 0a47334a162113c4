"""Speed and memory of hybrid ground truth, side by side with a plain copy, SpikeInterface and hybridfactory's loop.

385 channels of int16 at 30 kHz; 10 units at 10 Hz, 81 samples on 20 channels a spike. Ratios are medians of interleaved
pairs in one process. `--quick` is a smoke run of small data: its numbers mean nothing. `--json OUT` writes the rows,
which say how loaded the machine was. Exit code 1 when a target is missed. Peers need `pip install spikeinterface`.
"""

import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from _common import Peer, Row, Target, make_parser, make_row, measure, report, seconds

from spikeprint.core.hybrid_plan import SPIKE, HybridUnit, Plan
from spikeprint.hybrid.files import apply, apply_in_place, remove
from spikeprint.hybrid.inject import Injector
from spikeprint.io.hybrid.fingerprint import describe_source, hash_file
from spikeprint.io.hybrid.probes import ProbeTable
from spikeprint.io.hybrid.source import RawSource
from spikeprint.io.hybrid.stream import choose_rows

RATE_HZ, WINDOW, BEFORE, WIDTH = 30_000.0, 81, 40, 20
N_UNITS, UNIT_HZ = 10, 10.0


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    n_channels: int = 385
    seconds: float = 18.0
    gigabytes: float = 2.0
    repeats: int = 7


QUICK = Size(32, 0.5, 0.005, 1)


def row(name: str, value: float, unit: str, target: float, least: bool = False, peer: Peer | None = None) -> Row:
    """One line of the report; ``least``: the value must be at least the target. A peer's target is for the ratio."""
    load = round(os.getloadavg()[0], 2)  # of the last minute: what else ran, besides this
    return make_row(name, value, unit, Target(target, least, of_ratio=bool(peer)), peer, load=load)


def compare(
    name: str, ours: Callable, theirs: Callable, peer: str, target: float, size: Size, is_cpu: bool, made: Path
) -> Row:
    """One row of interleaved pairs: how many times longer the peer takes. What they ``made`` is removed in between."""
    clock = time.process_time if is_cpu else time.perf_counter

    def timed(call: Callable[[], object]) -> float:
        spent = seconds(call, clock)
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        return spent

    timed(ours), timed(theirs)
    pairs = [(timed(ours), timed(theirs)) for _ in range(size.repeats)]
    ratio = statistics.median(other / max(own, 1e-9) for own, other in pairs)
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    kind = "CPU" if is_cpu else "wall"
    return row(f"{name} ({kind})", own, "s", target, least=True, peer=Peer(peer, other, ratio))


def make_source(folder: Path, n_channels: int, n_samples: int) -> RawSource:
    """A flat file: one second of noise, again and again."""
    block = np.random.default_rng(0).normal(0, 20, (int(RATE_HZ), n_channels)).astype("<i2")
    path = folder / "traces.bin"
    with path.open("wb") as file:
        for start in range(0, n_samples, len(block)):
            file.write(block[: n_samples - start].tobytes())
    positions = np.column_stack([np.arange(n_channels) % 2 * 20.0, np.arange(n_channels) // 2 * 20.0])
    probe = ProbeTable(positions, np.zeros(n_channels, dtype=np.int64))
    gains = np.full(n_channels, 2.34)
    return RawSource(
        folder, "binary", (path,), (n_samples,), (0,), np.dtype("<i2"), n_channels, RATE_HZ, 0, gains, probe
    )


def make_plan(source: RawSource) -> Plan:
    """Spikes at random times, one waveform per unit."""
    rng = np.random.default_rng(1)
    n_spikes = max(int(N_UNITS * UNIT_HZ * source.counts[0] / RATE_HZ), N_UNITS)
    spikes = np.zeros(n_spikes, dtype=SPIKE)
    spikes["sample"] = np.sort(rng.integers(BEFORE, source.counts[0] - WINDOW, n_spikes))
    spikes["bank"] = spikes["unit"] = rng.integers(0, N_UNITS, n_spikes)
    spikes["scale"] = rng.uniform(0.8, 1.2, n_spikes)
    spikes = spikes[np.lexsort((spikes["unit"], spikes["sample"]))]
    waveforms = rng.normal(0, 30, (N_UNITS, WINDOW, WIDTH)).astype(np.float32)
    first = np.linspace(0, source.n_channels - WIDTH, N_UNITS).astype(int)
    channels = (first[:, None] + np.arange(WIDTH)).astype(np.int32)
    units = tuple(HybridUnit(k, str(k), int(first[k]), 0, 0, 70, 10, 1, 10, 0, 60) for k in range(N_UNITS))
    return Plan(spikes, waveforms, channels, BEFORE, units, describe_source(source, False), {"on_clip": "error"}, 0)


def copy_blocks(source: Path, target: Path, n_bytes: int) -> None:
    """Read and write, nothing else; from a whole memory page on, else the peer is up to 1.45 times slower by chance."""
    buffer = memoryview(mmap.mmap(-1, n_bytes))
    with source.open("rb", buffering=0) as given, target.open("wb", buffering=0) as out:
        while n := given.readinto(buffer):
            out.write(buffer[:n])


def measure_copy(size: Size) -> list[Row]:
    """The streamed copy against a copy that changes nothing, and against SpikeInterface's save."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = make_source(folder, size.n_channels, int(size.seconds * RATE_HZ))
        plan, target = make_plan(source), folder / "target"
        target.mkdir()

        def ours() -> None:
            apply(plan, source, target, ["a.bin"])

        second = int(RATE_HZ) * source.row_bytes
        own = choose_rows(source.row_bytes) * source.row_bytes
        for peer, n_bytes in (("plain copy, blocks of 1 s", second), ("plain copy, blocks as ours", own)):
            for is_cpu in (False, True):
                plain = partial(copy_blocks, source.files[0], target / "b.bin", n_bytes)
                rows.append(compare("streamed apply", ours, plain, peer, 0.9, size, is_cpu, target))
        save = make_save(plan, source, target / "saved")
        rows.append(compare("streamed apply", ours, save, "SpikeInterface injected save", 4.0, size, False, target))
    return rows


def make_save(plan: Plan, source: RawSource, folder: Path) -> Callable[[], None]:
    """The same units by SpikeInterface: dense templates, injected while the recording is saved."""
    from spikeinterface.core import BinaryRecordingExtractor, NumpySorting
    from spikeinterface.core.generate import InjectTemplatesRecording

    recording = BinaryRecordingExtractor(
        [str(source.files[0])], RATE_HZ, dtype="int16", num_channels=source.n_channels, gain_to_uV=1, offset_to_uV=0
    )
    sorting = NumpySorting.from_samples_and_labels([plan.spikes["sample"]], [plan.spikes["unit"]], RATE_HZ)
    dense = np.zeros((N_UNITS, WINDOW, source.n_channels), dtype=np.float32)
    for unit in range(N_UNITS):
        dense[unit][:, plan.channels[unit]] = plan.waveforms[unit]
    injected = InjectTemplatesRecording(
        sorting, dense, nbefore=BEFORE, amplitude_factor=plan.spikes["scale"].astype(float), parent_recording=recording
    )

    def save() -> None:
        injected.save(folder=folder, format="binary", n_jobs=1, verbose=False, progress_bar=False)

    return save


def measure_spikes(size: Size) -> list[Row]:
    """Processor time per spike: in memory, through a fresh memory map, in place with the journal; and the reference."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = make_source(folder, size.n_channels, int(size.seconds * RATE_HZ))
        plan, before = make_plan(source), hash_file(source.files[0])
        n_spikes, shape = len(plan.spikes), (source.counts[0], source.n_channels)
        injector = Injector(plan)
        held = np.fromfile(source.files[0], "<i2").reshape(shape)
        injector.add(held, 0, 0)
        spent = [seconds(lambda: injector.add(held, 0, 0), time.process_time) for _ in range(size.repeats)]
        rows.append(row("kernel, data in memory", statistics.median(spent) / n_spikes * 1e6, "us/spike", 15.0))

        def by_map() -> None:
            mapped = np.memmap(source.files[0], "<i2", "r+", shape=shape)
            injector.add(mapped.view(np.ndarray), 0, 0)

        spent = [seconds(by_map, time.process_time) for _ in range(size.repeats)]
        rows.append(row("kernel, fresh memory map", statistics.median(spent) / n_spikes * 1e6, "us/spike", 40.0))
        rows.append(
            compare(
                "spikes in memory", lambda: injector.add(held, 0, 0), lambda: insert_like_reference(plan, held),
                "hybridfactory's loop in NumPy", 1.0, size, True, folder / "nothing",
            )
        )  # fmt: skip
        fresh = make_source(folder, size.n_channels, source.counts[0])
        spent = []
        for k in range(size.repeats):
            target = folder / f"t{k}"
            target.mkdir()
            spent.append(seconds(lambda t=target: apply_in_place(plan, fresh, t), time.process_time))
            remove(plan, fresh, target)
        rows.append(row("in place, checks and journal", statistics.median(spent) / n_spikes * 1e6, "us/spike", 100.0))
        rows.append(
            row("bytes restored after in place (1 = yes)", float(hash_file(fresh.files[0]) == before), "", 1, True)
        )
    return rows


def insert_like_reference(plan: Plan, traces: np.ndarray) -> None:
    """Step 11 of hybridfactory 0.1 without its tables: read the rectangle of an event, add it truncated, write."""
    by_channel = traces.T
    for spike in plan.spikes:
        event = (plan.waveforms[spike["bank"]].T * spike["scale"]).astype(np.int16)
        channels = plan.channels[spike["bank"]]
        samples = np.arange(spike["sample"] - BEFORE, spike["sample"] - BEFORE + WINDOW)
        rectangle = by_channel[channels[:, None], samples]
        by_channel[channels[:, None], samples] = rectangle + event


LONG = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import hybrid
from dataclasses import replace
from spikeprint.hybrid.files import apply, remove, verify
def peak(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
folder, n_channels, n_bytes = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
small = hybrid.make_source(folder / "small", n_channels, 3000)
apply(hybrid.make_plan(small), small, folder / "small", ["a.bin"])  # compiles
source = hybrid.make_source(folder, n_channels, n_bytes // (2 * n_channels))
plan = hybrid.make_plan(source)
(folder / "target").mkdir()
before = peak("VmRSS")
started = time.perf_counter()
report = apply(plan, source, folder / "target", ["a.bin"], n_threads=2)
applied = time.perf_counter() - started
remove(plan, replace(source, files=report.files), folder / "target")
removed = time.perf_counter() - started - applied
verify(plan, replace(source, files=report.files))
told = {"growth": peak("VmHWM") - before, "apply": applied, "remove": removed, "n_spikes": len(plan.spikes)}
print(json.dumps(told))
"""
"""Runs in a process of its own, whose peak of memory is measured; ``remove`` fails unless all is exact."""


def measure_length(size: Size) -> list[Row]:
    """Apply to and remove from a long file: memory, and that every byte comes back."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "small").mkdir()
        words = [sys.executable, "-W", "ignore", "-c", LONG, Path(__file__).parent, folder, size.n_channels]
        done = subprocess.run(
            [*map(str, words), str(int(size.gigabytes * 1e9))], capture_output=True, text=True, check=True
        )
    use = json.loads(done.stdout.splitlines()[-1])
    length = f"{size.gigabytes:g} GB, {use['n_spikes']:,} spikes"
    return [
        row(f"memory added by apply and remove, {length}", use["growth"], "MB", 200.0),
        row(f"apply {use['apply']:.1f} s, remove + check {use['remove']:.1f} s, exact (1 = yes)", 1.0, "", 1, True),
    ]


PARTS = (measure_copy, measure_spikes, measure_length)


def main() -> int:
    """Run the benchmark."""
    arguments = make_parser(__doc__, PARTS).parse_args()
    warnings.simplefilter("ignore")
    return report(measure(PARTS, arguments.only, QUICK if arguments.quick else Size()), arguments.json)


if __name__ == "__main__":
    sys.exit(main())

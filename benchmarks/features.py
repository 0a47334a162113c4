"""Speed and memory of what turns sessions into features, side by side with other packages in one run.

Peers are called on the same trains in turn with ours, and a ratio is the median of such pairs. Ours counts intervals
and autocorrelogram, peers the autocorrelogram alone. Unless a row says otherwise, both use one thread.
`--quick` is a smoke run of small data: its numbers mean nothing. `--json OUT` writes the rows, which say how loaded the
machine was: two threads on two cores need both of them idle. Exit code 1 when a target is missed. Peers need
`pip install spikeinterface pynapple`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import pandas as pd
from _common import ROOT, Peer, Row, Target, make_parser, make_row, measure, report, seconds

from spikeprint.core.types import UnitTable
from spikeprint.features.scalars import SCALARS
from spikeprint.features.trains import compute_isi_acg
from spikeprint.features.waveform import align_waveforms
from spikeprint.io.datasets import read_canonical, write_canonical

FS_HZ = 30_000.0
RATE_HZ, BUSY_HZ = 10.0, 50.0


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    n_units: int = 500
    n_spikes: int = 50_000
    n_peer_units: int = 20
    n_pooled_spikes: int = 1_000
    n_busy: int = 1_000_000
    n_waveforms: int = 82_094
    n_canonical: int = 60_000
    gigabytes: float = 10.0
    repeats: int = 5


QUICK = Size(6, 400, 2, 300, 5_000, 500, 200, 0.02, 1)


def row(name: str, value: float, unit: str, target: float, peer: Peer | None = None) -> Row:
    """One line of the report: the value at most the target, or with a peer the ratio at least."""
    load = round(os.getloadavg()[0], 2)  # of the last minute: what else ran, besides this
    return make_row(name, value, unit, Target(target, at_least=bool(peer), of_ratio=bool(peer)), peer, load=load)


def best(call: Callable[[], object], repeats: int) -> float:
    """Median wall time; the first call, which may compile, does not count."""
    call()
    return statistics.median(seconds(call) for _ in range(repeats))


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], peer: str, target: float, size: Size, scale=1.0
) -> Row:
    """One row of interleaved pairs; ``scale``: theirs did one ``scale``-th of the work of ours."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs) * scale) for _ in range(size.repeats)]
    ratio = statistics.median(other / own for own, other in pairs)
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return row(name, own, "s", target, Peer(peer, other, ratio))


def draw_trains(n_units: int, n_spikes: int, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Poisson-like trains in ticks, and offsets. Times lie on samples of ``FS_HZ``, so all packages see one train."""
    rng = np.random.default_rng(0)
    n_samples = int(n_spikes / rate_hz * FS_HZ)
    samples = np.sort(rng.integers(0, n_samples, (n_units, n_spikes)), axis=1)
    return np.rint(samples.ravel() * (1e6 / FS_HZ)).astype(np.int64), np.arange(n_units + 1) * n_spikes


def to_sorting(ticks: np.ndarray, offsets: np.ndarray) -> object:
    """The same trains as spikeinterface holds them."""
    from spikeinterface import NumpySorting

    samples = np.rint(ticks * (FS_HZ / 1e6)).astype(np.int64)
    units = {str(i): samples[offsets[i] : offsets[i + 1]] for i in range(len(offsets) - 1)}
    sorting = NumpySorting.from_unit_dict(units, FS_HZ)
    sorting.to_spike_vector()
    return sorting


def measure_kernel(size: Size) -> list[Row]:
    """Ours alone: time per pair, and what a second thread brings."""
    rows = []
    cases = [
        (f"ISI + ACG, {size.n_units} units x {size.n_spikes:,} at 10 Hz", size.n_units, size.n_spikes, RATE_HZ, 12.0),
        (f"ISI + ACG, 1 unit x {size.n_busy:,} at 50 Hz", 1, size.n_busy, BUSY_HZ, 6.0),
    ]
    for name, n_units, n_spikes, rate_hz, target in cases:
        ticks, offsets = draw_trains(n_units, n_spikes, rate_hz)
        numba.set_num_threads(1)
        spent = best(lambda t=ticks, o=offsets: compute_isi_acg(t, o), size.repeats)
        n_pairs = max(int(compute_isi_acg(ticks, offsets)[1].sum()) // 2, 1)
        rows.append(row(f"{name}: {spent:.3f} s", spent / n_pairs * 1e9, "ns/pair", target))
    if numba.config.NUMBA_NUM_THREADS >= 2:
        ticks, offsets = draw_trains(size.n_units, size.n_spikes, RATE_HZ)

        def run(n_threads: int) -> None:
            numba.set_num_threads(n_threads)
            compute_isi_acg(ticks, offsets)

        rows.append(compare("two threads", lambda: run(2), lambda: run(1), "one thread", 1.7, size))
    return rows


def compare_peers(size: Size) -> list[Row]:
    """Autocorrelograms by pynapple and spikeinterface, one thread each."""
    import pynapple
    from spikeinterface.postprocessing import compute_auto_correlograms, compute_correlograms

    def ours(ticks: np.ndarray, offsets: np.ndarray) -> None:
        numba.set_num_threads(1)  # spikeinterface sets this too
        compute_isi_acg(ticks, offsets)

    ticks, offsets = draw_trains(size.n_units, size.n_spikes, RATE_HZ)
    few, few_offsets = ticks[: offsets[size.n_peer_units]], offsets[: size.n_peer_units + 1]
    scale = size.n_units / size.n_peer_units
    group = pynapple.TsGroup(
        {i: pynapple.Ts(few[few_offsets[i] : few_offsets[i + 1]] / 1e6) for i in range(size.n_peer_units)}
    )
    single = [to_sorting(few[a:b], np.array([0, b - a])) for a, b in pairwise(few_offsets)]
    options = {"window_ms": 201.0, "bin_ms": 1.0, "n_jobs": 1}
    name = f"ISI + ACG, {size.n_units} units x {size.n_spikes:,}"
    rows = [
        compare(
            f"{name} (peer: {size.n_peer_units} units, scaled)",
            lambda: ours(ticks, offsets),
            lambda: pynapple.compute_autocorrelogram(group, 1.0, 100.0, norm=False, time_units="ms"),
            "pynapple",
            10,
            size,
            scale,
        ),
        compare(
            f"{name} (peer: {size.n_peer_units} units, scaled)",
            lambda: ours(ticks, offsets),
            lambda: [compute_auto_correlograms(each, **options) for each in single],
            "spikeinterface, unit by unit",
            2,
            size,
            scale,
        ),
    ]
    # The pooled calls go through all pairs of spikes of all units: all units are needed, a part of the time is enough.
    ticks, offsets = draw_trains(size.n_units, size.n_pooled_spikes, RATE_HZ)
    pooled, once = to_sorting(ticks, offsets), Size(repeats=min(size.repeats, 3))
    name = f"ISI + ACG, {size.n_units} units x {size.n_pooled_spikes:,}"
    for peer, call, target in (
        ("spikeinterface, correlograms of all units", compute_correlograms, 50),
        ("spikeinterface, autocorrelograms pooled", compute_auto_correlograms, 10),
    ):
        rows.append(
            compare(name, lambda: ours(ticks, offsets), lambda c=call: c(pooled, **options), peer, target, once)
        )
    return rows


def measure_waveforms(size: Size) -> list[Row]:
    """Alignment and resampling of 82 samples at 30 kHz on one channel."""
    time_ms = (np.arange(82) - 30) / 30 - np.random.default_rng(0).uniform(-0.1, 0.1, (size.n_waveforms, 1))
    templates = (-80 * np.exp(-((time_ms / 0.15) ** 2)) + 25 * np.exp(-(((time_ms - 0.5) / 0.3) ** 2)))[:, :, None]
    templates = templates.astype(np.float32)
    spent = best(lambda: align_waveforms(templates, FS_HZ, 0.5), size.repeats)
    return [row(f"{size.n_waveforms:,} waveforms aligned and resampled", spent, "s", 1.0)]


def measure_canonical(size: Size) -> list[Row]:
    """A canonical folder with every column, written and read back."""
    n, rng = size.n_canonical, np.random.default_rng(0)
    half = rng.poisson(20, (n, 100)).astype(np.float64)
    metadata = pd.DataFrame({"unit_id": [f"session/{i}" for i in range(n)], **{k: rng.normal(size=n) for k in SCALARS}})
    metadata = metadata.assign(flags="", passes_qc=True, qc_reason="")
    table = UnitTable(
        waveform=rng.normal(size=(n, 50)).astype(np.float32),
        isi=rng.poisson(20, (n, 100)).astype(np.float64),
        acg=np.hstack([half[:, ::-1], np.zeros((n, 1)), half]),
        labels=np.array(["PV", "SOM"])[np.arange(n) % 2],
        metadata=metadata,
        card={"dataset": "benchmark"},
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "canonical"
        written = seconds(lambda: write_canonical(folder, table))
        read = seconds(lambda: read_canonical(folder))
    return [
        row(f"canonical dataset of {n:,} units written", written, "s", 15.0),
        row(f"canonical dataset of {n:,} units read", read, "s", 15.0),
    ]


STREAM = """
import json, resource, sys
from pathlib import Path
import numpy as np
from spikeinterface import BinaryRecordingExtractor, NumpySorting, concatenate_recordings
from probeinterface import generate_linear_probe
from spikeprint.core.compute import count_workers
from spikeprint.core.config import Params
from spikeprint.io.traces.sorters import measure, preprocess

if __name__ == "__main__":
    root, block, n_blocks, n_channels, fs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), 64, 30000.0
    traces = BinaryRecordingExtractor(
        [block] * n_blocks, fs, "int16", num_channels=n_channels, gain_to_uV=0.195, offset_to_uV=0.0
    )
    probe = generate_linear_probe(n_channels, ypitch=20)
    probe.set_device_channel_indices(np.arange(n_channels))
    recording = concatenate_recordings([traces])
    recording.set_probe(probe)
    rng, n = np.random.default_rng(0), recording.get_num_samples()
    trains = {str(i): np.sort(rng.integers(100, n - 100, int(5 * n / fs))) for i in range(20)}
    sorting = NumpySorting.from_unit_dict(trains, fs)
    params = Params.load(root / "params.yaml").spikes
    found = measure(preprocess(recording, params), sorting, params)
    own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: a new program inherits the ru_maxrss of the process that started it, but not this
        own = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"n_units": len(found.unit_ids), "own": own, "worker": worker, "n_workers": count_workers()}))
"""
"""Runs in a process of its own: the peak of this one's memory says nothing about the recording."""


def measure_streaming(size: Size) -> list[Row]:
    """Peak memory while a long recording (one block of 2 s repeated) is filtered and its units measured.

    All workers are counted with the peak of the largest, so pages that they share are counted more than once.
    """
    n_channels, n_samples = 64, 60_000
    n_blocks = max(round(size.gigabytes * 1e9 / (2 * n_channels * n_samples)), 2)
    with tempfile.TemporaryDirectory() as temporary:
        block, script = Path(temporary) / "block.raw", Path(temporary) / "stream.py"
        np.random.default_rng(0).normal(0, 50, (n_samples, n_channels)).astype(np.int16).tofile(block)
        script.write_text(STREAM)
        started = time.perf_counter()
        words = [sys.executable, script, ROOT, block, str(n_blocks)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        spent = time.perf_counter() - started
    use = json.loads(done.stdout.splitlines()[-1])
    n_workers = use["n_workers"] if use["worker"] else 0
    peak = (use["own"] + n_workers * use["worker"]) / (2**20 if sys.platform != "darwin" else 2**30)
    gigabytes = n_blocks * n_channels * n_samples * 2 / 1e9
    name = f"peak memory, {gigabytes:.2g} GB recording ({n_workers} workers, {spent:.0f} s)"
    return [row(name, peak, "GiB", 1.0)]


PARTS = (measure_kernel, compare_peers, measure_waveforms, measure_canonical, measure_streaming)


def main() -> int:
    """Run the benchmark."""
    arguments = make_parser(__doc__, PARTS).parse_args()
    warnings.simplefilter("ignore")
    return report(measure(PARTS, arguments.only, QUICK if arguments.quick else Size()), arguments.json)


if __name__ == "__main__":
    sys.exit(main())

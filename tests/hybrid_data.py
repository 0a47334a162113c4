"""A small raw recording with neurons, made with NumPy in a fraction of a second, and its sorting."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import probeinterface

from spikeprint.core.files import write_json
from spikeprint.core.hybrid_params import HybridParams, TimesParams
from spikeprint.core.hybrid_plan import SPIKE, HybridUnit, Plan
from spikeprint.hybrid.make import make_plan
from spikeprint.io.hybrid.fingerprint import describe_source
from spikeprint.io.hybrid.sortings import Trains, read_trains
from spikeprint.io.hybrid.source import RawSource, open_source

RATE_HZ = 20_000.0
GAIN_UV = 0.5
N_WINDOW, N_BEFORE = 21, 8


@dataclass(frozen=True)
class Toy:
    """A recording folder, its sorting, and what is in it."""

    folder: Path
    sorting: Path
    trains: dict[str, np.ndarray]
    positions_um: np.ndarray

    def open(self, **options: object) -> tuple[RawSource, Trains, HybridParams]:
        """Source, trains and parameters."""
        params = HybridParams(**{"n_units": 2, "times": TimesParams(mode="renewal"), **options})
        source = open_source(self.folder, params)
        return source, read_trains(self.sorting, source, params.one_based), params

    def plan(self, **options: object) -> tuple[Plan, RawSource]:
        """A plan and its source."""
        source, trains, params = self.open(**options)
        return make_plan(source, trains, params), source


def make_positions(n_channels: int) -> np.ndarray:
    """Two columns 20 µm apart, rows 20 µm apart."""
    row = np.arange(n_channels)
    return np.column_stack([20.0 * (row % 2), 20.0 * (row // 2)])


def spike_shape(before: int = 20, n: int = 60) -> np.ndarray:
    """(n,) a trough of 1 at ``before``, a later peak, ends near zero."""
    t = np.arange(n) - before
    return -np.exp(-0.5 * (t / 3.0) ** 2) + 0.35 * np.exp(-0.5 * ((t - 12) / 6.0) ** 2)


def make_toy(
    folder: Path,
    n_channels: int = 24,
    seconds: float = 12.0,
    n_units: int = 3,
    dtype: str = "int16",
    n_files: int = 1,
    byte_offset: int = 0,
    size_bits: float = 300.0,
) -> Toy:
    """Write traces in the ``binary`` layout and a sorting as .npz; units fire at 20 Hz with 3 ms dead time."""
    rng = np.random.default_rng(5)
    n_samples = int(seconds * RATE_HZ)
    positions = make_positions(n_channels)
    traces = rng.normal(0, 10, (n_samples, n_channels)).astype(np.float32)
    shape, before = spike_shape(), 20
    trains = {}
    for unit in range(n_units):
        depth = positions[:, 1].max() * (unit + 0.5) / n_units
        place = np.array([10.0 * (unit % 2), depth])
        decay = np.exp(-np.linalg.norm(positions - place, axis=1) / 25.0)
        template = shape[:, None] * decay / decay.max() * size_bits * (1 + 0.3 * unit)
        steps = np.ceil((0.003 + rng.exponential(0.047, int(seconds * 30))) * RATE_HZ).astype(np.int64)
        times = np.cumsum(steps)
        times = times[(times > 60) & (times < n_samples - 60)]
        for at in times:
            traces[at - before : at - before + len(shape)] += template * rng.uniform(0.9, 1.1)
        trains[str(unit + 1)] = times
    offset = 30_000 if np.dtype(dtype).kind == "u" else 0
    whole = traces if np.dtype(dtype).kind == "f" else np.rint(traces + offset)
    folder.mkdir(parents=True, exist_ok=True)
    for k, part in enumerate(np.array_split(whole, n_files)):
        with (folder / f"traces{k}.bin").open("wb") as file:
            file.write(b"h" * byte_offset + part.astype(dtype).tobytes())
    layout = {"sampling_frequency_hz": RATE_HZ, "n_channels": n_channels, "dtype": dtype, "gain_uv": GAIN_UV}
    write_json(folder / "recording.json", layout | {"byte_offset": byte_offset})
    probe = probeinterface.Probe(ndim=2)
    probe.set_contacts(positions, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(n_channels))
    probeinterface.write_probeinterface(folder / "probe.json", probe)
    np.savez(folder.parent / f"{folder.name}_sorting.npz", sampling_frequency_hz=RATE_HZ, **trains)
    return Toy(folder, folder.parent / f"{folder.name}_sorting.npz", trains, positions)


def random_plan(
    source: RawSource, n_spikes: int = 300, size: float = 400.0, on_clip: str = "error", n_channels: int = 6
) -> Plan:
    """Random spikes that overlap in time and space and touch the edges of every file."""
    rng = np.random.default_rng(1)
    n_bank = 5
    waveforms = rng.normal(0, size, (n_bank, N_WINDOW, 3)).astype(np.float32)
    channels = np.stack([rng.choice(n_channels, 3, replace=False) for _ in range(n_bank)]).astype(np.int32)
    channels[0, 2] = -1
    spikes = np.zeros(n_spikes, dtype=SPIKE)
    spikes["segment"] = rng.integers(0, len(source.counts), n_spikes)
    spikes["segment"][: len(source.counts)] = np.arange(len(source.counts))
    last = np.array(source.counts)[spikes["segment"]] - N_WINDOW
    spikes["sample"] = rng.integers(0, last + 1) + N_BEFORE
    for k in range(len(source.counts)):  # the first and the last possible one of each file
        mine = np.flatnonzero(spikes["segment"] == k)[:2]
        spikes["sample"][mine] = [N_BEFORE, source.counts[k] - N_WINDOW + N_BEFORE]
    spikes["bank"], spikes["scale"] = rng.integers(0, n_bank, n_spikes), rng.uniform(0.5, 1.5, n_spikes)
    spikes = spikes[np.lexsort((spikes["unit"], spikes["sample"], spikes["segment"]))]
    unit = HybridUnit(0, "7", 1, 0.0, 0.0, 100.0, 8.0, n_spikes, 1.0, 0.0, 60.0)
    info = describe_source(source, is_fast=False)
    return Plan(spikes, waveforms, channels, N_BEFORE, (unit,), info, {"on_clip": on_clip}, 0)

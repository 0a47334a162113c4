"""What lies beside a hybrid recording. Enters: a plan, files with hybrid units. Leaves: truth in common layouts.

The target folder of a flat binary is a ``binary`` recording itself (``recording.json``, ``probe.json``), that of a
SpikeGLX run has its ``.meta``. ``truth/`` opens in phy.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ...core.files import atomic_folder, atomic_path, read_json, write_csv, write_json, write_text
from ...core.hybrid_plan import NO_COLLISION, Plan
from .source import RawSource

TRUTH, UNITS, SPIKES, FIRINGS = "truth", "hybrid_units.csv", "hybrid_spikes.csv", "firings_true.npy"
_RUN = re.compile(r"(_g\d+_t(?:\d+|cat))?(\.(?:imec\d*|nidq|obx\d*)(?:\.(?:ap|lf|obx))?)$")


def name_hybrid(name: str, is_spikeglx: bool = False) -> str:
    """Return the name of a hybrid file.

    In SpikeGLX's names the mark goes before the parts that its readers look for.

    >>> name_hybrid("traces.bin"), name_hybrid("run_g0_t0.imec0.ap.bin", True), name_hybrid("raw")
    ('traces.GT.bin', 'run.GT_g0_t0.imec0.ap.bin', 'raw.GT')
    """
    path = Path(name)
    if is_spikeglx and (match := _RUN.search(path.stem)):
        return f"{path.stem[: match.start()]}.GT{path.stem[match.start() :]}{path.suffix}"
    return f"{path.stem}.GT{path.suffix}"


def write_outputs(folder: Path, plan: Plan, files: Sequence[Path], source: RawSource) -> None:
    """Write tables, truth, probe and headers beside the hybrid files.

    Parameters
    ----------
    files : with the hybrid units, one per segment
    source : the source of the plan
    """
    write_csv(folder / UNITS, tabulate_units(plan))
    write_csv(folder / SPIKES, tabulate_spikes(plan))
    with atomic_path(folder / FIRINGS) as temporary, temporary.open("wb") as file:
        np.save(file, make_firings(plan), allow_pickle=False)
    write_truth(folder / TRUTH, plan, files)
    write_probe(folder / "probe.json", plan)
    is_beside = all(path.parent.resolve() == folder.resolve() for path in files)
    if source.format == "spikeglx" and is_beside:
        for given, path in zip(source.files, files, strict=True):
            _write_meta(given.with_suffix(".meta"), path, folder)
    elif is_beside:
        given = source.path / "recording.json"
        write_json(folder / "recording.json", read_json(given) if given.is_file() else _describe(plan, source))


def tabulate_units(plan: Plan) -> pd.DataFrame:
    """One row per hybrid unit."""
    columns = list(asdict(plan.units[0])) if plan.units else ["unit_id"]
    return pd.DataFrame([asdict(unit) for unit in plan.units], columns=columns)


def tabulate_spikes(plan: Plan) -> pd.DataFrame:
    """One row per hybrid spike, in the order of time; ``collision_lag`` is empty where nothing collides."""
    spikes = plan.spikes
    lag = spikes["collision_lag"].astype(np.float64)
    lag[spikes["collision_lag"] == NO_COLLISION] = np.nan
    return pd.DataFrame(
        {
            "unit_id": spikes["unit"],
            "segment": spikes["segment"],
            "sample": spikes["sample"],
            "time_s": clock(plan) / plan.source.sampling_frequency_hz,
            "scale": spikes["scale"],
            "waveform": spikes["bank"],
            "displacement_um": spikes["displacement"] * plan.drift_step_um,
            "collision_lag": lag,
        }
    )


def clock(plan: Plan) -> np.ndarray:
    """(n_spikes,) int64, samples on the clock of the sorter, which runs through all segments."""
    starts = np.array([segment.start for segment in plan.source.segments], dtype=np.int64)
    return plan.spikes["sample"] + starts[plan.spikes["segment"]]


def make_firings(plan: Plan) -> np.ndarray:
    """(3, n_spikes) int64: absolute peak channel, sample on the sorter's clock, number of the hybrid unit."""
    peaks = np.array([unit.peak_channel for unit in plan.units], dtype=np.int64)
    numbers = np.array([unit.unit_id for unit in plan.units], dtype=np.int64)
    unit = plan.spikes["unit"]
    return np.stack([peaks[unit], clock(plan), numbers[unit]]) if len(unit) else np.empty((3, 0), np.int64)


def write_truth(folder: Path, plan: Plan, files: Sequence[Path]) -> None:
    """Write the hybrid units as a folder that phy and ``spikeprint add`` read; templates are in bits."""
    channels = np.flatnonzero(np.isfinite(plan.source.positions_um).all(axis=1))
    unit = plan.spikes["unit"].astype(np.int32)
    arrays = {
        "spike_times": clock(plan),
        "spike_clusters": unit,
        "spike_templates": unit,
        "amplitudes": plan.spikes["scale"].astype(np.float64),
        "templates": plan.templates()[:, :, channels],
        "channel_map": channels.astype(np.int32),
        "channel_positions": plan.source.positions_um[channels],
    }
    with atomic_folder(folder) as temporary:
        for name, values in arrays.items():
            np.save(temporary / f"{name}.npy", values, allow_pickle=False)
        places = [f"../{path.name}" if path.parent == folder.parent else str(path) for path in files]
        lines = [
            f"dat_path = {places!r}",
            f"n_channels_dat = {plan.source.n_channels}",
            f"dtype = {plan.source.dtype!r}",
            f"offset = {plan.source.byte_offset}",
            f"sample_rate = {plan.source.sampling_frequency_hz!r}",
            "hp_filtered = False",
        ]
        (temporary / "params.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
        rows = [f"{entry.unit_id}\tgood" for entry in plan.units]
        (temporary / "cluster_group.tsv").write_text("\n".join(["cluster_id\tgroup", *rows]) + "\n", encoding="utf-8")


def write_probe(path: Path, plan: Plan) -> None:
    """Write the contacts as probeinterface's .json, or Kilosort4's where channels have no contact, which that knows."""
    import probeinterface

    source = plan.source
    used = np.flatnonzero(np.isfinite(source.positions_um).all(axis=1))
    if len(used) < source.n_channels:
        x, y = source.positions_um[used].T
        columns = {"chanMap": used, "xc": x, "yc": y, "kcoords": source.shanks[used]}
        write_json(path, columns | {"n_chan": source.n_channels})
        return
    group = probeinterface.ProbeGroup()
    for shank in np.unique(source.shanks[used]):
        mine = used[source.shanks[used] == shank]
        probe = probeinterface.Probe(ndim=2, si_units="um")
        probe.set_contacts(source.positions_um[mine], shapes="circle", shape_params={"radius": 5})
        probe.set_device_channel_indices(mine)
        group.add_probe(probe)
    with atomic_path(path) as temporary:
        probeinterface.write_probeinterface(temporary, group)


def _describe(plan: Plan, source: RawSource) -> dict[str, object]:
    """Content of ``recording.json``; an offset is known of recordings that SpikeInterface reads."""
    offsets = np.unique(source.recording.get_channel_offsets() if source.recording is not None else [])
    gains = plan.source.gains_uv[np.isfinite(plan.source.gains_uv)]
    return {
        "sampling_frequency_hz": plan.source.sampling_frequency_hz,
        "n_channels": plan.source.n_channels,
        "dtype": plan.source.dtype,
        "byte_offset": plan.source.byte_offset,
        "gain_uv": float(gains[0]) if len(gains) and np.ptp(gains) == 0 else None,
        "offset_uv": float(offsets[0]) if len(offsets) == 1 else 0.0,
        "is_filtered": False,
    }


def _write_meta(given: Path, binary: Path, folder: Path) -> None:
    """The ``.meta`` of a hybrid SpikeGLX file: its name and SHA1, and where it comes from."""
    with binary.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, partial(hashlib.sha1, usedforsecurity=False))
    changes = {
        "fileName": binary.name,
        "fileSHA1": digest.hexdigest().upper(),
        "fileSizeBytes": str(binary.stat().st_size),
        "userNotes": f"hybrid spikes added by spikeprint, see plan.json; source {given.with_suffix('.bin').name}",
    }
    lines = []
    for line in given.read_text(encoding="utf-8", errors="replace").splitlines():
        key = line.split("=", 1)[0].strip()
        lines.append(f"{key}={changes.pop(key)}" if key in changes else line)
    lines += [f"{key}={value}" for key, value in changes.items()]
    write_text(folder / binary.with_suffix(".meta").name, "\n".join(lines) + "\n")

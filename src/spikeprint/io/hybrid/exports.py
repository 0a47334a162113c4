"""A plan in layouts of others. Enters: a plan, the trains of its source. Leaves: hybridfactory's files, NWB."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import DataError
from ...core.files import atomic_folder, atomic_path
from ...core.hybrid_plan import Plan
from .outputs import clock, make_firings
from .sortings import Trains


def export_hybridfactory(folder: Path, plan: Plan, trains: Trains, names: list[str]) -> list[Path]:
    """Write the six files of hybridfactory 0.1 with its columns, and with the channels that it means to give.

    Parameters
    ----------
    trains : of the source, for the annotations
    names : of the files with the hybrid units

    Returns
    -------
    the files: metadata, annotations, artificial_units (.csv), probe (.npz), dtype, firings_true (.npy)

    Notes
    -----
    Ids that are no whole numbers become their place in the sorting, from 1. Row 0 of ``firings_true`` is a channel,
    where hybridfactory gives an index into the unit's own channels. The rate in ``dtype`` is a float64 where the
    sample type cannot hold it.
    """
    if folder.exists():
        raise DataError(f"{folder}: exists already; name a new folder")
    session = (plan.source.segments[0].quick or "hybrid")[:8]
    is_number = all(str(unit).lstrip("-").isdigit() for unit in trains.unit_ids)
    ids = {str(unit): int(unit) if is_number else place for place, unit in enumerate(trains.unit_ids, 1)}
    firings = make_firings(plan)
    source = np.array([ids[unit.source_unit] for unit in plan.units], dtype=np.int64)
    new = max(ids.values()) + 1 + np.arange(len(plan.units))
    unit = plan.spikes["unit"]
    starts = np.array([segment.start for segment in plan.source.segments], dtype=np.int64)
    owner = np.repeat([ids[str(name)] for name in trains.unit_ids], np.diff(trains.offsets))
    real = pd.DataFrame({"timestep": trains.sample + starts[trains.segment], "cluster": owner, "template": owner})
    added = pd.DataFrame({"timestep": clock(plan), "cluster": new[unit], "template": new[unit]})
    artificial = pd.DataFrame(
        {"timestep": clock(plan), "true_unit": source[unit], "new_unit": new[unit], "center_channel": firings[0]}
    )
    metadata = pd.DataFrame(
        {"filename": names, "samples": [segment.n_samples for segment in plan.source.segments], "start_time": starts}
    )
    connected = np.isfinite(plan.source.positions_um).all(axis=1)
    rate = np.float64(plan.source.sampling_frequency_hz)
    kind = np.dtype(plan.source.dtype)
    holds = kind.kind == "f" or (rate == int(rate) and rate <= np.iinfo(kind).max)
    with atomic_folder(folder) as temporary:
        metadata.to_csv(temporary / f"metadata-{session}.csv", index=False)
        both = pd.concat([real, added]).sort_values("timestep", kind="stable")
        both.to_csv(temporary / f"annotations-{session}.csv", index=False)
        artificial.sort_values("timestep", kind="stable").to_csv(
            temporary / f"artificial_units-{session}.csv", index=False
        )
        np.savez(
            temporary / f"probe-{session}.npz",
            channel_map=np.arange(plan.source.n_channels),
            connected=connected,
            channel_positions=plan.source.positions_um,
            name=np.array(plan.source.format),
        )
        np.save(temporary / f"dtype-{session}.npy", np.array([rate]).astype(kind if holds else np.float64))
        np.save(temporary / "firings_true.npy", np.stack([firings[0], firings[1], source[unit]]).astype(np.uint64))
    return sorted(folder.iterdir())


def export_nwb(path: Path, plan: Plan) -> None:
    """Write the hybrid units as the units table of an NWB file, with their mean waveforms and electrodes.

    Raises
    ------
    DataError
        The file exists.
    """
    from pynwb import NWBHDF5IO, NWBFile

    if path.exists():
        raise DataError(f"{path}: exists already; name a new file")
    start = datetime(1970, 1, 1, tzinfo=UTC)  # the recording's own start is not known
    file = NWBFile("hybrid units", f"spikeprint-{plan.source.segments[0].quick}", start, source_script="spikeprint")
    _add_electrodes(file, plan)
    columns = {
        "source_unit": "unit of the sorting that the hybrid was made from",
        "peak_channel": "channel of the largest peak-to-peak",
        "amplitude_uv": "size of the mean trough",
        "snr": "the same over the noise of its channel",
    }
    for name, description in columns.items():
        file.add_unit_column(name, description)
    times = clock(plan) / plan.source.sampling_frequency_hz
    templates = plan.templates()
    used = np.flatnonzero(np.isfinite(plan.source.positions_um).all(axis=1))
    for unit in plan.units:
        values: dict[str, Any] = {name: getattr(unit, name) for name in columns}
        file.add_unit(
            id=unit.unit_id,
            spike_times=times[plan.spikes["unit"] == unit.unit_id],
            waveform_mean=templates[unit.unit_id][:, used],
            **values,
        )
    with atomic_path(path) as temporary, NWBHDF5IO(str(temporary), "w") as io:
        io.write(file)


def _add_electrodes(file: Any, plan: Plan) -> None:
    """One electrode per connected channel."""
    device = file.create_device("probe")
    group = file.create_electrode_group("probe", "contacts of the recording", "unknown", device)
    file.add_electrode_column("channel", "channel of the traces, from 0")
    file.add_electrode_column("rel_x", "position across the probe, µm")
    file.add_electrode_column("rel_y", "position along the probe, µm")
    for channel in np.flatnonzero(np.isfinite(plan.source.positions_um).all(axis=1)):
        x, y = plan.source.positions_um[channel]
        file.add_electrode(group=group, location="unknown", channel=int(channel), rel_x=float(x), rel_y=float(y))

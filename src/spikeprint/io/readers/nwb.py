"""Units of NWB files. Enters: an .nwb file, or a folder of them. Leaves: one ``Sorting`` per file.

Times are seconds. Where the file tells when a unit was observed (``obs_intervals``) the clock runs only then;
otherwise a unit lasts until the last spike of any unit.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError, suggest
from ...core.runtime import LOGGER
from ...core.types import UNLABELLED, Sorting
from .clock import ObservedTimes, on_observed_clock, until_last_spike
from .nwb_file import UnitsTable, as_text, count_traces, has_units, is_dataset, open_nwb, read_units_table
from .nwb_waveforms import read_templates

DEFAULT_LABEL = "cell_type"
"""The column that holds the label where the user names none; ``spikeprint export nwb`` never writes it."""
IGNORE = "none"

AMPLITUDES_UV = ("spike_amplitudes_uV", "spike_amplitudes_uv")
DEPTHS_UM = ("spike_distances_from_probe_tip_um", "spike_depths_um")
"""Ragged columns that name their unit, as the IBL writes them; others do not say what they count."""

_NOT_EXTRA = ("id", "spike_times", "obs_intervals", "electrodes", "waveform_mean", "waveform_sd", "waveforms")


def find_nwb(path: Path) -> list[Path]:
    """The .nwb files with a units table at or below ``path``.

    Files that hold neither units nor traces, or are damaged, are returned too where there is no better one, so that
    reading them can say why they do not serve.
    """
    files = _list_files(path)
    with_units = [file for file in files if holds_units(file)]
    return with_units or ([] if any(map(holds_traces, files)) else files)


def find_nwb_traces(path: Path) -> list[Path]:
    """The .nwb files with a raw ElectricalSeries at or below ``path``."""
    return [file for file in _list_files(path) if holds_traces(file)]


def holds_units(path: Path) -> bool:
    """Whether a file is an NWB file with a units table that has spike times."""
    try:
        with open_nwb(path) as file:
            return has_units(file)
    except DataError:
        return False


def holds_traces(path: Path) -> bool:
    """Whether a file is an NWB file with a raw ElectricalSeries."""
    try:
        with open_nwb(path) as file:
            return count_traces(file) > 0
    except DataError:
        return False


def read_nwb(path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None) -> list[Sorting]:
    """Read the units table of one file, or of every file below a folder that has one.

    Parameters
    ----------
    path : file or folder
    sampling_frequency_hz : rate of the waveforms where the file does not tell
    label_column : column of the units table; None = ``cell_type`` where there is one, "none" = no labels

    Returns
    -------
    One sorting per file; ``session_id`` is the file's stem where there are several

    Raises
    ------
    DataError
        A file is damaged, has no units, or holds waveforms whose rate or axes cannot be told.
    ConfigError
        No file has a column ``label_column``.
    """
    files = _list_files(path)
    if not files:
        raise DataError(f"{path}: no .nwb file here; a file or a folder with at least one is needed")
    with_units = [file for file in files if holds_units(file)]
    if with_units and len(with_units) < len(files):
        LOGGER.warning("%s: %d of %d .nwb files have no units table", path, len(files) - len(with_units), len(files))
    chosen = with_units or files[:1]
    return [
        _read_file(file, session_id, sampling_frequency_hz, label_column)
        for file, session_id in zip(chosen, _session_ids(path, chosen), strict=True)
    ]


def _list_files(path: Path) -> list[Path]:
    """Visible .nwb files; ``._x.nwb`` is what macOS leaves beside ``x.nwb``."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".nwb" else []
    found = path.rglob("*") if path.is_dir() else iter(())
    return sorted(p for p in found if p.suffix.lower() == ".nwb" and not p.name.startswith(".") and p.is_file())


def _session_ids(path: Path, files: list[Path]) -> list[str]:
    """File stems, with their folders where two files share one; empty for a lone file."""
    if len(files) == 1:
        return [""]
    stems = [file.stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    return ["_".join(file.relative_to(path).with_suffix("").parts) for file in files]


def _read_file(path: Path, session_id: str, rate_hz: float | None, label_column: str | None) -> Sorting:
    with open_nwb(path) as file:
        table = read_units_table(path, file)
        seconds, offsets = table.ragged("spike_times")
        if seconds.ndim != 1 or seconds.dtype.kind not in "fiu":
            raise DataError(
                f"{path}: units/spike_times is {seconds.dtype} {seconds.shape}; one row of seconds is needed"
            )
        observed = _observe(table, seconds.astype(np.float64), offsets)
        _tell_invalid_times(path, file)
        column = _pick_labels(table, label_column)
        return Sorting(
            unit_ids=table.unit_ids,
            spike_times=observed.seconds,
            offsets=observed.offsets,
            time_rate_hz=1.0,
            duration_s=observed.duration_s,
            labels=as_text(table.group[column][...]) if column else np.full(table.n_units, UNLABELLED),
            templates=read_templates(table, file, rate_hz),
            segment=observed.segment,
            amplitudes_uv=_of_spikes(table, AMPLITUDES_UV, observed.kept),
            depths_um=_of_spikes(table, DEPTHS_UM, observed.kept),
            session_id=session_id,
            extra=dict(_read_extra(table, skip=column)),
        )


def _observe(table: UnitsTable, seconds: np.ndarray, offsets: np.ndarray) -> ObservedTimes:
    """Times and durations by ``obs_intervals``, or until the last spike."""
    if not table.has("obs_intervals"):
        duration_s = np.full(table.n_units, until_last_spike(seconds))
        return ObservedTimes(seconds, offsets, None, duration_s, np.ones(len(seconds), dtype=bool))
    observed = on_observed_clock(table.path, seconds, offsets, *table.ragged("obs_intervals"))
    if n_out := int((~observed.kept).sum()):
        LOGGER.warning("%s: %d of %d spikes lie outside obs_intervals: left out", table.path, n_out, len(seconds))
    return observed


def _tell_invalid_times(path: Path, file: Any) -> None:
    """Invalid intervals often concern one probe of several and are told in free text: named, not applied."""
    table = file.get("intervals/invalid_times")
    if table is not None and is_dataset(table, "start_time") and is_dataset(table, "stop_time"):
        lengths = table["stop_time"][...] - table["start_time"][...]
        if len(lengths):
            LOGGER.warning(
                "%s: %d intervals (%.1f s in all) are marked invalid_times; their spikes are kept",
                path, len(lengths), lengths.sum(),
            )  # fmt: skip


def _of_spikes(table: UnitsTable, names: tuple[str, ...], kept: np.ndarray) -> np.ndarray | None:
    """A ragged column that goes along with the spike times, of the spikes that are kept, as float32."""
    for name in names:
        if table.has(name):
            values, _ = table.ragged(name)
            if values.shape != kept.shape:
                raise DataError(
                    f"{table.path}: units/{name} is {values.shape}; one value for each of {len(kept)} spikes is needed"
                )
            return values[kept].astype(np.float32)
    return None


def _pick_labels(table: UnitsTable, wanted: str | None) -> str | None:
    """Name of the label column, None for no labels."""
    known = list(_columns(table))
    if wanted == IGNORE or (wanted is None and DEFAULT_LABEL not in known):
        return None
    if wanted is not None and wanted not in known:
        columns = ", ".join(known) or "none of one value per unit"
        raise ConfigError(
            f"{table.path}: no column '{wanted}' in its units table{suggest(wanted, known)}; columns: {columns}"
        )
    return wanted or DEFAULT_LABEL


def _columns(table: UnitsTable) -> Iterator[str]:
    """Columns with one number or text per unit."""
    for name in table.group:
        if name in _NOT_EXTRA or name.endswith("_index") or table.has(f"{name}_index") or not table.has(name):
            continue
        column = table.group[name]
        is_text = column.dtype.kind == "O" and column.dtype.metadata is not None and "vlen" in column.dtype.metadata
        if column.ndim == 1 and (is_text or column.dtype.kind in "fiubS"):
            yield name


def _read_extra(table: UnitsTable, skip: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of the columns with one value per unit, the label column apart."""
    for name in _columns(table):
        if name == skip:
            continue
        values = table.group[name][...]
        if len(values) != table.n_units:
            raise DataError(f"{table.path}: units/{name} has {len(values)} rows; one for each of {table.n_units} units")
        yield name, as_text(values).astype(object) if values.dtype.kind in "OS" else values
    if table.has("electrode_group") and table.group["electrode_group"].shape == (table.n_units,):
        yield "electrode_group", _group_names(table)


def _group_names(table: UnitsTable) -> np.ndarray:
    """Names of the electrode groups to which the units refer; empty where a reference leads nowhere."""
    column = table.group["electrode_group"]
    names = [table.group.file[ref].name.rsplit("/", 1)[-1] if ref else "" for ref in column[...]]
    return np.array(names, dtype=object)

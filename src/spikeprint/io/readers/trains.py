"""Spike trains as arrays. Enters: NumPy dicts, ``.npz`` or ``.mat`` files, ``arrays`` folders. Leaves: ``Sorting``."""

import logging
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.types import UNLABELLED, Sorting, Templates
from ..arrays import SORTING_FILES, read_sorting
from .mats import list_variables, read_mat
from .shared import check_rate, last_spike_s, one_line, pick_label_column, settle_rate, shortlist

TEMPLATE = "template/"
"""Member ``template/<unit>`` of an ``.npz`` file: the mean waveform of that unit, µV."""
_NUMBERS = ("sampling_frequency_hz", "templates_hz", "duration_s")
_LABELS = ("unit_ids", "labels")
_NELPY = "spikes"
_OTHER_LAYOUTS = ("recording.json", "waveforms.csv", "isi_dist.csv")
"""Files of folders whose .npz files are not what the folder is about."""

LOGGER = logging.getLogger(__name__)


def from_trains(
    trains: Mapping[Any, Any],
    templates: Mapping[Any, Any] | None = None,
    sampling_frequency_hz: float | None = None,
    duration_s: float | None = None,
    labels: Mapping[Any, str] | None = None,
    templates_hz: float | None = None,
) -> Sorting:
    """Build a sorting from spike trains by unit.

    Parameters
    ----------
    trains : unit -> (n_spikes,) floats, seconds, or integers, samples; unit ids become text
    templates : unit -> (n_samples,) or (n_channels, n_samples) mean waveform, µV; units may be missing
    sampling_frequency_hz : Hz of integer times, and of the templates where ``templates_hz`` is not given
    duration_s : how long the units were observed; None = up to the last spike
    labels : unit -> cell type; units may be missing
    templates_hz : sampling rate of the templates, Hz

    Raises
    ------
    DataError
        No spikes, a train that is not a row of numbers, samples without a rate, two units of one name, or a template or
        label of a unit that has no train.
    """
    named = _by_name(trains, "trains")
    given = _by_name(templates or {}, "templates")
    types = {unit: str(label) for unit, label in _by_name(labels or {}, "labels").items()}
    for what, units in (("templates", given), ("labels", types)):
        _check_keys(what, units, named)
    rows = {unit: _read_train(unit, train) for unit, train in named.items()}
    kinds = {row.dtype.kind for row in rows.values() if len(row)}
    if len(kinds) > 1:
        ints = shortlist(unit for unit, row in rows.items() if row.dtype.kind == "i")
        raise DataError(f"trains: {ints} hold integers, others floats; all samples or all seconds are needed")
    is_samples = kinds == {"i"}
    if is_samples and sampling_frequency_hz is None:
        raise DataError("trains: integers are samples; pass --sampling-frequency (Hz), or hold seconds as floats")
    rate_hz = check_rate(sampling_frequency_hz, "trains: the sampling frequency") if is_samples else 1.0
    dtype = np.int64 if is_samples else np.float64
    times = np.concatenate([np.empty(0, dtype=dtype), *(row.astype(dtype) for row in rows.values())])
    length_s = last_spike_s(times, rate_hz, "trains") if duration_s is None else float(duration_s)
    return Sorting(
        unit_ids=np.array(list(named), dtype=str),
        spike_times=times,
        offsets=np.concatenate([[0], np.cumsum([len(row) for row in rows.values()])]).astype(np.int64),
        time_rate_hz=rate_hz,
        duration_s=np.full(len(named), length_s),
        labels=np.array([types.get(unit, UNLABELLED) for unit in named], dtype=str),
        templates=_stack_templates(list(named), given, templates_hz or sampling_frequency_hz),
    )


def find_arrays(path: Path) -> list[Path]:
    """Return the files of an ``arrays`` folder, or the ``.npz`` or ``.mat`` file with trains; none if there is none."""
    if path.is_file():
        return [path] if path.suffix in (".npz", ".mat") else []
    if not path.is_dir():
        return []
    if all((path / name).is_file() for name in SORTING_FILES if name != "templates.npy"):
        return [path / name for name in SORTING_FILES if (path / name).is_file()]
    if any((path / name).is_file() for name in _OTHER_LAYOUTS):
        return []
    archives = sorted(path.glob("*.npz"))
    tables = [file for file in sorted(path.glob("*.mat")) if _NELPY in list_variables(file)]
    # One file that could be meant, or none: a folder of several is not of this layout.
    return archives if len(archives) == 1 else tables if len(tables) == 1 and not archives else []


def read_arrays_source(
    path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None
) -> list[Sorting]:
    """Read spike trains kept as arrays: an ``arrays`` folder, an ``.npz`` of trains by unit, or a ``.mat`` of nelpy.

    Parameters
    ----------
    path : the file, or a folder with one
    sampling_frequency_hz : Hz of integer times and of templates, where the file has no ``sampling_frequency_hz``
    label_column : "none" = ignore labels; None = those of the file (``units.csv``, or ``unit_ids`` and ``labels``)

    Returns
    -------
    One ``Sorting``; units of a ``.mat`` are named tetrode and cluster, counted from 1 (``t03c02``), empty ones left out

    Raises
    ------
    DataError
        A file is damaged, holds objects, or is of another layout (the message lists what it holds).
    ConfigError
        There is no such label column.
    """
    if (path / "recording.json").is_file():
        sorting = read_sorting(path)
        if sorting.time_rate_hz != 1.0:
            settle_rate(
                sorting.time_rate_hz, sampling_frequency_hz, f"{path / 'recording.json'}: sampling_frequency_hz"
            )
        return [_relabel(sorting, label_column, path / "units.csv")]
    files = find_arrays(path)
    if not files:
        raise DataError(f"{path}: no recording.json with spikes.npz, and no single .npz or .mat file of spike trains")
    read = {".npz": _read_npz, ".mat": _read_nelpy}[files[0].suffix]
    try:
        return [read(files[0], sampling_frequency_hz, label_column)]
    except DataError as error:
        where = "" if str(error).startswith(str(files[0])) else f"{files[0]}: "
        raise DataError(f"{where}{error}") from None


def _relabel(sorting: Sorting, wanted: str | None, where: Path) -> Sorting:
    """The sorting with the labels of another column, or without."""
    column = pick_label_column(wanted, ["cell_type", *sorting.extra], "cell_type", where)
    if column == "cell_type":
        return sorting
    empty = np.full(len(sorting.unit_ids), UNLABELLED)
    return replace(sorting, labels=empty if column is None else sorting.extra[column].astype(str))


def _read_npz(path: Path, given_hz: float | None, label_column: str | None) -> Sorting:
    """One 1-D array per unit, and what the reserved members say."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (ValueError, EOFError, OSError, KeyError, RuntimeError, zipfile.BadZipFile, MemoryError) as error:
        raise DataError(f"{path}: not a whole .npz file of plain arrays ({one_line(error)})") from None
    if "offsets" in found:
        raise DataError(
            f"{path}: part of an arrays folder (it has 'offsets'); name the folder, or save one array per unit"
        )
    numbers = {name: check_rate(found.pop(name), f"{path}: {name}") for name in _NUMBERS if name in found}
    listed = {name: found.pop(name) for name in _LABELS if name in found}
    column = pick_label_column(label_column, ["labels"] if "labels" in listed else [], "labels", path)
    if "labels" in listed and {name: values.ndim for name, values in listed.items()} != dict.fromkeys(_LABELS, 1):
        raise DataError(f"{path}: 'labels' needs 'unit_ids' beside it, both one row of text")
    if len({len(values) for values in listed.values() if values.ndim}) > 1:
        sizes = ", ".join(f"{len(values)} {name}" for name, values in listed.items())
        raise DataError(f"{path}: {sizes}; one label per unit is needed")
    labels = dict(zip(*(listed[name].tolist() for name in _LABELS), strict=True)) if column else None
    templates = {name.removeprefix(TEMPLATE): found.pop(name) for name in list(found) if name.startswith(TEMPLATE)}
    rate_hz = numbers.get("sampling_frequency_hz", given_hz)
    if rate_hz is not None:
        rate_hz = settle_rate(numbers.get("sampling_frequency_hz"), given_hz, f"{path}: sampling_frequency_hz")
    return from_trains(found, templates, rate_hz, numbers.get("duration_s"), labels, numbers.get("templates_hz"))


def _read_nelpy(path: Path, given_hz: float | None, label_column: str | None) -> Sorting:
    """Tetrodes x clusters of structs with ``time`` (s) and ``timerange`` (s), as nelpy's example data."""
    pick_label_column(label_column, [], None, path)
    tetrodes = read_mat(path, [_NELPY]).get(_NELPY)
    while isinstance(tetrodes, list) and len(tetrodes) == 1 and _holds_cells(tetrodes[0]):
        tetrodes = tetrodes[0]  # a cell in a cell
    if not isinstance(tetrodes, list) or not any(_clusters(tetrode) for tetrode in tetrodes):
        raise DataError(
            f"{path}: holds {shortlist(list_variables(path)) or 'nothing'}; a cell array 'spikes' of tetrodes x "
            "clusters with a field 'time' (s) is needed: save other trains as .npz, one array per unit"
        )
    found = {
        f"t{t:02d}c{c:02d}": cluster
        for t, tetrode in enumerate(tetrodes, 1)
        for c, cluster in _clusters(tetrode).items()
    }
    trains = {unit: np.ravel(cluster["time"]).astype(np.float64) for unit, cluster in found.items()}
    kept = {unit: train for unit, train in trains.items() if len(train)}
    if len(kept) < len(trains):
        LOGGER.info("%s: %d clusters without spikes are left out", path, len(trains) - len(kept))
    ranges = {unit: np.ravel(np.asarray(found[unit].get("timerange"))) for unit in kept}
    if not all(span.dtype.kind == "f" and span.shape == (2,) and span[1] > span[0] for span in ranges.values()):
        return from_trains(kept)
    # The clock of the recording started long before; that of a sorting runs while the unit was observed.
    start = min((span[0] for span in ranges.values()), default=0.0)
    end = max((span[1] for span in ranges.values()), default=None)
    shifted = {unit: train - start for unit, train in kept.items()}
    return from_trains(shifted, duration_s=None if end is None else end - start)


def _holds_cells(item: Any) -> bool:
    return isinstance(item, list) and any(isinstance(inner, list) for inner in item)


def _clusters(tetrode: Any) -> dict[int, dict[str, Any]]:
    """Number, from 1, and struct of each cluster of a tetrode that has times."""
    items = tetrode if isinstance(tetrode, list) else [tetrode]
    flat = {c: item[0] if isinstance(item, list) and len(item) == 1 else item for c, item in enumerate(items, 1)}
    return {c: item for c, item in flat.items() if isinstance(item, dict) and isinstance(item.get("time"), np.ndarray)}


def _by_name(values: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """The mapping with unit ids as text."""
    named = {(unit.decode() if isinstance(unit, bytes) else str(unit)): value for unit, value in values.items()}
    if len(named) != len(values):
        raise DataError(
            f"{what}: {len(values)} units, but {len(named)} names ({shortlist(named)}); unit ids must be unique as text"
        )
    return named


def _check_keys(what: str, found: Iterable[str], units: Iterable[str]) -> None:
    """Raise when something is said of a unit that has no train; both sets are listed."""
    units, found = list(units), list(found)
    foreign = [name for name in found if name not in units]
    if foreign:
        lacking = [name for name in units if name not in found]
        raise DataError(
            f"units differ: only in {what}: {shortlist(foreign)}; only in trains: {shortlist(lacking) or 'none'}; "
            "the same unit ids are needed"
        )


def _read_train(unit: str, train: Any) -> np.ndarray:
    """One train as int64 or float64."""
    row = np.asarray(train)
    if row.ndim == 2 and 1 in row.shape:
        row = row.ravel()
    if row.ndim != 1 or row.dtype.kind not in "fiu":
        raise DataError(f"trains: unit '{unit}' is {row.dtype} {row.shape}; one row of spike times is needed")
    return row.astype(np.float64 if row.dtype.kind == "f" else np.int64)


def _stack_templates(units: list[str], given: dict[str, Any], rate_hz: float | None) -> Templates | None:
    """Mean waveforms in the order of the units; channels that a unit lacks are NaN."""
    if not given:
        return None
    if rate_hz is None:
        raise DataError("templates: no sampling frequency; pass templates_hz or sampling_frequency_hz, in Hz")
    rows = {unit: np.atleast_2d(np.asarray(template)) for unit, template in given.items()}
    for unit, row in rows.items():
        if row.ndim != 2 or row.dtype.kind not in "fiu" or not row.size:
            found = f"unit '{unit}' is {row.dtype} {row.shape}"
            raise DataError(f"templates: {found}; (n_samples,) or (n_channels, n_samples) is needed")
    if len({row.shape[1] for row in rows.values()}) > 1:
        sizes = shortlist(f"{unit} {row.shape[1]}" for unit, row in rows.items())
        raise DataError(f"templates: samples differ: {sizes}; all templates need one length")
    n_channels, n_samples = max(len(row) for row in rows.values()), next(iter(rows.values())).shape[1]
    values = np.full((len(units), n_samples, n_channels), np.nan, dtype=np.float32)
    for unit, row in rows.items():
        values[units.index(unit), :, : len(row)] = np.where(np.isfinite(row).all(axis=1), row.T, np.nan)
    return Templates(values, check_rate(rate_hz, "templates: the sampling frequency"))

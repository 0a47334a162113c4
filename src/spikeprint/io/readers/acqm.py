"""ACQM zips of the Braingeneers pipeline. Enters: ``*.zip`` with a member ``qm.npz``. Leaves: one ``Sorting`` per zip.

Nothing is unpacked to the disk and no pickle is trusted (``io.unpickle``).
"""

import io
import logging
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.types import UNLABELLED, Sorting, Templates
from .shared import last_spike_s, one_line, pick_label_column, settle_rate, shortlist, to_integers
from .unpickle import DAMAGE, check_size, load_npz_restricted

MEMBER = "qm.npz"
_KEYS = ("train", "fs", "neuron_data")

LOGGER = logging.getLogger(__name__)


def find_acqm(path: Path) -> list[Path]:
    """Return the ACQM zips at ``path``, a file or a folder; none when there are none."""
    files = [path] if path.is_file() else sorted(path.rglob("*.zip")) if path.is_dir() else []
    return [file for file in files if _is_acqm(file)]


def read_acqm(path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None) -> list[Sorting]:
    """Read ACQM zips.

    Parameters
    ----------
    path : one zip, or a folder of them
    sampling_frequency_hz : Hz, needed where a file has no ``fs``
    label_column : key of ``neuron_data`` with the cell type; None or "none" = unlabelled

    Returns
    -------
    One ``Sorting`` per zip in samples of ``fs``, units in the order of ``train``; waveforms in units unknown ("au").
    ``session_id`` is the name of the zip, ``""`` for a single one

    Raises
    ------
    DataError
        A zip is damaged, has unsafe member names, lacks spike times or rate, or its pickles name anything but arrays.
    ConfigError
        There is no such label column, or the rate is not that of the file.
    """
    files = find_acqm(path)
    if not files:
        raise DataError(f"{path}: no zip with a member {MEMBER}; an ACQM zip is needed")
    names = [_session(path, file) for file in files] if len(files) > 1 else [""]
    return [_read_zip(file, name, sampling_frequency_hz, label_column) for file, name in zip(files, names, strict=True)]


def _is_acqm(path: Path) -> bool:
    """Whether a zip has the member, or its name says so though it cannot be listed (the reader tells what is wrong)."""
    if path.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).name == MEMBER for name in archive.namelist())
    except DAMAGE:
        return "acqm" in path.name.lower()


def _session(path: Path, file: Path) -> str:
    return file.relative_to(path).with_suffix("").as_posix()


def _read_zip(path: Path, name: str, rate_hz: float | None, label_column: str | None) -> Sorting:
    """One zip."""
    found = load_npz_restricted(_open_member(path), f"{path}: {MEMBER}", _KEYS)
    if not isinstance(found.get("train"), dict):
        raise DataError(f"{path}: {MEMBER}: no dict 'train' but {shortlist(found)}; spike samples by unit are needed")
    trains = {_key(unit): samples for unit, samples in found["train"].items()}
    if len(trains) != len(found["train"]):
        raise DataError(f"{path}: train: {shortlist(found['train'])}: two units of one name; unit ids must be unique")
    fs_hz = settle_rate(found.get("fs"), rate_hz, f"{path}: {MEMBER}: fs")
    samples = [to_integers(np.ravel(train), f"{path}: train of unit {unit}") for unit, train in trains.items()]
    times = np.concatenate([np.empty(0, dtype=np.int64), *samples])
    neurons = _match_neurons(path, found.get("neuron_data"), trains)
    columns = sorted(
        {key for neuron in neurons for key, value in neuron.items() if isinstance(value, (str, int, float))}
    )
    column = pick_label_column(label_column, columns, None, path)
    labels = [UNLABELLED if column is None else str(neuron.get(column, UNLABELLED)) for neuron in neurons]
    channels = [_number(neuron.get("channel")) for neuron in neurons]
    return Sorting(
        unit_ids=np.array(list(trains), dtype=str),
        spike_times=times,
        offsets=np.concatenate([[0], np.cumsum([len(train) for train in samples])]).astype(np.int64),
        time_rate_hz=fs_hz,
        duration_s=np.full(len(trains), last_spike_s(times, fs_hz, f"{path}: train")),
        labels=np.array(labels, dtype=str),
        templates=_read_templates(path, neurons, list(trains), fs_hz),
        session_id=name,
        extra={} if np.isnan(channels).all() else {"channel": np.array(channels)},
    )


def _open_member(path: Path) -> io.BytesIO:
    """The archive inside the archive, in memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unsafe = [name for name in names if _is_unsafe(name)]
            if unsafe:
                raise DataError(
                    f"{path}: member '{unsafe[0]}' points outside the zip; refused: do not unpack this file"
                )
            members = [info for info in archive.infolist() if PurePosixPath(info.filename).name == MEMBER]
            if len(members) != 1:
                raise DataError(f"{path}: {len(members)} members {MEMBER} in {shortlist(names)}; one is needed")
            check_size(str(path), members)
            return io.BytesIO(archive.read(members[0]))
    except DAMAGE as error:
        raise DataError(f"{path}: not a whole zip file ({one_line(error)}); download it again") from None


def _is_unsafe(name: str) -> bool:
    """Whether the name of a member is absolute or climbs out of its folder, on any system."""
    return bool(re.match(r"^([\\/]|[A-Za-z]:)", name)) or ".." in re.split(r"[\\/]", name)


def _key(unit: Any) -> str:
    """Name of a unit: 3, "3" and np.int64(3) are one."""
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    return text.strip()


def _match_neurons(path: Path, found: Any, units: Iterable[str]) -> list[dict[str, Any]]:
    """What ``neuron_data`` says of each unit, by key and never by position; an empty dict where it is silent."""
    units = list(units)
    if found is None:
        return [{} for _ in units]
    neurons = {_key(k): v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}
    missing = [unit for unit in units if unit not in neurons]
    if len(missing) == len(units) and units:
        there = shortlist(neurons) or "none"
        raise DataError(f"{path}: train has units {shortlist(units)}, neuron_data {there}; the same keys are needed")
    if missing:
        LOGGER.warning("%s: neuron_data lacks units %s: they have no waveform", path, shortlist(missing))
    return [neurons.get(unit, {}) for unit in units]


def _number(value: Any) -> float:
    """A number, NaN for anything else."""
    return float(value) if isinstance(value, (int, float, np.integer, np.floating)) else np.nan


def _numbers(value: Any) -> np.ndarray | None:
    """An array of numbers; None for anything else."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _mean_waveform(neuron: dict[str, Any]) -> np.ndarray | None:
    """(n_samples,): the mean of ``waveforms`` (n x samples), else ``template``; None without either."""
    waveforms = _numbers(neuron.get("waveforms"))
    if waveforms is not None and waveforms.ndim == 2 and len(waveforms):
        return waveforms.mean(axis=0)
    template = _numbers(neuron.get("template"))
    return None if template is None or template.ndim == 0 or not template.size else template.squeeze()


def _read_templates(path: Path, neurons: list[dict[str, Any]], units: list[str], fs_hz: float) -> Templates | None:
    """One channel per unit, with the position of that channel."""
    means = [_mean_waveform(neuron) for neuron in neurons]
    sizes = {mean.shape for mean in means if mean is not None}
    if not sizes:
        return None
    if len(sizes) > 1 or len(next(iter(sizes))) != 1:
        found = {unit: mean.shape for unit, mean in zip(units, means, strict=True) if mean is not None}
        shapes = shortlist(f"{unit} {shape}" for unit, shape in found.items())
        raise DataError(
            f"{path}: neuron_data: waveforms {shapes}; one row of samples per unit, all of one length, is needed"
        )
    (n_samples,) = next(iter(sizes))
    values = np.full((len(units), n_samples, 1), np.nan, dtype=np.float32)
    positions = np.full((len(units), 1, 2), np.nan)
    for unit, (neuron, mean) in enumerate(zip(neurons, means, strict=True)):
        if mean is not None and np.isfinite(mean).all():
            values[unit, :, 0] = mean
        position = _numbers(neuron.get("position"))
        if position is not None and position.size >= 2:
            positions[unit, 0] = position.ravel()[:2]
    return Templates(values, fs_hz, "au", None if np.isnan(positions).all() else positions)

"""Sorters of MATLAB. Enters: Kilosort's ``rez.mat``, JRCLUST's ``*_jrc.mat`` or ``*_res.mat``. Leaves: a ``Sorting``.

Spike times count from 1 there and from 0 here; units keep the numbers that the sorter gave them. Waveforms are left
where they are: both sorters whiten or filter them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.types import UNLABELLED, Sorting
from .mats import list_variables, read_mat
from .shared import group_by_unit, last_spike_s, pick_label_column, settle_rate, shortlist, to_integers

_REZ = ("rez.mat", "rez2.mat")
_JRC = ("*_jrc.mat", "*_res.mat")
_TIMES, _OWNERS = ("viTime_spk", "spikeTimes"), ("viClu", "spikeClusters")
"""Names in JRCLUST before and since version 4."""


def find_rez(path: Path) -> list[Path]:
    """Return the ``rez.mat`` of Kilosort at a path or in a folder."""
    if path.is_file():
        return [path] if path.suffix == ".mat" and "rez" in list_variables(path) else []
    return [path / name for name in _REZ if (path / name).is_file()][:1]


def find_jrclust(path: Path) -> list[Path]:
    """Return the result file of JRCLUST at a path, or the only one in a folder."""
    if path.is_file():
        return [path] if any(path.match(pattern) for pattern in _JRC) else []
    found = sorted(file for pattern in _JRC for file in path.glob(pattern)) if path.is_dir() else []
    return found if len(found) == 1 else []


def read_rez(path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None) -> list[Sorting]:
    """Read Kilosort's ``rez.mat``, v5 or v7.3: units are column 5 of ``st3`` (merged), else its templates, column 2.

    Raises
    ------
    DataError
        There is no ``st3``, it is damaged, or the rate is not known.
    """
    file = _only(path, find_rez(path), "rez.mat")
    pick_label_column(label_column, [], None, file)
    rez = read_mat(file, ["rez"], ["st3", "ops"]).get("rez")
    table = np.asarray(rez.get("st3")) if isinstance(rez, dict) and rez.get("st3") is not None else np.empty(0)
    if table.ndim != 2 or table.shape[1] < 2 or table.dtype.kind not in "fiu":
        raise DataError(f"{file}: no rez.st3 of spikes x 2 or more columns, but {table.dtype} {table.shape}")
    owner = table[:, 4] if table.shape[1] > 4 else table[:, 1]
    ops = rez.get("ops") if isinstance(rez, dict) else None
    return [_make(file, table[:, 0], owner, _number(ops, "fs"), sampling_frequency_hz)]


def read_jrclust(
    path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None
) -> list[Sorting]:
    """Read a result of JRCLUST, v5 or v7.3; spikes of no cluster (0 and below) are left out.

    Raises
    ------
    DataError
        It holds no spike times or clusters, is damaged, or the rate is not known.
    """
    file = _only(path, find_jrclust(path), "*_jrc.mat or *_res.mat")
    pick_label_column(label_column, [], None, file)
    content = read_mat(file, [*_TIMES, *_OWNERS, "S_clu", "P"], ["viClu", "sRateHz"])
    clusters = content.get("S_clu")
    found = {**(clusters if isinstance(clusters, dict) else {}), **content}
    times = next((found[name] for name in _TIMES if found.get(name) is not None), None)
    owner = next((found[name] for name in _OWNERS if found.get(name) is not None), None)
    if times is None or owner is None:
        held = shortlist(list_variables(file)) or "nothing"
        raise DataError(f"{file}: holds {held}; {' or '.join(_TIMES)} and {' or '.join(_OWNERS)} are needed")
    return [_make(file, times, owner, _number(content.get("P"), "sRateHz"), sampling_frequency_hz, least=1)]


def _only(path: Path, files: list[Path], wanted: str) -> Path:
    if not files:
        raise DataError(f"{path}: no {wanted}; the sorter's result is needed")
    return files[0]


def _number(struct: Any, name: str) -> float | None:
    """A number in a struct, None where there is none."""
    value = struct.get(name) if isinstance(struct, dict) else None
    return float(np.ravel(value)[0]) if isinstance(value, np.ndarray) and value.size else None


def _make(
    file: Path, times: Any, owner: Any, known_hz: float | None, given_hz: float | None, least: int | None = None
) -> Sorting:
    """A sorting from one time, counted from 1, and one unit per spike."""
    samples = to_integers(np.ravel(times), f"{file}: spike times") - 1
    units = to_integers(np.ravel(owner), f"{file}: clusters")
    if len(samples) != len(units) or not len(samples):
        raise DataError(f"{file}: {len(samples)} spike times, {len(units)} clusters; one per spike is needed")
    rate_hz = settle_rate(known_hz, given_hz, f"{file}: sampling rate")
    ids = np.unique(units if least is None else units[units >= least])
    order, offsets = group_by_unit(units, ids)
    return Sorting(
        unit_ids=ids.astype(str),
        spike_times=samples[order],
        offsets=offsets,
        time_rate_hz=rate_hz,
        duration_s=np.full(len(ids), last_spike_s(samples, rate_hz, str(file))),
        labels=np.full(len(ids), UNLABELLED),
    )

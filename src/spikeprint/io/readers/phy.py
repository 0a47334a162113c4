"""Kilosort and phy folders. Enters: ``spike_times.npy`` and its neighbours. Leaves: one ``Sorting`` per folder.

Mean waveforms come from the raw traces where they are there, else from the sorter's templates (``io.phy_templates``).
"""

import ast
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.types import UNLABELLED, Sorting
from ..traces.windows import BinaryLayout, average_windows
from .phy_tables import find_cluster_tables, read_cluster_table
from .phy_templates import TEMPLATE_FILES, load_positions, read_templates
from .shared import group_by_unit, last_spike_s, load_vector, pick_label_column, settle_rate, to_column

TIMES = "spike_times.npy"
_OWNERS = ("spike_clusters.npy", "spike_templates.npy")
"""Whose spike each is: the clusters as curated, else the sorter's templates."""
PARAMS = "params.py"
_PARAMS = ("dat_path", "n_channels_dat", "dtype", "offset", "sample_rate", "hp_filtered")
_EXTRA = ("group", "KSLabel", "ch", "sh", "depth", "amp", "Amplitude", "ContamPct")
"""Columns of ``cluster_*.tsv`` that are kept; phy's own counts and other people's predictions are not."""
_WHITENED = "temp_wh"
"""Kilosort's scratch file: whitened traces, of no use as waveforms."""

LOGGER = logging.getLogger(__name__)


def find_phy(path: Path) -> list[Path]:
    """Return the files of the phy folders at ``path`` or one level below, with their raw traces; none without any."""
    return list(places_phy(path))


def places_phy(path: Path) -> dict[Path, list[Path]]:
    """Return the same files, each with its places in a copy of the dataset's folder.

    Parameters
    ----------
    path : as for ``read_phy``

    Returns
    -------
    file -> paths relative to the copy. A file below ``path`` keeps its place; raw traces that the reader would not find
    there again, being elsewhere or named by an absolute path, lie beside every ``params.py`` that names them
    """
    places: dict[Path, list[Path]] = {}
    base = path if path.is_dir() else path.parent
    for folder in _folders(path):
        names = (TIMES, *_OWNERS, PARAMS, *TEMPLATE_FILES)
        found = [folder / name for name in names if (folder / name).is_file()]
        found += find_cluster_tables(folder)
        for file in found:
            places[file] = [file.relative_to(base)]
        try:
            traces = _find_traces(folder, _read_params(folder / PARAMS))
        except DataError:
            LOGGER.debug("%s: params.py cannot be read; the reader will say why", folder)
            continue
        for file, is_movable in traces.items():
            # every "../x" counts as below ".", the current folder
            stays = is_movable and file.is_relative_to(base) and ".." not in file.relative_to(base).parts
            place = file.relative_to(base) if stays else folder.relative_to(base) / file.name
            places[file] = list(dict.fromkeys([*places.get(file, []), place]))
    return places


def read_phy(path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None) -> list[Sorting]:
    """Read Kilosort or phy folders.

    Parameters
    ----------
    path : the folder, a file in it, or a folder of several
    sampling_frequency_hz : Hz, needed where ``params.py`` does not say it
    label_column : column of a ``cluster_*.tsv`` with the cell type; None or "none" = unlabelled (a ``cell_type`` there
        may be a prediction)

    Returns
    -------
    One ``Sorting`` per folder, in samples; waveforms in arbitrary units, for phy does not know the gain. Clusters whose
    ``group`` (else ``KSLabel``) is noise are left out

    Raises
    ------
    DataError
        A file is missing, damaged or of another length, or the sampling rate is not known.
    ConfigError
        There is no such label column, or the rate contradicts ``params.py``.
    """
    folders = _folders(path)
    if not folders:
        raise DataError(f"{path}: no {TIMES}; a Kilosort or phy folder is needed")
    names = [folder.relative_to(path).as_posix() for folder in folders] if len(folders) > 1 else [""]
    return [
        _read(folder, name, sampling_frequency_hz, label_column) for folder, name in zip(folders, names, strict=True)
    ]


def read_phy_trains(
    path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None
) -> list[Sorting]:
    """Read the spike trains of Kilosort or phy folders as ``read_phy`` does, without waveforms: traces are not read."""
    return [
        _read_trains(folder, "", _read_params(folder / PARAMS), sampling_frequency_hz, label_column)[0]
        for folder in _folders(path)
    ]


def _folders(path: Path) -> list[Path]:
    """The phy folder itself, else those directly below it."""
    if path.is_file():
        path = path.parent if path.name in (TIMES, PARAMS, *_OWNERS) else path
    if not path.is_dir():
        return []
    return [path] if (path / TIMES).is_file() else sorted(file.parent for file in path.glob(f"*/{TIMES}"))


def _read(folder: Path, name: str, given_hz: float | None, label_column: str | None) -> Sorting:
    """One folder."""
    params = _read_params(folder / PARAMS)
    sorting, order, n_spikes = _read_trains(folder, name, params, given_hz, label_column)
    traces = _find_traces(folder, params)
    if traces:
        return _measure(folder, sorting, list(traces), params)
    absent = [written for written in _list_written(params) if _locate(folder, written) is None]
    if absent and not _file_name(absent[0]).startswith(_WHITENED):
        LOGGER.warning(
            "%s: dat_path names %s, which is neither beside %s nor there: waveforms are taken from the "
            "sorter's templates", folder, ", ".join(absent), PARAMS,
        )  # fmt: skip
    templates = read_templates(folder, order, sorting.offsets, n_spikes, sorting.time_rate_hz)
    return replace(sorting, templates=templates)


def _read_trains(
    folder: Path, name: str, params: Mapping[str, Any], given_hz: float | None, label_column: str | None
) -> tuple[Sorting, np.ndarray, int]:
    """The sorting of one folder without waveforms, the order of its spikes in the files, and how many those hold."""
    samples = load_vector(folder / TIMES, whole=True)
    clusters = _read_owners(folder, len(samples))
    rate_hz = settle_rate(params.get("sample_rate"), given_hz, f"{folder / PARAMS}: sample_rate")
    table = read_cluster_table(folder)
    units = _drop_noise(folder, np.unique(clusters), table)
    column = pick_label_column(label_column, table, None, folder)
    order, offsets = group_by_unit(clusters, units)
    sorting = Sorting(
        unit_ids=units.astype(str),
        spike_times=samples[order],
        offsets=offsets,
        time_rate_hz=rate_hz,
        duration_s=np.full(len(units), last_spike_s(samples, rate_hz, str(folder / TIMES))),
        labels=np.full(len(units), UNLABELLED) if column is None else _align(table[column], units).astype(str),
        session_id=name,
        extra={key: to_column(_align(table[key], units).tolist()) for key in _EXTRA if key in table},
    )
    return sorting, order, len(samples)


def _read_owners(folder: Path, n_spikes: int) -> np.ndarray:
    """(n_spikes,) int64, the cluster of each spike."""
    for name in _OWNERS:
        if (folder / name).is_file():
            if name != _OWNERS[0]:
                LOGGER.warning("%s: no %s; the sorter's templates are taken as units", folder, _OWNERS[0])
            return load_vector(folder / name, n_spikes, whole=True)
    raise DataError(
        f"{folder}: {_OWNERS[0]} missing; one cluster per spike of {TIMES} is needed ({_OWNERS[1]}, the sorter's "
        "templates, would do): copy the whole folder of the sorter"
    )


def _drop_noise(folder: Path, units: np.ndarray, table: Mapping[str, Mapping[int, str]]) -> np.ndarray:
    """The units that neither a person nor, where no person judged, the sorter called noise."""
    groups, guesses = table.get("group", {}), table.get("KSLabel", {})
    judged = np.array([(groups.get(int(unit)) or guesses.get(int(unit), "")).lower() for unit in units], dtype=str)
    kept = units[judged != "noise"]
    if len(kept) < len(units):
        LOGGER.info("%s: %d of %d clusters are noise and left out", folder, len(units) - len(kept), len(units))
    if not len(kept):
        raise DataError(f"{folder}: {len(units)} clusters, all of them noise or none at all; a unit is needed")
    return kept


def _align(column: Mapping[int, str], units: np.ndarray) -> np.ndarray:
    """A column in the order of the units, "" where it is silent."""
    return np.array([column.get(int(unit), "") for unit in units], dtype=object)


def _read_params(path: Path) -> dict[str, Any]:
    """The settings of ``params.py`` as literals; nothing in the file is run."""
    if not path.is_file():
        return {}
    try:
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not Python assignments ({error}); lines such as sample_rate = 30000.0 are needed"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    found: dict[str, Any] = {}
    for node in tree.body:
        names = (
            [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.Assign)
            else []
        )
        for name in set(names) & set(_PARAMS):
            try:
                found[name] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except (ValueError, TypeError, RecursionError):
                raise DataError(
                    f"{path}: line {node.lineno}: {name} is computed; the file is read, not run: write a plain value"
                ) from None
    return found


def _list_written(params: Mapping[str, Any]) -> list[str]:
    """The paths of ``dat_path``, one or several."""
    given = params.get("dat_path")
    paths = given if isinstance(given, (list, tuple)) else [given]
    return [path for path in paths if isinstance(path, str) and path]


def _file_name(written: str) -> str:
    """The last part of a path of any system."""
    return written.replace("\\", "/").rsplit("/", 1)[-1]


def _locate(folder: Path, written: str) -> Path | None:
    """A file of ``dat_path``: of its name beside ``params.py``, else as written."""
    beside, there = folder / _file_name(written), folder / written
    if beside.is_file():
        return beside
    if not there.is_file():
        return None
    # without "..", so that it can be told whether the file lies below the dataset; links may lead ".." elsewhere
    plain = Path(os.path.normpath(there))
    return plain if plain.is_file() and plain.samefile(there) else there.resolve()


def _find_traces(folder: Path, params: Mapping[str, Any]) -> dict[Path, bool]:
    """The files of ``dat_path``, all of them and raw, or none.

    Each with whether it is found again where the folder moves with all around it.
    """
    paths = _list_written(params)
    names = [_file_name(written) for written in paths]
    files = [file for written in paths if (file := _locate(folder, written))]
    if len(files) < len(paths) or any(name.startswith(_WHITENED) for name in names):
        return {}
    if len(set(names)) < len(names):
        raise DataError(
            f"{folder / PARAMS}: dat_path names several files {max(names, key=names.count)}; they are looked for "
            "beside params.py, so different names are needed: rename them"
        )
    return {
        file: file.parent == folder or not Path(written).is_absolute()
        for file, written in zip(files, paths, strict=True)
    }


def _measure(folder: Path, sorting: Sorting, traces: list[Path], params: Mapping[str, Any]) -> Sorting:
    """The sorting with mean waveforms, amplitudes and noise from its traces."""
    where = folder / PARAMS
    missing = [name for name in ("n_channels_dat", "dtype") if name not in params]
    if missing:
        raise DataError(f"{where}: no {' and '.join(missing)}; needed to read {traces[0].name}, or move that file away")
    n_channels, offset = params["n_channels_dat"], params.get("offset", 0)
    if not isinstance(n_channels, int) or not isinstance(offset, int) or n_channels < 1 or offset < 0:
        raise DataError(f"{where}: n_channels_dat = {n_channels!r}, offset = {offset!r}; whole numbers are needed")
    layout = BinaryLayout(
        paths=tuple(traces),
        sampling_frequency_hz=sorting.time_rate_hz,
        n_channels=n_channels,
        dtype=str(params["dtype"]),
        byte_offset=offset,
        is_filtered=params.get("hp_filtered") is True,
    )
    sorted_positions, mapped = load_positions(folder)
    if mapped is None:
        mapped = np.arange(n_channels if sorted_positions is None else len(sorted_positions))
    if len(mapped) and (mapped.min() < 0 or mapped.max() >= n_channels):
        raise DataError(f"{where}: n_channels_dat = {n_channels}, but channel_map.npy names channel {mapped.max()}")
    positions = np.full((n_channels, 2), np.nan)
    # Without positions the contacts still need places, to tell mapped channels from others; they are taken away again.
    positions[mapped] = np.column_stack([mapped, mapped]) if sorted_positions is None else sorted_positions
    recorded_s = sum(layout.count_samples()) / sorting.time_rate_hz
    measured = average_windows(layout, replace(sorting, duration_s=np.fmax(sorting.duration_s, recorded_s)), positions)
    if sorted_positions is None and measured.templates is not None:
        return replace(measured, templates=replace(measured.templates, positions_um=None))
    return measured

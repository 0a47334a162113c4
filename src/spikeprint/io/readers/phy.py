"""Kilosort and phy folders. Enters: ``spike_times.npy`` and its neighbours. Leaves: one ``Sorting`` per folder.

Mean waveforms come from the raw traces where they are there, else from the sorter's templates (``io.phy_templates``).
"""

import ast
import logging
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
    found = []
    for folder in _folders(path):
        names = (TIMES, *_OWNERS, PARAMS, *TEMPLATE_FILES)
        found += [folder / name for name in names if (folder / name).is_file()]
        found += find_cluster_tables(folder)
        try:
            found += _find_traces(folder, _read_params(folder / PARAMS))
        except DataError:
            LOGGER.debug("%s: params.py cannot be read; the reader will say why", folder)
    return found


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


def _folders(path: Path) -> list[Path]:
    """The phy folder itself, else those directly below it."""
    if path.is_file():
        path = path.parent if path.name in (TIMES, PARAMS, *_OWNERS) else path
    if not path.is_dir():
        return []
    return [path] if (path / TIMES).is_file() else sorted(file.parent for file in path.glob(f"*/{TIMES}"))


def _read(folder: Path, name: str, given_hz: float | None, label_column: str | None) -> Sorting:
    """One folder."""
    samples = load_vector(folder / TIMES, whole=True)
    clusters = _read_owners(folder, len(samples))
    params = _read_params(folder / PARAMS)
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
    traces = _find_traces(folder, params)
    if traces:
        return _measure(folder, sorting, traces, params)
    return replace(sorting, templates=read_templates(folder, order, offsets, len(samples), rate_hz))


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
        tree = ast.parse(path.read_text(encoding="utf-8"))
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


def _find_traces(folder: Path, params: Mapping[str, Any]) -> list[Path]:
    """The files of ``dat_path``: of that name in the folder, else as written; none unless all are there and raw."""
    given = params.get("dat_path")
    paths = [
        path for path in (given if isinstance(given, (list, tuple)) else [given]) if isinstance(path, str) and path
    ]
    found = []
    for path in paths:
        name = path.replace("\\", "/").rsplit("/", 1)[-1]
        candidates = [file for file in (folder / name, folder / path) if file.is_file()]
        if not candidates or name.startswith(_WHITENED):
            return []
        found.append(candidates[0])
    return found


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

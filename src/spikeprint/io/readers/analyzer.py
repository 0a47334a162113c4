"""SortingAnalyzers of SpikeInterface. Enters: a saved analyzer, or one in memory. Leaves: a ``Sorting``.

Everything is taken from what the analyzer stored; its recording may be gone and is never opened.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError, suggest
from ...core.types import UNLABELLED, Sorting, Templates
from .safe import Parts, is_provenance, refuse_code

LABEL_COLUMN = "cell_type"
"""Column of the units that holds the cell type unless another one is named."""
_TABLES = ("quality_metrics", "template_metrics")
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, IndexError)
"""What SpikeInterface and zarr raise at files they cannot read."""


class _NoRecording:
    """Stands for the traces while an analyzer is opened: their description is not needed and may be a pickle."""


def find_analyzer(path: Path) -> list[Path]:
    """Return all files of the SortingAnalyzers at a path or one level below it; none when there is no analyzer."""
    return [file for root in _find_roots(path) for file in sorted(root.rglob("*")) if file.is_file()]


def read_analyzer(
    path: Path, sampling_frequency_hz: float | None = None, label_column: str | None = None
) -> list[Sorting]:
    """Read every SortingAnalyzer at a path or one level below it.

    Parameters
    ----------
    path : an analyzer (folder or zarr), or a folder of some, each a session
    sampling_frequency_hz : not used, an analyzer knows its own
    label_column : property or metric with the cell type; None = ``cell_type`` where there is one, "none" = no labels

    Raises
    ------
    DataError
        No analyzer there, or a damaged one, or one that would run code when opened.
    ConfigError
        There is no such column.
    """
    roots = _find_roots(path)
    if not roots:
        raise DataError(f"{path}: no SortingAnalyzer (spikeinterface_info.json, sorting); save it as folder or zarr")
    return [_read_one(root, root.stem if len(roots) > 1 else "", label_column) for root in roots]


def from_analyzer(analyzer: Any, label_column: str | None = None, session_id: str = "") -> Sorting:
    """Turn a SortingAnalyzer into a ``Sorting``.

    Segments stand one after another on one clock. Templates come from the extension ``templates`` (average), channels
    outside the sparsity are NaN; spike sizes from ``spike_amplitudes`` (absolute), depths from ``spike_locations``,
    noise from ``noise_levels``. Missing extensions leave their part None. Properties of the sorting, quality and
    template metrics are ``extra`` columns.

    Raises
    ------
    ConfigError
        There is no column ``label_column``.
    """
    spikes = analyzer.sorting.to_spike_vector()
    order = np.argsort(spikes["unit_index"], kind="stable")
    n_units = len(analyzer.unit_ids)
    counts = np.bincount(spikes["unit_index"], minlength=n_units)
    n_samples = [int(analyzer.get_num_samples(k)) for k in range(analyzer.get_num_segments())]
    starts = np.cumsum([0, *n_samples])[:-1]
    rate_hz = float(analyzer.sampling_frequency)
    templates = _read_templates(analyzer, counts, rate_hz)
    columns = _read_columns(analyzer)
    labels = _take_labels(columns, label_column, n_units)
    amplitudes, locations = _read_data(analyzer, "spike_amplitudes"), _read_data(analyzer, "spike_locations")
    return Sorting(
        unit_ids=np.array([str(unit) for unit in analyzer.unit_ids], dtype=str),
        spike_times=(spikes["sample_index"].astype(np.int64) + starts[spikes["segment_index"]])[order],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        time_rate_hz=rate_hz,
        duration_s=np.full(n_units, sum(n_samples) / rate_hz),
        labels=labels,
        templates=templates,
        segment=spikes["segment_index"].astype(np.int64)[order] if len(n_samples) > 1 else None,
        amplitudes_uv=None if amplitudes is None else np.abs(amplitudes[order]).astype(np.float32),
        depths_um=None if locations is None else locations["y"][order].astype(np.float32),
        noise_uv=_read_noise(analyzer, templates),
        session_id=session_id,
        extra=columns,
    )


def _find_roots(path: Path) -> list[Path]:
    """The path itself if it is an analyzer, else the analyzers directly below it."""
    if not path.is_dir():
        return []
    if _is_analyzer(path):
        return [path]
    return [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _is_analyzer(folder)]


def _is_zarr(folder: Path) -> bool:
    """Whether a folder is the root of a zarr, whatever its name."""
    return (folder / ".zgroup").is_file() or (folder / "zarr.json").is_file()


def _is_analyzer(folder: Path) -> bool:
    """Whether the few bytes that name the kind of a saved object say SortingAnalyzer."""
    for name in ("spikeinterface_info.json", ".zattrs", "zarr.json"):
        try:
            if (folder / name).is_file() and '"SortingAnalyzer"' in (folder / name).read_text(encoding="utf-8"):
                return True
        except (OSError, UnicodeDecodeError):
            continue
    return False


def _read_one(root: Path, session_id: str, label_column: str | None) -> Sorting:
    """One saved analyzer."""
    from spikeinterface import SortingAnalyzer

    kind = "zarr" if _is_zarr(root) else "binary_folder"
    refuse_code(root, _is_unopened)
    try:
        analyzer = SortingAnalyzer.load(root, recording=_NoRecording(), load_extensions=False, format=kind)
        return from_analyzer(analyzer, label_column, session_id)
    except _UNREADABLE as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{root}: not a whole SortingAnalyzer ({said}); save it again") from None


def _is_unopened(parts: Parts) -> bool:
    """Whether a file or item of an analyzer stays closed: its recording, provenance, extensions that are not read."""
    if parts[0] == "extensions":
        return len(parts) > 1 and parts[1] not in _READ
    return parts[0] in ("recording", "recording.pickle") or is_provenance(parts)


_READ = ("templates", "spike_amplitudes", "spike_locations", "noise_levels", *_TABLES)
"""Extensions that are read."""


def _read_data(analyzer: Any, extension: str, **options: Any) -> Any:
    """Data of an extension, None where it was not computed."""
    found = analyzer.get_extension(extension)
    return None if found is None else found.get_data(**options)


def _read_templates(analyzer: Any, counts: np.ndarray, rate_hz: float) -> Templates | None:
    """Mean waveforms; NaN outside the sparsity and for units without a whole window."""
    values = _read_data(analyzer, "templates", operator="average")
    if values is None:
        return None
    values = np.array(values, dtype=np.float32)
    if analyzer.sparsity is not None:
        values = np.where(analyzer.sparsity.mask[:, None, :], values, np.nan)
    # an average over no window is stored as zeros
    values[(counts == 0) | ~np.nan_to_num(values).any(axis=(1, 2))] = np.nan
    positions = None
    if analyzer.rec_attributes.get("probegroup") is not None:
        positions = np.asarray(analyzer.get_channel_locations(), dtype=np.float64)[:, :2]
    return Templates(values, rate_hz, "uV" if analyzer.return_in_uV else "au", positions)


def _read_noise(analyzer: Any, templates: Templates | None) -> np.ndarray | None:
    """(n_units,) noise of the channel with the largest template; NaN for a unit without template."""
    levels = _read_data(analyzer, "noise_levels")
    if levels is None or templates is None:
        return None
    filled = np.nan_to_num(templates.values)
    noise = np.asarray(levels, dtype=np.float64)[np.ptp(filled, axis=1).argmax(axis=1)]
    return np.where(np.isnan(templates.values).all(axis=(1, 2)), np.nan, noise)


def _read_columns(analyzer: Any) -> dict[str, np.ndarray]:
    """Per-unit columns of numbers and words: properties of the sorting, then metrics; the first of a name counts."""
    sorting = analyzer.sorting
    columns = {str(name): sorting.get_property(name) for name in sorting.get_property_keys()}
    for table in _TABLES:
        frame = _read_data(analyzer, table)
        for name in () if frame is None else frame.columns:
            columns.setdefault(str(name), frame[name].reindex(analyzer.unit_ids).to_numpy())
    clean = {name: _clean(values) for name, values in columns.items()}
    return {name: values for name, values in clean.items() if values is not None}


def _clean(values: Any) -> np.ndarray | None:
    """A column as numbers or as an object array of str; None for what a table cannot hold."""
    values = np.asarray(values)
    if values.ndim != 1:
        return None
    if values.dtype.kind in "biuf":
        return values
    if values.dtype.kind in "US":
        return np.array([str(value) for value in values], dtype=object)
    plain = [value for value in values if value is not None and value == value]
    if all(isinstance(value, (int, float, np.number)) for value in plain):
        return np.array([np.nan if value is None else float(value) for value in values])
    if all(isinstance(value, (str, int, float, np.generic)) for value in plain):
        return np.array(["" if value is None or value != value else str(value) for value in values], dtype=object)
    return None


def _take_labels(columns: dict[str, np.ndarray], name: str | None, n_units: int) -> np.ndarray:
    """Take the cell types out of the columns."""
    wanted = LABEL_COLUMN if name is None else name
    if wanted == "none" or (name is None and wanted not in columns):
        return np.full(n_units, UNLABELLED)
    if wanted not in columns:
        raise ConfigError(_no_column(wanted, columns))
    return np.array([str(value) for value in columns.pop(wanted)], dtype=str)


def _no_column(wanted: str, columns: Mapping[str, np.ndarray]) -> str:
    """What to say of an unknown label column."""
    known = ", ".join(columns) or "none"
    return f"label_column '{wanted}'{suggest(wanted, columns)}; columns of the units: {known}; 'none' = no labels"

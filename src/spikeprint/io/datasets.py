"""Dataset folders. Enters: a folder of one of three layouts. Leaves: core types, and the way back for two of them.

``arrays`` (spike trains and templates) <-> ``Sorting``; ``csv`` (any widths, any quirks) -> ``SourceTable``;
canonical (the package's own contract) <-> ``UnitTable``. docs/architecture.md lists the files of each.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ConfigError, DataError, suggest
from ..core.files import atomic_folder, read_json, write_csv, write_json
from ..core.types import MODALITIES, UNLABELLED, SourceTable, UnitTable
from .arrays import SORTING_FILES, read_sorting, write_sorting
from .csvs import (
    MISSING,
    check_folder,
    check_unique,
    read_cells,
    read_frame,
    read_numbers,
    require_names,
    shorten,
    write_numbers,
)

__all__ = [
    "CARD_FILE",
    "SORTING_FILES",
    "SOURCE_FILES",
    "find_csv",
    "read_canonical",
    "read_canonical_frames",
    "read_sorting",
    "read_source_table",
    "write_canonical",
    "write_sorting",
]

LOGGER = logging.getLogger(__name__)

REGION_FILE = "super_regions.csv"
SOURCE_FILES = (*(m.file for m in MODALITIES.values()), "labels.csv", "celltypes.csv", "metadata.csv", REGION_FILE)
"""Files of a ``csv`` folder that are read; anything else in it is ignored."""
CARD_FILE = "representation.json"
REQUIRED = ("waveform", "isi")
"""Modalities that a ``csv`` folder must hold, though where both histograms are there, waveforms may be absent."""
LARGEST = 1e30
"""No measurement is larger; beyond, sums and squares overflow float32."""
LABEL_NAMES = ("label", "labels", "cell_type", "cell type", "celltype")
"""A column of this name, in lower case, holds the labels, wherever it is; else the last column does."""
FEW_LABELS = 10
"""So many labels that are all different are no cell types."""

_REGIONS = ("region", "source_region", "source_brain_region")
_TEXT_COLUMNS = ("unit_id", "session_id", "cell_type", "flags", "qc_reason", *_REGIONS)
_METADATA = {"unit_id": ("unit_id", "neuron_id"), "region": ("region",)}
"""What is taken from ``metadata.csv`` -> columns that may hold it, the first that is there."""
_INDEX_NAMES = ("", "Unnamed: 0")
_PRINTED_BYTES = re.compile(r"""^b(['"])(.*)\1$""")


def read_source_table(folder: Path, label_column: str | None = None) -> SourceTable:
    """Read a folder of CSV files, one row per unit, header names without meaning.

    Index columns written by pandas are dropped, printed byte strings (``b'PkC_ss'``) unwrapped, ``celltypes.csv``
    taken for ``labels.csv``, a wholly empty row taken for a missing modality. Unit ids come from ``metadata.csv``
    (``unit_id`` or ``neuron_id``), else they are "0", "1", ... The last column of ``super_regions.csv``, else the
    column ``region`` of ``metadata.csv``, tells the brain region of each unit.

    Parameters
    ----------
    label_column : column of ``labels.csv``; None takes the one with a name of ``LABEL_NAMES``, else the last; "none"
        ignores the file

    Raises
    ------
    DataError
        A needed file is missing, empty or without a header; row counts differ; a cell is not a finite number up to
        1e30; a row is empty in part; a histogram is negative; unit ids repeat; 10 labels or more all differ.
    ConfigError
        ``labels.csv`` has no column ``label_column``.
    """
    folder = check_folder(folder)
    there = [name for name, modality in MODALITIES.items() if (folder / modality.file).is_file()]
    names = there if {"isi", "acg"} <= set(there) else [name for name in MODALITIES if name in (*REQUIRED, *there)]
    arrays = {name: _read_modality(folder / MODALITIES[name].file, name != "waveform") for name in names}
    counts = {MODALITIES[name].file: len(values) for name, values in arrays.items()}
    n_units = len(arrays[names[0]])
    label_path, labels = _read_labels(folder, label_column, n_units)
    regions = _read_regions(folder / REGION_FILE, n_units)
    known = _read_metadata(folder / "metadata.csv", n_units)
    told = [(label_path.name, labels)] if labels is not None else []
    told += [("metadata.csv", values) for values in known.values()] + [(REGION_FILE, v) for v in regions.values()]
    counts |= {name: len(values) for name, values in told}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"{folder}: row counts differ: {listed}; every file needs one row per unit, in the same order")
    known |= regions
    return SourceTable(
        known.pop("unit_id", np.array([str(i) for i in range(n_units)])),
        arrays,
        np.full(n_units, UNLABELLED) if labels is None else labels,
        known,
    )


def find_csv(path: Path) -> list[Path]:
    """Return the files of a ``csv`` folder, none when neither waveforms nor intervals are there."""
    needed = [MODALITIES[name].file for name in REQUIRED]
    is_csv = path.is_dir() and any((path / name).is_file() for name in needed)
    return [path / name for name in SOURCE_FILES if (path / name).is_file()] if is_csv else []


def write_canonical(folder: Path, table: UnitTable) -> None:
    """Write a canonical folder, atomically; it reads back identically."""
    with atomic_folder(folder) as temporary:
        for name, modality in MODALITIES.items():
            write_numbers(temporary / modality.file, modality.columns, getattr(table, name))
        write_csv(temporary / "labels.csv", pd.DataFrame({"cell_type": table.labels}))
        write_csv(temporary / "metadata.csv", table.metadata)
        write_json(temporary / CARD_FILE, table.card)


def read_canonical(folder: Path) -> UnitTable:
    """Read a canonical folder that has passed validation.

    Raises
    ------
    DataError
        A file is missing, a column of a matrix is not the one of its place, or row counts differ.
    """
    folder = check_folder(folder)
    arrays = {}
    for name, modality in MODALITIES.items():
        header, values = read_numbers(folder / modality.file, np.float32 if name == "waveform" else np.float64)
        if tuple(header) != modality.columns:
            found, needed = f"{len(header)} columns from '{header[0]}'", f"'{modality.columns[0]}'"
            raise DataError(
                f"{folder / modality.file}: {found}, {modality.length} from {needed} are needed; rerun the features"
            )
        arrays[name] = values
    metadata = read_frame(folder / "metadata.csv", text=_TEXT_COLUMNS)
    labels = read_frame(folder / "labels.csv", text=_TEXT_COLUMNS)
    require_names(folder / "metadata.csv", metadata.columns, ("unit_id",))
    require_names(folder / "labels.csv", labels.columns, ("cell_type",))
    return UnitTable(
        **arrays,
        labels=labels["cell_type"].to_numpy(dtype=str),
        metadata=metadata,
        card=read_json(folder / CARD_FILE),
    )


def read_canonical_frames(folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Read a canonical folder as it stands, for validation: file name -> table, and the card.

    Columns with cells that are not numbers come as text; nothing is checked but that the files can be parsed.

    Raises
    ------
    DataError
        A file is missing, empty or ragged.
    """
    folder = check_folder(folder)
    names = (*(m.file for m in MODALITIES.values()), "labels.csv", "metadata.csv")
    frames = {name: read_frame(folder / name, text=_TEXT_COLUMNS) for name in names}
    return frames, read_json(folder / CARD_FILE)


def _is_index(name: str, column: Sequence[str]) -> bool:
    """Tell whether pandas wrote this column of text: no name, and whole numbers below, of which none repeats.

    They are 0, 1, 2, ... unless rows were dropped before it was written.
    """
    return name in _INDEX_NAMES and all(cell.isdecimal() for cell in column) and len(set(column)) == len(column)


def _read_modality(path: Path, is_histogram: bool) -> np.ndarray:
    """(n_units, width) float64 without the index column; each row wholly finite or wholly NaN."""
    header, values = read_numbers(path)
    _check_header(path, header)
    first = values[:, 0]
    is_counting = bool(np.isfinite(first).all() and (first >= 0).all() and (first % 1 == 0).all())
    n_dropped = int(header[0] in _INDEX_NAMES and is_counting and len(np.unique(first)) == len(first))
    values = values[:, n_dropped:]
    if values.shape[1] == 0:
        raise DataError(f"{path}: only an index column; one column per sample or bin is needed")
    empty = np.isnan(values)
    faults = {
        "infinite; finite numbers are needed": np.isinf(values),
        f"too large; numbers up to {LARGEST:g} are needed": np.abs(values) > LARGEST,
        "empty though the row is not; fill the row, or empty all of it": empty & ~empty.all(axis=1, keepdims=True),
        "negative; a histogram is never below 0": (values < 0) & is_histogram,
    }
    for what, cells in faults.items():
        if cells.any():
            row, column = np.argwhere(cells)[0]
            value = "" if np.isnan(values[row, column]) else f"{values[row, column]:g} is "
            raise DataError(
                f"{path}: row {row + 1}, column {column + 1 + n_dropped}: {value}{what} "
                f"({cells.sum()} such cells in {cells.any(axis=1).sum()} rows)"
            )
    return values


def _check_header(path: Path, header: Sequence[str]) -> None:
    """Raise when all names are numbers but not an axis, i.e. evenly spaced up to rounding: a unit stands there."""
    try:
        numbers = np.array([float(name) for name in header])
    except ValueError:
        return
    step = (numbers[-1] - numbers[0]) / max(len(numbers) - 1, 1) if np.isfinite(numbers).all() else 0.0
    away = np.abs(numbers - numbers[0] - step * np.arange(len(numbers)))
    if len(numbers) > 1 and (step == 0 or not (away < abs(step) / 4).all()):
        raise DataError(
            f"{path}: the first row ('{shorten(','.join(header))}') looks like data: the first row must be a header; "
            "add one, e.g. 0,1,2,..."
        )


def _check_classes(path: Path, names: Sequence[str], name: str, labels: np.ndarray) -> None:
    """Raise when every label is another one: the column holds ids or numbers, not cell types."""
    known = labels[labels != UNLABELLED]
    if len(known) >= FEW_LABELS and len(set(known)) == len(known):
        others = ", ".join(other for other in names if other != name) or "none"
        raise DataError(
            f"{path}: column '{name}' holds {len(known)} labels, all different; cell types are needed: "
            f"choose another column by --label-column (there are: {others}), or ignore labels: --label-column none"
        )


def _read_labels(folder: Path, column: str | None, n_units: int) -> tuple[Path, np.ndarray | None]:
    """The label file that was used and its (n_rows,) str, ``""`` where missing; None without labels."""
    path = next((p for p in (folder / "labels.csv", folder / "celltypes.csv") if p.is_file()), folder / "labels.csv")
    if column == "none" or not path.is_file():
        if column not in (None, "none"):
            raise ConfigError(f"{path}: missing, but label column '{column}' was asked for")
        return path, None
    names, name, labels = _read_column(path, column, n_units)
    if column is None and len(names) > 1:
        LOGGER.warning(
            "%s: labels are taken from column '%s' (--label-column: one of %s)", path, name, ", ".join(names)
        )
    _check_classes(path, names, name, labels)
    return path, labels


def _read_regions(path: Path, n_units: int) -> dict[str, np.ndarray]:
    """``region`` -> (n_rows,) str, ``""`` where missing; empty without the file."""
    return {"region": _read_column(path, None, n_units)[2]} if path.is_file() else {}


def _read_metadata(path: Path, n_units: int) -> dict[str, np.ndarray]:
    """Keys of ``_METADATA`` -> (n_rows,) str, those that the file has; empty without the file."""
    if not path.is_file():
        return {}
    header, rows = _read_rows(path, n_units)
    found = {}
    for key, names in _METADATA.items():
        name = next((name for name in names if name in header), None)
        if name is not None:
            found[key] = _read_texts(path, header, rows, header.index(name))
            if key == "unit_id":
                check_unique(path, name, found[key])
    return found


def _read_column(path: Path, wanted: str | None, n_units: int) -> tuple[list[str], str, np.ndarray]:
    """Names of a file's columns but the index, the ``wanted`` one (None: see ``LABEL_NAMES``), its (n_rows,) str."""
    header, rows = _read_rows(path, n_units)
    keep = [i for i, name in enumerate(header) if not _is_index(name, [row[i] if i < len(row) else "" for row in rows])]
    if not keep:
        raise DataError(f"{path}: only an index column; a column of words is needed")
    names = [header[i] for i in keep]
    if wanted is not None and wanted not in names:
        raise ConfigError(f"{path}: no column '{wanted}'{suggest(wanted, names)}; columns: {', '.join(names)}")
    usual = (name for name in names if name.strip().lower() in LABEL_NAMES)
    position = keep[names.index(wanted or next(usual, names[-1]))]
    return names, header[position], _read_texts(path, header, rows, position)


def _read_rows(path: Path, n_units: int) -> tuple[list[str], list[list[str]]]:
    """Header and rows: with one column a blank line is a unit without a word, with several, or at the end, none."""
    header, rows = read_cells(path)
    while rows and not rows[-1] and len(rows) > n_units:
        rows.pop()
    return header, rows if len(header) == 1 else [row for row in rows if row]


def _read_texts(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], position: int) -> np.ndarray:
    """One column as (n_rows,) str: trimmed, printed byte strings unwrapped, ``""`` where missing."""
    for number, row in enumerate(rows, 1):
        if row and len(row) != len(header):
            raise DataError(f"{path}: row {number}: {len(row)} cells, the header has {len(header)}")
    texts = [_PRINTED_BYTES.sub(r"\2", row[position].strip()).strip() if row else "" for row in rows]
    return np.array(["" if text.lower() in MISSING else text for text in texts], dtype=str)

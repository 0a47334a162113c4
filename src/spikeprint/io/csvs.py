"""CSV files as arrays and text. Enters: a path. Leaves: numbers or cells, or a ``DataError`` that names the cell.

Rows are counted from 1 below the header, columns from 1 as they stand in the file, so a message can be followed in a
spreadsheet. Numbers are parsed by pyarrow (every digit kept); only a file that it refuses is read again, slowly, to
find the cells at fault.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc

from ..core.errors import DataError, suggest
from ..core.files import atomic_path

MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>"})
"""Cells (lower case, trimmed) that mean "no value"."""
DELIMITERS = {";": "semicolons", "\t": "tabs"}
"""What some programs write between cells instead of commas."""
QUOTED = 40
"""At most so many characters of a cell are shown in a message."""


def read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a CSV file as text.

    Returns
    -------
    header : list of str, trimmed
    rows : one list of cells for each line; a blank line is an empty list, blank lines at the end are kept

    Raises
    ------
    DataError
        The file is missing, empty, or not UTF-8 text.
    """
    lines = _lines(path)
    header = [cell.strip() for cell in next(lines)]
    return header, list(lines)


def read_numbers(path: Path, dtype: type[np.floating] = np.float64) -> tuple[list[str], np.ndarray]:
    """Read a CSV file of numbers below a header.

    Returns
    -------
    header : list of str, trimmed
    values : (n_rows, n_columns) of ``dtype``; empty cells are NaN

    Raises
    ------
    DataError
        The file is missing or empty, a row is longer or shorter than the header, or a cell is not a number.
    """
    header = [cell.strip() for cell in next(_lines(path))]
    try:
        table = _parse(path, header, {name: pa.from_numpy_dtype(dtype) for name in _positions(header)})
    except pa.ArrowInvalid:
        return header, _find_fault(path, header).astype(dtype)
    return header, np.column_stack([column.to_numpy() for column in table.columns]).astype(dtype, copy=False)


def read_frame(path: Path, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file as a table whose columns find their own type; columns in ``text`` stay text.

    A column with one cell that is not a number becomes text as a whole, so that a validator can show the cell.

    Raises
    ------
    DataError
        The file is missing or empty, or a row is longer or shorter than the header.
    """
    header = [cell.strip() for cell in next(_lines(path))]
    types = {position: pa.string() for position, name in zip(_positions(header), header, strict=True) if name in text}
    try:
        table = _parse(path, header, types)
    except pa.ArrowInvalid as error:
        _check_shape(path, header, list(_lines(path))[1:])
        raise DataError(f"{path}: not comma-separated text ({error})") from None
    # a column without a single value holds missing numbers, not objects
    fields = [pa.field(f.name, pa.float64() if pa.types.is_null(f.type) else f.type) for f in table.schema]
    frame = table.cast(pa.schema(fields)).to_pandas()
    frame.columns = pd.Index(header)
    return frame


def write_numbers(path: Path, columns: Sequence[str], values: np.ndarray) -> None:
    """Write a matrix below a header, atomically; NaN becomes an empty cell, whole numbers have no decimal point."""
    arrays = [pa.array(column, from_pandas=True) for column in values.T]
    table = pa.Table.from_arrays(arrays, names=list(columns))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write((",".join(columns) + "\n").encode())
        pc.write_csv(table, file, pc.WriteOptions(include_header=False))


def check_folder(folder: Path) -> Path:
    """Return ``folder`` as a path; raise DataError unless it is a folder."""
    folder = Path(folder)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "missing"
        raise DataError(f"{folder}: {found}; a dataset folder is needed")
    return folder


def require_names(path: Path | str, found: Iterable[str], needed: Sequence[str]) -> None:
    """Raise DataError when one of the ``needed`` columns or keys is not in the file."""
    found = [str(name) for name in found]
    for name in needed:
        if name not in found:
            raise DataError(f"{path}: no '{name}'{suggest(name, found)}; found: {', '.join(found[:10])}")


def check_unique(path: Path, column: str, unit_ids: np.ndarray) -> None:
    """Raise DataError at the first empty or repeated unit id."""
    repeated = pd.Series(unit_ids).duplicated().to_numpy() | (unit_ids == "")
    if repeated.any():
        row = int(np.argmax(repeated))
        raise DataError(
            f"{path}: row {row + 1}, column {column}: '{unit_ids[row]}' is empty or stands in an earlier row "
            f"({repeated.sum()} such rows); unit ids must be unique"
        )


def _positions(header: Sequence[str]) -> list[str]:
    """Unique column names: those of the file carry no meaning and may repeat."""
    return [str(i) for i in range(len(header))]


def _parse(path: Path, header: Sequence[str], types: dict[str, pa.DataType]) -> pa.Table:
    """Parse what stands below the header; pyarrow raises ArrowInvalid for ragged rows and cells of another type."""
    options = pc.ReadOptions(column_names=_positions(header), skip_rows=1)
    table = pc.read_csv(path, read_options=options, convert_options=pc.ConvertOptions(column_types=types))
    if table.num_rows == 0:
        raise DataError(f"{path}: only a header; one row per unit is needed")
    return table


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line, the header first."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if header in ([], [""]):
                raise DataError(f"{path}: empty or no header; a header row and one row per unit are needed")
            _check_delimiter(path, header)
            yield header
            yield from reader
    except FileNotFoundError:
        raise DataError(f"{path}: missing; this file is needed") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not UTF-8 comma-separated text ({error}); save it as CSV UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _check_delimiter(path: Path, header: Sequence[str]) -> None:
    """Raise when the header is one cell that another delimiter than the comma cuts in several."""
    for mark, name in DELIMITERS.items():
        if len(header) == 1 and mark in header[0]:
            raise DataError(
                f"{path}: cells are separated by {name} ('{shorten(header[0])}'); "
                "commas are needed: save it as comma-separated CSV with decimal points"
            )


def shorten(text: str) -> str:
    """Return ``text``, cut to what a one-line message can quote."""
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def _check_shape(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raise when there are no rows, or rows as long as the header are not all there is."""
    if not rows:
        raise DataError(f"{path}: only a header; one row per unit is needed")
    ragged = [number for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if ragged:
        found = len(rows[ragged[0] - 1])
        raise DataError(
            f"{path}: row {ragged[0]}: {found} cells, the header has {len(header)} "
            f"({len(ragged)} such rows); every row needs one cell per column"
        )


def _find_fault(path: Path, header: Sequence[str]) -> np.ndarray:
    """Raise the located error that pyarrow's refusal stands for; the values, if only spelling troubled it."""
    rows = [row for row in list(_lines(path))[1:] if row]
    _check_shape(path, header, rows)
    cells = np.char.strip(np.array(rows, dtype=str))
    missing = np.isin(np.char.lower(cells), sorted(MISSING))
    values = np.column_stack([pd.to_numeric(pd.Series(column), errors="coerce") for column in cells.T])
    bad = np.isnan(values) & ~missing
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{path}: row {row + 1}, column {column + 1}: '{shorten(cells[row, column])}' is not a number "
            f"({bad.sum()} such cells in {bad.any(axis=1).sum()} rows); "
            "write a number, or leave the whole row empty where a unit lacks this measurement"
        )
    return values

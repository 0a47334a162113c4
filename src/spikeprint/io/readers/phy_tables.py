"""What people and sorters say of clusters. Enters: ``cluster_*.tsv`` of a phy folder. Leaves: columns by cluster."""

import csv
from pathlib import Path

from ...core.errors import DataError
from .shared import one_line

_ID_COLUMNS = ("cluster_id", "id")
_PATTERNS = ("cluster_*.tsv", "cluster_group*.csv")
"""phy's columns, and the groups as phy 1 wrote them."""


def find_cluster_tables(folder: Path) -> list[Path]:
    """Return the files with columns of clusters, in the order of their names."""
    return sorted(file for pattern in _PATTERNS for file in folder.glob(pattern))


def read_cluster_table(folder: Path) -> dict[str, dict[int, str]]:
    """Read all columns of clusters; a file of its own wins over ``cluster_info``, which phy copies.

    Returns
    -------
    column -> cluster -> cell as text; cells that are empty are not there

    Raises
    ------
    DataError
        A file is not a table with a cluster number in each row.
    """
    columns: dict[str, dict[int, str]] = {}
    for path in sorted(find_cluster_tables(folder), key=lambda file: not file.stem.endswith("_info")):
        for name, cells in _read_file(path).items():
            columns.setdefault(name, {}).update(cells)
    return columns


def _read_file(path: Path) -> dict[str, dict[int, str]]:
    """One file; phy separates by tabs, whatever the name says."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(text.splitlines(), delimiter="\t" if "\t" in text.partition("\n")[0] else ","))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path}: not UTF-8 tab-separated text ({one_line(error)})") from None
    header = [name.strip() for name in rows[0]] if rows else []
    place = next((header.index(name) for name in _ID_COLUMNS if name in header), None)
    if place is None:
        raise DataError(f"{path}: columns {', '.join(header) or 'none'}; a column cluster_id is needed")
    columns: dict[str, dict[int, str]] = {name: {} for name in header if name not in _ID_COLUMNS}
    for number, row in enumerate(rows[1:], 1):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}: row {number}: {len(row)} cells, the header has {len(header)}")
        try:
            cluster = int(row[place])
        except ValueError:
            raise DataError(f"{path}: row {number}: cluster_id '{row[place][:40]}' is not a whole number") from None
        for name, cell in zip(header, row, strict=True):
            if name in columns and cell.strip():
                columns[name][cluster] = cell.strip()
    return columns

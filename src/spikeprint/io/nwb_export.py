"""Columns for an NWB units table. Enters: one value per unit. Leaves: the file with these columns, else as it was.

A copy beside the file is changed, opened by pynwb, and only then takes the file's name. Where a link is given, all of
this happens to the file that it leads to.
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.files import atomic_path
from .phy_export import resolve_writable
from .readers.nwb_file import as_text, check_readable, one_line, open_nwb, read_units_table

PREFIX = "spikeprint_"
"""Every column that this project writes begins so; none of them is ever read as a label unless asked for."""


@dataclass(frozen=True)
class NewColumn:
    """A column of one text or number per unit, in the order of the file's units."""

    description: str
    values: np.ndarray


def list_unit_ids(path: Path) -> np.ndarray:
    """(n_units,) str, ids in the units table of an .nwb file, in its order.

    Raises
    ------
    DataError
        The file is damaged or has no units.
    """
    with open_nwb(path) as file:
        return read_units_table(path, file).unit_ids


def add_unit_columns(path: Path, columns: Mapping[str, NewColumn], overwrite: bool = False) -> None:
    """Add columns to the units table of an .nwb file; every other object and attribute stays as it is.

    Parameters
    ----------
    path : .nwb file, or a link to it, which stays a link
    columns : name, beginning with ``PREFIX`` -> one value for each row of the units table
    overwrite : replace columns of these names

    Raises
    ------
    DataError
        A column exists already, values do not fit the units, the file is write-protected, its folder cannot be
        written, or pynwb cannot read the result. The file is unchanged then.
    """
    with open_nwb(path) as file:
        table = read_units_table(path, file)
        there = [name for name in columns if name in table.group]
    for name, column in columns.items():
        if not name.startswith(PREFIX) or len(column.values) != table.n_units:
            raise DataError(
                f"{path}: column '{name}' with {len(column.values)} values; a name that begins with '{PREFIX}' and "
                f"{table.n_units} values are needed"
            )
    if there and not overwrite:
        raise DataError(f"{path}: its units table has {' and '.join(there)} already; --overwrite replaces them")
    try:
        with copy_to_change(path, path) as copy:
            _change(copy, columns)
            _check(path, copy, columns)
    except (OSError, RuntimeError) as error:  # h5py tells of a full disk by either
        raise DataError(f"{path}: cannot be written ({one_line(error)}); it is unchanged") from None


@contextmanager
def copy_to_change(source: Path, out: Path) -> Iterator[Path]:
    """Give a copy of ``source`` that takes the name of ``out`` when the block ends, and vanishes when it fails.

    A link stays a link, and a file that is replaced gives its permissions to the new one.

    Raises
    ------
    DataError
        ``out`` is write-protected.
    """
    target = resolve_writable(out)
    mode = target.stat().st_mode if target.exists() else None
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        yield temporary
    if mode is not None:
        os.chmod(target, mode)


def _change(path: Path, columns: Mapping[str, NewColumn]) -> None:
    """Write the columns into the copy and name them in ``colnames``, without which readers pass them over."""
    import h5py

    text = h5py.string_dtype()
    with h5py.File(path, "r+") as file:
        group = file["units"]
        names = [name for name in as_text(group.attrs.get("colnames", [])) if name not in columns]
        for name, column in columns.items():
            if name in group:
                del group[name]
            is_text = column.values.dtype.kind in "OU"
            values = column.values.astype(object) if is_text else column.values
            dataset = group.create_dataset(name, data=values, dtype=text if is_text else None, maxshape=(None,))
            _describe(dataset, column.description, _text(group["id"].attrs.get("namespace", "hdmf-common")))
        group.attrs.create("colnames", [*names, *columns], dtype=text)


def _describe(dataset: Any, description: str, namespace: str) -> None:
    """The attributes by which NWB knows a column; its namespace is that of the ids, it differs between versions."""
    attributes = {
        "description": description,
        "namespace": namespace,
        "neurodata_type": "VectorData",
        "object_id": str(uuid.uuid4()),
    }
    for key, value in attributes.items():
        dataset.attrs[key] = value


def _check(path: Path, copy: Path, columns: Mapping[str, NewColumn]) -> None:
    """Raise DataError unless pynwb reads the copy and the columns hold what was meant."""
    try:
        check_readable(copy)
    except DataError as error:
        raise DataError(f"{path}: with the new columns {error}; the file is unchanged") from None
    with open_nwb(copy) as file:
        for name, column in columns.items():
            found = file["units"][name][...]
            is_equal = (as_text(found) == as_text(column.values)).all()
            if not is_equal:
                raise DataError(f"{path}: column '{name}' does not read back as written; the file is unchanged")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""One series, table or column of an NWB file. Enters: an .nwb file and a key. Leaves: what is stored, unscaled."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import MissingKey
from ..readers.nwb_file import as_text, is_dataset, is_group, open_nwb

PLACES = ("acquisition", "processing", "stimulus", "analysis", "intervals", "units")
KINDS = ("series", "table", "column")
"""What a key may name; where it names several, the first kind is meant."""
TOLD = 20
"""Entries that a message lists."""


def read_nwb_arrays(path: Path, key: str | None) -> dict[str | None, Any]:
    """Return ``{key: content}`` of one entry; a table is a ``DataFrame`` of its columns with one value per row.

    Parameters
    ----------
    key : a path in the file or its end: ``running_speed`` or ``processing/behavior/running_speed`` is the data of a
        time series, ``trials`` a table, ``trials/start_time`` its column; None = the only time series

    Raises
    ------
    MissingKey
        Nothing, or more than one entry, goes by the key; the message lists what is there.
    DataError
        The file is missing or damaged.
    """
    content: dict[str | None, Any] = {}
    with open_nwb(path) as file:
        entries = _list_entries(file)
        names = _find(entries, key)
        if len(names) == 1:
            content[key] = _read(file, names[0], entries[names[0]])
    if content:
        return content
    told = [name for name, kind in entries.items() if kind != "column"] if key is None else list(entries)
    there = (
        f"there are: {', '.join(told[:TOLD]) or 'none'}{f' and {len(told) - TOLD} more' if len(told) > TOLD else ''}"
    )
    if names:
        asked = (
            "several time series, name one as key" if key is None else f"several entries '{key}', give more of its path"
        )
        raise MissingKey(f"{path}: {asked}: {', '.join(names[:TOLD])}")
    asked = "no time series; name an entry as key" if key is None else f"no entry '{key}'"
    raise MissingKey(f"{path}: {asked}; {there} (binned spikes are read by Population.from_nwb)")


def _list_entries(file: Any) -> dict[str, str]:
    """Path of every series, table and column -> its kind, series first."""
    found: dict[str, str] = {}
    for place in PLACES:
        if is_group(file, place):
            _collect(file[place], place, found)
    return dict(sorted(found.items(), key=lambda entry: KINDS.index(entry[1])))


def _collect(group: Any, name: str, found: dict[str, str]) -> None:
    if is_dataset(group, "data") and (is_dataset(group, "timestamps") or is_dataset(group, "starting_time")):
        found[name] = "series"
    elif "colnames" in group.attrs:
        found[name] = "table"
        found.update((f"{name}/{column}", "column") for column in _list_columns(group))
    else:
        for inner in group:
            if is_group(group, inner):
                _collect(group[inner], f"{name}/{inner}", found)


def _list_columns(group: Any) -> list[str]:
    """Columns with a value for each row: not ragged ones, nor references to other objects."""
    import h5py

    names = [name for name in as_text(group.attrs["colnames"]) if is_dataset(group, name)]
    return [
        name for name in names if f"{name}_index" not in group and h5py.check_ref_dtype(group[name].dtype) is None
        and group[name].dtype.names is None
    ]  # fmt: skip


def _find(entries: dict[str, str], key: str | None) -> list[str]:
    """Entries of the first kind that has any of this key."""
    for kind in KINDS if key is not None else KINDS[:1]:
        names = [name for name, own in entries.items() if own == kind]
        names = names if key is None else [name for name in names if f"/{name}".endswith(f"/{key.strip('/')}")]
        if names:
            return names
    return []


def _read(file: Any, name: str, kind: str) -> Any:
    if kind == "series":
        return file[name]["data"][...]
    if kind == "column":
        return _as_column(file[name][...])
    columns = {column: _as_column(file[name][column][...]) for column in _list_columns(file[name])}
    return pd.DataFrame({column: values for column, values in columns.items() if values.ndim == 1})


def _as_column(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return as_text(array) if array.dtype.kind in "OSU" else array

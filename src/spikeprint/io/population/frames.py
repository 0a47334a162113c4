"""Tables that pandas wrote as HDF5. Enters: a group of the file. Leaves: a ``DataFrame``; nothing is run.

pandas reads them through PyTables, which unpickles whatever the attributes hold. Their layout is plain: blocks of
columns of one type, in a ``fixed`` or a ``table`` store; names of columns are read by an unpickler that runs nothing.
"""

import io
from typing import Any

import numpy as np
import pandas as pd

from ..readers.unpickle import RestrictedUnpickler

KIND = "pandas_type"
"""Attribute by which a group is known as one of pandas' tables."""


def read_frame(group: Any) -> pd.DataFrame:
    """Return the columns of a stored ``DataFrame`` or ``Series``, in their order; the index is left out.

    Raises
    ------
    ValueError
        A layout that is not known.
    """
    kind = _text(group.attrs[KIND])
    if kind not in LAYOUTS:
        raise ValueError(f"a table of kind '{kind}'; known: {', '.join(LAYOUTS)}")
    return LAYOUTS[kind](group)


def _read_fixed(group: Any) -> pd.DataFrame:
    names = _read_index(group, "axis0")
    columns = {}
    for number in range(int(group.attrs["nblocks"])):
        items, stored = _read_index(group, f"block{number}_items"), group[f"block{number}_values"]
        values = _decode(stored[...]).reshape(-1, len(items))
        for item, column in zip(items, values.T, strict=True):
            columns[item] = column
    return _in_order(columns, names)


def _read_table(group: Any) -> pd.DataFrame:
    stored, table = group["table"], group["table"][...]
    ((_, names),) = _unpickle(group.attrs["non_index_axes"])
    columns = {}
    for field in _unpickle(group.attrs["values_cols"]):
        values = table[field].reshape(len(table), -1)
        if _text(stored.attrs.get(f"{field}_dtype", b"")) == "bool":
            values = values.astype(bool)
        values = _decode(values)
        for item, column in zip(_unpickle(stored.attrs[f"{field}_kind"]), values.T, strict=True):
            columns[item] = column
    info = _unpickle(group.attrs["info"]).get(1, {})
    levels = group.attrs["levels"]
    inner = _unpickle(levels) if isinstance(levels, bytes) else []  # levels of the rows' index stand among the columns
    frame = _in_order(columns, [name for name in names if name not in inner])
    if frame.columns.nlevels > 1:
        frame.columns.names = info.get("names")
    return frame


def _read_series(group: Any) -> pd.DataFrame:
    stored = group["values"]
    return pd.DataFrame({"values": _decode(stored[...]).ravel()})


def _read_series_table(group: Any) -> pd.DataFrame:
    table = group["table"][...]
    (field,) = _unpickle(group.attrs["values_cols"])
    return pd.DataFrame({"values": _decode(table[field]).ravel()})


LAYOUTS = {
    "frame": _read_fixed,
    "frame_table": _read_table,
    "series": _read_series,
    "series_table": _read_series_table,
}
"""What pandas calls a layout -> its reader."""


def _in_order(columns: dict[Any, np.ndarray], names: Any) -> pd.DataFrame:
    """The columns as ``names`` has them; tuples are names of several levels."""
    index = names if isinstance(names, pd.Index) else pd.Index(names, tupleize_cols=True)
    frame = pd.DataFrame({place: columns[name] for place, name in enumerate(index)})
    frame.columns = index
    return frame


def _read_index(group: Any, key: str) -> pd.Index:
    if _text(group.attrs.get(f"{key}_variety", b"regular")) != "multi":
        return pd.Index(_decode(group[key][...]).tolist())
    levels, codes, names = [], [], []
    for number in range(int(group.attrs[f"{key}_nlevels"])):
        level = group[f"{key}_level{number}"]
        levels.append(_decode(level[...]).tolist())
        codes.append(group[f"{key}_label{number}"][...])
        names.append(_text(level.attrs["name"]))
    return pd.MultiIndex(levels, codes, names=names)


def _decode(values: np.ndarray) -> np.ndarray:
    """Bytes as text, pickled objects as what they are."""
    if values.dtype.kind == "O":
        return np.asarray(_unpickle(values[0].tobytes()), dtype=object)
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8").astype(object)
    return values


def _unpickle(content: bytes) -> Any:
    return RestrictedUnpickler(io.BytesIO(bytes(content))).load()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

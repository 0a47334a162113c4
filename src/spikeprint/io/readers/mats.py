"""MATLAB files as plain Python. Enters: a ``.mat`` file, v5 or v7.3. Leaves: dicts, lists, text and arrays.

A struct becomes a dict, an array of structs a list of dicts, a cell array a list (column after column, as MATLAB
counts), text a str, numbers an array of MATLAB's shape. Tables and function handles, which MATLAB does not document,
become None.
"""

import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from .shared import one_line

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF5_AT = (0, 512)
_MCOS = ("function_handle", "FileWrapper__", "table", "string")


def is_hdf5(path: Path) -> bool:
    """Tell whether a file is HDF5, by its signature (MATLAB writes it 512 bytes in); False when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return any(file.seek(at) == at and file.read(len(HDF5_MAGIC)) == HDF5_MAGIC for at in _HDF5_AT)
    except OSError:
        return False


def read_mat(path: Path, variables: Collection[str] | None = None, fields: Collection[str] | None = None) -> dict:
    """Read a MATLAB file.

    Parameters
    ----------
    path : ``.mat`` file, v5 (or v4) or v7.3
    variables : names of those needed; None = all
    fields : of variables that are structs, the fields needed; the others are there, as None

    Returns
    -------
    name -> value; a variable that is absent is not there

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: missing; a MATLAB file is needed here")
    try:
        return (_read_hdf5 if is_hdf5(path) else _read_v5)(Path(path), variables, fields)
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, RuntimeError, AttributeError) as error:
        raise DataError(f"{path}: not a whole MATLAB file ({one_line(error)})") from None
    except (zlib.error, struct.error, MemoryError, OverflowError) as error:
        raise DataError(f"{path}: not a whole MATLAB file ({one_line(error)})") from None


def list_variables(path: Path) -> list[str]:
    """Return the names of the variables of a MATLAB file without reading them; none when it cannot be read."""
    import h5py
    from scipy.io import whosmat
    from scipy.io.matlab import MatReadError

    try:
        if is_hdf5(path):
            with h5py.File(path, "r") as file:
                return [name for name in file if not name.startswith("#")]
        return [name for name, _, _ in whosmat(path)]
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, RuntimeError, MatReadError):
        return []
    except (zlib.error, struct.error, MemoryError, OverflowError):
        return []


def _read_v5(path: Path, variables: Collection[str] | None, fields: Collection[str] | None) -> dict:
    """All of a v4 or v5 file that is wanted."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    names = None if variables is None else list(variables)
    try:
        found = loadmat(path, variable_names=names, struct_as_record=False, squeeze_me=False)
    except MatReadError as error:
        raise ValueError(str(error)) from None
    return {name: _from_v5(value, fields) for name, value in found.items() if not name.startswith("__")}


def _from_v5(value: Any, fields: Collection[str] | None = None) -> Any:
    """One value as scipy gives it."""
    from scipy.io.matlab import MatlabFunction, MatlabOpaque, mat_struct

    if isinstance(value, mat_struct):
        return {k: _from_v5(getattr(value, k)) if fields is None or k in fields else None for k in value._fieldnames}
    if isinstance(value, (MatlabOpaque, MatlabFunction)):
        return None
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "U":
        rows = [str(row) for row in value.ravel(order="F")]
        return (rows or [""])[0] if len(rows) < 2 else rows
    if value.dtype.kind != "O":
        return value
    items = [_from_v5(item, fields) for item in value.ravel(order="F")]
    is_struct = len(items) == 1 and isinstance(value.flat[0], mat_struct)
    return items[0] if is_struct else items


def _read_hdf5(path: Path, variables: Collection[str] | None, fields: Collection[str] | None) -> dict:
    """All of a v7.3 file that is wanted."""
    import h5py

    with h5py.File(path, "r") as file:
        names = [name for name in file if not name.startswith("#") and (variables is None or name in variables)]
        return {name: _from_hdf5(file, file[name], fields) for name in names}


def _from_hdf5(file: Any, item: Any, fields: Collection[str] | None = None) -> Any:
    """One group or dataset; MATLAB writes the transpose of its arrays."""
    import h5py

    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if isinstance(item, h5py.Group):
        found = {k: _from_hdf5(file, item[k]) if fields is None or k in fields else None for k in item}
        return _unzip(found) if _is_struct_array(item) else found
    if "MATLAB_empty" in item.attrs:
        return {"char": "", "cell": [], "struct": []}.get(kind, np.empty((0, 0)))
    if item.dtype.kind == "O":
        return [_from_hdf5(file, file[reference]) for reference in item[()].ravel()]
    if kind in _MCOS:
        return None
    values = item[()]
    if kind == "char":
        rows = ["".join(map(chr, row)) for row in np.atleast_2d(values.T)]
        return rows[0] if len(rows) == 1 else rows
    return values.T


def _is_struct_array(group: Any) -> bool:
    """Whether every field of a struct is a list of references without a class: one value for each element."""
    import h5py

    fields = [group[name] for name in group]
    return bool(fields) and all(
        isinstance(field, h5py.Dataset) and field.dtype.kind == "O" and "MATLAB_class" not in field.attrs
        for field in fields
    )


def _unzip(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """A struct of lists as a list of structs."""
    n = max((len(values) for values in columns.values() if values is not None), default=0)
    return [{k: None if values is None else values[i] for k, values in columns.items()} for i in range(n)]

"""One array from a file of any common kind. Enters: a path. Leaves: a NumPy array, nothing scaled or cleaned.

The kinds are those of ``cebra.load_data``. Pickles (``.pkl``, ``.jl``) run code when opened: they are read on request
only, and only as arrays and plain containers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import ConfigError, DataError, MissingKey, UnknownFileKind
from ..readers.mats import read_mat
from ..readers.shared import one_line
from ..readers.unpickle import DAMAGE
from .deeplabcut import CUTOFF, LEVELS, is_keypoints, read_keypoints
from .frames import KIND, read_frame
from .nwb_arrays import read_nwb_arrays

Columns = Sequence[str] | None
SEPARATORS = (",", ";", "\t")
LEAST_COUNTED = 3
"""From so many columns on a first line of 0, 1, 2, ... is what pandas names columns by default."""


def load_data(
    file: str | Path, key: str | None = None, columns: Sequence[str] | None = None, allow_pickle: bool = False
) -> np.ndarray:
    """Read one array.

    Parameters
    ----------
    file : ``.npy .npz .h5 .pt .csv .xlsx .parquet .mat .nwb`` and their variants; ``.jl .pkl`` with ``allow_pickle``
    key : entry of a file with several; default: the first array; of ``.nwb`` see ``nwb_arrays.read_nwb_arrays``
    columns : of a table; of one by DeepLabCut, ``.h5`` or ``.csv``, its keypoints, see ``load_deeplabcut``

    Raises
    ------
    UnknownFileKind
        An ending that is not known (a ``ValueError`` and an ``OSError``).
    MissingKey
        No such entry (a ``KeyError``); the message lists those that are there.
    DataError
        The file is missing, damaged or without an array.
    """
    path = Path(file)
    return _as_array(path, _pick(path, _read(path, key, allow_pickle), key), columns)


def load_deeplabcut(
    filepath: str | Path, keypoints: Sequence[str] | None = None, pcutoff: float = CUTOFF
) -> np.ndarray:
    """Read the keypoints of one animal from an ``.h5`` or ``.csv`` of DeepLabCut.

    Parameters
    ----------
    keypoints, pcutoff : see ``deeplabcut.read_keypoints``

    Returns
    -------
    (n_frames, 2 * n_keypoints), a row for each frame of the video.

    Raises
    ------
    MissingKey, DataError
        No such keypoint; the file is missing, damaged, or holds no table of DeepLabCut.
    """
    path = Path(filepath)
    content = _read(path, None, False)
    tables = [table for table in (content.values() if isinstance(content, dict) else [content]) if is_keypoints(table)]
    if not tables:
        raise DataError(f"{path}: no table of DeepLabCut; columns of the levels {', '.join(LEVELS)} are needed")
    return read_keypoints(tables[0], str(path), keypoints, pcutoff)


def load_labelled(
    file: str | Path, names: Sequence[str], key: str | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read one array and what else stands beside it in the file.

    Parameters
    ----------
    names : columns of a table, which are then no columns of the array, or entries of a file with several
    key : entry of the array; default: the first that is none of ``names``

    Returns
    -------
    The array (rows x units), and those of ``names`` that the file holds.

    Raises
    ------
    UnknownFileKind, MissingKey, DataError
        As ``load_data``.
    """
    path = Path(file)
    content = _read(path, None, False)
    if isinstance(content, dict):
        found = {name: np.squeeze(np.asarray(content[name])) for name in names if name in content}
        return _as_array(path, _pick(path, {k: v for k, v in content.items() if k not in found}, key), None), found
    if isinstance(content, pd.DataFrame):
        found = {name: content[name].to_numpy() for name in names if name in content}
        content = content.drop(columns=list(found))
        text = [str(name) for name in content if not pd.api.types.is_numeric_dtype(content[name])]
        if text:
            raise DataError(
                f"{path}: columns of text among the units: {', '.join(text)}; name them as labels or drop them"
            )
        return _as_array(path, content, None), found
    return _as_array(path, content, None), {}


def _read(path: Path, key: str | None, allow_pickle: bool) -> Any:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UnknownFileKind(f"{path}: ending '{path.suffix}' is not known; known: {', '.join(READERS)}")
    if not path.is_file():
        raise DataError(f"{path}: missing")
    if reader is _read_pickle and not allow_pickle:
        raise ConfigError(f"{path}: a pickle can run code when opened; pass allow_pickle=True if you made it yourself")
    try:
        return reader(path, key)
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read ({one_line(error)})") from None


def _pick(path: Path, content: Any, key: str | None) -> Any:
    if not isinstance(content, dict):
        return content
    if key is not None:
        if key not in content:
            raise MissingKey(f"{path}: no entry '{key}'; there are: {', '.join(map(str, content)) or 'none'}")
        return content[key]
    for value in content.values():
        if isinstance(value, pd.DataFrame) or (np.ndim(value) > 0 and np.asarray(value).dtype.kind in "biufc"):
            return value
    raise DataError(f"{path}: no array among {', '.join(map(str, content)) or 'nothing'}")


def _as_array(path: Path, value: Any, columns: Columns) -> np.ndarray:
    if is_keypoints(value):
        return read_keypoints(value, str(path), columns)
    if isinstance(value, pd.DataFrame):
        if columns is not None:
            if value.columns.nlevels > 1:
                raise DataError(f"{path}: columns can be chosen from a table with one level of names only")
            if missing := [name for name in columns if name not in value]:
                raise MissingKey(f"{path}: no columns {missing}; there are: {', '.join(map(str, value.columns))}")
            value = value[list(columns)]
        return value.to_numpy()
    if columns is not None:
        raise DataError(f"{path}: columns were asked for, but the entry is no table")
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise DataError(f"{path}: the entry is {array.dtype}, numbers are needed")
    return array


def _read_npy(path: Path, key: str | None) -> Any:
    return np.load(path, allow_pickle=False)


def _read_npz(path: Path, key: str | None) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if key in (None, name)} or dict.fromkeys(archive.files)


def _read_hdf5(path: Path, key: str | None) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        tables = [name for name in file if isinstance(file[name], h5py.Group) and KIND in file[name].attrs]
        arrays: dict[str, Any] = {}
        inside = tuple(f"{name}/" for name in tables)

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and not name.startswith(inside):
                arrays[name] = item[()]

        file.visititems(collect)
        if key is not None and key not in (*tables, *arrays):
            raise MissingKey(f"{path}: no entry '{key}'; there are: {', '.join([*tables, *arrays]) or 'none'}")
        if key is None and len(tables) > 1:
            raise MissingKey(f"{path}: several tables, name one as key: {', '.join(tables)}")
        try:
            return {**{name: read_frame(file[name]) for name in tables if key in (None, name)}, **arrays}
        except DAMAGE as error:
            raise DataError(f"{path}: a table of pandas that cannot be read ({one_line(error)})") from None


def _read_torch(path: Path, key: str | None) -> Any:
    import torch

    content = torch.load(path, weights_only=True, map_location="cpu")
    if isinstance(content, dict):
        return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in content.items()}
    return content.numpy()


def _read_csv(path: Path, key: str | None) -> Any:
    lines = _first_lines(path, 4)
    separator = max(SEPARATORS, key=lambda mark: lines[0].count(mark)) if lines else ","
    first = [cell.strip().strip('"') for cell in lines[0].split(separator)] if lines else []
    if first[:1] == [LEVELS[0]]:  # DeepLabCut: names of the frame, and then three or four lines of names of columns
        n_lines = sum(line.split(",", 1)[0] in (*LEVELS, "individuals") for line in lines)
        n_names = next((place for place, cell in enumerate(first) if place and cell), 1)
        return pd.read_csv(path, header=list(range(n_lines)), index_col=list(range(n_names)))
    options: Any = {"sep": separator, "decimal": "," if separator == ";" else "."}
    if _has_header(first):
        return pd.read_csv(path, index_col=0 if first[0] == "" else None, **options)
    return pd.read_csv(path, header=None, **options)


def _first_lines(path: Path, n: int) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return [line for _, line in zip(range(n), file, strict=False)]


def _has_header(cells: Sequence[Any]) -> bool:
    """Whether the first line of a table holds names: text, an unnamed index, or the numbers that pandas counts by."""
    names = [str(cell) for cell in cells]
    counted = [str(number) for number in range(len(names))]
    is_counted = len(names) >= LEAST_COUNTED and names == counted
    return is_counted or names[:1] == [""] or any(not _is_number(name) for name in names)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _read_excel(path: Path, key: str | None) -> Any:
    try:
        sheets = pd.read_excel(path, sheet_name=None, header=None)
        named = [name for name, sheet in sheets.items() if len(sheet) and _has_header(sheet.iloc[0].tolist())]
        named_sheets = pd.read_excel(path, sheet_name=named) if named else {}
        return {str(name): named_sheets.get(name, sheet) for name, sheet in sheets.items()}
    except ImportError:
        raise DataError(f"{path}: a workbook needs openpyxl; pip install openpyxl") from None


def _read_parquet(path: Path, key: str | None) -> Any:
    return pd.read_parquet(path)


def _read_matlab(path: Path, key: str | None) -> Any:
    return {name: value for name, value in read_mat(path).items() if not name.startswith("__")}


def _read_pickle(path: Path, key: str | None) -> Any:
    from .pickles import read_pickle

    return read_pickle(path)


READERS: dict[str, Callable[[Path, str | None], Any]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    **dict.fromkeys((".h5", ".hdf", ".hdf5", ".h"), _read_hdf5),
    **dict.fromkeys((".pt", ".pth"), _read_torch),
    ".csv": _read_csv,
    **dict.fromkeys((".xls", ".xlsx", ".xlsm"), _read_excel),
    ".parquet": _read_parquet,
    ".mat": _read_matlab,
    ".nwb": read_nwb_arrays,
    **dict.fromkeys((".jl", ".pkl", ".p"), _read_pickle),
}
"""Ending -> how such a file is read."""

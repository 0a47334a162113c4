"""NWB files as HDF5. Enters: the path of an .nwb file. Leaves: its units table, one read per column."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError

UNITS = "units"
# What h5py raises where bytes are missing or wrong; KeyError is its answer to an object whose header is damaged.
_DAMAGE = (OSError, RuntimeError, KeyError, UnicodeDecodeError)


@contextmanager
def open_nwb(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises
    ------
    DataError
        The file is missing, is not HDF5, or turns out damaged while the block reads it.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: missing; an .nwb file is needed") from None
    except _DAMAGE as error:
        raise DataError(f"{path}: not a whole HDF5 file ({one_line(error)}); copy or download it again") from None


@dataclass(frozen=True)
class UnitsTable:
    """The units table of an open file.

    Attributes
    ----------
    path : for messages
    group : h5py group /units
    unit_ids : (n_units,) str
    """

    path: Path
    group: Any
    unit_ids: np.ndarray

    @property
    def n_units(self) -> int:
        """Number of rows."""
        return len(self.unit_ids)

    def has(self, name: str) -> bool:
        """Whether the table has a column of this name."""
        return is_dataset(self.group, name)

    def attribute(self, name: str, key: str) -> Any:
        """Attribute ``key`` of column ``name``; None where either is absent."""
        return self.group[name].attrs.get(key) if self.has(name) else None

    def offsets(self, name: str, n_values: int) -> np.ndarray | None:
        """(n_rows + 1,) int64: row i of a ragged column owns values ``offsets[i]:offsets[i + 1]``; None if not ragged.

        Raises
        ------
        DataError
            The index steps back or does not end at ``n_values``.
        """
        index = f"{name}_index"
        if not self.has(index):
            return None
        offsets = np.concatenate([[0], self.group[index][...].astype(np.int64)])
        if (np.diff(offsets) < 0).any() or offsets[-1] != n_values:
            raise DataError(
                f"{self.path}: units/{index} ends at {offsets[-1]} of {n_values} values or steps back; "
                "each row must end where the next begins: the file is damaged or was written badly"
            )
        return offsets

    def ragged(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Read a ragged column in one slice: its values, and (n_units + 1,) int64 offsets.

        Raises
        ------
        DataError
            There is no index, or it does not fit the units and the values.
        """
        values = self.group[name][...]
        offsets = self.offsets(name, len(values))
        if offsets is None and self.n_units == 1:
            offsets = np.array([0, len(values)])
        if offsets is None or len(offsets) != self.n_units + 1:
            found = "missing" if offsets is None else f"{len(offsets) - 1} rows"
            raise DataError(f"{self.path}: units/{name}_index: {found}; one row for each of {self.n_units} units")
        return values, offsets


def read_units_table(path: Path, file: Any) -> UnitsTable:
    """The units table of an open file; row numbers stand for ids where the file has none.

    Raises
    ------
    DataError
        There is no units table with spike times, it has no rows, or an id repeats.
    """
    if not has_units(file):
        raise DataError(f"{path}: no units table with spike_times; {_describe(file)}")
    group = file[UNITS]
    n_units = len(group["id"]) if is_dataset(group, "id") else len(group.get("spike_times_index", []))
    if n_units == 0:
        raise DataError(f"{path}: its units table has no rows; at least one unit is needed")
    unit_ids = as_text(group["id"][...] if is_dataset(group, "id") else np.arange(n_units))
    names, counts = np.unique(unit_ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{path}: units/id '{names[counts > 1][0]}' stands twice; unit ids must be unique")
    return UnitsTable(path, group, unit_ids)


def has_units(file: Any) -> bool:
    """Whether an open file has a units table with spike times."""
    return is_group(file, UNITS) and is_dataset(file[UNITS], "spike_times")


def count_traces(file: Any) -> int:
    """Number of raw ElectricalSeries of an open file: those under acquisition that are no LFP."""
    return len(_find_series(file["acquisition"])) if is_group(file, "acquisition") else 0


def is_dataset(group: Any, name: str) -> bool:
    """Whether ``name`` is a dataset of an h5py group; a broken link is not."""
    import h5py

    return isinstance(group.get(name), h5py.Dataset)


def is_group(group: Any, name: str) -> bool:
    """Whether ``name`` is a group of an h5py group."""
    import h5py

    return isinstance(group.get(name), h5py.Group)


def as_text(values: np.ndarray) -> np.ndarray:
    """Text, bytes or numbers as (n,) str; NaN becomes ``""``."""
    return np.array([_cell(value) for value in np.asarray(values).ravel()], dtype=str)


def one_line(error: BaseException) -> str:
    """The message of an error of another library without line breaks, at most 200 characters."""
    return " ".join(str(error).split())[:200]


def check_readable(path: Path) -> None:
    """Raise DataError unless pynwb opens the file and builds its units table."""
    from hdmf.build import BuildError, ConstructError
    from pynwb import NWBHDF5IO

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pynwb tells of old schemas, which are none of our business
            with NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
                io.read().units.to_dataframe()
    except (*_DAMAGE, BuildError, ConstructError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"pynwb cannot read it ({one_line(error)})") from None


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else str(int(value)) if float(value).is_integer() else str(value)
    return str(value).strip()


def _find_series(group: Any) -> list[str]:
    """Names of the series; a soft link names one that stands elsewhere (Allen links its LFP so)."""
    import h5py

    found = []
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.SoftLink):
            continue
        kind = _cell(group[name].attrs.get("neurodata_type", "")) if group.get(name) is not None else ""
        if kind == "ElectricalSeries":
            found.append(name)
        elif kind not in ("", "LFP") and is_group(group, name):
            found += _find_series(group[name])
    return found


def _describe(file: Any) -> str:
    """What a file without units holds, and what can be done with it."""
    n_traces = count_traces(file)
    if n_traces:
        return f"it holds {n_traces} raw ElectricalSeries: add it as a recording, with a sorter"
    if "nwb_version" not in file.attrs:
        return f"it is no NWB file (it holds {', '.join(list(file)[:8]) or 'nothing'}); choose a file with sorted units"
    held = [
        f"{place}/{name}" for place in ("acquisition", "processing") if is_group(file, place) for name in file[place]
    ]
    return f"it holds {', '.join(held[:8]) or 'no data'}; choose a file with sorted units"

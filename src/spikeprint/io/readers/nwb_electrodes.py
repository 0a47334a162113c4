"""Electrodes of NWB units. Enters: a units table. Leaves: the electrodes of each unit and where they lie."""

from itertools import pairwise
from typing import Any

import numpy as np

from ...core.errors import DataError
from .nwb_file import UnitsTable, is_dataset, is_group

ELECTRODES = "general/extracellular_ephys/electrodes"
_POSITIONS = (("rel_x", "rel_y"), ("x", "y"))


def read_electrodes(table: UnitsTable) -> list[np.ndarray]:
    """Rows of the electrodes table of each unit, (n,) int64; empty where the units table does not tell.

    Raises
    ------
    DataError
        The column does not fit the units.
    """
    if not table.has("electrodes"):
        return [np.empty(0, dtype=np.int64)] * table.n_units
    column = table.group["electrodes"]
    if column.ndim == 1 and table.has("electrodes_index"):
        values, offsets = table.ragged("electrodes")
        return [values[a:b].astype(np.int64) for a, b in pairwise(offsets)]
    if len(column) != table.n_units:
        raise DataError(f"{table.path}: units/electrodes has {len(column)} rows; one for each of {table.n_units} units")
    return [np.atleast_1d(row).astype(np.int64) for row in column[...]]


def count_electrodes(file: Any) -> int:
    """Rows of the electrodes table."""
    return len(file[ELECTRODES]["id"]) if is_group(file, ELECTRODES) and is_dataset(file[ELECTRODES], "id") else 0


def find_positions(table: UnitsTable, file: Any, electrodes: list[np.ndarray], n_channels: int) -> np.ndarray | None:
    """Places of the channels of ``n_channels``-channel waveforms, µm.

    Returns
    -------
    (n_units, n_channels, 2) where each unit names that many electrodes, NaN beyond its own; (n_channels, 2) where the
    file has that many electrodes in all; None where neither holds: the channels cannot be told

    Raises
    ------
    DataError
        A unit names an electrode that the file does not have.
    """
    places = _read_places(file)
    if places is None:
        return None
    if max(map(len, electrodes)) != n_channels:
        return places if len(places) == n_channels else None
    positions = np.full((table.n_units, n_channels, 2), np.nan)
    for unit, own in enumerate(electrodes):
        if len(own) and (own.min() < 0 or own.max() >= len(places)):
            raise DataError(
                f"{table.path}: units/electrodes of unit {table.unit_ids[unit]} names rows {own.min()} to {own.max()}; "
                f"the electrodes table has {len(places)}"
            )
        positions[unit, : len(own)] = places[own]
    return positions


def _read_places(file: Any) -> np.ndarray | None:
    """(n_electrodes, 2) µm: place on the probe, else in the brain; None where all are equal or unknown."""
    table = file[ELECTRODES] if is_group(file, ELECTRODES) else {}
    for names in _POSITIONS:
        if all(is_dataset(table, name) and table[name].dtype.kind in "fiu" for name in names):
            places = np.column_stack([table[name][...].astype(np.float64) for name in names])
            known = places[np.isfinite(places).all(axis=1)]
            if len(np.unique(known, axis=0)) > 1 or (len(places) == 1 and len(known)):
                return places
    return None

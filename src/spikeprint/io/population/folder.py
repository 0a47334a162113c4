"""The folder of a population. Enters: counts, tables, labels. Leaves: ``counts.npy``, CSVs and ``meta.json``; and back.

``counts.npy`` is memory-mapped when read. Nothing is pickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import DataError
from ...core.files import atomic_folder, read_json, write_csv, write_json

COUNTS, META = "counts.npy", "meta.json"
TABLES = ("segments", "units")
TEXT = {"unit_id": str, "probe": str, "region": str, "quality": str}
WIDE = 8
"""A label with more columns than this has a file of its own, ``label_<name>.npy``."""


@dataclass(frozen=True)
class PopulationParts:
    """What the folder of a population holds, unchecked.

    Attributes
    ----------
    counts : (n_rows, n_units), memory-mapped
    tables : ``segments`` and ``units``
    labels : name -> (n_rows,) or (n_rows, d)
    valid : (n_rows,) bool
    meta : content of ``meta.json``
    """

    counts: np.ndarray
    tables: dict[str, pd.DataFrame]
    labels: dict[str, np.ndarray]
    valid: np.ndarray
    meta: dict[str, Any]


def write_parts(folder: Path, parts: PopulationParts) -> None:
    """Write the folder; it appears whole or not at all."""
    columns: dict[str, np.ndarray] = {"valid": parts.valid}
    layout: dict[str, int] = {}
    with atomic_folder(Path(folder)) as temporary:
        np.save(temporary / COUNTS, np.ascontiguousarray(parts.counts), allow_pickle=False)
        for name in TABLES:
            write_csv(temporary / f"{name}.csv", parts.tables[name])
        for name, values in parts.labels.items():
            layout[name] = 0 if values.ndim == 1 else values.shape[1]
            if layout[name] > WIDE:
                np.save(temporary / f"label_{name}.npy", values, allow_pickle=False)
            else:
                columns |= (
                    {name: values} if values.ndim == 1 else {f"{name}.{i}": values[:, i] for i in range(layout[name])}
                )
        write_csv(temporary / "labels.csv", pd.DataFrame(columns))
        kinds = {name: values.dtype.str for name, values in parts.labels.items()}
        write_json(temporary / META, {**parts.meta, "labels": layout, "label_types": kinds})


def read_parts(folder: Path) -> PopulationParts:
    """Read a folder that ``write_parts`` wrote.

    Raises
    ------
    DataError
        A file is missing or damaged.
    """
    folder = Path(folder)
    meta = read_json(folder / META)
    try:
        counts = np.load(folder / COUNTS, mmap_mode="r", allow_pickle=False)
        tables = {name: pd.read_csv(folder / f"{name}.csv", dtype=TEXT) for name in TABLES}
        frame = pd.read_csv(folder / "labels.csv", keep_default_na=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: not a whole population folder ({' '.join(str(error).split())[:200]})") from None
    labels = {name: _read_label(folder, frame, name, width, meta) for name, width in meta.get("labels", {}).items()}
    return PopulationParts(counts, tables, labels, frame["valid"].to_numpy(dtype=bool), meta)


def _read_label(folder: Path, frame: pd.DataFrame, name: str, width: int, meta: Mapping[str, Any]) -> np.ndarray:
    kind = np.dtype(meta["label_types"][name])
    columns = [name] if width == 0 else [f"{name}.{i}" for i in range(width)]
    if width > WIDE:
        return np.load(folder / f"label_{name}.npy", allow_pickle=False)
    if missing := [column for column in columns if column not in frame]:
        raise DataError(f"{folder / 'labels.csv'}: no columns {missing}; meta.json names them")
    values = frame[columns].to_numpy()
    return (values[:, 0] if width == 0 else values).astype(kind)

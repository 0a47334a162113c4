"""Units of many datasets, one after another. Enters: canonical tables. Leaves: plain arrays and words."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.types import UnitTable
from ..features.transforms import INPUT_LENGTHS

ORIGIN = ("dataset", "technology", "species", "representation")
"""What is known of where units come from; keys of a canonical card."""
REGION_COLUMNS = ("region", "source_region", "source_brain_region")
"""Columns of the metadata that may tell the brain region of each unit, the first that is there."""


@dataclass(frozen=True)
class Units:
    """Canonical units of all datasets, one after another.

    Attributes
    ----------
    raw : modality -> (n, canonical length); NaN row = missing
    origin : each of ``ORIGIN``, and ``region``, -> (n,) str
    labels : (n,) str, ``""`` where unknown or withheld
    """

    raw: dict[str, np.ndarray]
    origin: dict[str, np.ndarray]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Units":
        """Return the units of a mask or an index."""
        return Units(
            {name: x[rows] for name, x in self.raw.items()},
            {name: words[rows] for name, words in self.origin.items()},
            self.labels[rows],
        )


def stack_units(tables: Mapping[str, UnitTable]) -> Units:
    """Join canonical tables, dataset name -> UnitTable, into one set of units."""
    origin = {key: np.concatenate([np.full(len(t.labels), t.card[key]) for t in tables.values()]) for key in ORIGIN}
    origin["region"] = np.concatenate([tell_regions(t) for t in tables.values()])
    raw = {
        name: np.concatenate([np.asarray(getattr(t, name), dtype=np.float64) for t in tables.values()])
        for name in INPUT_LENGTHS
    }
    return Units(raw, origin, np.concatenate([t.labels for t in tables.values()]).astype(str))


def tell_regions(table: UnitTable) -> np.ndarray:
    """Return the brain region of each unit (n_units,) str, ``""`` where the metadata does not tell."""
    column = next((name for name in REGION_COLUMNS if name in table.metadata), None)
    if column is None:
        return np.full(len(table.labels), "")
    return table.metadata[column].fillna("").to_numpy(dtype=str)

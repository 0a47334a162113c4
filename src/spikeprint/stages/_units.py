"""What train and embed share: all canonical units, who may teach, and who is tested when."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.config import Params
from ..cvae.units import Units, stack_units
from ..evaluate.splits import make_folds
from ..features.transforms import normalise
from ..io.datasets import read_canonical


@dataclass(frozen=True)
class StudyUnits:
    """The units of all datasets of ``params.yaml``, in its order.

    Attributes
    ----------
    units : all n units
    folds : (n,) int64, fold in which a unit is tested, -1 = never
    teaches : (n,) bool, passed quality control; the others are embedded and scored but never learnt from
    has_data : (n,) bool, some modality carries information; the others are never scored and get no prediction
    unit_ids : (n,) str
    """

    units: Units
    folds: np.ndarray
    teaches: np.ndarray
    has_data: np.ndarray
    unit_ids: np.ndarray


def load_units(root: Path, params: Params) -> StudyUnits:
    """Read the canonical folders and assign the folds of each."""
    tables = {name: read_canonical(root / "data" / "canonical" / name) for name in params.datasets}
    split = params.evaluate
    folds = [
        make_folds(table.labels, split.n_folds, split.split_seed, split.min_units_per_class)
        for table in tables.values()
    ]
    units = stack_units(tables)
    passes_qc = np.concatenate([table.metadata["passes_qc"].to_numpy(dtype=bool) for table in tables.values()])
    has_data = np.asarray(normalise(units.raw)[1].any(axis=1))
    return StudyUnits(
        units=units,
        folds=np.where(has_data, np.concatenate(folds), -1),
        teaches=passes_qc & has_data,
        has_data=has_data,
        unit_ids=np.concatenate([table.unit_ids for table in tables.values()]),
    )

"""What train, embed and evaluate share: all canonical units and who is tested when."""

from pathlib import Path

import numpy as np

from ..core.config import Params
from ..cvae.units import Units, stack_units
from ..evaluate.splits import make_folds
from ..io.datasets import read_canonical


def load_units(root: Path, params: Params) -> tuple[Units, np.ndarray, np.ndarray]:
    """Read the datasets of ``params.yaml`` in its order.

    Returns
    -------
    units : all units
    folds : (n,) int64, fold in which a unit is tested, -1 = never
    unit_ids : (n,) str
    """
    tables = {name: read_canonical(root / "data" / "canonical" / name) for name in params.datasets}
    split = params.evaluate
    folds = [
        make_folds(table.labels, split.n_folds, split.split_seed, split.min_units_per_class)
        for table in tables.values()
    ]
    return stack_units(tables), np.concatenate(folds), np.concatenate([table.unit_ids for table in tables.values()])

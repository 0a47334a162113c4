"""Trainings that are cut short. Enters: what decides a training. Leaves: the folder in which its states wait.

A training that is killed and started again with the same data, parameters, seed and code finds its folder; anything
else makes another.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = Path(__file__).resolve().parents[1]


def find_store(root: Path, stage: str) -> Path:
    """Return the folder in which the trainings of a stage wait."""
    return root / ".dvc" / "tmp" / "spikeprint" / stage


def forget(store: Path) -> None:
    """Remove the trainings of a stage that has written its outputs."""
    shutil.rmtree(store, ignore_errors=True)


def digest_training(values: Any, arrays: Mapping[str, np.ndarray], code: tuple[str, ...]) -> str:
    """Return a name for everything that decides a training.

    Parameters
    ----------
    values : parameters and seed, as JSON can hold them; arrays : what is learnt from
    code : rooms and modules of the package whose text may decide a network
    """
    found = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, column in sorted(arrays.items()):
        text = column.astype(str).tolist() if column.dtype.kind in "UO" else None
        found.update(name.encode() + (json.dumps(text).encode() if text is not None else column.tobytes()))
    for room in code:
        for path in sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / room]:
            found.update(path.read_bytes())
    return found.hexdigest()[:32]

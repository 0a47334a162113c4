"""Networks of a training that was cut short. Enters: what a network is trained from. Leaves: the network, once trained.

A finished network is kept in ``.dvc/tmp`` under the digest of everything that decides it (units, labels, parameters,
seed, code) until its stage has written its outputs. A stage that is killed and run again trains only what is missing.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..core.config import ModelParams
from ..core.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from ..cvae.fit import FittedCVAE
from ..cvae.units import Units
from ..training import Curve

PACKAGE = Path(__file__).resolve().parents[1]
CODE = ("cvae", "core", "evaluate", "features", "training.py")
"""Rooms whose code may decide a network."""


def find_store(root: Path, stage: str) -> Path:
    """Return the folder in which finished networks of a stage wait for the others."""
    return root / ".dvc" / "tmp" / "spikeprint" / stage


def train_once(
    store: Path, units: Units, params: ModelParams, seed: int, fit: Callable[[Units, ModelParams, int], FittedCVAE]
) -> FittedCVAE:
    """Return ``fit(units, params, seed)``, from ``store`` where an earlier run has left it there."""
    folder = store / _digest(units, params, seed)
    if (folder / "fitted.json").is_file():
        card = read_json(folder / "fitted.json")
        curves = [Curve(**point) for point in card["curves"]]
        return FittedCVAE(card["config"], read_arrays(folder / "arrays.safetensors"), curves)
    fitted = fit(units, params, seed)
    with atomic_folder(folder) as temporary:
        write_arrays(temporary / "arrays.safetensors", fitted.arrays)
        card = {"config": fitted.config, "curves": [asdict(point) for point in fitted.curves]}
        write_json(temporary / "fitted.json", card)
    return fitted


def forget(store: Path) -> None:
    """Remove the networks of a stage that has written its outputs."""
    shutil.rmtree(store, ignore_errors=True)


def _digest(units: Units, params: ModelParams, seed: int) -> str:
    found = hashlib.sha256(json.dumps([params.model_dump(), seed], sort_keys=True).encode())
    for name, values in sorted({**units.raw, **units.origin, "labels": units.labels}.items()):
        text = values.astype(str).tolist() if values.dtype.kind in "UO" else None
        found.update(name.encode() + (json.dumps(text).encode() if text is not None else values.tobytes()))
    for room in CODE:
        for path in sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / room]:
            found.update(path.read_bytes())
    return found.hexdigest()[:32]

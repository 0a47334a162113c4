"""Networks of a training that was cut short. Enters: what a network is trained from. Leaves: the network, once trained.

A finished network is kept in ``.dvc/tmp`` under the digest of everything that decides it (units, labels, parameters,
seed, code) until its stage has written its outputs. A stage that is killed and run again trains only what is missing.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..core.config import ModelParams
from ..core.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from ..core.resume import digest_training
from ..cvae.fit import FittedCVAE
from ..cvae.units import Units
from ..training import Curve

CODE = ("cvae", "core", "evaluate", "features", "training.py")
"""Rooms whose code may decide a network."""


def train_once(
    store: Path, units: Units, params: ModelParams, seed: int, fit: Callable[[Units, ModelParams, int], FittedCVAE]
) -> FittedCVAE:
    """Return ``fit(units, params, seed)``, from ``store`` where an earlier run has left it there."""
    arrays = {**units.raw, **units.origin, "labels": units.labels}
    folder = store / digest_training([params.model_dump(), seed], arrays, CODE)
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

"""Stage ``train@ablation``: canonical datasets -> one network per fold, per control fold, and the bundle that serves.

The network of fold k never meets the units tested in fold k, neither their labels nor their features.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ..core.compute import count_workers, map_tasks
from ..core.config import ModelParams, Params
from ..core.errors import DataError
from ..core.files import find_root, write_arrays, write_csv
from ..core.runtime import LOGGER, timed
from ..cvae.fit import FittedCVAE, add_head, fit_cvae
from ..cvae.units import Units
from ..evaluate.splits import shuffle_labels
from ..registry.bundle import write_bundle
from . import run_stage
from ._resume import find_store, forget, train_once
from ._units import StudyUnits, load_units


@dataclass(frozen=True)
class Task:
    """One network to train, and where finished ones wait."""

    store: Path
    name: str
    units: Units
    params: ModelParams
    seed: int


def main(argv: list[str]) -> None:
    """Train the ablation row named by the only argument."""
    (name,) = argv
    root = find_root()
    params = Params.load(root / "params.yaml")
    _require_validation(root, params)
    store = find_store(root, f"train-{name}")
    tasks = plan(store, load_units(root, params), params, params.ablation(name))
    is_alone = torch.cuda.is_available() or params.ablation(name).n_devices > 1
    n_workers = 1 if is_alone else count_workers()
    fitted: dict[str, FittedCVAE] = {}
    with timed(f"train@{name}: {len(tasks)} networks"):
        for task, result in zip(tasks, map_tasks(train, tasks, n_workers, "spikeprint.cvae.fit"), strict=True):
            fitted[task.name] = result
            epochs = max(point.epoch for point in result.curves) + 1
            LOGGER.info("  %-9s %4d units, %3d epochs", task.name, len(task.units), epochs)
    fitted["final"] = add_head(fitted["final"], tasks[0].units, params.ablation(name).head, params.seed)
    _write(root, name, fitted, params.ablation(name))
    forget(store)


def _require_validation(root: Path, params: Params) -> None:
    """DVC validates first; this holds where a stage is run by itself."""
    for name in params.datasets:
        if not (root / "reports" / "metrics" / "validation" / f"{name}.json").is_file():
            raise DataError(f"data/canonical/{name}: has not passed validation; run dvc repro validate@{name}")


def plan(store: Path, study: StudyUnits, params: Params, model: ModelParams) -> list[Task]:
    """List the networks: the final one on all units, one per fold without that fold, the same with shuffled labels.

    Only units that passed quality control are trained on.
    """
    units, folds, seed = study.units, study.folds, params.seed
    tasks = [Task(store, "final", units.take(study.teaches), model, seed)]
    shuffles = shuffle_labels(units.labels, units.origin["dataset"], folds, seed)
    for fold, shuffled in enumerate(shuffles):
        kept = study.teaches & (folds != fold)
        tasks.append(Task(store, f"fold_{fold}", units.take(kept), model, seed + 1 + fold))
        if fold < params.evaluate.control_folds:
            control = Units(units.raw, units.origin, shuffled)
            tasks.append(Task(store, f"control_{fold}", control.take(kept), model, seed + 1 + fold))
    return tasks


def train(task: Task) -> FittedCVAE:
    """Train one network, unless a run that was cut short has."""
    torch.set_num_threads(1)
    return train_once(task.store, task.units, task.params, task.seed, fit_cvae)


def _write(root: Path, name: str, fitted: dict[str, FittedCVAE], params: ModelParams) -> None:
    final = fitted["final"]
    folder = root / "models" / "cvae" / name
    curves = [(key, *vars(point).values()) for key, fit in fitted.items() for point in fit.curves]
    columns = ["model", "epoch", "split", "part", "value"]
    write_csv(root / "reports" / "plots" / "losses" / f"{name}.csv", pd.DataFrame(curves, columns=columns))
    write_bundle(folder, final.config, final.arrays, params.model_dump())
    others = {f"{key}.{k}": v for key, fit in fitted.items() if key != "final" for k, v in fit.arrays.items()}
    write_arrays(folder / "folds.safetensors", others)
    LOGGER.info("wrote %s", folder.relative_to(root))


if __name__ == "__main__":
    run_stage(main)

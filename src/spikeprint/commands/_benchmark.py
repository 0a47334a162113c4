"""Run studies of the benchmark. Enters: canonical tables, methods, parameters. Leaves: one row per study and method."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.compute import count_workers, map_tasks
from ..core.config import Params
from ..core.errors import NotEnoughSpikes
from ..core.runtime import LOGGER
from ..core.types import UnitTable
from ..cvae.units import Units, stack_units
from ..evaluate.protocol import Answer, Study, make_row, plan_folds, plan_transfer
from ._methods import Method, Trial, add_standardised, answer, meets_asked, plan_trials


def cross_validate(
    table: UnitTable, methods: Sequence[Method], params: Params, n_folds: int, split_seed: int, transductive: bool
) -> list[dict[str, Any]]:
    """Return one row per method: cross-validation within one dataset, by the published protocol.

    Raises
    ------
    DataError, ModelError
        Units from which nothing can be learnt.
    """
    units = stack_units({"": table})
    study = plan_folds(table.card["dataset"], units.labels, find_data(units), n_folds, split_seed)
    trials = plan_trials(study, units, methods, params, transductive)
    return score(study, units.labels, methods, run_trials(trials, study.name), transductive)


def transfer(
    source: UnitTable, target: UnitTable, methods: Sequence[Method], params: Params, transductive: bool
) -> list[dict[str, Any]]:
    """Return one row per method: learn from all of ``source``, predict ``target``, score the classes of both.

    Classical methods answer twice, the second time on features standardised by domain.

    Raises
    ------
    DataError, ModelError
        Fewer than two shared classes, or units from which nothing can be learnt.
    """
    units = stack_units({"source": source, "target": target})
    is_target = np.arange(len(units)) >= len(source.labels)
    name = f"{source.card['dataset']} -> {target.card['dataset']}"
    study = plan_transfer(name, units.labels, find_data(units), is_target)
    both = add_standardised(methods)
    trials = plan_trials(study, units, both, params, transductive)
    return score(study, units.labels, both, run_trials(trials, name), transductive)


def leave_class_out(table: UnitTable, method: Method, params: Params, split_seed: int) -> dict[str, Any]:
    """Return one row: how well units of a class that was left out of training are told from units of known types.

    For each class of the protocol the network learns the other classes on four of five folds. Its novelty of the fifth
    fold's known units is set against that of all units of the class: area under the ROC curve, 0.5 = chance.

    Raises
    ------
    DataError, ModelError
        Fewer than three classes, or units from which nothing can be learnt.
    """
    from sklearn.metrics import roc_auc_score

    units = stack_units({"": table})
    study = plan_folds(table.card["dataset"], units.labels, find_data(units), 5, split_seed)
    classes = np.unique(units.labels[study.counts])
    if len(classes) < 3:
        raise NotEnoughSpikes(f"{study.name}: {len(classes)} classes; leaving one out needs three")
    found = {}
    for name in classes:
        is_left = (units.labels == name) & study.counts
        asked = study.asked[0] | is_left
        one = Study(study.name, {0: study.teaches[0] & ~is_left}, {0: asked}, study.counts)
        (trial,) = plan_trials(one, units, [method], params, transductive=False)
        novelty = answer(trial)[method.variant].novelty
        if novelty is not None:
            found[str(name)] = float(roc_auc_score(is_left[asked], novelty))
    auroc = {"mean": float(np.mean(list(found.values()))), "classes": found}
    counts = {str(name): int((units.labels[study.counts] == name).sum()) for name in classes}
    return {
        "dataset": study.name,
        "method": f"{method.name}:novelty",
        "n_units": int(study.counts.sum()),
        "classes": counts,
        "auroc": auroc,
        "transductive": False,
    }


def find_data(units: Units) -> np.ndarray:
    """(n,) bool, units with some usable modality."""
    from ..features.transforms import normalise

    return np.asarray(normalise(units.raw)[1].any(axis=1))


def run_trials(trials: Sequence[Trial], name: str) -> dict[tuple[str, str, int], dict[str, Answer]]:
    """Answer all trials, in as many processes as there are workers; (solver, row, fold) -> variant -> answer."""
    answers = {}
    preload = "spikeprint.cvae.fit" if any(trial.model for trial in trials) else "spikeprint.evaluate.classical"
    for trial, found in zip(trials, map_tasks(answer, trials, _count_workers(trials), preload), strict=True):
        answers[trial.solver, trial.row, trial.fold] = found
        seconds = max(each.seconds for each in found.values())
        LOGGER.info("  %s: %s, fold %d, %.1f s", name, trial.row or trial.solver, trial.fold, seconds)
    return answers


def score(
    study: Study,
    labels: np.ndarray,
    methods: Sequence[Method],
    answers: Mapping[tuple[str, str, int], dict[str, Answer]],
    transductive: bool,
) -> list[dict[str, Any]]:
    """Set the answers of ``run_trials`` against the labels (n,) of the study's units; one row per method."""
    rows = []
    for method in methods:
        of_folds = {fold: answers[method.solver, method.row, fold][method.variant] for fold in study.asked}
        rows.append(make_row(study, labels, method.name, of_folds, meets_asked(method, transductive)))
    return rows


def _count_workers(trials: Sequence[Trial]) -> int:
    """One process where a GPU trains the networks."""
    if any(trial.model is not None for trial in trials):
        import torch

        if torch.cuda.is_available():
            return 1
    return count_workers()

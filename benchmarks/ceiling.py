"""How far the labels of the public datasets let one get: learning curves, and units that no method can place.

A target that is missed may be out of reach because units are few or because labels and features disagree. Two
measurements say which. The learning curve teaches the same folds with a part of their units: still rising at the end,
it asks for more units. Disputed units are called by one and the same wrong type by every method, the network and each
classical one, whenever they are tested, under every seed of the split: no method here can win them. The score that is
left when only they are lost is what a perfect use of these features by these methods would reach. Datasets are read
from ../shared/datasets and skipped, with a reason, where they are absent. `--quick` is a smoke run of made-up units.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from _common import Row, make_row

from cvae import UNIT, Size, run
from spikeprint.commands._benchmark import find_data, run_trials, score
from spikeprint.commands._methods import plan_trials, resolve_methods
from spikeprint.core.config import Params
from spikeprint.core.types import UnitTable
from spikeprint.cvae.units import Units, stack_units
from spikeprint.evaluate.classical import CLASSICAL
from spikeprint.evaluate.metrics import METRICS
from spikeprint.evaluate.protocol import Study, collect, plan_folds

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Parts of the training units of each class that teach."""


def thin(study: Study, labels: np.ndarray, share: float, seed: int) -> Study:
    """The same folds, taught by a part of the units of each class, at least two."""
    teaches = {}
    for fold, rows in study.teaches.items():
        rng = np.random.default_rng([seed, fold])
        kept = np.zeros(len(labels), dtype=bool)
        for name in np.unique(labels[rows & (labels != "")]):
            of_class = rng.permutation(np.flatnonzero(rows & (labels == name)))
            kept[of_class[: max(2, round(share * len(of_class)))]] = True
        teaches[fold] = kept
    return replace(study, teaches=teaches)


def measure_learning(tables: dict[str, UnitTable], params: Params, size: Size) -> Iterator[Row]:
    """Balanced accuracy on the published test folds against the number of units that teach."""
    for name, table in tables.items():
        yield from _learn(name, stack_units({"": table}), params, size)


def measure_disputed(tables: dict[str, UnitTable], params: Params, size: Size) -> Iterator[Row]:
    """Units that all methods call by the same wrong type under every seed of the split."""
    for name, table in tables.items():
        yield from _dispute(name, stack_units({"": table}), params, size)


PARTS = (measure_learning, measure_disputed)


def _learn(name: str, units: Units, params: Params, size: Size) -> Iterator[Row]:
    methods = resolve_methods(["production", size.vote], [], params)
    study = plan_folds(name, units.labels, find_data(units), size.n_folds, size.split_seeds[0])
    for share in SHARES:
        part = thin(study, units.labels, share, params.seed)
        trials = plan_trials(part, units, methods, params, False)
        n_teach = round(np.mean([rows.sum() for rows in part.teaches.values()]))
        for found in score(part, units.labels, methods, run_trials(trials, name), False):
            accuracy = found["balanced_accuracy"]
            label = f"{name}: {found['method']}, taught by {share:.0%} ({n_teach} units)"
            yield make_row(label, accuracy["mean"], UNIT, sd=accuracy["sd"], folds=accuracy["folds"])


def _dispute(name: str, units: Units, params: Params, size: Size) -> Iterator[Row]:
    members = [method for method in size.baselines if method in CLASSICAL]
    methods = resolve_methods(["production", *members], [], params)
    said = []
    for seed in size.split_seeds:
        study = plan_folds(name, units.labels, find_data(units), size.n_folds, seed)
        answers = run_trials(plan_trials(study, units, methods, params, False), name)
        for method in methods:
            of_folds = {fold: answers[method.solver, method.row, fold][method.variant] for fold in study.asked}
            found = collect(study, units.labels, of_folds)
            predicted = np.full(len(units), "", dtype=object)
            predicted[found.rows] = found.predicted
            said.append(predicted)
    votes, counts = np.array(said), study.counts
    labels, first = units.labels[counts], votes[0, counts]
    disputed = (votes[:, counts] == first).all(axis=0) & (first != labels)
    ever_right = (votes[:, counts] == labels).any(axis=0)
    balanced = METRICS["balanced_accuracy"]
    kinds = {str(k): int(n) for k, n in zip(*np.unique(labels[disputed], return_counts=True), strict=True)}
    label = f"{name}: score if only disputed units were lost ({int(disputed.sum())} of {len(labels)})"
    yield make_row(label, balanced(labels, np.where(disputed, first, labels)), UNIT, disputed=kinds)
    label = f"{name}: score if all that any method ever got right were won"
    yield make_row(label, balanced(labels, np.where(ever_right, labels, first)), UNIT)


if __name__ == "__main__":
    sys.exit(run(__doc__, PARTS, Size(split_seeds=(42, 0, 1))))

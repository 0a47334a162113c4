"""How far the labels of the public datasets let one get: learning curves, and units that no method can place.

A target that is missed may be out of reach because units are few or because labels and features disagree. Two
measurements say which. The learning curve teaches the same folds with a part of their units: still rising at the end,
it asks for more units. Disputed units are called by one and the same wrong type by every method, the network and each
classical one, whenever they are tested, under every seed of the split: no method here can win them. The score that is
left when only they are lost is what a perfect use of these features by these methods would reach. Datasets are read
from ../shared/datasets and skipped, with a reason, where they are absent. `--quick` is a smoke run of made-up units.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from cvae import ROOT, TARGETS, Row, Size, find_tables, make_up, row

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


def measure_learning(name: str, units: Units, params: Params, size: Size) -> Iterator[Row]:
    """Balanced accuracy on the published test folds against the number of units that teach."""
    methods = resolve_methods(["production", size.vote], [], params)
    study = plan_folds(name, units.labels, find_data(units), size.n_folds, size.split_seeds[0])
    for share in SHARES:
        part = thin(study, units.labels, share, params.seed)
        trials = plan_trials(part, units, methods, params, False)
        n_teach = round(np.mean([rows.sum() for rows in part.teaches.values()]))
        for found in score(part, units.labels, methods, run_trials(trials, name), False):
            accuracy = found["balanced_accuracy"]
            label = f"{name}: {found['method']}, taught by {share:.0%} ({n_teach} units)"
            yield row(label, accuracy["mean"], None, sd=accuracy["sd"], folds=accuracy["folds"])


def measure_disputed(name: str, units: Units, params: Params, size: Size) -> Iterator[Row]:
    """Units that all methods call by the same wrong type under every seed of the split."""
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
    yield row(label, balanced(labels, np.where(disputed, first, labels)), None, disputed=kinds)
    label = f"{name}: score if all that any method ever got right were won"
    yield row(label, balanced(labels, np.where(ever_right, labels, first)), None)


PARTS = (measure_learning, measure_disputed)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of made-up units")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows as JSON")
    parser.add_argument("--only", nargs="*", choices=[part.__name__ for part in PARTS], help="parts to run")
    parser.add_argument("--datasets", nargs="*", default=[*TARGETS], choices=[*TARGETS], help="datasets to run on")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    params, size = Params.load(ROOT / "params.yaml"), Size(split_seeds=(42, 0, 1))
    if arguments.quick:
        small = {"epochs": 2, "patience": 2, "n_hidden": 16, "n_latent": 4}
        params = params.model_copy(update={"model": params.model.model_copy(update=small)})
        size = Size(2, (42, 0), ("lda",), "lda")
        os.environ["SPIKEPRINT_WORKERS"] = "1"  # starting more would take longer than the work
    tables: dict[str, UnitTable] = make_up(params) if arguments.quick else find_tables(params, arguments.datasets)
    rows: list[Row] = []
    for part in PARTS:
        if arguments.only and part.__name__ not in arguments.only:
            continue
        for name, table in tables.items():
            for found in part(name, stack_units({"": table}), params, size):
                rows.append(found)
                spread = f" +- {found['sd']:.3f}" if "sd" in found else ""
                print(f"{found['name']:<75} {found['value']:.3f}{spread}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

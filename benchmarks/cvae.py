"""Cell types of the public datasets by the published protocol: ours beside the published numbers.

Folds are those of the published benchmark (docs/benchmark.md); published models saw the features of the test units,
ours do not. Every dataset gets the same treatment: nothing is chosen for one. Controls learn from labels that say
nothing (shuffled) or the wrong thing (shifted by one class) and are scored against the truth. The datasets are read
from ../shared/datasets and skipped, with a reason, where they are absent. `--quick` is a smoke run of made-up units:
its numbers mean nothing. `--json OUT` writes the rows. Exit code 1 when a target is missed.
"""

import operator
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from _common import ROOT, Part, Peer, Row, Target, make_parser, make_row, measure, report

from spikeprint.commands._benchmark import cross_validate, find_data, run_trials, score, transfer
from spikeprint.commands._methods import plan_trials, resolve_methods
from spikeprint.commands._raw import read_raw, try_features
from spikeprint.core.config import Params, make_dataset_params
from spikeprint.core.types import UnitTable
from spikeprint.cvae.units import stack_units
from spikeprint.evaluate.classical import CLASSICAL, VOTES
from spikeprint.evaluate.protocol import plan_folds

SHARED = ROOT.parent / "shared" / "datasets"
UNIT = "balanced accuracy"
MARGIN = 0.1
"""How far above chance a control may lie: about three standard deviations of a mean of five folds."""


@dataclass(frozen=True)
class Size:
    """How much is measured; the first split seed is the published one."""

    n_folds: int = 5
    split_seeds: tuple[int, ...] = (42, 0, 1, 2, 3)
    baselines: tuple[str, ...] = (*CLASSICAL, *VOTES)
    vote: str = "vote"


QUICK = Size(2, (42, 0), ("lda",), "lda")

TARGETS = {"lakunina_mouse_a1": 0.80, "hausser_mouse": 0.84, "lisberger_macaque": 0.885, "cellexplorer_mouse": 0.78}
"""Dataset -> least mean balanced accuracy of the production row."""

TRANSFERS = (("made_up", "made_up_too"), ("lisberger_macaque", "hausser_mouse"))
"""Source and target; the first pair is that of the smoke run."""
RATES = {"lisberger_macaque": 40_000.0, "hausser_mouse": 30_000.0}
"""Sampling rates (C4, Beau et al. 2025): across laboratories waveforms must share one clock and one trough."""

PUBLISHED = {
    "lakunina_mouse_a1": {"HIPPIE": 0.569, "VAE": 0.588, "PhysMAP": 0.657, "PCA-WF": 0.617, "PCA-ISI": 0.618},
    "hausser_mouse": {
        "HIPPIE": 0.682,
        "NEMO (MLP)": 0.808,
        "NEMO (KNN)": 0.836,
        "PhysMAP": 0.781,
        "PCA-WF": 0.652,
        "PCA-ISI": 0.600,
        "PCA-ACG": 0.643,
    },
    "lisberger_macaque": {
        "HIPPIE": 0.678,
        "VAE": 0.449,
        "NEMO (MLP)": 0.654,
        "PhysMAP": 0.511,
        "PCA-WF": 0.384,
        "PCA-ISI": 0.598,
        "PCA-ACG": 0.628,
        "WF-RF": 0.426,
    },
    "cellexplorer_mouse": {"HIPPIE": 0.534, "PhysMAP": 0.504, "PCA-WF": 0.642, "PCA-ISI": 0.529, "PCA-ACG": 0.564},
}
"""Dataset -> method -> published balanced accuracy, mean of the same five folds."""


def row(name: str, value: float, target: Target | None = None, peer: tuple[str, float] | None = None, **extra) -> Row:
    """One line of the report; the peer is a word and its balanced accuracy."""
    beside = Peer(*peer, ratio=value / peer[1]) if peer else None
    return make_row(name, value, UNIT, target, beside, **extra)


def load(folder: Path, params: Params, rate_hz: float | None = None) -> UnitTable:
    """The canonical features of a CSV folder about which nothing is declared but, perhaps, its sampling rate."""
    said = {"folder": "-", "technology": "mea", "species": "unknown", "format": "csv", "sampling_frequency_hz": rate_hz}
    declared = make_dataset_params({key: value for key, value in said.items() if value is not None})
    return try_features(read_raw(folder, declared), folder, folder.name, declared, params.features)


def measure_published(tables: dict[str, UnitTable], params: Params, size: Size) -> Iterator[Row]:
    """Production and every classical recipe on the published folds, against the best published method."""
    methods = resolve_methods(["production", *size.baselines], ["knn"], params)
    for name, table in tables.items():
        published = PUBLISHED.get(name, {})
        best = max(published.items(), key=operator.itemgetter(1)) if published else None
        for word, value in published.items():
            yield row(f"{name}: {word}, published", value)
        for found in cross_validate(table, methods, params, size.n_folds, size.split_seeds[0], False):
            accuracy, method = found["balanced_accuracy"], found["method"]
            target = Target(TARGETS[name], at_least=True) if method == "production" and name in TARGETS else None
            extra = {"sd": accuracy["sd"], "folds": accuracy["folds"], "macro_f1": found["macro_f1"]["mean"]}
            yield row(f"{name}: {method}", accuracy["mean"], target, best, seconds=found["seconds"], **extra)


def measure_splits(tables: dict[str, UnitTable], params: Params, size: Size) -> Iterator[Row]:
    """How much of a number is the split: means of five folds under several seeds of the splitter."""
    methods = resolve_methods(["production", size.vote], [], params)
    for name, table in tables.items():
        by_seed = [cross_validate(table, methods, params, size.n_folds, seed, False) for seed in size.split_seeds]
        for i, method in enumerate(methods):
            means = [rows[i]["balanced_accuracy"]["mean"] for rows in by_seed]
            label = f"{name}: {method.name}, mean over {len(by_seed)} split seeds"
            yield row(label, statistics.mean(means), None, sd=statistics.stdev(means), folds=means)


def measure_transfer(tables: dict[str, UnitTable], params: Params, size: Size) -> Iterator[Row]:
    """Learn from one dataset, predict another, without a label of it; the best classical recipe is the peer."""
    source, target = next((pair for pair in TRANSFERS if set(pair) <= set(tables)), TRANSFERS[-1])
    if not {source, target} <= set(tables):
        print(f"{source} -> {target}: skipped, both datasets are needed")
        return
    methods = resolve_methods(["production", *size.baselines], [], params)
    pair = [load(SHARED / name, params, RATES[name]) if name in RATES else tables[name] for name in (source, target)]
    rows = transfer(*pair, methods, params, False)
    scores = {found["method"]: found["balanced_accuracy"]["mean"] for found in rows}
    classical = {method: value for method, value in scores.items() if method != "production"}
    best = max(classical.items(), key=operator.itemgetter(1))
    for method, value in scores.items():
        yield row(f"{source} -> {target}: {method}", value, None, best if method == "production" else None)


def shuffle(labels: np.ndarray, seed: int) -> np.ndarray:
    """Permute the labels of the units that have one."""
    known = np.flatnonzero(labels != "")
    shuffled = labels.copy()
    shuffled[known] = labels[np.random.default_rng(seed).permutation(known)]
    return shuffled


def shift(labels: np.ndarray, seed: int) -> np.ndarray:
    """Call each class by the name of the next."""
    classes = np.unique(labels[labels != ""])
    following = dict(zip(classes, np.roll(classes, -1), strict=True))
    return np.array([following.get(label, "") for label in labels])


CONTROLS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"shuffled": shuffle, "shifted by one class": shift}
"""Name -> function of the labels to learn from and the fold."""


def measure_controls(tables: dict[str, UnitTable], params: Params, size: Size) -> Iterator[Row]:
    """Without true labels in the training fold nothing may be known of the test fold: at most chance and a margin."""
    methods = resolve_methods(["production", size.vote], [], params)
    for name, table in tables.items():
        units = stack_units({name: table})
        study = plan_folds(name, units.labels, find_data(units), size.n_folds, size.split_seeds[0])
        trials = plan_trials(study, units, methods, params, False)
        for control, change in CONTROLS.items():
            spoilt = [
                replace(trial, known=replace(trial.known, labels=change(trial.known.labels, trial.fold)))
                for trial in trials
            ]
            for found in score(study, units.labels, methods, run_trials(spoilt, name), False):
                accuracy, chance = found["balanced_accuracy"], 1 / len(found["classes"])
                label = f"{name}: {found['method']}, labels {control}"
                spread = {"sd": accuracy["sd"], "folds": accuracy["folds"]}
                yield row(label, accuracy["mean"], Target(round(chance + MARGIN, 3)), ("chance", chance), **spread)


PARTS = (measure_published, measure_splits, measure_transfer, measure_controls)


def find_tables(params: Params, wanted: Sequence[str]) -> dict[str, UnitTable]:
    """The public datasets that are here; of the others a line says that they are not."""
    tables = {}
    for name in wanted:
        if (SHARED / name).is_dir():
            tables[name] = load(SHARED / name, params)
        else:
            print(f"{name}: skipped, there is no folder ../shared/datasets/{name}")
    return tables


def make_up(params: Params) -> dict[str, UnitTable]:
    """Two small datasets of two easy classes, through CSV files as any other."""
    tables = {}
    for seed, name in enumerate(("made_up", "made_up_too")):
        rng, kind = np.random.default_rng(seed), np.arange(40) % 2
        width = np.array([1.5, 4.0])[kind][:, None]
        waveform = -np.exp(-0.5 * ((np.arange(40) - 16) / width) ** 2) + rng.normal(0, 0.05, (40, 40))
        isi = rng.poisson(50 * np.exp(-np.arange(60) / np.array([6.0, 30.0])[kind][:, None]))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / name
            folder.mkdir()
            for file, values in (("waveforms", waveform), ("isi_dist", isi)):
                header = ",".join(map(str, range(values.shape[1])))
                np.savetxt(folder / f"{file}.csv", values, delimiter=",", header=header, comments="")
            (folder / "labels.csv").write_text("label\n" + "\n".join(np.array(["PV", "EXC"])[kind]) + "\n")
            tables[name] = load(folder, params)
    return tables


def run(description: str | None, parts: Sequence[Part], size: Size) -> int:
    """Measure the parts on the datasets that are asked for; return the exit code."""
    parser = make_parser(description, parts)
    parser.add_argument("--datasets", nargs="*", default=[*TARGETS], choices=[*TARGETS], help="datasets to run on")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    params = Params.load(ROOT / "params.yaml")
    if arguments.quick:
        small = {"epochs": 2, "patience": 2, "n_hidden": 16, "n_latent": 4}
        params, size = params.model_copy(update={"model": params.model.model_copy(update=small)}), QUICK
        os.environ["SPIKEPRINT_WORKERS"] = "1"  # starting more would take longer than the work
    tables = make_up(params) if arguments.quick else find_tables(params, arguments.datasets)
    return report(measure(parts, arguments.only, tables, params, size), arguments.json)


if __name__ == "__main__":
    sys.exit(run(__doc__, PARTS, Size()))

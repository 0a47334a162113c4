"""Decoding with few examples. Enters: a session in trials. Leaves: a row for each model, number of shots and repeat.

The test presentations are the same for every row of a session; draws are nested, filters see training trials only.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...core.compute import map_tasks
from ...core.errors import PopulationError
from ..cleaning import select_by_rate
from ..data import Population
from ..splits import assign_parts, draw_shots
from .models import make_decoder
from .scores import score_trials

ALL = 0
"""Stands for all training presentations in the column ``k``."""
FEW = 5
"""With so few shots nothing is held out to stop by."""
BLANK = -1


@dataclass(frozen=True)
class Study:
    """What a k-shot study compares.

    Attributes
    ----------
    models : names of ``models.MODELS``
    shots : training presentations of each class; 0 = all
    repeats, seed : draws of each number of shots
    split, fractions, gap_s : see ``splits.split_population``
    rates_hz : least and largest mean rate of a unit in training
    label : column of segments that is decoded
    keep_blank : whether the blank (-1) is a class
    """

    models: tuple[str, ...] = ("poisson_nb", "lda")
    shots: tuple[int, ...] = (1, 3, 5, 10, ALL)
    repeats: int = 3
    seed: int = 0
    split: str = "blocked"
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    gap_s: float = 0.0
    rates_hz: tuple[float, float] = (0.1, 100.0)
    label: str = "frame"
    keep_blank: bool = False


@dataclass(frozen=True)
class _Task:
    study: Study
    trials: np.ndarray
    codes: np.ndarray
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    n_classes: int
    model: str
    repeat: int
    told: dict[str, Any]


@dataclass(frozen=True)
class KShotResult:
    """The table of ``validate.population.RESULTS``, and the best model's confusion: ``actual, predicted`` by trial."""

    table: pd.DataFrame
    answers: pd.DataFrame


def run_kshot(populations: Sequence[Population], study: Study, n_workers: int = 1) -> KShotResult:
    """Decode every session with every model, number of shots and repeat.

    Raises
    ------
    PopulationError
        No classes to decode, or a class with too few presentations; it is named.
    """
    tasks = [task for population in populations for task in plan(population, study)]
    rows, answers = [], []
    for row, answer in map_tasks(_run, tasks, n_workers, "spikeprint.population.decoding.classical"):
        rows.append(row)
        answers.append(answer)
    return KShotResult(pd.DataFrame(rows), pd.concat(answers, ignore_index=True))


def prepare(population: Population, study: Study) -> tuple[Population, np.ndarray]:
    """Return what a study decodes from, segments with a class and usable units, and the part of each segment.

    Raises
    ------
    PopulationError
        No classes to decode, or no unit is left.
    """
    if study.label not in population.segments:
        known = ", ".join(population.segments.columns)
        raise PopulationError(
            f"population '{population.session_id}': segments have no '{study.label}'; columns: {known}"
        )
    if not study.keep_blank:
        population = population.select((population.segments[study.label] != BLANK).to_numpy())
    if population.segments[study.label].nunique() < 2:
        raise PopulationError(f"population '{population.session_id}': 1 class; decoding needs two")
    part = assign_parts(population, study.split, study.fractions, study.gap_s, study.seed, study.label)
    keep, _ = select_by_rate(population.select(part == 0), study.rates_hz)
    return population.select_units(keep), part


def plan(population: Population, study: Study) -> list[_Task]:
    """Return the fits of one session."""
    population, part = prepare(population, study)
    classes, codes = np.unique(population.segments[study.label].to_numpy(), return_inverse=True)
    pool, val, test = (np.flatnonzero(part == index) for index in range(3))
    trials = np.ascontiguousarray(population.tensor())
    told = {
        "session_id": population.session_id, "split": study.split, "n_units": population.n_units,
        "n_bins": trials.shape[1], "n_classes": len(classes),
    }  # fmt: skip
    shots = [None if k == ALL else k for k in study.shots]
    tasks = []
    for repeat in range(study.repeats):
        drawn = draw_shots(codes, pool, shots, study.seed + repeat)
        for k, rows in drawn.items():
            if k is None and repeat:
                continue  # all is all
            for model in study.models:
                task_told = {**told, "k": ALL if k is None else k}
                tasks.append(_Task(study, trials, codes, rows, val, test, len(classes), model, repeat, task_told))
    return tasks


def _run(task: _Task) -> tuple[dict[str, Any], pd.DataFrame]:
    has_val = len(task.val) and not 0 < task.told["k"] <= FEW
    val = (task.trials[task.val], task.codes[task.val]) if has_val else None
    seed = task.study.seed + task.repeat
    start = time.process_time()
    decoder = make_decoder(task.model).fit(task.trials[task.train], task.codes[task.train], task.n_classes, seed, val)
    spent = time.process_time() - start
    probabilities = decoder.predict_proba(task.trials[task.test])
    scores = score_trials(probabilities, task.codes[task.test])
    told = {"session_id": task.told["session_id"], "model": task.model, "k": task.told["k"], "seed": seed}
    row = {
        **told, **{name: task.told[name] for name in ("split", "n_units", "n_bins", "n_classes")}, **scores,
        "n_train": len(task.train), "n_test": len(task.test), "fit_seconds": spent,
    }  # fmt: skip
    answer = pd.DataFrame({"actual": task.codes[task.test], "predicted": probabilities.argmax(axis=1)}).assign(**told)
    return row, answer


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread of the accuracy over repeats, by session, model and k."""
    keys = ["session_id", "model", "k"]
    grouped = table.groupby(keys, sort=False)["top1"]
    return pd.DataFrame({"top1": grouped.mean(), "spread": grouped.std(ddof=0), "n": grouped.size()}).reset_index()


def compare_models(table: pd.DataFrame, ours: str, theirs: str, k: int) -> dict[str, float]:
    """Return the paired difference of two models over sessions: mean, sessions, Wilcoxon p (NaN below 6 sessions)."""
    from scipy.stats import wilcoxon

    at = table[table["k"] == k].groupby(["session_id", "model"])["top1"].mean().unstack()
    gap = (at[ours] - at[theirs]).dropna()
    p = float(wilcoxon(gap).pvalue) if len(gap) >= 6 and gap.abs().sum() > 0 else float("nan")
    return {"difference": float(gap.mean()), "n_sessions": float(len(gap)), "p": p}

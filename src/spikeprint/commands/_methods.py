"""Methods that ``benchmark`` compares. Enters: their names, units to learn from and to ask about. Leaves: answers.

A row ``NAME`` of ``ablations`` is a method, read out by the head of params.yaml or, as ``NAME:HEAD``, by another.
No label of a unit that is asked about reaches a method: ``Trial.asked`` holds none.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ..core.config import ModelParams, Params
from ..core.errors import ConfigError, suggest
from ..core.reference_params import ReferenceParams
from ..core.types import UNLABELLED
from ..cvae.units import Units
from ..evaluate.protocol import Answer, Study

SYNONYMS = {"cvae_knn": "production:knn"}
"""Names of methods that mean another."""
STANDARDISED = "target_standardised"
"""Variant of a classical method: the features of each domain are standardised by that domain's own mean and spread."""


@dataclass(frozen=True)
class Method:
    """One line of the table: its name, who answers (a key of ``SOLVERS``), the row of ``ablations``, and the variant.

    Methods that differ in the variant alone (heads of a network, classical members and votes) are fitted together.
    """

    name: str
    solver: str
    row: str
    variant: str


@dataclass(frozen=True)
class Trial:
    """One question to one solver.

    Attributes
    ----------
    solver, variants : who answers, and which of its variants are wanted
    known : units to learn from; label ``""`` = met without its label
    asked : units to predict, without labels
    model : row of ``ablations``, or section ``reference``; None where nothing is configured
    """

    solver: str
    row: str
    variants: tuple[str, ...]
    fold: int
    known: Units
    asked: Units
    model: ModelParams | ReferenceParams | None
    seed: int


STANDALONE: dict[str, Method] = {"reference": Method("reference", "reference", "", "knn")}
"""Methods of a solver of their own: neither rows of params.yaml, which may have a section on them, nor classical."""


def resolve_methods(names: Sequence[str], heads: Sequence[str], params: Params) -> list[Method]:
    """Return the methods of these names, and each network once more with each of the heads.

    Raises
    ------
    ConfigError
        A name that is no method or head; the nearest is told.
    """
    from ..evaluate.classical import CLASSICAL, VOTES
    from ..evaluate.heads import HEADS

    for head in heads:
        if head not in HEADS:
            raise ConfigError(f"--heads: no head '{head}'{suggest(head, HEADS)}; known: {', '.join(HEADS)}")
    classical = (*CLASSICAL, *VOTES)
    rows = [*params.ablations, *(name for name in params.presets if name not in params.ablations)]
    networks = [*rows, *(f"{row}:{head}" for row in rows for head in HEADS)]
    known = {name: Method(name, "classical", "", name) for name in classical}
    for name in networks:
        row, _, head = name.partition(":")
        known[name] = Method(name, "network", row, head or params.ablation(row).head)
    known |= STANDALONE
    known |= {name: replace(known[other], name=name) for name, other in SYNONYMS.items() if other in known}
    found: dict[str, Method] = {}
    for name in names:
        if name not in known:
            listed = ", ".join([*rows, *STANDALONE, *SYNONYMS, *classical])
            raise ConfigError(f"--methods: no method '{name}'{suggest(name, known)}; known: {listed}, ROW:HEAD")
        is_plain_row = known[name].solver == "network" and name == known[name].row
        extra = [f"{name}:{head}" for head in heads] if is_plain_row else []
        found |= {each: known[each] for each in [name, *extra]}
    return list(found.values())


def add_standardised(methods: Sequence[Method]) -> list[Method]:
    """Return the methods of a transfer: after each classical one, the same on features standardised by domain."""
    both = []
    for method in methods:
        both.append(method)
        if method.solver == "classical":
            both.append(
                replace(method, name=f"{method.name}:{STANDARDISED}", variant=f"{method.variant}:{STANDARDISED}")
            )
    return both


def meets_asked(method: Method, transductive: bool) -> bool:
    """Whether a method uses the features of the units it is asked about before it answers."""
    return method.variant.endswith(f":{STANDARDISED}") or (transductive and method.solver != "classical")


def plan_trials(
    study: Study, units: Units, methods: Sequence[Method], params: Params, transductive: bool
) -> list[Trial]:
    """List what has to be fitted: for each fold, one trial for each network and one for all classical methods.

    Parameters
    ----------
    units : the n units of the study; the labels of those that are asked about go no further than this function
    transductive : the networks meet the features of the units they will be asked about, as units without label
    """
    variants: dict[tuple[str, str], list[str]] = {}
    for method in methods:
        variants.setdefault((method.solver, method.row), []).append(method.variant)
    trials = []
    for fold, asked in study.asked.items():
        taught = np.where(study.teaches[fold], units.labels, UNLABELLED)
        withheld = Units(units.raw, units.origin, taught)
        known, question = withheld.take(~asked | transductive), withheld.take(asked)
        for (solver, row), wanted in variants.items():
            model = MODELS[solver](params, row)
            seed = params.seed + 1 + fold
            trials.append(Trial(solver, row, tuple(dict.fromkeys(wanted)), fold, known, question, model, seed))
    # Networks take longest: started first, they leave no worker idle at the end.
    return sorted(trials, key=lambda trial: trial.model is None)


MODELS: dict[str, Callable[[Params, str], ModelParams | ReferenceParams | None]] = {
    "network": lambda params, row: params.ablation(row),
    "reference": lambda params, _: params.reference,
    "classical": lambda params, _: None,
}
"""Who answers -> what params.yaml says of it."""


def answer(trial: Trial) -> dict[str, Answer]:
    """Fit and ask; variant -> answer."""
    return SOLVERS[trial.solver](trial)


def rich_features(raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Features of the classical methods, each from its own unit alone: what the network sees, zeros where missing.

    Shapes: modality -> (n, canonical length) -> (n, F) float64.
    """
    from ..cvae.data import join_inputs

    inputs, present = join_inputs(raw, use_descriptors=True)
    return np.hstack([x * present[:, i : i + 1] for i, x in enumerate(inputs.values())]).astype(np.float64)


FEATURES: dict[str, Callable[[Mapping[str, np.ndarray]], np.ndarray]] = {"rich": rich_features}
"""Feature set of ``evaluate.classical.ClassicalSpec`` -> function of the canonical modalities."""


def _answer_classical(trial: Trial) -> dict[str, Answer]:
    from ..evaluate.classical import CLASSICAL, VOTES, fit_predict

    teachers = trial.known.take(trial.known.labels != UNLABELLED)
    classes, codes = np.unique(teachers.labels, return_inverse=True)
    answers: dict[str, Answer] = {}
    for variant in trial.variants:
        name, _, scaling = variant.partition(":")
        members = CLASSICAL if name in VOTES else (name,)
        keys = [f"{member}:{scaling}".rstrip(":") for member in members]
        for member, key in zip(members, keys, strict=True):
            if key not in answers:
                started = time.perf_counter()
                features = FEATURES[CLASSICAL[member].features]
                pair = (features(teachers.raw), features(trial.asked.raw))
                train, test = map(_standardise, pair) if scaling else pair
                probabilities = fit_predict(member, train, codes, test, trial.seed)
                answers[key] = Answer(classes, probabilities, time.perf_counter() - started)
        if name in VOTES:
            parts = [answers[key] for key in keys]
            combined = VOTES[name]([part.probabilities for part in parts])
            answers[variant] = Answer(classes, combined, sum(part.seconds for part in parts))
    return {variant: answers[variant] for variant in trial.variants}


def _standardise(features: np.ndarray) -> np.ndarray:
    spread = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _answer_network(trial: Trial) -> dict[str, Answer]:
    import torch

    from ..cvae.fit import add_head, fit_cvae

    torch.set_num_threads(1)
    started = time.perf_counter()
    fitted = fit_cvae(trial.known, cast(ModelParams, trial.model), trial.seed)
    trained = time.perf_counter() - started
    answers = {}
    for head in trial.variants:
        started = time.perf_counter()
        predictor = add_head(fitted, trial.known, head, trial.seed).predictor()
        found = predictor.predict(trial.asked.raw, trial.asked.origin)
        spent = trained + time.perf_counter() - started
        answers[head] = Answer(np.array(predictor.classes), found.probabilities, spent, found.sets, found.novelty)
    return answers


def _answer_reference(trial: Trial) -> dict[str, Answer]:
    """The published model, embedding read out by k nearest neighbours as published."""
    import torch

    from ..cvae.reference import fit_reference
    from ..evaluate.heads import fit_head
    from ..evaluate.readout import read_out

    torch.set_num_threads(1)
    started = time.perf_counter()
    fitted = fit_reference(trial.known, cast(ReferenceParams, trial.model), trial.seed)
    teachers = trial.known.take(trial.known.labels != UNLABELLED)
    classes, codes = np.unique(teachers.labels, return_inverse=True)
    reference = fitted.embed(teachers.raw, teachers.origin["dataset"])
    arrays = fit_head("knn", reference, codes, trial.seed)
    probabilities = read_out("knn", arrays, fitted.embed(trial.asked.raw, trial.asked.origin["dataset"]))
    return {"knn": Answer(classes, probabilities, time.perf_counter() - started)}


SOLVERS: dict[str, Callable[[Trial], dict[str, Answer]]] = {
    "network": _answer_network,
    "reference": _answer_reference,
    "classical": _answer_classical,
}
"""Who answers -> function of a trial giving variant -> answer."""

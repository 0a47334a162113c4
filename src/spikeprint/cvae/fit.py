"""Train one CVAE. Enters: units as arrays and words, parameters, a seed. Leaves: weights, vocabulary, curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from ..core.errors import ModelError
from ..core.model_params import ModelParams
from ..core.types import UNLABELLED
from ..evaluate.heads import fit_head
from ..training import Curve, Hardware, Schedule, train_module
from .assurance import fit_assurance
from .data import Batches, UnitTensors, encode_words, join_inputs
from .leaks import refuse_leaks
from .model import CVAE
from .networks import CVAENetwork, NetworkShape
from .predictor import Predictor
from .units import Units

MIN_UNITS = 8
"""Fewer units cannot be split into training and validation."""


@dataclass(frozen=True)
class FittedCVAE:
    """A trained network: plain ``config`` and named ``arrays``, which is all ``Predictor`` needs, and its curves."""

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    curves: list[Curve]

    def predictor(self) -> Predictor:
        """Return the model, ready to embed and classify."""
        return Predictor(self.config, self.arrays)


def list_conditions(conditions: Sequence[str], origin: Mapping[str, np.ndarray]) -> list[str]:
    """Return what a model is told about its units: the conditions asked for, and ``representation`` where it must be.

    Histograms of unequal bins look like unequal neurons. A model whose units mix representations is therefore told
    which each unit has, unless it is told the dataset, which says the same.

    >>> mixed = {"dataset": np.array(["a", "b"]), "representation": np.array(["1ms", "legacy b"])}
    >>> list_conditions([], mixed), list_conditions(["dataset"], mixed)
    (['representation'], ['dataset'])
    """
    is_mixed = len(set(origin.get("representation", ()))) > 1
    is_told = "dataset" in conditions or "representation" in conditions
    return [*conditions, *(["representation"] if is_mixed and not is_told else [])]


def fit_cvae(units: Units, params: ModelParams, seed: int, start: FittedCVAE | None = None) -> FittedCVAE:
    """Train on the units given; labels that must not be seen have to be withheld by the caller.

    Phases, each of which starts from the best weights of the one before: ``pretrain_epochs`` on all units without any
    label, ``finetune_epochs`` on the datasets that have labels, without them, at a tenth of the step, ``epochs`` on all
    units with their labels.

    Parameters
    ----------
    start : a model trained before, perhaps on other datasets: its weights are where training begins, as far as they fit

    Raises
    ------
    ModelError
        Too few units, a modality that nobody has, a condition that tells the encoder the class, or a loss that became
        NaN.
    """
    if len(units) < MIN_UNITS:
        raise ModelError(f"training: {len(units)} units found, at least {MIN_UNITS} needed; add data")
    torch.manual_seed(seed)
    classes = sorted(set(units.labels) - {UNLABELLED})
    told = list_conditions(params.conditions, units.origin)
    refuse_leaks({name: units.origin[name] for name in told}, units.origin["dataset"], units.labels)
    vocabulary = {name: sorted(set(units.origin[name]) - {""}) for name in told}
    inputs, present = join_inputs(units.raw, params.use_descriptors)
    usable = np.flatnonzero(present.any(axis=1))
    if len(usable) < MIN_UNITS:
        raise ModelError(f"training: {len(usable)} units with any modality, at least {MIN_UNITS} needed; add data")
    held = assign_held(units.labels, usable, params.n_members, params.validation_frac, seed)
    codes = {name: encode_words(units.origin[name], known) for name, known in vocabulary.items()}
    tensors = UnitTensors(
        {name: torch.from_numpy(x).contiguous() for name, x in inputs.items()},
        torch.from_numpy(present),
        {name: torch.from_numpy(x) for name, x in (codes | {"cell_type": encode_words(units.labels, classes)}).items()},
        torch.from_numpy(held),
    )
    network = CVAENetwork(make_shape(params, inputs, vocabulary, len(classes)))
    network.fit_scales(tensors.inputs, tensors.present)
    config: dict[str, Any] = {
        "shape": asdict(network.shape),
        "vocabulary": vocabulary,
        "classes": classes,
        "head": None,
    }
    config["use_descriptors"] = params.use_descriptors
    if start is not None:
        network.load_state_dict(network.state_dict() | _shared_weights(network, start, config))
    curves = _run_phases(network, tensors.take(torch.from_numpy(usable)), params, seed, units.origin["dataset"][usable])
    assurance = fit_assurance(network, tensors, params.coverage) if params.classification_weight else {}
    arrays = {f"network.{name}": value.numpy() for name, value in network.state_dict().items()} | assurance
    return FittedCVAE(config, arrays, curves)


def add_head(fitted: FittedCVAE, units: Units, kind: str, seed: int) -> FittedCVAE:
    """Fit the head that is served, on every labelled unit; return the model with it.

    The head ``network`` was trained with the latent: it is only named. Classes with fewer than two units cannot be
    learnt by the others and are left out. Without two classes the model stays headless.
    """
    names, counts = np.unique(units.labels[units.labels != UNLABELLED], return_counts=True)
    classes = [str(name) for name in (names if kind == "network" else names[counts >= 2])]
    if len(classes) < 2:
        return fitted
    config = {**fitted.config, "head": {"kind": kind, "classes": classes}}
    if kind == "network":
        return replace(fitted, config=config)
    labelled = units.take(np.isin(units.labels, classes))
    embedding = fitted.predictor().embed(labelled.raw, labelled.origin)
    head = fit_head(kind, embedding, np.searchsorted(classes, labelled.labels), seed)
    return FittedCVAE(config, fitted.arrays | {f"head.{name}": value for name, value in head.items()}, fitted.curves)


def assign_held(
    labels: np.ndarray, usable: np.ndarray, n_members: int, validation_frac: float, seed: int
) -> np.ndarray:
    """Say which units each member holds back: the folds of one stratified split after another.

    So every unit is held back by as many members as any other, and units of rare classes by no member all at once.

    Returns
    -------
    (n, n_members) bool; False for units that are not ``usable`` (m,) int64
    """
    n_folds = int(np.clip(round(1 / validation_frac), 2, len(usable)))
    held = np.zeros((len(labels), n_members), dtype=bool)
    strata = np.unique(labels[usable], return_inverse=True)[1]
    for member in range(n_members):
        turn, fold = divmod(member, n_folds)
        rng = np.random.default_rng([seed, turn])
        order = np.lexsort((rng.random(len(usable)), strata))  # class after class, at random within each
        folds = np.empty(len(usable), dtype=np.int64)
        folds[order] = (np.arange(len(usable)) + rng.integers(n_folds)) % n_folds
        held[usable[folds == fold], member] = True
    return held


def make_shape(
    params: ModelParams, inputs: Mapping[str, np.ndarray], vocabulary: Mapping[str, Sequence[str]], n_classes: int
) -> NetworkShape:
    """Return the shape of the network that ``params`` describe for these inputs {name: (n, L)}."""
    return NetworkShape(
        lengths={name: x.shape[1] for name, x in inputs.items()},
        n_members=params.n_members,
        n_latent=params.n_latent,
        n_hidden=params.n_hidden,
        n_condition=params.n_condition,
        condition_sizes={name: max(len(known), 1) for name, known in vocabulary.items()},
        n_classes=n_classes,
        class_in_encoder=params.class_in_encoder,
        class_in_decoder=params.class_in_decoder,
        use_fusion=params.use_fusion,
        use_batch_norm=params.use_batch_norm,
        dropout=params.dropout,
        input_dropout=params.input_dropout,
        input_share=params.input_share,
    )


def _run_phases(
    network: CVAENetwork, units: UnitTensors, params: ModelParams, seed: int, datasets: np.ndarray
) -> list[Curve]:
    """Train through the phases; the curves count their epochs one after another."""
    labels = units.codes["cell_type"]
    blind = replace(units, codes=units.codes | {"cell_type": torch.zeros_like(labels)})
    with_labels = np.isin(datasets, np.unique(datasets[labels.numpy() > 0]))
    quiet = params.model_copy(update={"classification_weight": 0.0, "contrastive_weight": 0.0})
    slow = quiet.model_copy(update={"learning_rate": params.learning_rate / 10})
    phases = [
        (params.pretrain_epochs, quiet, blind),
        (params.finetune_epochs, slow, blind.take(torch.from_numpy(np.flatnonzero(with_labels)))),
        (params.epochs, params, units),
    ]
    hardware = Hardware(params.device, params.n_devices, params.precision, params.compile)
    curves: list[Curve] = []
    for number, (n_epochs, phase, chosen) in enumerate(phases):
        if n_epochs == 0 or len(chosen) < MIN_UNITS:
            continue
        batches = Batches(chosen, params.batch_size, torch.Generator().manual_seed(seed + number))
        n_steps = n_epochs * len(batches)
        module = CVAE(network, phase, _log_prior(labels, network.shape.n_classes), seed + number, n_steps)
        schedule = Schedule(n_epochs, params.patience, params.checkpoint, math.sqrt(params.n_members))
        found = train_module(module, batches, Batches(chosen, 4096), schedule, hardware)
        first = curves[-1].epoch + 1 if curves else 0
        curves += [replace(point, epoch=first + point.epoch) for point in found]
    return curves


def _log_prior(codes: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Logarithm of each class' share of the labelled units; (1,) zeros without labels."""
    counts = torch.bincount(codes, minlength=n_classes + 1)[1:].float()
    return (counts.clamp_min(0.5) / counts.sum().clamp_min(1)).log() if n_classes else torch.zeros(1)


def _shared_weights(network: CVAENetwork, start: FittedCVAE, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of ``start`` that mean the same here: equal shape, and tables only where their words are the same."""
    old, new = start.config, network.state_dict()
    changed = {name for name, known in config["vocabulary"].items() if old["vocabulary"].get(name) != known}
    changed |= {"cell_type", "class_head"} if old["classes"] != config["classes"] else set()
    found = {k.removeprefix("network."): torch.from_numpy(v) for k, v in start.arrays.items() if "network." in k}
    return {
        name: value
        for name, value in found.items()
        if name in new and new[name].shape == value.shape and not changed & set(name.split("."))
    }

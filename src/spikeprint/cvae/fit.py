"""Train one CVAE. Enters: units as arrays and words, parameters, a seed. Leaves: weights, vocabulary, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from ..core.config import ModelParams
from ..core.errors import ModelError
from ..core.types import UNLABELLED
from ..evaluate.heads import fit_head
from ..features.transforms import INPUT_LENGTHS
from ..training import Curve, train_module
from .data import AUGMENTATIONS, Batches, Corruption, make_tensors
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


def fit_cvae(units: Units, params: ModelParams, seed: int) -> FittedCVAE:
    """Train on the units given; labels that must not be seen have to be withheld by the caller.

    Raises
    ------
    ModelError
        Too few units, a modality that nobody has, or a loss that became NaN.
    """
    if len(units) < MIN_UNITS:
        raise ModelError(f"training: {len(units)} units found, at least {MIN_UNITS} needed; add data")
    torch.manual_seed(seed)
    classes = sorted(set(units.labels) - {UNLABELLED})
    told = list_conditions(params.conditions, units.origin)
    vocabulary: dict[str, list[str]] = {name: sorted(set(units.origin[name])) for name in told}
    shape = NetworkShape(
        lengths=dict(INPUT_LENGTHS),
        n_latent=params.n_latent,
        n_hidden=params.n_hidden,
        n_condition=params.n_condition,
        condition_sizes={name: len(known) for name, known in vocabulary.items()},
        n_classes=len(classes),
        class_in_encoder=params.class_in_encoder,
        class_in_decoder=params.class_in_decoder,
        use_batch_norm=params.use_batch_norm,
        dropout=params.dropout,
    )
    tensors = make_tensors(units.raw, units.origin, units.labels, vocabulary, classes)
    usable = np.flatnonzero(tensors.present.any(dim=1).numpy())
    train_rows, validation_rows = _split(usable, units.labels, params.validation_frac, seed)
    train = tensors.take(torch.from_numpy(train_rows))
    network = CVAENetwork(shape)
    network.fit_scales(train.inputs, train.present)
    module = CVAE(network, params, _class_weights(train.codes["cell_type"], len(classes)), seed)
    curves = train_module(
        module,
        Batches(train, params.batch_size, _corruption(params, seed)),
        Batches(tensors.take(torch.from_numpy(validation_rows)), params.batch_size),
        params.epochs,
        params.patience,
        params.device,
    )
    arrays = {f"network.{name}": value.numpy() for name, value in network.state_dict().items()}
    return FittedCVAE({"shape": asdict(shape), "vocabulary": vocabulary, "head": None}, arrays, curves)


def add_head(fitted: FittedCVAE, units: Units, kind: str, seed: int) -> FittedCVAE:
    """Fit the head that is served, on every labelled unit; return the model with it.

    Classes with fewer than two units cannot be learnt and are left out. Without two classes the model stays headless.
    """
    names, counts = np.unique(units.labels[units.labels != UNLABELLED], return_counts=True)
    classes = [str(name) for name in names[counts >= 2]]
    if len(classes) < 2:
        return fitted
    labelled = units.take(np.isin(units.labels, classes))
    embedding = fitted.predictor().embed(labelled.raw, labelled.origin)
    head = fit_head(kind, embedding, np.searchsorted(classes, labelled.labels), seed)
    return FittedCVAE(
        {**fitted.config, "head": {"kind": kind, "classes": classes}},
        fitted.arrays | {f"head.{name}": value for name, value in head.items()},
        fitted.curves,
    )


def _split(rows: np.ndarray, labels: np.ndarray, validation_frac: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold back a share of the units, stratified by label where every class is large enough."""
    if len(rows) < MIN_UNITS:
        raise ModelError(f"training: {len(rows)} units with any modality, at least {MIN_UNITS} needed; add data")
    names, counts = np.unique(labels[rows], return_counts=True)
    n_validation = max(round(validation_frac * len(rows)), 2)
    strata = labels[rows] if counts.min() >= 2 and n_validation >= len(names) else None
    train, validation = train_test_split(rows, test_size=n_validation, stratify=strata, random_state=seed)
    return train, validation


def _corruption(params: ModelParams, seed: int) -> Corruption:
    return Corruption(
        AUGMENTATIONS[params.augmentation],
        params.modality_dropout,
        params.condition_dropout,
        params.class_dropout,
        torch.Generator().manual_seed(seed),
    )


def _class_weights(codes: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Inverse frequency, mean 1 over classes that occur: what balanced accuracy asks for."""
    counts = torch.bincount(codes, minlength=n_classes + 1)[1:].float()
    weights = torch.where(counts > 0, 1 / counts.clamp_min(1), torch.zeros_like(counts))
    return weights / weights.mean().clamp_min(1e-12) if n_classes else torch.ones(1)

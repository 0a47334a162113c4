"""The published training, for comparison. Enters: canonical units and labels. Leaves: a network and its embedding.

Preprocessing, objective and the three phases follow HIPPIE's production configuration, with these exceptions:

- units to be classified do not enter training, unless they are given as ``test``;
- a class that is withheld is absent, where the published trainers say that it is class 0;
- validation batches are not augmented; the augmentation works on batches.

Kept as published: histograms as the counts they are, a missing modality as a flat trace, the mean over samples in the
reconstruction beside the sum over dimensions in the KL term, augmented traces as the target, a latent that is sampled
in validation too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from ..core.errors import ModelError
from ..core.reference_params import ReferenceParams
from ..core.types import UNLABELLED
from ..training import Curve, Hardware, Schedule, train_module
from .reference_data import ABSENT, AUGMENTATIONS, Batch, Batches, encode_words, reference_inputs
from .resnet import ReferenceNetwork, ReferenceShape, published_lengths
from .units import Units

MIN_UNITS = 8
"""Fewer units cannot be split into training and validation."""
BATCH = 512
"""Units per forward pass of the embedding, as published."""


@dataclass(frozen=True)
class Phase:
    """One of the trainings that follow each other, each with its own optimiser."""

    name: str
    epochs: int
    learning_rate: float
    labelled_only: bool
    tells_class: bool
    augments: bool


def list_phases(params: ReferenceParams) -> list[Phase]:
    """Return the trainings that have epochs, in their order."""
    slow, is_heavy = params.finetune_learning_rate, params.augmentation == "heavy"
    phases = [
        Phase("pretrain", params.pretrain_epochs, params.learning_rate, False, tells_class=False, augments=True),
        Phase("finetune", params.finetune_epochs, slow, True, tells_class=False, augments=True),
        Phase("supervised", params.epochs, slow, True, tells_class=True, augments=is_heavy),
    ]
    return [phase for phase in phases if phase.epochs]


def make_shape(params: ReferenceParams, n_sources: int, n_classes: int) -> ReferenceShape:
    """Return what fixes the names and shapes of the weights."""
    return ReferenceShape(
        lengths={name: length for name, length in published_lengths().items() if name in params.modalities},
        n_sources=n_sources,
        n_classes=n_classes,
        base_width=params.base_width,
        n_latent=params.n_latent,
        n_condition=params.n_condition,
        use_batch_norm=params.use_batch_norm,
        use_fusion=params.use_fusion,
        class_in_encoder=params.class_in_encoder,
        class_dropout=params.class_dropout,
    )


@dataclass(frozen=True)
class FittedReference:
    """A trained network, the words behind its codes, and phase name -> curves."""

    network: ReferenceNetwork
    sources: tuple[str, ...]
    classes: tuple[str, ...]
    curves: dict[str, list[Curve]]

    def embed(self, raw: Mapping[str, np.ndarray], sources: np.ndarray) -> np.ndarray:
        """Return the latent means, the class always absent; an unknown source is none.

        Shapes: raw (n, canonical length) each, sources (n,) str, result (n, n_latent) float32.
        """
        inputs = reference_inputs(raw, self.network.shape.lengths)
        codes = {"source": encode_words(sources, self.sources), "cell_type": torch.full((len(sources),), ABSENT)}
        parts = [np.zeros((0, self.network.shape.n_latent), dtype=np.float32)]  # also without units there is an answer
        with torch.inference_mode():
            for start in range(0, len(sources), BATCH):
                rows = slice(start, start + BATCH)
                traces = {name: torch.from_numpy(x[rows]) for name, x in inputs.items()}
                parts.append(self.network.encode(traces, {k: code[rows] for k, code in codes.items()})[0].numpy())
        return np.concatenate(parts)


def fit_reference(units: Units, params: ReferenceParams, seed: int, test: Units | None = None) -> FittedReference:
    """Train in the published phases; the source of a unit is its dataset.

    Parameters
    ----------
    units : labels that must not be seen have to be withheld by the caller
    params : of network and training; the numbers of sources and classes come from the units
    seed : of weights, order, noise and the split into training and validation
    test : units to be classified, whose features, but not labels, join all phases (transductive, as published)

    Raises
    ------
    ModelError
        Too few units in a phase, or a loss that became NaN.
    """
    torch.manual_seed(seed)
    every = [units] if test is None else [units, replace(test, labels=np.full(len(test), UNLABELLED))]
    labels, origin = (np.concatenate(x) for x in ([u.labels for u in every], [u.origin["dataset"] for u in every]))
    sources, classes = np.unique(origin), np.unique(labels[labels != UNLABELLED])
    shape = make_shape(params, len(sources), max(len(classes), 1))
    prepared = [reference_inputs(u.raw, shape.lengths) for u in every]
    inputs = {name: torch.from_numpy(np.concatenate([x[name] for x in prepared])) for name in shape.lengths}
    told = {"source": encode_words(origin, sources), "cell_type": encode_words(labels, classes)}
    hidden = told | {"cell_type": torch.full_like(told["cell_type"], ABSENT)}
    is_test = np.arange(len(labels)) >= len(units)
    network = ReferenceNetwork(shape)
    curves = {}
    noise = AUGMENTATIONS[params.augmentation]
    for phase in list_phases(params):
        train, validation = _choose_rows(phase, labels, is_test, params.validation_frac, seed)
        network.train()
        if phase.tells_class:
            torch.nn.init.normal_(network.cell_type.weight)  # decayed by the optimiser, and never used so far
        codes = told if phase.tells_class else hidden
        curves[phase.name] = train_module(
            ReferenceModule(network, params, phase.learning_rate),
            Batches(inputs, codes, train, params.batch_size, noise if phase.augments else None, True),
            Batches(inputs, codes, validation, params.batch_size),
            Schedule(phase.epochs, params.patience, min_delta=params.min_delta),
            Hardware(params.device),
        )
    return FittedReference(network.eval(), tuple(sources.tolist()), tuple(classes.tolist()), curves)


class ReferenceModule(pl.LightningModule):
    """Trains a ``ReferenceNetwork`` in one phase, which fixes the learning rate."""

    def __init__(self, network: ReferenceNetwork, params: ReferenceParams, learning_rate: float) -> None:
        super().__init__()
        self.network = network
        self.params = params
        self.learning_rate = learning_rate
        self.epoch_parts: dict[str, list[dict[str, Tensor]]] = {"train": [], "val": []}

    def loss_parts(self, inputs: Mapping[str, Tensor], codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss in parts and their ``total``; consistency compares with a second pass that knows no class."""
        mean, logvar, decoded = self._pass(inputs, codes)
        parts = {name: functional.mse_loss(decoded[name], x) for name, x in inputs.items()}
        kl = -0.5 * (1 + logvar - mean.square() - logvar.clamp(-30, 20).exp()).sum(dim=1).mean()
        blind = self._pass(inputs, {**codes, "cell_type": torch.full_like(codes["cell_type"], ABSENT)})[2]
        consistency = torch.stack([functional.mse_loss(decoded[name], blind[name]) for name in decoded]).sum()
        rise = min(1.0, self.current_epoch / max(self.params.warmup_epochs, 1))
        weight = self.params.consistency_weight * rise
        total = torch.stack([*parts.values()]).sum() + self.params.beta * kl + weight * consistency
        return parts | {"kl": kl, "consistency": consistency, "total": total}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on what the loader gives, augmented or not."""
        return self._record("train", self.loss_parts(*batch))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score held-back training units."""
        self.log(
            "val_total", self._record("val", self.loss_parts(*batch)), on_epoch=True, batch_size=len(batch[1]["source"])
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW (Loshchilov & Hutter 2019), no schedule."""
        return torch.optim.AdamW(
            self.network.parameters(), lr=self.learning_rate, weight_decay=self.params.weight_decay, fused=True
        )

    def _pass(self, inputs: Mapping[str, Tensor], codes: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, dict]:
        mean, logvar = self.network.encode(inputs, codes)
        latent = mean + torch.randn_like(mean) * (logvar / 2).exp()
        return mean, logvar, self.network.decode(latent, codes)

    def _record(self, split: str, parts: dict[str, Tensor]) -> Tensor:
        self.epoch_parts[split].append({name: part.detach() for name, part in parts.items()})
        return parts["total"]


def _choose_rows(
    phase: Phase, labels: np.ndarray, is_test: np.ndarray, validation_frac: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and to validate on; where classes are told, only units that have one validate, in proportion."""
    taught = labels != UNLABELLED
    rows = np.flatnonzero(taught if phase.tells_class else taught | is_test | (not phase.labelled_only))
    if len(rows) < MIN_UNITS:
        raise ModelError(f"reference, {phase.name}: {len(rows)} units found, at least {MIN_UNITS} needed; add data")
    n_validation = max(round(validation_frac * len(rows)), 2)
    counts = np.unique(labels[rows], return_counts=True)[1]
    in_proportion = phase.tells_class and counts.min() >= 2 and n_validation >= len(counts)
    strata = labels[rows] if in_proportion else None
    train, validation = train_test_split(rows, test_size=n_validation, stratify=strata, random_state=seed)
    return (np.concatenate([train, np.flatnonzero(is_test)]) if phase.tells_class else train), validation

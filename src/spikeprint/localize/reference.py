"""The reference networks, trained as published. Enters: a source. Leaves: a fitted CNN or Transformer.

Targets are monopole fits of the recording, or simulated truth. Huber loss (beta 5), AdamW 1e-3 / 1e-4, early stop after
5 epochs without a better validation loss, on the last seventh of the recording.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.errors import DataError
from ..core.spikes import Source
from ..training import Hardware, Schedule, train_module
from .fit import FittedLocalizer, iter_rows, make_simulator
from .geometry import find_neighbourhoods
from .module import LossParts, SpikeModule, Watched
from .monopole import localise_monopoles
from .networks import REFERENCE_NEIGHBOURS, REFERENCE_SAMPLES, TransformerSLN
from .predict import REFERENCES, scale_snippets
from .simulate import World

HUBER_UM = 5.0
RATE, DECAY, PATIENCE = 1e-3, 1e-4, 5
HELD = 1 / 7
"""Share of the spikes, the latest, that decide when to stop."""


@dataclass(frozen=True)
class Recipe:
    """How a reference network is trained.

    Attributes
    ----------
    targets : monopole fits of the recording, or simulated truth; n_spikes : spikes, at most
    """

    targets: Literal["monopole", "truth"] = "monopole"
    n_spikes: int = 100_000
    epochs: int = 30
    batch_size: int = 512
    device: str = "cpu"


@dataclass(frozen=True)
class ReferenceBatch:
    """Scaled snippets (n, 10, 90), anchors (n, 2) and targets (n, 3), µm from the anchor."""

    snippets: Tensor
    anchors: Tensor
    target: Tensor

    def take(self, rows: Tensor | slice) -> "ReferenceBatch":
        """Return some of the spikes."""
        return ReferenceBatch(self.snippets[rows], self.anchors[rows], self.target[rows])

    def to(self, device: torch.device) -> "ReferenceBatch":
        """Return the spikes on a device."""
        return ReferenceBatch(self.snippets.to(device), self.anchors.to(device), self.target.to(device))


@dataclass
class Shuffled:
    """An epoch of all spikes in a random order."""

    whole: ReferenceBatch
    batch_size: int
    seed: int
    epoch: int = 0

    def __len__(self) -> int:
        return max(len(self.whole.target) // self.batch_size, 1)

    def __iter__(self) -> Iterator[ReferenceBatch]:
        order = torch.from_numpy(np.random.default_rng([self.seed, self.epoch]).permutation(len(self.whole.target)))
        return (self.whole.take(order[i * self.batch_size : (i + 1) * self.batch_size]) for i in range(len(self)))


def fit_reference(
    source: Source, kind: Literal["cnn", "transformer"], recipe: Recipe, seed: int, store: Path | None = None
) -> FittedLocalizer:
    """Train a reference network on the spikes of a recording, or on simulated ones; ``store``: see ``train_module``.

    Raises
    ------
    DataError
        Snippets are not 90 samples long: the reference is made for 30 kHz, 1 ms before and 2 ms after the trough.
    """
    if source.n_before + source.n_after != REFERENCE_SAMPLES:
        raise DataError(
            f"reference networks take {REFERENCE_SAMPLES} samples (30 kHz, 1 + 2 ms); this recording's snippets have "
            f"{source.n_before + source.n_after}; use the production network"
        )
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    whole = _simulated(source, recipe, rng) if recipe.targets == "truth" else _recorded(source, recipe, rng)
    n_train = len(whole.target) - int(len(whole.target) * HELD)
    train, held = whole.take(slice(0, n_train)), whole.take(slice(n_train, None))
    network = REFERENCES[kind]()
    if isinstance(network, TransformerSLN):
        network.centre.copy_(train.anchors.mean(dim=0))
        network.scale.copy_(train.anchors.std(dim=0).clamp_min(1.0))
    module = SpikeModule(network, huber_loss, RATE, DECAY)
    watched = Watched([held.take(rows) for rows in iter_rows(len(held.target), 4 * recipe.batch_size)])
    curves = train_module(
        module,
        Shuffled(train, recipe.batch_size, seed),
        watched,
        Schedule(recipe.epochs, PATIENCE, "best", clip=5.0),
        Hardware(device=recipe.device),
        store,
    )
    arrays = {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}
    window = {"n_before": source.n_before, "n_after": source.n_after, "fs_hz": source.peaks.fs_hz}
    return FittedLocalizer({"kind": kind, "n_neighbours": REFERENCE_NEIGHBOURS, **window}, arrays, curves)


def huber_loss(network: nn.Module, batch: ReferenceBatch) -> LossParts:
    """Return the Huber loss of the three offsets, and their root mean square as a part to watch."""
    said = network(batch.snippets, batch.anchors)
    loss = functional.huber_loss(said, batch.target, delta=HUBER_UM)
    error = (said - batch.target).square().sum(dim=1).mean().sqrt().detach()
    return {"rmse_um": error, "total": loss}


def _recorded(source: Source, recipe: Recipe, rng: np.random.Generator) -> ReferenceBatch:
    """Spikes of the recording in the order of time, their monopole fits as targets."""
    around = find_neighbourhoods(source.contacts_um, REFERENCE_NEIGHBOURS)
    n = len(source.peaks)
    some = source.peaks.take(np.sort(rng.choice(n, min(recipe.n_spikes, n), replace=False)))
    snippets, targets = [], []
    for rows, part in source.read(around, some):
        fits = localise_monopoles(part, some.channels[rows], around, source.n_before, source.peaks.fs_hz)
        snippets.append(scale_snippets(part))
        targets.append(fits.xyz_um)
    anchors = around.anchors_um[some.channels]
    target = np.concatenate(targets) - np.pad(anchors, ((0, 0), (0, 1)))
    return ReferenceBatch(torch.cat(snippets), torch.from_numpy(anchors), torch.from_numpy(target))


def _simulated(source: Source, recipe: Recipe, rng: np.random.Generator) -> ReferenceBatch:
    """Simulated spikes with their true positions."""
    around = find_neighbourhoods(source.contacts_um, REFERENCE_NEIGHBOURS)
    truth = make_simulator(source, around, rng, World()).draw(rng, recipe.n_spikes)
    anchors = around.anchors_um[truth.channels]
    target = truth.xyz_um.copy()
    target[:, :2] += around.contacts_um[truth.channels] - anchors
    return ReferenceBatch(scale_snippets(truth.snippets), torch.from_numpy(anchors), torch.from_numpy(target))

"""Networks as decoders, trained by ``training.py``. Enters: trials and targets. Leaves: what the task asks for."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from ...training import Hardware, Schedule, train_module
from .networks import NETWORKS, Shape, link_units, start_at_zero
from .tasks import TASKS, Task, find_task

BATCH = 128
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4
LEAST_RATE = 1e-3
"""Spikes in a bin that a silent unit is thought to fire."""
LEAST_KEPT = 0.8
"""Training keeps between this share of the spikes and all of them."""
EPOCHS, PATIENCE = 80, 20
FIXED_EPOCHS = 40
"""Epochs where there are no validation trials to stop by."""
PREDICT_BATCH = 512


class Standardised(nn.Module):
    """Square roots of counts, then mean 0 and deviation 1 of each unit in the training trials; then the network.

    ``start`` (n_outputs,) is added to what it says, so that it begins at the mean.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    start: torch.Tensor

    def __init__(
        self, body: nn.Module, mean: torch.Tensor, scale: torch.Tensor, start: torch.Tensor, is_count: bool
    ) -> None:
        super().__init__()
        self.body, self.is_count = body, is_count
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.register_buffer("start", start)

    def forward(self, trials: torch.Tensor) -> torch.Tensor:
        """Return (n, n_outputs)."""
        values = trials.sqrt() if self.is_count else trials
        return self.body((values - self.mean) / self.scale) + self.start


class NetworkDecoder:
    """A network of the table as a decoder.

    Parameters
    ----------
    name : of ``networks.NETWORKS``
    epochs, fixed_epochs : at most, with trials to stop by; and without
    task : of ``tasks.TASKS``
    """

    def __init__(
        self, name: str, epochs: int = EPOCHS, fixed_epochs: int = FIXED_EPOCHS, task: str = "classify"
    ) -> None:
        self.name, self.epochs, self.fixed_epochs, self.task = name, epochs, fixed_epochs, find_task(task)

    def fit(
        self, trials: np.ndarray, targets: np.ndarray, n_outputs: int, seed: int, val: Any = None
    ) -> "NetworkDecoder":
        """Fit trials (n, bins, units) and their targets; stop by ``val``, a pair of the same, or after fixed epochs.

        Parameters
        ----------
        targets : (n,) classes, or (n, n_outputs) counts or values, as the task asks
        """
        is_count = np.asarray(trials).dtype.kind in "iu"
        x, y = _tensor(trials), self._target(targets)
        values = (x.sqrt() if is_count else x).reshape(-1, x.shape[2])
        mean, spread = values.mean(dim=0), values.std(dim=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            shape = Shape(x.shape[1], x.shape[2], n_outputs, link_units(x))
            body = NETWORKS[self.name](shape)
            if self.task is not TASKS["classify"]:
                start_at_zero(body)
            start = (
                y.mean(dim=0).clamp_min(LEAST_RATE).log() if self.task is TASKS["forecast"] else torch.zeros(n_outputs)
            )
            scale = torch.where(spread > 0, spread, 1.0)
            self.network = Standardised(body, mean, scale, start, is_count)
            random = torch.Generator().manual_seed(seed)
            held = (x, y) if val is None else (_tensor(val[0]), self._target(val[1]))
            schedule = Schedule(self.fixed_epochs, 1, "last") if val is None else Schedule(self.epochs, PATIENCE)
            module = _Module(self.network, self.task, random)
            train_module(module, _Batches(x, y, random), _Batches(*held, None), schedule, Hardware("cpu"))
        return self

    def predict(self, trials: np.ndarray) -> np.ndarray:
        """Return (n, n_outputs): probabilities of classes, counts of the next bin, or features."""
        with torch.no_grad():
            parts = [self.task.answer(self.network(part)) for part in _tensor(trials).split(PREDICT_BATCH)]
        return torch.cat(parts).numpy().astype(np.float64)

    predict_proba = predict

    def _target(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values)).to(self.task.target_type)


class _Batches:
    """All trials, in a new order in every epoch; without a generator as they stand."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, random: torch.Generator | None) -> None:
        self.x, self.y, self.random = x, y, random

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        n = len(self.x)
        order = torch.arange(n) if self.random is None else torch.randperm(n, generator=self.random)
        for rows in order.split(BATCH):
            yield self.x[rows], self.y[rows]


class _Module(pl.LightningModule):
    """The loss of the task, on thinned spikes where it allows that."""

    def __init__(self, network: Standardised, task: Task, random: torch.Generator) -> None:
        super().__init__()
        self.network, self.task, self.random = network, task, random
        self.epoch_parts: dict[str, list[dict[str, torch.Tensor]]] = {"train": [], "val": []}

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Loss of one batch."""
        x, y = batch
        if self.network.is_count and self.task.thins:
            kept = LEAST_KEPT + (1 - LEAST_KEPT) * torch.rand((len(x), 1, 1), generator=self.random)
            x = torch.binomial(x, kept.expand_as(x), generator=self.random)
        loss = self.task.loss(self.network(x), y, True)
        self.epoch_parts["train"].append({"total": loss.detach()})
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Loss of the validation trials."""
        x, y = batch
        loss = self.task.loss(self.network(x), y, False)
        self.epoch_parts["val"].append({"total": loss})
        self.log("val_total", loss, batch_size=len(x))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _tensor(trials: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(trials, dtype=np.float32))

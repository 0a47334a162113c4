"""Training of encoders. Enters: sessions, a network, a job. Leaves: the network of the best look, and its history.

The trainer is that of ``training.py``: an epoch is what lies between two looks at the held-out rows.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch

from ..training import Hardware, Schedule, train_module
from .averaging import RunningMean
from .fitting import History, Job, Look, Network, batch_loss

LOGGER = logging.getLogger(__name__)

TOGETHER = 10
"""Steps that the trainer takes at a time: its own work on one is a quarter of a small step."""
SMOOTHING = 3
"""Looks whose mean decides."""


class _Steps:
    """The batches of one epoch after another, until all steps are done."""

    def __init__(self, job: Job) -> None:
        self.job, self.n_done, self.rng = job, 0, np.random.default_rng(job.seed)
        self.bar: Any = None
        if job.verbose:
            from tqdm import tqdm

            self.bar = tqdm(total=job.n_steps, unit="step")

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        left = min(self.job.check_every, self.job.n_steps - self.n_done)
        while left:
            n = min(left, TOGETHER)
            left, self.n_done = left - n, self.n_done + n
            if self.bar is not None:
                self.bar.update(n)
            yield [self.job.sampler.draw(self.rng) for _ in range(n)]


class _Module(pl.LightningModule):
    """Steps of the contrastive loss; what ``train_module`` asks for."""

    def __init__(self, network: Network, xs: Sequence[torch.Tensor], job: Job) -> None:
        super().__init__()
        self.automatic_optimization = False  # ``training_step`` takes several steps
        self.network, self.xs, self.job = network, list(xs), job
        self.epoch_parts: dict[str, list[dict[str, torch.Tensor]]] = {"train": [], "val": []}
        self.steps: list[torch.Tensor] = []
        self.looks: list[tuple[int, Look]] = []

    def on_fit_start(self) -> None:
        """Move the recordings to where the network is."""
        self.xs = [x.to(self.device) for x in self.xs]
        self.mean = RunningMean(self.network.parameters(), self.job.averaging)

    def on_train_epoch_start(self) -> None:
        """Go on from the weights of the last step."""
        self.mean.hide()

    def on_validation_start(self) -> None:
        """Look at the mean, which is what the trainer then keeps."""
        self.mean.show()

    def on_train_end(self) -> None:
        """Keep the mean where nothing is looked at, too."""
        self.mean.show()

    def training_step(self, batches: list[dict[str, Any]], _: int) -> None:
        """Take a few steps; the parts of their losses stay on the device until the end."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        for batch in batches:
            optimizer.zero_grad()
            total = self._loss(batch)
            total.backward()
            optimizer.step()
            self.mean.update()
            if self.job.on_step is not None:
                self.job.on_step(len(self.steps))
        self.epoch_parts["train"].append({"total": total.detach()})

    def _loss(self, batch: dict[str, Any]) -> torch.Tensor:
        loss, in_time = batch_loss(self.network, self.xs, batch, self.job.hybrid, self.job.distort)
        total, late = loss.total, torch.zeros((), device=self.device)
        if in_time is not None and self.job.hybrid is not None:
            late = in_time.total
            total = total + self.job.hybrid.weight * late
        temperature = torch.as_tensor(_temperature(self.network.criterion), device=self.device)
        parts = (total, loss.align, loss.uniform, temperature, loss.log_negatives, late)
        self.steps.append(torch.stack([part.detach() for part in parts]))
        return total

    def validation_step(self, _: Any, __: int) -> None:
        """Look at the held-out rows."""
        if self.job.look is None:
            return
        with torch.no_grad():
            look = self.job.look(self.network)
        self.looks.append((len(self.steps), look))
        self.epoch_parts["val"].append({"total": torch.tensor(look.loss)})
        self.log("val_total", torch.tensor(-_recent(self.looks)), batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the parameters that are not frozen."""
        return self.job.make_optimizer([p for p in self.network.parameters() if p.requires_grad])


def _temperature(criterion: Any) -> Any:
    if hasattr(criterion, "_prepare_inverse_temperature"):
        return 1 / criterion._prepare_inverse_temperature().detach()
    return criterion.temperature


def train(network: Network, xs: Sequence[torch.Tensor], job: Job, device: torch.device) -> History:
    """Train ``network`` in place and leave it on the processor with the weights of its best look.

    Raises
    ------
    ModelError
        The loss is not a number any more.
    """
    module = _Module(network, xs, job)
    n_epochs = -(-job.n_steps // job.check_every)
    keeps_last = job.look is None
    schedule = Schedule(
        n_epochs, job.patience or n_epochs + 1, "last" if keeps_last else "best", clip=0.0, tolerance=job.tolerance
    )
    hardware = Hardware(device.type, index=device.index)
    with torch.random.fork_rng(devices=[]):  # layers that drop out draw from the global generator
        torch.manual_seed(job.seed)
        steps = _Steps(job)
        train_module(module, steps, [torch.zeros(1)], schedule, hardware)
    if steps.bar is not None:
        steps.bar.close()
    columns = ["loss", "align", "uniform", "temperature", "log_negatives", "loss_time"]
    table = pd.DataFrame(torch.stack(module.steps).cpu().numpy().astype(float), columns=columns)
    table.insert(0, "step", np.arange(1, len(table) + 1))
    table["held_out_loss"] = table["held_out_bits"] = table["held_out_score"] = np.nan
    for step, look in module.looks:
        table.loc[step - 1, ["held_out_loss", "held_out_bits", "held_out_score"]] = look.loss, look.bits, look.score
    kept = len(table) if keeps_last else _kept_step(module.looks, job.tolerance)
    LOGGER.debug("%d steps, kept %d", len(table), kept)
    return History(table, kept)


def _recent(looks: Sequence[tuple[int, Look]]) -> float:
    """Mean score of the last looks."""
    return float(np.mean([look.score for _, look in looks[-SMOOTHING:]]))


def _kept_step(looks: Sequence[tuple[int, Look]], tolerance: float) -> int:
    """The step whose weights the trainer kept: the last within the tolerance of the best so far."""
    best, kept = -np.inf, looks[0][0]
    for index, (step, _) in enumerate(looks):
        score = _recent(looks[: index + 1])
        if score > best - tolerance:
            best, kept = max(best, score), step
    return kept

"""The one Lightning module of the room. Enters: a network and its loss. Leaves: what ``train_module`` trains."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

LossParts = dict[str, Tensor]
"""Part name -> scalar; ``total`` is what is minimised."""

Loss = Callable[[Any, Any], LossParts]
"""Network, batch -> parts."""


@dataclass(frozen=True)
class Watched:
    """Batches that stay the same; Lightning would take a bare list for several loaders."""

    batches: Sequence[Any]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class SpikeModule(pl.LightningModule):
    """Trains any localiser.

    Parameters
    ----------
    network : what is trained; loss : its parts on a batch
    learning_rate, weight_decay : of AdamW; n_steps : of a one-cycle schedule, None = a constant step
    keeps_evaluating : leave the network in evaluation mode, so that statistics of blocks do not move positions
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        learning_rate: float,
        weight_decay: float,
        n_steps: int | None = None,
        keeps_evaluating: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.rate, self.decay, self.n_steps = learning_rate, weight_decay, n_steps
        self.keeps_evaluating = keeps_evaluating
        self.epoch_parts: dict[str, list[LossParts]] = {"train": [], "val": []}

    def train(self, mode: bool = True) -> "SpikeModule":
        """Switch to training, unless the network is to stay as it is used."""
        return super().train(mode and not self.keeps_evaluating)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One step."""
        parts = self.loss(self.network, batch)
        self.epoch_parts["train"].append({name: part.detach() for name, part in parts.items()})
        return parts["total"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Score a batch that is not learnt from."""
        parts = self.loss(self.network, batch)
        self.epoch_parts["val"].append({name: part.detach() for name, part in parts.items()})
        self.log("val_total", parts["total"], on_epoch=True, batch_size=1, prog_bar=False)

    def configure_optimizers(self) -> Any:
        """AdamW, with a one-cycle schedule where the number of steps is known."""
        optimiser = torch.optim.AdamW(self.network.parameters(), self.rate, weight_decay=self.decay)
        if self.n_steps is None:
            return optimiser
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.rate, total_steps=self.n_steps, pct_start=min(max(0.1, 1.5 / self.n_steps), 0.9)
        )
        return [optimiser], [{"scheduler": cycle, "interval": "step"}]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch."""
        return batch.to(device) if device.type != "cpu" else batch

"""The one place that builds a Lightning trainer. Enters: a module and batches. Leaves: best weights and curves."""

import copy
import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping

from .core.errors import ModelError

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Curve:
    """One point of a learning curve."""

    epoch: int
    split: str
    part: str
    value: float


@dataclass
class Watcher(Callback):
    """Keeps the curves by loss part, the weights of the best validation loss, and stops at a loss that is not a number.

    The module must hold ``epoch_parts``: split -> list of {part: scalar tensor}.
    """

    curves: list[Curve] = field(default_factory=list)
    best: float = math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    best_epoch: int = -1

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Collect the epoch; Lightning has run validation before this."""
        for split, steps in module.epoch_parts.items():
            for part in steps[0] if steps else ():
                value = float(torch.stack([step[part] for step in steps if part in step]).mean())
                self._check(module, split, part, value)
                self.curves.append(Curve(trainer.current_epoch, split, part, value))
            steps.clear()
        loss = float(trainer.callback_metrics["val_total"])
        if loss < self.best:
            self.best, self.best_epoch = loss, trainer.current_epoch
            self.best_weights = copy.deepcopy(module.network.state_dict())

    @staticmethod
    def _check(module: Any, split: str, part: str, value: float) -> None:
        if not math.isfinite(value):
            raise ModelError(
                f"training stopped: loss part '{part}' ({split}) became {value} in epoch {module.current_epoch}; "
                "lower model.learning_rate or look at that modality's values"
            )


def train_module(
    module: Any,
    train: Iterable,
    validation: Iterable,
    epochs: int,
    patience: int,
    device: str,
    min_delta: float = 0.0,
) -> list[Curve]:
    """Train a module with early stopping; leave the weights of its best epoch in ``module.network``.

    Parameters
    ----------
    module : LightningModule with ``network``, ``epoch_parts`` and a logged ``val_total``
    train, validation : iterables of batches, started anew in every epoch
    epochs, patience : most epochs, and epochs without improvement before stopping
    device : auto, cpu, cuda or mps
    min_delta : a smaller fall of the validation loss is no improvement

    Returns
    -------
    The curves of every loss part.

    Raises
    ------
    ModelError
        A loss part became NaN or infinite; the message names it.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    watcher = Watcher()
    with warnings.catch_warnings():
        # Whole tensors are batches already: Lightning's advice on loader workers does not apply.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer = pl.Trainer(
            accelerator="gpu" if device == "cuda" else device,
            devices=1,
            max_epochs=epochs,
            gradient_clip_val=1.0,
            callbacks=[watcher, EarlyStopping("val_total", min_delta, patience, check_finite=False)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, train, validation)
    module.network.load_state_dict(watcher.best_weights)
    module.network.to("cpu").eval()
    LOGGER.debug("best epoch %d of %d", watcher.best_epoch, trainer.current_epoch)
    return watcher.curves

"""The one place that builds a Lightning trainer. Enters: a module and batches. Leaves: best weights and curves."""

import copy
import logging
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.strategies import DDPStrategy
from safetensors.torch import load_file, save_file
from torch.multiprocessing import ProcessRaisedException

from .core.errors import ModelError
from .core.files import read_json, write_json

LOGGER = logging.getLogger(__name__)

WATCH_EVERY = 10
"""Epochs between two looks at the validation units when they decide nothing."""


@dataclass(frozen=True)
class Curve:
    """One point of a learning curve."""

    epoch: int
    split: str
    part: str
    value: float


@dataclass(frozen=True)
class Schedule:
    """How long to train, and which weights to keep.

    Attributes
    ----------
    epochs, patience : most epochs, and epochs without improvement before stopping
    checkpoint : ``best`` validation loss, or ``last``: the end of the schedule, watched but never stopped early
    clip : largest norm of the gradient; min_delta : a smaller fall of the validation loss is no improvement
    tolerance : a validation loss so far above the best still counts as best, and the later weights are kept
    """

    epochs: int
    patience: int
    checkpoint: Literal["best", "last"] = "best"
    clip: float = 1.0
    min_delta: float = 0.0
    tolerance: float = 0.0


@dataclass(frozen=True)
class Hardware:
    """Where and in which arithmetic to train.

    Attributes
    ----------
    device : auto, cpu, cuda or mps; n_devices : how many share a batch, each in a process of its own (Lightning DDP)
    precision : Lightning's name of it; compile : whether to compile the step with ``torch.compile``
    index : number of the one device to use among several, None = the first free
    """

    device: str = "auto"
    n_devices: int = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    compile: bool = False
    index: int | None = None


@dataclass
class Watcher(Callback):
    """Keeps the curves by loss part, the weights of the best validation loss, and stops at a loss that is not a number.

    The module must hold ``epoch_parts``: split -> list of {part: scalar tensor}.
    """

    keeps: Literal["best", "last"] = "best"
    curves: list[Curve] = field(default_factory=list)
    best: float = math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    tolerance: float = 0.0
    patience: int | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Collect the epoch; Lightning has run validation before this."""
        for split, steps in module.epoch_parts.items():
            for part in steps[0] if steps else ():
                value = float(torch.stack([step[part] for step in steps if part in step]).mean())
                self._check(module, split, part, value)
                self.curves.append(Curve(trainer.current_epoch, split, part, value))
            steps.clear()
        if "val_total" not in trainer.callback_metrics or self.keeps == "last":
            return
        loss = float(trainer.callback_metrics["val_total"])
        if loss < self.best + self.tolerance:
            self.best, self.best_epoch = min(loss, self.best), trainer.current_epoch
            self.best_weights = copy.deepcopy(module.network.state_dict())
        elif self.patience is not None and trainer.current_epoch - self.best_epoch >= self.patience:
            trainer.should_stop = True

    @staticmethod
    def _check(module: Any, split: str, part: str, value: float) -> None:
        if not math.isfinite(value):
            raise ModelError(
                f"training stopped: loss part '{part}' ({split}) became {value} in epoch {module.current_epoch}; "
                "lower model.learning_rate or look at that modality's values"
            )


@dataclass
class Handover(Callback):
    """Brings weights and curves of the first of several processes back to the one that asked for the training."""

    watcher: Watcher
    folder: Path

    def on_fit_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Write them, in the first process."""
        if trainer.is_global_zero:
            weights = self.watcher.best_weights or module.network.state_dict()
            save_file({name: x.cpu().contiguous() for name, x in weights.items()}, self.folder / "weights.safetensors")
            write_json(self.folder / "curves.json", [astuple(point) for point in self.watcher.curves])

    def receive(self, module: Any) -> None:
        """Read them, in the process that asked."""
        self.watcher.best_weights = load_file(self.folder / "weights.safetensors")
        module.network.load_state_dict(self.watcher.best_weights)
        self.watcher.curves = [Curve(*point) for point in read_json(self.folder / "curves.json")]


class OptimiserModes(Callback):
    """Schedule-free optimisers keep two sets of weights: one to step from, one to look at and keep."""

    def on_train_epoch_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Step from here."""
        self._switch(trainer, "train")

    def on_validation_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Look at the average."""
        self._switch(trainer, "eval")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Keep the average."""
        self._switch(trainer, "eval")

    @staticmethod
    def _switch(trainer: pl.Trainer, mode: str) -> None:
        for optimiser in trainer.optimizers:
            inner = getattr(optimiser, "optimizer", optimiser)  # Lightning may have wrapped it
            if hasattr(inner, mode):
                getattr(inner, mode)()


def train_module(
    module: Any, train: Iterable, validation: Iterable, schedule: Schedule, hardware: Hardware
) -> list[Curve]:
    """Train a module; leave the weights of its best or last epoch in ``module.network``.

    Parameters
    ----------
    module : LightningModule with ``network``, ``epoch_parts`` and a logged ``val_total``
    train, validation : iterables of batches, started anew in every epoch
    schedule, hardware : how long, and where

    Returns
    -------
    The curves of every loss part.

    Raises
    ------
    ModelError
        A loss part became NaN or infinite; the message names it.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    is_last = schedule.checkpoint == "last"
    # Lightning's own stopping knows no tolerance: it would follow a loss that rises slowly
    stops = schedule.tolerance > 0 and not is_last
    watcher = Watcher(schedule.checkpoint, tolerance=schedule.tolerance, patience=schedule.patience if stops else None)
    callbacks: list[Callback] = [OptimiserModes(), watcher]
    if not is_last and not stops:
        callbacks.append(EarlyStopping("val_total", schedule.min_delta, schedule.patience, check_finite=False))
    is_shared = hardware.n_devices > 1 and hardware.index is None
    if is_shared:
        torch.multiprocessing.set_sharing_strategy("file_system")  # the other runs out of descriptors, one per tensor
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # Whole tensors are batches already: Lightning's advice on loader workers does not apply.
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        handover = Handover(watcher, Path(folder))
        trainer = pl.Trainer(
            accelerator="gpu" if hardware.device == "cuda" else hardware.device,
            devices=hardware.n_devices if hardware.index is None else [hardware.index],
            strategy=DDPStrategy(start_method="spawn", find_unused_parameters=True) if is_shared else "auto",
            precision=hardware.precision,
            max_epochs=schedule.epochs,
            check_val_every_n_epoch=min(schedule.epochs, WATCH_EVERY) if is_last else 1,
            gradient_clip_val=schedule.clip,
            callbacks=[*callbacks, handover] if is_shared else callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        module.train()  # a phase before this one has left it in evaluation
        with _own_errors():
            trainer.fit(
                cast(pl.LightningModule, torch.compile(module)) if hardware.compile else module, train, validation
            )
        if is_shared:
            handover.receive(module)
    if not is_last:
        module.network.load_state_dict(watcher.best_weights)
    module.network.to("cpu").eval()
    LOGGER.debug("%d epochs, kept %s", trainer.current_epoch, schedule.checkpoint)
    return watcher.curves


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raise a ModelError of another process as one: it arrives as the text of its trace."""
    try:
        yield
    except ProcessRaisedException as error:
        name, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if name.rpartition(".")[2] != ModelError.__name__:
            raise
        raise ModelError(message) from None

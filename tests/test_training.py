"""The one trainer: best epoch kept, early stop, a loss that is no number is named."""

import pytest
import pytorch_lightning as pl
import torch

from spikeprint.core.errors import ModelError
from spikeprint.cvae.data import Batches, UnitTensors
from spikeprint.training import Curve, Hardware, Schedule, train_module


class Line(pl.LightningModule):
    """Fits y = 2x by gradient descent; a large rate diverges."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.rate = rate
        self.epoch_parts: dict = {"train": [], "val": []}

    def _loss(self, split: str, x: torch.Tensor) -> torch.Tensor:
        loss = (self.network(x) - 2 * x).square().mean()
        self.epoch_parts[split].append({"error": loss.detach(), "total": loss.detach()})
        return loss

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self._loss("train", batch)

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val_total", self._loss("val", batch), batch_size=len(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network.parameters(), lr=self.rate)


class Same:
    """The same batch, once an epoch. (Lightning reads a plain list as several loaders.)"""

    def __init__(self, scale: float = 1.0) -> None:
        self.x = scale * torch.linspace(-1, 1, 9)[:, None]

    def __len__(self) -> int:
        return 1

    def __iter__(self):
        yield self.x


X, CPU = Same(), Hardware("cpu")


def test_the_best_weights_are_kept() -> None:
    module = Line(rate=0.5)
    curves = train_module(module, X, X, Schedule(40, 40), CPU)
    assert module.network.weight.item() == pytest.approx(2, abs=1e-3)
    assert {(c.split, c.part) for c in curves} == {(s, p) for s in ("train", "val") for p in ("error", "total")}


def test_training_stops_when_validation_no_longer_improves() -> None:
    curves = train_module(Line(rate=0.0), X, X, Schedule(50, 3), CPU)
    assert max(c.epoch for c in curves) < 6


@pytest.mark.parametrize(("min_delta", "n_epochs"), [(0.0, 20), (10.0, 4)])
def test_a_fall_below_min_delta_is_no_improvement(min_delta: float, n_epochs: int) -> None:
    curves = train_module(Line(rate=0.01), X, X, Schedule(20, 3, min_delta=min_delta), CPU)
    assert max(c.epoch for c in curves) == n_epochs - 1


def test_a_loss_that_is_no_number_is_named() -> None:
    with pytest.raises(ModelError, match=r"loss part 'error' \((train|val)\) became (inf|nan) in epoch \d+"):
        train_module(Line(rate=1e12), Same(1e8), X, Schedule(50, 50), CPU)


def test_the_last_epoch_is_kept_when_asked_and_never_stopped_early() -> None:
    module = Line(rate=0.01)
    curves = train_module(module, X, X, Schedule(25, 1, checkpoint="last"), CPU)
    assert max(c.epoch for c in curves if c.split == "train") == 24
    assert {c.epoch for c in curves if c.split == "val"} == {9, 19}


def test_a_second_phase_trains_in_training_mode() -> None:
    module = Line(rate=0.01)
    modes = []
    module.network.register_forward_hook(lambda network, *_: modes.append(network.training))
    for _ in range(2):
        modes.clear()
        train_module(module, X, X, Schedule(1, 1), CPU)
        assert modes[0]


class Shared(Line):
    """Fits the same line to batches of units, and says how many units each step saw."""

    def _loss(self, split: str, units: UnitTensors) -> torch.Tensor:
        loss = super()._loss(split, units.inputs["isi"])
        self.epoch_parts[split][-1]["units"] = torch.tensor(float(len(units)))
        return loss


def _train_on(n_devices: int, rate: float) -> tuple[Shared, list[Curve]]:
    x = torch.linspace(-1, 1, 64)[:, None]
    units = UnitTensors({"isi": x}, torch.ones(64, 1), {}, torch.zeros(64, 1))
    batches = [Batches(units, 16, torch.Generator().manual_seed(0)), Batches(units, 64)]
    module = Shared(rate)
    module.network.weight.data.fill_(0.5)
    return module, train_module(module, *batches, Schedule(5, 5), Hardware("cpu", n_devices))


@pytest.mark.slow
def test_two_devices_share_every_batch_and_learn_what_one_does() -> None:
    (alone, curves), (together, halves) = (_train_on(n, rate=0.5) for n in (1, 2))
    assert together.network.weight.item() == pytest.approx(alone.network.weight.item(), abs=1e-6)
    assert together.network.weight.item() != pytest.approx(0.5, abs=0.1)
    seen = [{c.value for c in found if (c.split, c.part) == ("train", "units")} for found in (curves, halves)]
    assert seen == [{16.0}, {8.0}]
    with pytest.raises(ModelError, match=r"^training stopped: loss part 'error'"):
        _train_on(2, rate=1e30)

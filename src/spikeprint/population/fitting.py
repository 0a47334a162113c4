"""What training works on: the network, the job, the loss of a batch. Enters: batches. Leaves: losses, a history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from .criterion import Loss, info_nce
from .networks import encode_runs
from .sampling import Sampler

BITS = float(np.log2(np.e))


class Network(nn.Module):
    """One encoder for each session, and the criterion they share."""

    def __init__(self, encoders: Sequence[nn.Module], criterion: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.criterion = criterion


@dataclass(frozen=True)
class Hybrid:
    """A loss in time beside that of the labels: the labels' looks at the first dimensions only."""

    behavior_dims: int
    weight: float
    renormalize: bool

    def behaviour(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return the dimensions of the labels' loss."""
        part = embedding[:, : self.behavior_dims]
        if not self.renormalize:
            return part
        return part / torch.linalg.vector_norm(part, dim=1, keepdim=True).clamp_min(1e-12)


@dataclass(frozen=True)
class Look:
    """What held-out rows say: the loss in nats, goodness of fit in bits, the score that decides (higher is better)."""

    loss: float
    bits: float
    score: float


@dataclass(frozen=True)
class Job:
    """What to train with.

    Attributes
    ----------
    sampler : draws the batches
    n_steps, check_every : steps in all, and between two looks
    make_optimizer : parameters -> optimiser
    hybrid : None without a loss in time beside that of the labels
    distort : what happens to training windows
    look : the network -> what the held-out rows say; None = no look
    patience, tolerance : looks without improvement; how far below the best still counts as good
    averaging : weight of the past in the running mean of the weights, 0 = none
    seed : of the batches
    on_step : called with the number of every finished step
    verbose : progress bar
    """

    sampler: Sampler
    n_steps: int
    check_every: int
    make_optimizer: Callable[[Any], torch.optim.Optimizer]
    seed: int
    hybrid: Hybrid | None = None
    distort: Callable[[torch.Tensor], torch.Tensor] | None = None
    look: Callable[[Network], "Look"] | None = None
    patience: int | None = None
    tolerance: float = 0.0
    averaging: float = 0.0
    on_step: Callable[[int], None] | None = None
    verbose: bool = False


def batch_loss(
    network: Network,
    xs: Sequence[torch.Tensor],
    batch: dict[str, Any],
    hybrid: Hybrid | None = None,
    distort: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> tuple[Loss, Loss | None]:
    """Return the loss of a batch, and of its pairs in time where the model is a hybrid."""
    parts: dict[str, list[torch.Tensor]] = {"reference": [], "positive": [], "negative": [], "time": []}
    for encoder, x, session in zip(network.encoders, xs, batch["sessions"], strict=True):
        flat = torch.cat([encode_runs(encoder, x, starts, length, distort) for starts, length in session["runs"]])
        for name, rows in parts.items():
            if name in session and (name != "time" or hybrid is not None):
                rows.append(flat[session[name]])
    reference, positive = torch.cat(parts["reference"]), torch.cat(parts["positive"])[batch["order"]]
    negative = torch.cat(parts["negative"]) if parts["negative"] else reference
    group, negative_group = batch["group"], batch["negative_group"]
    criterion = network.criterion
    if hybrid is None:
        return info_nce(criterion, reference, positive, negative, group, negative_group), None
    near, far, others = (hybrid.behaviour(part) for part in (reference, positive, negative))
    by_label = info_nce(criterion, near, far, others, group, negative_group)
    return by_label, info_nce(criterion, reference, torch.cat(parts["time"]), negative, group, negative_group)


@dataclass(frozen=True)
class History:
    """What happened in training.

    Attributes
    ----------
    table : a row per step: ``step, loss, align, uniform, temperature, log_negatives, loss_time, held_out_loss,
        held_out_bits, held_out_score``; those held out are NaN between looks
    best_step : step whose weights were kept
    """

    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    best_step: int = 0

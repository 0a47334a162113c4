"""The loss. Enters: embeddings of references, positives, negatives. Leaves: cebra's InfoNCE.

Similarities and InfoNCE are those of ``cebra.models.criterions``; ours are a temperature that never loses its gradient,
negatives that are left out, and blocks that bound the memory.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from cebra.models import criterions
from torch import nn

from ..core.errors import SettingError

TILE = {"cpu": 2**21}
"""Similarities that are held at a time: on a processor as many as its cache holds."""
GPU_TILE = 2**26


@dataclass
class Loss:
    """One value of the loss.

    Attributes
    ----------
    total, align, uniform : scalars; ``total = align + uniform``
    log_negatives : mean over references of the log of the number of their negatives: the loss of a collapsed embedding
    """

    total: torch.Tensor
    align: torch.Tensor
    uniform: torch.Tensor
    log_negatives: torch.Tensor


class _Floored(criterions.LearnableInfoNCE):
    """A learnt temperature ``min_temperature + softplus(b)``, or ``exp(b)`` without a floor."""

    def __init__(self, temperature: float, min_temperature: float | None) -> None:
        super().__init__(temperature, min_temperature)
        start = math.log(temperature) if min_temperature is None else _softplus_inverse(temperature - min_temperature)
        self.log_inverse_temperature = nn.Parameter(torch.tensor(start))  # cebra's name of it; here b

    def _prepare_inverse_temperature(self) -> torch.Tensor:
        free = self.log_inverse_temperature
        if self.min_temperature is None:
            return torch.exp(-free)
        return 1 / (self.min_temperature + nn.functional.softplus(free))


class FlooredCosine(_Floored, criterions.LearnableCosineInfoNCE):
    """Cosine similarity with a learnt temperature."""


class FlooredEuclidean(_Floored, criterions.LearnableEuclideanInfoNCE):
    """The same with the negative squared distance."""


CRITERIA = {
    ("cosine", "constant"): criterions.FixedCosineInfoNCE,
    ("euclidean", "constant"): criterions.FixedEuclideanInfoNCE,
    ("cosine", "auto"): FlooredCosine,
    ("euclidean", "auto"): FlooredEuclidean,
}
"""(distance, temperature_mode) -> criterion."""


def build_criterion(distance: str, mode: str, temperature: float, min_temperature: float | None) -> nn.Module:
    """Return a criterion.

    Raises
    ------
    SettingError
        A learnt temperature that starts at or below its floor.
    """
    kind = CRITERIA[distance, mode]
    if mode == "constant":
        return kind(temperature)
    if min_temperature is not None and temperature <= min_temperature:
        raise SettingError(
            f"temperature {temperature:g} is not above min_temperature {min_temperature:g}; a learnt one starts above"
        )
    return kind(temperature, min_temperature)


def _softplus_inverse(value: float) -> float:
    return value + math.log(-math.expm1(-value)) if value > 0 else math.nan


def info_nce(
    criterion: Any,
    reference: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    group: torch.Tensor | None = None,
    negative_group: torch.Tensor | None = None,
) -> Loss:
    """Return the loss of ``reference`` (n, d) with its ``positive`` (n, d) against shared ``negative`` (m, d).

    Parameters
    ----------
    group, negative_group : (n,), (m,) a negative of the reference's own group is none; None = all are
    """
    log_n = torch.full((len(reference),), math.log(len(negative)), device=reference.device)
    if group is not None and negative_group is not None:
        group, negative_group = group.int(), negative_group.int()  # compared in every cell: half the memory
        own = torch.bincount(negative_group + 1, minlength=int(group.max()) + 2)[group + 1]
        log_n = (len(negative) - own).clamp_min(1).log()
    inputs = (reference, positive, negative)
    if len(reference) * len(negative) <= _tile(reference):
        align, uniform = _part(criterion, *inputs, group, negative_group)
        total = align + uniform
    else:
        learnt = [parameter for parameter in criterion.parameters() if parameter.requires_grad]
        total, align = _Tiled.apply(criterion, group, negative_group, *inputs, *learnt)
        uniform = total - align
    n = len(reference)
    return Loss(total / n, align / n, uniform / n, log_n.mean())


def _tile(embedding: torch.Tensor) -> int:
    return TILE.get(embedding.device.type, GPU_TILE)


class _Tiled(torch.autograd.Function):
    """The sums over all references, a tile of them at a time that stays in the processor's cache.

    The slopes are worked out on the way, so that no tile is made twice and none is kept.
    """

    @staticmethod
    def forward(ctx: Any, criterion: Any, group: Any, negative_group: Any, *inputs: torch.Tensor) -> tuple:  # type: ignore[override]
        """``inputs``: references (n, d), positives (n, d), negatives (m, d), parameters of the criterion."""
        reference, positive, negative, *parameters = inputs
        needs = any(ctx.needs_input_grad)
        slopes = [torch.zeros_like(part) for part in inputs] if needs else []
        total, aligned = negative.new_zeros(()), negative.new_zeros(())
        rows = max(1, _tile(negative) // len(negative))
        for start in range(0, len(reference), rows):
            at = slice(start, start + rows)
            near, late, others = (p.detach().requires_grad_(needs) for p in (reference[at], positive[at], negative))
            with torch.set_grad_enabled(needs):
                mine = None if group is None else group[at]
                align, uniform = _part(criterion, near, late, others, mine, negative_group)
                sums = align + uniform
            total += sums.detach()
            aligned += align.detach()
            if needs:
                found = torch.autograd.grad(sums, [near, late, others, *parameters], allow_unused=True)
                for place, (slope, more) in enumerate(zip(slopes, found, strict=True)):
                    if more is not None:
                        (slope[at] if place < 2 else slope).add_(more)
        ctx.save_for_backward(*slopes)
        ctx.mark_non_differentiable(aligned)
        return total, aligned

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor, _: torch.Tensor) -> tuple:  # type: ignore[override]
        """The slopes that are there already."""
        return (None, None, None, *(slope * found for found in ctx.saved_tensors))


def _part(
    criterion: Any,
    reference: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    group: torch.Tensor | None,
    negative_group: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over some references."""
    near, far = criterion._distance(reference, positive, negative)
    # cebra's ``infonce`` is the same sum, in TorchScript and in several times the memory
    is_own = None if group is None or negative_group is None else group[:, None] == negative_group
    return -near.sum(), _LogSumExp.apply(far, is_own).sum()


class _LogSumExp(torch.autograd.Function):
    """Log of the summed exponentials of each row, worked out in the memory of its input, which nobody needs again."""

    @staticmethod
    def forward(ctx: Any, far: torch.Tensor, is_own: torch.Tensor | None) -> torch.Tensor:  # type: ignore[override]
        """Rows of ``far`` (n, m) without the cells where ``is_own``."""
        weights = far.detach()
        if is_own is not None:
            weights.masked_fill_(is_own, -torch.inf)
        largest = weights.amax(dim=1, keepdim=True)
        weights.sub_(largest).exp_()
        total = weights.sum(dim=1)
        ctx.save_for_backward(weights, total)
        return total.log() + largest[:, 0]

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        """Softmax of each row."""
        weights, total = ctx.saved_tensors
        return weights * (slope / total)[:, None], None

"""The encoder as it answers requests. Enters: a trained network and model inputs. Leaves: the latent means.

Nothing is drawn at random when a model answers, so what training keeps apart is multiplied out once: the random
subspaces and the scale of the inputs become part of the first weights, all members then read the same input and their
first layers are one matrix product; the mean that layer normalisation takes off is taken off the weights; batch
normalisation disappears; what is told about the origin becomes a row of a table. Units come last in every array, so
that sums over a layer are sums of whole rows. The numbers are those of ``CVAENetwork.encode`` up to rounding, at a
third of the cost. Torch only: the served model runs a copy of this file. Letters in shapes as in ``networks``; F units
of a hidden layer, M modalities.
"""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..evaluate.decision import fold_novelty
from .networks import CLIP, Conditions, CVAENetwork, MemberLinear, MemberNorm, Standardise

EPSILON = 1e-5
"""What ``layer_norm`` adds to a variance."""

SMALLEST_GAIN = 1e-6
"""A smaller one is raised to it, which changes nothing that can be seen."""


@dataclass(frozen=True)
class Scaled:
    """Standardised inputs of B units.

    Attributes
    ----------
    inputs : modality -> (L, B), ``Standardise`` divided by ``2 * CLIP``; meaningless where missing
    present : (B, M) bool
    """

    inputs: dict[str, Tensor]
    present: Tensor


class FoldedEncoder:
    """``CVAENetwork.encode`` of a network that will not change, from inputs that are not standardised yet."""

    @torch.no_grad()
    def __init__(self, network: CVAENetwork) -> None:
        shape = network.shape
        self.scales = {name: _Scale(cast(Standardise, network.standardise[name])) for name in shape.lengths}
        is_block = shape.use_fusion
        linear = cast(MemberLinear, cast(nn.Sequential, network.fusion)[0] if is_block else network.fusion)
        self.finish = _Finish(cast(MemberNorm, cast(nn.Sequential, network.fusion)[1])) if is_block else None
        weight, bias = linear.weight.detach(), linear.bias.detach()
        if self.finish:
            weight, bias = self.finish.fold(weight, bias)
        n_seen = shape.n_hidden * len(shape.lengths)
        self.bias = _units_last(bias)
        self.first = {
            name: _FirstLayer(network, name, _units_last(joined))
            for name, joined in zip(shape.lengths, weight[:, :n_seen].split(shape.n_hidden, dim=1), strict=True)
        }
        self.told = _tabulate(network.told_encoder, weight[:, n_seen:], shape.n_condition)
        self.mu_weight, self.mu_bias = _units_last(network.mu.weight.detach()), _units_last(network.mu.bias.detach())
        self.sizes = (shape.n_members, shape.n_hidden)
        self.workspace = _Workspace()

    def standardise(self, inputs: Mapping[str, Tensor], present: Tensor) -> Scaled:
        """{name: (B, L)}, (B, M) bool -> what the encoder and the distances take"""
        return Scaled({name: scale(inputs[name].t()) for name, scale in self.scales.items()}, present)

    @torch.inference_mode()
    def __call__(self, scaled: Scaled, codes: Mapping[str, Tensor]) -> Tensor:
        """Inputs, {name: (B,)} -> means (E, D, B)"""
        present = scaled.present
        n_rows, n_units = math.prod(self.sizes), len(present)
        memory = self.workspace.take((3 * n_rows + max(len(x.chosen) for x in self.first.values()), n_units))
        first, room, hidden = memory[: 3 * n_rows].view(3, *self.sizes, n_units)
        bias = self.bias
        for name, table in self.told.items():
            code = codes[name]
            is_alike = len(code) > 0 and bool((code == code[0]).all())
            bias = bias + table.index_select(2, code[:1] if is_alike else code)
        hidden.copy_(bias)
        for i, (name, layer) in enumerate(self.first.items()):
            part = layer(scaled.inputs[name], memory[3 * n_rows :], first, room)
            if not bool(present[:, i].all()):
                part.copy_(torch.where(present[:, i], part, layer.missing))
            hidden.baddbmm_(layer.joined, part)
        return torch.baddbmm(self.mu_bias, self.mu_weight, self.finish(hidden, room) if self.finish else hidden)


class FoldedDistances:
    """How far units lie from known classes: ``decision.novelty_score`` of all members and ``decision.trace_distance``.

    Parameters
    ----------
    arrays : ``novelty.centres``, ``novelty.precision``, ``traces.*``, as ``assurance.fit_assurance`` returns them
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.of_latents = _fold_classes(arrays["novelty.centres"], arrays["novelty.precision"])
        self.of_traces = _fold_classes(arrays["traces.centres"], arrays["traces.precision"])
        axes = {k.removeprefix("traces.axes."): x for k, x in arrays.items() if k.startswith("traces.axes.")}
        self.axes = {name: torch.from_numpy(2 * CLIP * x.T) for name, x in axes.items()}

    @torch.inference_mode()
    def latents(self, latent: Tensor) -> Tensor:
        """(E, D, B) -> the mean over members of the distance to the nearest class (B,)"""
        return _squared_distances(latent, *self.of_latents).amin(dim=1).sqrt_().mean(dim=0)

    @torch.inference_mode()
    def traces(self, scaled: Scaled) -> Tensor:
        """Return the distance of traces and descriptors (B,), 0 for a unit without any of the modalities."""
        if not self.axes:
            return torch.zeros(len(scaled.present))
        used = [name in self.axes for name in scaled.inputs]
        places = torch.stack([self.axes[name] @ x for name, x in scaled.inputs.items() if name in self.axes])
        seen = scaled.present[:, used].t()
        total = (_squared_distances(places, *self.of_traces) * seen[:, None]).sum(dim=0)
        return (total.amin(dim=0) / seen.sum(dim=0).clamp_min(1)).sqrt_()


def _fold_classes(centres: np.ndarray, precision: np.ndarray) -> tuple[Tensor, Tensor]:
    """Maps (E, C * D, D) and offsets (E, C * D, 1) into spaces in which the distance to a class is a plain one."""
    maps, places = fold_novelty(centres, precision)
    return torch.from_numpy(maps).float(), torch.from_numpy(-places).float()


def _squared_distances(x: Tensor, maps: Tensor, offsets: Tensor) -> Tensor:
    """(E, D, B), of ``_fold_classes`` -> (E, C, B)"""
    mapped = torch.baddbmm(offsets, maps, x)
    return mapped.mul_(mapped).unflatten(1, (-1, x.shape[1])).sum(dim=2)


class _Scale:
    """``Standardise``, units last: (L, B) -> (L, B), within ±0.5. A sigmoid takes a sixth of the time of a tanh."""

    def __init__(self, standardise: Standardise) -> None:
        rate = 2 / (CLIP * standardise.scale)
        self.rate, self.start = rate[:, None], (-standardise.centre * rate)[:, None]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.mul(x, self.rate).add_(self.start).sigmoid_().sub_(0.5)


class _FirstLayer:
    """What the members make of one modality; ``joined`` (E, F, F) is the weight of that in the next layer."""

    def __init__(self, network: CVAENetwork, name: str, joined: Tensor) -> None:
        block = cast(nn.Sequential, network.encoders[name])
        linear, self.finish = cast(MemberLinear, block[0]), _Finish(cast(MemberNorm, block[1]))
        seen = network.subspaces.get_buffer(name)[:, 0]  # (E, L)
        weight, bias = self.finish.fold(2 * CLIP * seen[:, :, None] * linear.weight, linear.bias)
        # what a member sees comes first; one that sees less than others is given more, at weight 0
        chosen = seen.argsort(dim=1, descending=True, stable=True)[:, : int(seen.sum(dim=1).max())]
        self.chosen = chosen.flatten()
        self.weight = _units_last(weight.gather(1, chosen[:, :, None].expand(-1, -1, weight.shape[2])))
        self.bias = _units_last(bias)
        self.missing = _units_last(network.missing[name].detach())
        self.joined = joined

    def __call__(self, x: Tensor, view: Tensor, first: Tensor, room: Tensor) -> Tensor:
        """(L, B), room for what the members see and two times for (E, F, B) -> (E, F, B) in ``room``"""
        view = torch.index_select(x, 0, self.chosen, out=view[: len(self.chosen)])
        torch.baddbmm(self.bias, self.weight, view.unflatten(0, (len(first), -1)), out=first)
        return self.finish(first, room)


class _Finish:
    """Normalisation and GELU of a block, as far as they cannot be folded into its weights."""

    def __init__(self, norm: MemberNorm) -> None:
        self.norm = norm
        gain = norm.gain.detach()
        self.gain = torch.where(gain.abs() < SMALLEST_GAIN, SMALLEST_GAIN, gain)
        self.offset = _units_last(norm.bias.detach())
        self.spread = 1 / (gain.shape[2] * self.gain**2)  # (E, 1, F): weights of squares that already have the gain

    def fold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(E, n_in, F), (E, 1, F) -> the same after centring and gain, or after all of a batch normalisation"""
        batch = self.norm.batch
        if batch is None:
            weight, bias = (x - x.mean(dim=2, keepdim=True) for x in (weight, bias))
            return weight * self.gain, bias * self.gain
        mean, variance = (cast(Tensor, x).view_as(bias) for x in (batch.running_mean, batch.running_var))
        rate = self.norm.gain * torch.rsqrt(variance + batch.eps)
        return weight * rate, (bias - mean) * rate + self.norm.bias

    def __call__(self, x: Tensor, room: Tensor) -> Tensor:
        """(E, F, B), room for as much -> (E, F, B) in ``room``; ``x`` is changed"""
        if self.norm.batch is None:
            rate = torch.bmm(self.spread, torch.mul(x, x, out=room)).add_(EPSILON).rsqrt_()
            torch.addcmul(self.offset, x, rate, out=x)
        return cast(Tensor, torch.ops.aten.gelu.out(x, out=room))


class _Workspace(threading.local):
    """Memory that each thread keeps from batch to batch: to ask the system for it anew costs as much as to fill it."""

    def __init__(self) -> None:
        self.held = torch.empty(0)

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Return an array of any content."""
        size = math.prod(shape)
        if len(self.held) < size:
            self.held = torch.empty(size)
        return self.held[:size].view(shape)


def _units_last(x: Tensor) -> Tensor:
    """Weights (E, n_in, n_out) -> (E, n_out, n_in), biases (E, 1, F) -> (E, F, 1)"""
    return x.transpose(1, 2).contiguous()


def _tabulate(told: Conditions, weight: Tensor, n_condition: int) -> dict[str, Tensor]:
    """What each word adds to the hidden layer: name -> (E, F, 1 + number of words), row 0 = absent = zeros"""
    found = {}
    for i, (name, table) in enumerate(told.tables.items()):
        added = table.detach() @ weight[:, i * n_condition : (i + 1) * n_condition]
        found[name] = _units_last(functional.pad(added, (0, 0, 1, 0)))
    return found

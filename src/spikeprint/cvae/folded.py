"""The encoder as it answers requests. Enters: a trained network and model inputs. Leaves: the latent means.

Nothing is drawn at random when a model answers, so what training keeps apart is multiplied out once: the random
subspaces, the scale of the inputs and the bias become part of the first weights; the mean that layer normalisation
takes off is taken off the weights; batch normalisation disappears; what is told about the origin becomes a row of a
table. Units come last in every array, so that sums over a layer are sums of whole rows, and memory and views are kept
from batch to batch. The numbers are those of ``CVAENetwork.encode`` up to rounding, at a fourth of the cost. The served
model runs a copy of this file. Letters in shapes as in ``networks``; F units of a hidden layer, M modalities.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..evaluate.decision import fold_novelty
from .networks import CLIP, Conditions, CVAENetwork, MemberLinear, MemberNorm, Standardise
from .products import Product, multiply

EPSILON = 1e-5
"""What ``layer_norm`` adds to a variance."""

SMALLEST_GAIN = 1e-6
"""A smaller one is raised to it, which changes nothing that can be seen."""

SPAN = 640
"""Units that members answer at a time."""

CELLS = 1 << 19
"""Distances along axes that are added up at a time: they stay in the cache."""


@dataclass(frozen=True)
class Scaled:
    """Standardised inputs of B units. They lie in memory of the thread: the next ones take their place.

    Attributes
    ----------
    inputs : modality -> (L, B), ``Standardise`` divided by ``2 * CLIP``; meaningless where missing
    present : (B, M) bool
    """

    inputs: dict[str, Tensor]
    present: np.ndarray


class FoldedEncoder:
    """``CVAENetwork.encode`` of a network that will not change, from inputs that are not standardised yet.

    A batch is written into ``room``, then ``standardise``d, then encoded, all by one thread.
    """

    @torch.no_grad()
    def __init__(self, network: CVAENetwork) -> None:
        shape = network.shape
        self.shape = shape
        self.rate, self.start = _scale([cast(Standardise, network.standardise[name]) for name in shape.lengths])
        self.missing = torch.stack([network.missing[name].detach().mT for name in shape.lengths], dim=1)
        self.first, self.first_finish = _fold_first(network)
        fusion = cast(nn.Sequential, network.fusion) if shape.use_fusion else None
        linear = cast(MemberLinear, fusion[0] if fusion else network.fusion)
        self.finish = _Finish([cast(MemberNorm, fusion[1])]) if fusion else None
        weight, bias = linear.weight.detach(), linear.bias.detach()
        if self.finish:
            weight, bias = self.finish.fold(weight, bias)
        n_seen = shape.n_hidden * len(shape.lengths)
        self.joined, self.bias = _units_last(weight[:, :n_seen]), _units_last(bias)
        self.told = _tabulate(network.told_encoder, weight[:, n_seen:], shape.n_condition)
        self.mu_weight, self.mu_bias = _units_last(network.mu.weight.detach()), _units_last(network.mu.bias.detach())
        self.kept = threading.local()

    def room(self, n_units: int) -> dict[str, np.ndarray]:
        """Return where the thread is to write inputs: modality -> (L, ``n_units``) float32, content undefined."""
        return {name: x.numpy() for name, x in self._workspace(n_units).inputs.items()}

    @torch.inference_mode()
    def standardise(self, present: np.ndarray) -> Scaled:
        """(B, M) bool of the inputs in ``room`` -> what the encoder and the distances take; they are changed"""
        held = self._workspace(len(present))
        x = held.rows[:-1]  # within ±0.5 afterwards; a sigmoid takes a sixth of the time of a tanh
        torch.addcmul(self.start, x, self.rate, out=x).sigmoid_().sub_(0.5)
        return Scaled(held.inputs, present)

    @torch.inference_mode()
    def __call__(self, scaled: Scaled, codes: Mapping[str, Tensor]) -> Tensor:
        """What ``standardise`` returned last, {name: (B,)} -> means (E, D, B), in memory of the thread"""
        held = self._workspace(len(scaled.present))
        bias = self.bias
        for name, table in self.told.items():
            code = codes[name]
            is_alike = len(code) > 0 and (code.stride(0) == 0 or bool((code == code[0]).all()))
            bias = bias + table.index_select(2, code[:1] if is_alike else code)
        incomplete = np.flatnonzero(~scaled.present.all(axis=0)).tolist()
        absent = {i: torch.from_numpy(~scaled.present[:, i]) for i in incomplete}
        for span in held.spans:
            span.answer(bias, absent)
        return held.latent.add_(self.mu_bias)

    def _workspace(self, n_units: int) -> "_Workspace":
        held = getattr(self.kept, "held", None)
        if held is None or held.n_units != n_units:
            held = self.kept.held = _Workspace(self, n_units, held.memory if held else torch.empty(0))
        return held


class _Workspace:
    """Memory in which a thread answers ``n_units``: to ask for it anew costs as much as to fill it."""

    def __init__(self, encoder: FoldedEncoder, n_units: int, memory: Tensor) -> None:
        shape = encoder.shape
        n_inputs, n_latents = sum(shape.lengths.values()) + 1, shape.n_members * shape.n_latent
        n_rows, span = _Span.count_rows(encoder), min(SPAN, n_units)
        n_own = (n_inputs + n_latents) * n_units
        self.n_units = n_units
        self.memory = memory if len(memory) >= n_own + n_rows * span else torch.empty(n_own + n_rows * span)
        whole = self.memory[:n_own].view(-1, n_units)
        self.rows, latent = whole.split([n_inputs, n_latents])
        self.rows[-1] = 1
        self.inputs = dict(zip(shape.lengths, self.rows[:-1].split(list(shape.lengths.values())), strict=True))
        self.latent = latent.view(shape.n_members, shape.n_latent, n_units)
        rest = self.memory[n_own:]
        self.spans = [_Span(encoder, slice(i, i + span), self, rest) for i in range(0, n_units, span)]


class _Span:
    """Some units of a batch and the memory in which all members answer them, one span after the other.

    Few enough for what one step writes to be in the processor's cache when the next reads it.
    """

    def __init__(self, encoder: FoldedEncoder, units: slice, held: _Workspace, memory: Tensor) -> None:
        shape, first = encoder.shape, encoder.first
        self.units, self.rows, self.missing = units, held.rows[:, units], encoder.missing
        n_members, n_hidden, n = shape.n_members, shape.n_hidden, self.rows.shape[1]
        layer = (n_members, len(shape.lengths), n_hidden, n)
        sizes = [first.count_rows(), n_members * layer[1], math.prod(layer[:3]), math.prod(layer[:3])]
        view, rate, x, part = memory[: sum(sizes) * n].view(-1, n).split(sizes)
        x, self.parts = x.view(layer), part.view(layer)
        self.looks = []
        for i, (chosen, weight) in enumerate(zip(first.chosen, first.weights, strict=True)):
            seen = view[: len(chosen)]
            self.looks.append((chosen, seen, Product(weight, seen.view(n_members, -1, n), x[:, i])))
        self.finish_first = _Finishing(encoder.first_finish, x, self.parts, rate)
        # ``x`` has been read when the hidden layer is written, ``part`` when that is finished
        self.hidden = x.flatten()[: n_members * n_hidden * n].view(n_members, n_hidden, n)
        room = part[: n_members * n_hidden].view_as(self.hidden)
        self.join = Product(encoder.joined, part.view(n_members, -1, n), self.hidden)
        hidden, done = self.hidden[:, None], room[:, None]
        self.finish = _Finishing(encoder.finish, hidden, done, rate) if encoder.finish else None
        self.tell = Product(encoder.mu_weight, room if self.finish else self.hidden, held.latent[..., units])

    @staticmethod
    def count_rows(encoder: FoldedEncoder) -> int:
        """Return how many numbers a unit needs."""
        shape = encoder.shape
        return encoder.first.count_rows() + shape.n_members * len(shape.lengths) * (1 + 2 * shape.n_hidden)

    def answer(self, bias: Tensor, absent: Mapping[int, Tensor]) -> None:
        """Write the means, without their bias; ``absent``: place of a modality -> (B,) bool."""
        for chosen, view, weigh in self.looks:
            torch.index_select(self.rows, 0, chosen, out=view)
            weigh()
        self.finish_first()
        for i, is_absent in absent.items():
            torch.where(is_absent[self.units], self.missing[:, i], self.parts[:, i], out=self.parts[:, i])
        self.join()
        self.hidden.add_(bias if bias.shape[2] == 1 else bias[..., self.units])
        if self.finish:
            self.finish()
        self.tell()


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
        found = torch.empty(latent.shape[0], latent.shape[2])
        step = max(CELLS // (self.of_latents[0].shape[1] * max(latent.shape[2], 1)), 1)
        for nearest, z, maps, offsets in zip(*(x.split(step) for x in (found, latent, *self.of_latents)), strict=True):
            torch.amin(_squared_distances(z, maps, offsets), dim=1, out=nearest)
        return found.sqrt_().mean(dim=0)

    @torch.inference_mode()
    def traces(self, scaled: Scaled) -> Tensor:
        """Return the distance of traces and descriptors (B,), 0 for a unit without any of the modalities."""
        if not self.axes:
            return torch.zeros(len(scaled.present))
        used = [name in self.axes for name in scaled.inputs]
        inputs = [(self.axes[name], x) for name, x in scaled.inputs.items() if name in self.axes]
        places = torch.empty(len(inputs), len(inputs[0][0]), len(scaled.present))
        for place, (axes, x) in zip(places, inputs, strict=True):
            multiply(axes[None], x[None], place[None])
        found = _squared_distances(places, *self.of_traces)
        if scaled.present.all():
            return (found.sum(dim=0).amin(dim=0) / len(inputs)).sqrt_()
        seen = torch.from_numpy(np.ascontiguousarray(scaled.present[:, used].T))
        total = (found * seen[:, None]).sum(dim=0)
        return (total.amin(dim=0) / seen.sum(dim=0).clamp_min(1)).sqrt_()


def _fold_classes(centres: np.ndarray, precision: np.ndarray) -> tuple[Tensor, Tensor]:
    """Maps (E, C * D, D) and offsets (E, C * D, 1) into spaces in which the distance to a class is a plain one."""
    maps, places = fold_novelty(centres, precision)
    return torch.from_numpy(maps).float(), torch.from_numpy(-places).float()


def _squared_distances(x: Tensor, maps: Tensor, offsets: Tensor) -> Tensor:
    """(E, D, B), of ``_fold_classes`` -> (E, C, B)"""
    mapped = torch.empty(*maps.shape[:2], x.shape[2])
    multiply(maps, x, mapped)
    return mapped.add_(offsets).square_().unflatten(1, (-1, x.shape[1])).sum(dim=2)


def _scale(layers: Sequence[Standardise]) -> tuple[Tensor, Tensor]:
    """Return (all L, 1) with which ``Standardise`` is ``2 * CLIP * (sigmoid(x * factor + offset) - 0.5)``."""
    rate = torch.cat([2 / (CLIP * layer.scale) for layer in layers])
    return rate[:, None], (-torch.cat([layer.centre for layer in layers]) * rate)[:, None]


@dataclass(frozen=True)
class _FirstLayers:
    """What the members see of each modality: the rows ``chosen`` (E * K,), every K-th is 1; ``weights`` (E, F, K)."""

    chosen: list[Tensor]
    weights: list[Tensor]

    def count_rows(self) -> int:
        """Return how many rows the members see of the modality that they see most of."""
        return max(len(x) for x in self.chosen)


def _fold_first(network: CVAENetwork) -> tuple[_FirstLayers, "_Finish"]:
    shape = network.shape
    blocks = [cast(nn.Sequential, network.encoders[name]) for name in shape.lengths]
    finish = _Finish([cast(MemberNorm, block[1]) for block in blocks])
    found, start, n_inputs = _FirstLayers([], []), 0, sum(shape.lengths.values())
    for i, (name, block) in enumerate(zip(shape.lengths, blocks, strict=True)):
        linear, seen = cast(MemberLinear, block[0]), network.subspaces.get_buffer(name)[:, 0]  # (E, L)
        weight, bias = finish.fold(2 * CLIP * seen[:, :, None] * linear.weight, linear.bias, i)
        # what a member sees comes first; one that sees less than others is given more, at weight 0
        chosen = seen.argsort(dim=1, descending=True, stable=True)[:, : int(seen.sum(dim=1).max())]
        weight = weight.gather(1, chosen[:, :, None].expand(-1, -1, weight.shape[2]))
        found.weights.append(_units_last(torch.cat([weight, bias], dim=1)))
        found.chosen.append(functional.pad(chosen + start, (0, 1), value=n_inputs).flatten())
        start += shape.lengths[name]
    return found, finish


class _Finish:
    """Normalisation and GELU of M blocks, as far as they cannot be folded into their weights."""

    def __init__(self, norms: Sequence[MemberNorm]) -> None:
        self.norms = norms
        gain = torch.stack([norm.gain.detach() for norm in norms], dim=1)
        self.gain = torch.where(gain.abs() < SMALLEST_GAIN, SMALLEST_GAIN, gain)  # (E, M, 1, F)
        self.offset = torch.stack([norm.bias.detach().mT for norm in norms], dim=1)  # (E, M, F, 1)
        self.spread = 1 / (gain.shape[3] * self.gain**2)  # weights of squares that already have the gain
        self.is_done = norms[0].batch is not None

    def fold(self, weight: Tensor, bias: Tensor, which: int = 0) -> tuple[Tensor, Tensor]:
        """(E, n_in, F), (E, 1, F) -> the same after centring and gain, or after all of a batch normalisation"""
        norm = self.norms[which]
        if norm.batch is None:
            weight, bias = (x - x.mean(dim=2, keepdim=True) for x in (weight, bias))
            return weight * self.gain[:, which], bias * self.gain[:, which]
        mean, variance = (cast(Tensor, x).view_as(bias) for x in (norm.batch.running_mean, norm.batch.running_var))
        rate = norm.gain * torch.rsqrt(variance + norm.batch.eps)
        return weight * rate, (bias - mean) * rate + norm.bias


class _Finishing:
    """``_Finish`` bound to its memory: (E, M, F, B) -> the same in ``room``; ``x`` is changed."""

    def __init__(self, finish: _Finish, x: Tensor, room: Tensor, rate: Tensor) -> None:
        n_blocks, n_units = x.shape[0] * x.shape[1], x.shape[3]
        self.x, self.room, self.is_done = x, room, finish.is_done
        self.rate = rate[:n_blocks].view(*x.shape[:2], 1, n_units)
        self.offset = finish.offset
        squares, spread = room.view(n_blocks, -1, n_units), finish.spread.flatten(0, 1)
        self.add_up = Product(spread, squares, self.rate.view(n_blocks, 1, n_units))

    def __call__(self) -> None:
        if not self.is_done:
            torch.mul(self.x, self.x, out=self.room)
            self.add_up()
            torch.addcmul(self.offset, self.x, self.rate.add_(EPSILON).rsqrt_(), out=self.x)
        torch.ops.aten.gelu.out(self.x, out=self.room)


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

"""The encoder as it answers requests. Enters: a trained network and model inputs. Leaves: the latent means.

Nothing is drawn at random when a model answers, so what training keeps apart is multiplied out once: the random
subspaces and the scale of the inputs become part of the first weights, all members then read the same input and their
first layers are one matrix product; the mean that layer normalisation takes off is taken off the weights; batch
normalisation disappears; what is told about the origin becomes a row of a table. The numbers are those of
``CVAENetwork.encode`` up to rounding, at about half of the cost. Torch only: the served model runs a copy of this file.
Letters in shapes as in ``networks``; F units of a hidden layer.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .networks import CLIP, Conditions, CVAENetwork, MemberLinear, MemberNorm, Standardise

EPSILON = 1e-5
"""What ``layer_norm`` adds to a variance."""


class FoldedEncoder:
    """``CVAENetwork.encode`` of a network that will not change, from inputs that are not standardised yet."""

    @torch.no_grad()
    def __init__(self, network: CVAENetwork) -> None:
        shape = network.shape
        self.first = {name: _FirstLayer(network, name) for name in shape.lengths}
        is_block = shape.use_fusion
        linear = cast(MemberLinear, cast(nn.Sequential, network.fusion)[0] if is_block else network.fusion)
        self.finish = _Finish(cast(MemberNorm, cast(nn.Sequential, network.fusion)[1])) if is_block else None
        weight, bias = linear.weight.detach(), linear.bias.detach()
        if self.finish:
            weight, bias = self.finish.fold(weight, bias)
        n_seen = shape.n_hidden * len(shape.lengths)
        self.weight, self.bias = weight[:, :n_seen].contiguous(), bias
        self.told = _tabulate(network.told_encoder, weight[:, n_seen:], shape.n_condition)
        self.mu_weight, self.mu_bias = network.mu.weight.detach(), network.mu.bias.detach()

    def __call__(self, inputs: Mapping[str, Tensor], present: Tensor, codes: Mapping[str, Tensor]) -> Tensor:
        """{name: (B, L)}, (B, n_modalities) bool, {name: (B,)} -> means (E, B, D)"""
        parts = [layer(inputs[name], present[:, i]) for i, (name, layer) in enumerate(self.first.items())]
        bias = self.bias
        for name, table in self.told.items():
            code = codes[name]
            is_alike = len(code) > 0 and bool((code == code[0]).all())
            bias = bias + table.index_select(1, code[:1] if is_alike else code)
        hidden = torch.baddbmm(bias, torch.cat(parts, dim=2).transpose(0, 1), self.weight)
        if self.finish:
            hidden = self.finish(hidden)
        return torch.baddbmm(self.mu_bias, hidden, self.mu_weight)


class _FirstLayer:
    """What the members make of one modality: (B, L), (B,) bool -> (B, E, F)"""

    def __init__(self, network: CVAENetwork, name: str) -> None:
        standardise, block = cast(Standardise, network.standardise[name]), cast(nn.Sequential, network.encoders[name])
        linear, self.finish = cast(MemberLinear, block[0]), _Finish(cast(MemberNorm, block[1]), members_first=False)
        self.rate = 1 / (CLIP * standardise.scale)
        self.start = -standardise.centre * self.rate
        seen = network.subspaces.get_buffer(name).transpose(1, 2)  # (E, L, 1)
        weight, bias = self.finish.fold(CLIP * seen * linear.weight, linear.bias)
        self.weight = weight.transpose(0, 1).flatten(1).contiguous()  # (L, E * F)
        self.bias = bias.flatten()
        self.missing = network.missing[name].detach()[:, 0]
        self.n_members = len(self.missing)

    def __call__(self, x: Tensor, is_there: Tensor) -> Tensor:
        x = torch.addcmul(self.start, x, self.rate).tanh_()
        hidden = self.finish(torch.addmm(self.bias, x, self.weight).view(len(x), self.n_members, -1))
        if not bool(is_there.all()):
            hidden[~is_there] = self.missing
        return hidden


class _Finish:
    """Normalisation and GELU of a block, as far as they cannot be folded into its weights."""

    def __init__(self, norm: MemberNorm, members_first: bool = True) -> None:
        self.norm = norm
        gain, offset = norm.gain.detach(), norm.bias.detach()  # (E, 1, F)
        self.gain, self.offset = (gain, offset) if members_first else (gain[:, 0], offset[:, 0])

    def fold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(E, n_in, F), (E, 1, F) -> the same after centring, or after all of a batch normalisation"""
        batch = self.norm.batch
        if batch is None:
            return weight - weight.mean(dim=2, keepdim=True), bias - bias.mean(dim=2, keepdim=True)
        mean, variance = (cast(Tensor, x).view_as(bias) for x in (batch.running_mean, batch.running_var))
        rate = self.norm.gain * torch.rsqrt(variance + batch.eps)
        return weight * rate, (bias - mean) * rate + self.norm.bias

    def __call__(self, x: Tensor) -> Tensor:
        """(E, B, F), or (B, E, F) unless ``members_first`` -> the same shape"""
        if self.norm.batch is None:
            x = torch.addcmul(self.offset, x * torch.rsqrt((x * x).mean(dim=2, keepdim=True) + EPSILON), self.gain)
        return functional.gelu(x)


def _tabulate(told: Conditions, weight: Tensor, n_condition: int) -> dict[str, Tensor]:
    """What each word adds to the hidden layer: name -> (E, 1 + number of words, F), row 0 = absent = zeros"""
    found = {}
    for i, (name, table) in enumerate(told.tables.items()):
        added = table.detach() @ weight[:, i * n_condition : (i + 1) * n_condition]
        found[name] = functional.pad(added, (0, 0, 1, 0))
    return found

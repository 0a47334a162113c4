"""The networks. Enters: model inputs, a presence mask, condition codes. Leaves: latents, reconstructions, logits.

Several small networks, the members, stand side by side in every weight, so that an ensemble costs one matrix product
(after TabM, Gorishniy et al. 2024). Torch only: the served model runs a copy of this file. Letters in shapes: E
members, B units, L values of a modality, D latent size of a member, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CLIP = 4.0
"""Standardised values are bent smoothly so that none lies beyond this many standard deviations."""


@dataclass(frozen=True)
class NetworkShape:
    """Everything that fixes the names and shapes of the weights; plain values, saved with them.

    ``lengths`` are the values that the network sees of each modality: the trace, then its descriptors.
    """

    lengths: dict[str, int]
    n_members: int
    n_latent: int
    n_hidden: int
    n_condition: int
    condition_sizes: dict[str, int]
    n_classes: int
    class_in_encoder: bool
    class_in_decoder: bool
    use_fusion: bool
    use_batch_norm: bool
    dropout: float
    input_dropout: float
    input_share: float


class Standardise(nn.Module):
    """Centre and scale the values of one modality by the training units' statistics, kept with the weights."""

    centre: Tensor
    scale: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(length))
        self.register_buffer("scale", torch.ones(length))

    def fit(self, x: Tensor) -> None:
        """Take the statistics of (n_units, L); a value that is the same in all units becomes 0."""
        spread = x.std(dim=0)
        self.centre.copy_(x.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.full_like(spread, torch.inf)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L) -> (B, L), within ±``CLIP``"""
        return CLIP * torch.tanh((x - self.centre) / (CLIP * self.scale))

    def invert(self, x: Tensor) -> Tensor:
        """(..., L) standardised -> (..., L) in the units of the inputs"""
        bent = CLIP * torch.atanh((x / CLIP).clamp(-0.999, 0.999))
        return self.centre + bent * torch.where(self.scale.isinf(), 0.0, self.scale)


class MemberLinear(nn.Module):
    """A linear map for each member: (E, B, n_in) -> (E, B, n_out)."""

    def __init__(self, n_members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = max(n_in, 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(n_members, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(E, B, n_in) -> (E, B, n_out)"""
        return torch.baddbmm(self.bias, x, self.weight)


class MemberNorm(nn.Module):
    """Layer or batch normalisation with a gain and an offset for each member."""

    def __init__(self, n_members: int, n_features: int, use_batch_norm: bool) -> None:
        super().__init__()
        self.batch = nn.BatchNorm1d(n_members * n_features, affine=False) if use_batch_norm else None
        self.gain = nn.Parameter(torch.ones(n_members, 1, n_features))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_features))

    def forward(self, x: Tensor) -> Tensor:
        """(E, B, F) -> (E, B, F)"""
        n_members, n_units, n_features = x.shape
        if self.batch is None:
            scaled = functional.layer_norm(x, (n_features,))
        else:
            flat = x.transpose(0, 1).reshape(n_units, n_members * n_features)
            scaled = self.batch(flat).reshape(n_units, n_members, n_features).transpose(0, 1)
        return scaled * self.gain + self.bias


class Conditions(nn.Module):
    """Embeddings of what is known about a unit's origin and class. Code 0 = absent = the zero vector, never a class."""

    def __init__(self, sizes: Mapping[str, int], n_condition: int, n_members: int) -> None:
        super().__init__()
        self.n_out = n_condition * len(sizes)
        self.tables = nn.ParameterDict(
            {name: nn.Parameter(0.3 * torch.randn(n_members, n, n_condition)) for name, n in sizes.items()}
        )

    def forward(self, codes: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """{name: (E, B) int64} -> (E, B, n_out); ``like`` (E, B, .) gives the sizes when there is no condition."""
        parts = [
            torch.gather(table, 1, (code - 1).clamp_min(0)[:, :, None].expand(-1, -1, table.shape[2]))
            * (code > 0)[:, :, None]
            for table, code in ((table, codes[name]) for name, table in self.tables.items())
        ]
        return torch.cat(parts, dim=2) if parts else like.new_zeros(*like.shape[:2], 0)


class Subspaces(nn.Module):
    """Which inputs the encoder of each member sees: a random share, drawn once (random subspaces, Ho 1998).

    Members that see different halves of redundant inputs err differently, which is what an ensemble lives on.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        for name, n in shape.lengths.items():
            drawn = torch.rand(shape.n_members, 1, n) < shape.input_share
            self.register_buffer(name, drawn.float() if shape.input_share < 1 else torch.ones(shape.n_members, 1, n))

    def forward(self, name: str, x: Tensor) -> Tensor:
        """(E, B, L) -> (E, B, L), zeros where the member does not look"""
        return x * self.get_buffer(name)


def block(n_in: int, n_out: int, shape: NetworkShape) -> nn.Sequential:
    """Linear, normalisation, GELU, dropout: (E, B, n_in) -> (E, B, n_out)."""
    return nn.Sequential(
        MemberLinear(shape.n_members, n_in, n_out),
        MemberNorm(shape.n_members, n_out, shape.use_batch_norm),
        nn.GELU(),
        nn.Dropout(shape.dropout),
    )


class CVAENetwork(nn.Module):
    """Conditional VAEs over any subset of the modalities: ``encode``, ``decode``, ``classify``."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        n_members, width, latent = shape.n_members, shape.n_hidden, shape.n_latent
        origin = dict(shape.condition_sizes)
        cell_type = {"cell_type": max(shape.n_classes, 1)}
        self.shape = shape
        self.standardise = nn.ModuleDict({name: Standardise(n) for name, n in shape.lengths.items()})
        told = origin | (cell_type if shape.class_in_encoder else {})
        self.told_encoder = Conditions(told, shape.n_condition, n_members)
        told = origin | (cell_type if shape.class_in_decoder else {})
        self.told_decoder = Conditions(told, shape.n_condition, n_members)
        self.input_dropout = nn.Dropout(shape.input_dropout)
        self.subspaces = Subspaces(shape)
        self.encoders = nn.ModuleDict({name: block(n, width, shape) for name, n in shape.lengths.items()})
        self.missing = nn.ParameterDict({n: nn.Parameter(torch.zeros(n_members, 1, width)) for n in shape.lengths})
        n_joined = width * len(shape.lengths) + self.told_encoder.n_out
        self.fusion = block(n_joined, width, shape) if shape.use_fusion else MemberLinear(n_members, n_joined, width)
        self.mu = MemberLinear(n_members, width, latent)
        self.logvar = MemberLinear(n_members, width, latent)
        self.trunk = block(latent + self.told_decoder.n_out, width, shape)
        self.decoders = nn.ModuleDict({name: MemberLinear(n_members, width, n) for name, n in shape.lengths.items()})
        self.class_head = MemberLinear(n_members, latent, max(shape.n_classes, 1))

    def encode(
        self, inputs: Mapping[str, Tensor], present: Tensor, codes: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """{name: (E, B, L)} prepared, (E, B, n_modalities) bool, {name: (E, B)} -> mean, log-variance (E, B, D)"""
        parts = [
            torch.where(
                present[:, :, i : i + 1],
                self.encoders[name](self.input_dropout(self.subspaces(name, inputs[name]))),
                self.missing[name],
            )
            for i, name in enumerate(self.shape.lengths)
        ]
        hidden = self.fusion(torch.cat([*parts, self.told_encoder(codes, parts[0])], dim=2))
        return self.mu(hidden), self.logvar(hidden).clamp(-10, 10)

    def decode(self, latent: Tensor, codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(E, B, D), {name: (E, B)} -> {name: (E, B, L)} standardised reconstructions"""
        hidden = self.trunk(torch.cat([latent, self.told_decoder(codes, latent)], dim=2))
        return {name: decoder(hidden) for name, decoder in self.decoders.items()}

    def classify(self, latent: Tensor) -> Tensor:
        """(E, B, D) -> (E, B, C) logits of the read-out trained with the latent"""
        return self.class_head(latent)

    @torch.no_grad()
    def fit_scales(self, inputs: Mapping[str, Tensor], present: Tensor) -> None:
        """Fit the standardisation of every modality to the units that have it. {name: (n, L)}, (n, n_modalities)"""
        for i, (name, standardise) in enumerate(self.standardise.items()):
            rows = present[:, i]
            if int(rows.sum()) > 1:
                cast(Standardise, standardise).fit(inputs[name][rows])

    def prepare(self, inputs: Mapping[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        """Standardise every modality; what is missing becomes zero. {name: (B, L)} -> {name: (B, L)}"""
        return {
            name: self.standardise[name](inputs[name]) * present[:, i : i + 1]
            for i, name in enumerate(self.shape.lengths)
        }

    def for_members(self, x: Tensor) -> Tensor:
        """(B, ...) -> (E, B, ...), the same for every member, without a copy"""
        return x.expand(self.shape.n_members, *x.shape)

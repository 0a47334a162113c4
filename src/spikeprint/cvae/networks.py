"""The network. Enters: normalised modalities, a presence mask, condition codes. Leaves: latents, reconstructions.

Torch only: the served model runs a copy of this file. Letters in shapes: B units, L values of a modality, H hidden
width, D latent size, E size of a condition embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkShape:
    """Everything that fixes the names and shapes of the weights; plain values, saved with them."""

    lengths: dict[str, int]
    n_latent: int
    n_hidden: int
    n_condition: int
    condition_sizes: dict[str, int]
    n_classes: int
    class_in_encoder: bool
    class_in_decoder: bool
    use_batch_norm: bool
    dropout: float


class Standardise(nn.Module):
    """Centre and scale the values of one modality by the training units' statistics, kept with the weights."""

    centre: Tensor
    scale: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(length))
        self.register_buffer("scale", torch.ones(length))

    def fit(self, x: Tensor) -> None:
        """Take the statistics of (n_units, L); a nearly constant value is scaled by a tenth of the typical spread."""
        spread = x.std(dim=0)
        self.centre.copy_(x.mean(dim=0))
        self.scale.copy_(spread.clamp_min(0.1 * spread.mean().clamp_min(1e-3)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L) -> (B, L)"""
        return ((x - self.centre) / self.scale).clamp(-10, 10)


class Conditions(nn.Module):
    """Embeddings of what is known about a unit's origin and class. Code 0 = absent = the zero vector, never a class."""

    def __init__(self, sizes: Mapping[str, int], n_condition: int) -> None:
        super().__init__()
        self.n_out = n_condition * len(sizes)
        self.tables = nn.ModuleDict({k: nn.Embedding(n + 1, n_condition, padding_idx=0) for k, n in sizes.items()})

    def forward(self, codes: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """{name: (B,) int64} -> (B, n_out); ``like`` gives B and the device when there is no condition."""
        parts = [table(codes[name]) for name, table in self.tables.items()]
        return torch.cat(parts, dim=1) if parts else like.new_zeros(len(like), 0)


def block(n_in: int, n_out: int, shape: NetworkShape) -> nn.Sequential:
    """Linear, normalisation, GELU, dropout: (B, n_in) -> (B, n_out)."""
    norm = nn.BatchNorm1d(n_out) if shape.use_batch_norm else nn.LayerNorm(n_out)
    return nn.Sequential(nn.Linear(n_in, n_out), norm, nn.GELU(), nn.Dropout(shape.dropout))


class CVAENetwork(nn.Module):
    """Conditional VAE over any subset of the modalities: ``encode``, ``decode``, ``classify``."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        width, latent = shape.n_hidden, shape.n_latent
        origin = dict(shape.condition_sizes)
        cell_type = {"cell_type": shape.n_classes}
        self.shape = shape
        self.standardise = nn.ModuleDict({name: Standardise(n) for name, n in shape.lengths.items()})
        self.told_encoder = Conditions(origin | (cell_type if shape.class_in_encoder else {}), shape.n_condition)
        self.told_decoder = Conditions(origin | (cell_type if shape.class_in_decoder else {}), shape.n_condition)
        self.encoders = nn.ModuleDict({name: block(n, width, shape) for name, n in shape.lengths.items()})
        self.missing = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in shape.lengths})
        self.fusion = block(width * len(shape.lengths) + self.told_encoder.n_out, width, shape)
        self.mu = nn.Linear(width, latent)
        self.logvar = nn.Linear(width, latent)
        self.trunk = block(latent + self.told_decoder.n_out, width, shape)
        self.decoders = nn.ModuleDict(
            {name: nn.Sequential(block(width, width, shape), nn.Linear(width, n)) for name, n in shape.lengths.items()}
        )
        self.class_head = nn.Linear(latent, max(shape.n_classes, 1))

    def encode(
        self, inputs: Mapping[str, Tensor], present: Tensor, codes: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """{name: (B, L)} standardised, (B, n_modalities) bool, {name: (B,)} -> mean (B, D), log-variance (B, D)"""
        parts = [
            torch.where(present[:, i : i + 1], self.encoders[name](inputs[name]), self.missing[name])
            for i, name in enumerate(self.shape.lengths)
        ]
        hidden = self.fusion(torch.cat([*parts, self.told_encoder(codes, present.float())], dim=1))
        return self.mu(hidden), self.logvar(hidden).clamp(-10, 10)

    def decode(self, latent: Tensor, codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(B, D), {name: (B,)} -> {name: (B, L)} standardised reconstructions"""
        hidden = self.trunk(torch.cat([latent, self.told_decoder(codes, latent)], dim=1))
        return {name: decoder(hidden) for name, decoder in self.decoders.items()}

    def classify(self, latent: Tensor) -> Tensor:
        """(B, D) -> (B, n_classes) logits of the read-out trained with the latent"""
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

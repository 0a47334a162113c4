"""The published network, for comparison. Enters: traces in [-1, 1] and codes. Leaves: latents, reconstructions.

A conditional VAE of one 1-D ResNet-18 (He et al. 2016) and its mirror image per modality, as in HIPPIE; at full width
24 million weights. Torch only. Letters in shapes: B units, L values of a modality, C channels, D latent size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

DECODED_LENGTH = 64
"""Samples that leave the convolutions of a decoder: 1 x 4 x 2 x 2 x 2 x 2."""


def published_lengths() -> dict[str, int]:
    """Modality -> samples, as the published models see them."""
    return {"waveform": 50, "isi": 100, "acg": 100}


@dataclass(frozen=True)
class ReferenceShape:
    """Everything that fixes the names and shapes of the weights; by default what is published as production.

    Attributes
    ----------
    lengths : modality -> samples, a trace is (B, L)
    base_width : channels of the first stage; the last has eight times as many
    n_condition : size of each condition embedding
    use_fusion : two layers join modalities and conditions, else one
    class_in_encoder : else the encoder meets zeros where the class would be
    class_dropout : chance of each value of the class embedding to be dropped in training
    """

    lengths: dict[str, int] = field(default_factory=published_lengths)
    base_width: int = 64
    n_latent: int = 30
    n_sources: int = 4
    n_classes: int = 5
    n_condition: int = 5
    use_batch_norm: bool = True
    use_fusion: bool = True
    class_in_encoder: bool = False
    class_dropout: float = 0.3


def conv(n_in: int, n_out: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution without bias and its normalisation: (B, n_in, L) -> (B, n_out, ceil(L / stride))."""
    return [nn.Conv1d(n_in, n_out, size, stride, padding=size // 2, bias=False), nn.BatchNorm1d(n_out)]


def enlarge(n_in: int, n_out: int) -> list[nn.Module]:
    """Each sample twice, then a convolution with bias: (B, n_in, L) -> (B, n_out, 2 L)."""
    return [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv1d(n_in, n_out, 3, padding=1)]


class Residual(nn.Module):
    """Two convolutions beside a shortcut, and a leaky rectifier of their sum."""

    def __init__(self, main: list[nn.Module], shortcut: list[nn.Module]) -> None:
        super().__init__()
        self.main = nn.Sequential(*main)
        self.shortcut = nn.Sequential(*shortcut)  # empty = identity
        self.activate = nn.LeakyReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) -> (B, C', L')"""
        return self.activate(self.main(x) + self.shortcut(x))


def narrow(n_in: int, n_out: int, stride: int) -> Residual:
    """Block of an encoder: (B, n_in, L) -> (B, n_out, ceil(L / stride))."""
    main = [*conv(n_in, n_out, stride=stride), nn.LeakyReLU(), *conv(n_out, n_out)]
    return Residual(main, conv(n_in, n_out, size=1, stride=stride) if stride > 1 else [])


def widen(n_in: int, n_out: int, scale: int) -> Residual:
    """Block of a decoder: (B, n_in, L) -> (B, n_out, scale L)."""
    if scale == 1:
        return Residual([*conv(n_in, n_in), nn.LeakyReLU(), *conv(n_in, n_out)], [])
    last = [*enlarge(n_in, n_out), nn.BatchNorm1d(n_out)]
    return Residual([*conv(n_in, n_in), nn.LeakyReLU(), *last], [*enlarge(n_in, n_out), nn.BatchNorm1d(n_out)])


def build_encoder(width: int, n_out: int) -> nn.Sequential:
    """ResNet-18 of one modality: (B, 1, L) -> (B, n_out)."""
    layers: list[nn.Module] = [*conv(1, width, stride=2), nn.LeakyReLU()]
    for n_in, n_stage, stride in ((1, 1, 1), (1, 2, 2), (2, 4, 2), (4, 8, 2)):
        layers += [narrow(n_in * width, n_stage * width, stride), narrow(n_stage * width, n_stage * width, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8 * width, n_out))


def build_decoder(shape: ReferenceShape, n_in: int, length: int) -> nn.Sequential:
    """Two layers and a mirrored ResNet-18 for one modality: (B, n_in) -> (B, length)."""
    width, hidden = shape.base_width, 2 * shape.n_latent
    norm = [nn.BatchNorm1d(hidden)] if shape.use_batch_norm else []
    layers: list[nn.Module] = [nn.Linear(n_in, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), *norm]
    layers += [nn.LeakyReLU(0.2), nn.Linear(hidden, 8 * width), nn.Unflatten(1, (8 * width, 1))]
    layers += [nn.Upsample(scale_factor=4, mode="nearest")]
    for n_stage, n_next, scale in ((8, 4, 2), (4, 2, 2), (2, 1, 2), (1, 1, 1)):
        layers += [widen(n_stage * width, n_stage * width, 1), widen(n_stage * width, n_next * width, scale)]
    return nn.Sequential(*layers, *enlarge(width, 1), nn.Flatten(), nn.Linear(DECODED_LENGTH, length))


class ReferenceNetwork(nn.Module):
    """Conditional VAE as published: ``encode``, ``decode``.

    Notes
    -----
    A code below 0 is absent and adds a zero vector. The published trainers say 0 for a class that is withheld, which
    is a class of its own; here a withheld class is never one of the classes.
    """

    def __init__(self, shape: ReferenceShape) -> None:
        super().__init__()
        hidden, told = 2 * shape.n_latent, 2 * shape.n_condition
        n_joined = len(shape.lengths) * hidden + told
        norm = [nn.BatchNorm1d(hidden)] if shape.use_batch_norm else []
        fusion = [nn.Linear(n_joined, hidden), *norm, nn.LeakyReLU(0.2), nn.Linear(hidden, shape.n_latent)]
        self.shape = shape
        self.source = nn.Embedding(shape.n_sources, shape.n_condition)
        self.cell_type = nn.Embedding(shape.n_classes, shape.n_condition)
        self.dropout = nn.Dropout(shape.class_dropout)
        self.encoders = nn.ModuleDict({name: build_encoder(shape.base_width, hidden) for name in shape.lengths})
        self.fusion = nn.Sequential(*fusion) if shape.use_fusion else nn.Linear(n_joined, shape.n_latent)
        self.mu = nn.Linear(shape.n_latent, shape.n_latent)
        self.logvar = nn.Linear(shape.n_latent, shape.n_latent)
        self.decoders = nn.ModuleDict(
            {name: build_decoder(shape, shape.n_latent + told, length) for name, length in shape.lengths.items()}
        )

    def encode(self, inputs: Mapping[str, Tensor], codes: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """{name: (B, L)}, {"source", "cell_type": (B,)} -> mean (B, D), log-variance (B, D)"""
        parts = [encoder(inputs[name].unsqueeze(1)) for name, encoder in self.encoders.items()]
        told = self._tell(codes, self.shape.class_in_encoder)
        fused = self.fusion(torch.cat([*parts, told], dim=1))
        return self.mu(fused), self.logvar(fused)

    def decode(self, latent: Tensor, codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(B, D), {"source", "cell_type": (B,)} -> {name: (B, L)}"""
        conditioned = torch.cat([latent, self._tell(codes, with_class=True)], dim=1)
        return {name: decoder(conditioned) for name, decoder in self.decoders.items()}

    def _tell(self, codes: Mapping[str, Tensor], with_class: bool) -> Tensor:
        """The conditions side by side, (B, 2 n_condition)."""
        cell_type = self.dropout(_look_up(self.cell_type, codes["cell_type"]))
        return torch.cat([_look_up(self.source, codes["source"]), cell_type * with_class], dim=1)


def _look_up(table: nn.Embedding, codes: Tensor) -> Tensor:
    return table(codes.clamp_min(0)) * (codes >= 0).unsqueeze(1)

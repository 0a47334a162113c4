"""Networks from snippets to positions. Enters: snippets, contact offsets. Leaves: position, amplitude, uncertainty.

``RelativeXYZNet`` and ``TransformerSLN`` are the reference's (Spike Localization Network), parameter by parameter; they
know ten contacts in a fixed order. ``SourceNet`` is ours: contacts are told by their offset in µm, any number of any
probe.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

REFERENCE_NEIGHBOURS, REFERENCE_SAMPLES = 10, 90
SPACE_UM = 30.0
"""Offsets and positions are in units of this inside a network."""
N_FOURIER = 3


class RelativeXYZNet(nn.Module):
    """The reference CNN: (n, 10, 90) scaled snippets -> (n, 3) µm from the anchor. 401,955 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(REFERENCE_NEIGHBOURS, 32, 5, padding=2), nn.BatchNorm1d(32), nn.GELU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 64, 5, padding=2), nn.BatchNorm1d(64), nn.GELU(), nn.MaxPool1d(2),
            nn.Conv1d(64, 64, 3, padding=1), nn.BatchNorm1d(64), nn.GELU(), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Linear(64 * 22, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, 64), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(64, 3),
        )  # fmt: skip

    def forward(self, snippets: Tensor, anchors: Tensor) -> Tensor:
        """(n, 10, 90), (n, 2) not used -> (n, 3)"""
        return self.head(self.features(snippets))


class TransformerSLN(nn.Module):
    """The reference Transformer: a token per contact, row and column embeddings. 579,971 parameters.

    ``centre`` and ``scale`` standardise the anchors.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        width = 128
        self.token = nn.Linear(REFERENCE_SAMPLES, width)
        self.row, self.column = nn.Embedding(5, width), nn.Embedding(2, width)
        layer = nn.TransformerEncoderLayer(
            width, 8, 256, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.centroid = nn.Sequential(nn.Linear(2, 64), nn.GELU(), nn.Linear(64, 64))
        self.head = nn.Sequential(
            nn.Linear(width + 64, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 3)
        )
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("scale", torch.ones(2))

    def forward(self, snippets: Tensor, anchors: Tensor) -> Tensor:
        """(n, 10, 90), (n, 2) µm -> (n, 3)"""
        place = torch.arange(snippets.shape[1], device=snippets.device)
        tokens = self.token(snippets) + self.row(place // 2) + self.column(place % 2)
        pooled = self.encoder(tokens).mean(dim=1)
        return self.head(torch.cat([pooled, self.centroid((anchors - self.centre) / self.scale)], dim=1))


@dataclass(frozen=True)
class SourceShape:
    """What fixes the weights of a ``SourceNet``; plain values, saved with them."""

    n_components: int
    n_samples: int
    n_hidden: int
    n_layers: int


@dataclass
class SourceAnswer:
    """What ``SourceNet`` says of n spikes.

    ``xyz`` (n, 3) µm from the peak contact; ``log_sd`` (n, 3) logarithm of the scale of a Laplace error, µm;
    ``log_alpha`` (n,) logarithm of amplitude times distance; ``sizes`` (n, k) amplitudes on all contacts relative to
    the peak's.
    """

    xyz: Tensor
    log_sd: Tensor
    log_alpha: Tensor
    sizes: Tensor


class SourceNet(nn.Module):
    """Contacts as a set: each a token of its temporal components and its offset in µm; masked attention between them.

    Everything is relative to the peak contact and to the size of the spike there, so that moving the probe, or another
    gain, changes nothing.

    ``basis`` (n_samples, n_components) holds the temporal components.
    """

    basis: Tensor

    def __init__(self, shape: SourceShape) -> None:
        super().__init__()
        width = shape.n_hidden
        self.register_buffer("basis", torch.zeros(shape.n_samples, shape.n_components))
        n_place = 2 * (3 + 4 * N_FOURIER) + 2
        self.token = nn.Sequential(
            nn.Linear(shape.n_components + 7 + n_place, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.layers = nn.ModuleList(_Layer(width) for _ in range(shape.n_layers))
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Linear(width, 4)
        self.head = nn.Sequential(nn.Linear(5 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.GELU())
        self.answer = nn.Linear(width, 7)
        nn.init.zeros_(self.answer.weight)  # untrained, it answers with the monopole fit it starts from
        nn.init.zeros_(self.answer.bias)
        self.decoder = nn.Sequential(nn.Linear(width + n_place, width), nn.GELU(), nn.Linear(width, 1))

    def compress(self, snippets: Tensor) -> Tensor:
        """(n, k, T) -> (n, k, n_components)"""
        return snippets @ self.basis

    def forward(
        self, parts: Tensor, offsets: Tensor, seen: Tensor, own: Tensor, noise: Tensor, start: Tensor
    ) -> SourceAnswer:
        """Answer for n spikes.

        Parameters
        ----------
        parts : (n, k, n_components) compressed snippets, µV; offsets : (n, k, 2) µm from the peak contact
        seen : (n, k) bool, contacts that the network may look at; own : (n,) place of the peak contact
        noise : (n,) µV, noise of the peak channel; start : (n, 3) µm, a monopole fit, which the answer corrects
        """
        rows = torch.arange(len(parts), device=parts.device)
        wave = parts[rows, own]
        norm = wave.norm(dim=1).clamp_min(1e-6)
        scaled = parts / norm[:, None, None]
        share = (scaled * (wave / norm[:, None])[:, None]).sum(dim=2)
        length = scaled.norm(dim=2)
        level = (noise / norm)[:, None].expand_as(share)
        is_own = functional.one_hot(own, parts.shape[1]).to(parts)
        sizes = torch.stack(
            [
                share,
                length,
                _log(share),
                _log(length),
                torch.log(level.clamp_min(1e-6)),
                is_own,
                share / (share + level).clamp_min(1e-3),
            ],
            dim=2,
        )
        where = _encode(offsets, start)
        tokens = self.token(torch.cat([scaled, sizes, where], dim=2)) * seen[:, :, None]
        for layer in self.layers:
            tokens = layer(tokens, seen)
        tokens = self.norm(tokens)
        weights = self.pool(tokens).masked_fill(~seen[:, :, None], -1e4).softmax(dim=1)
        pooled = torch.einsum("nkh,nkd->nhd", weights, tokens).flatten(1)
        latent = self.head(torch.cat([pooled, tokens[rows, own]], dim=1))
        raw = self.answer(latent)
        decoded = self.decoder(torch.cat([latent[:, None].expand(-1, parts.shape[1], -1), where], dim=2))[:, :, 0]
        return SourceAnswer(
            xyz=start + raw[:, :3] * SPACE_UM,
            log_sd=raw[:, 3:6].clamp(-4, 4) + 1.6,
            log_alpha=raw[:, 6] + torch.log(norm) + 3.0,
            sizes=torch.exp(decoded.clamp(-12, 2)),
        )


class _Layer(nn.Module):
    """Pre-norm attention over the contacts that are seen, then two dense layers."""

    def __init__(self, width: int, n_heads: int = 4) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """(n, k, width), (n, k) -> (n, k, width)"""
        n, k, width = tokens.shape
        query, key, value = self.mix(self.first(tokens)).view(n, k, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(n, k, width))
        return tokens + self.dense(self.second(tokens))


def _log(x: Tensor) -> Tensor:
    """Logarithm of a relative size, bent at the level of noise."""
    return torch.log(x.clamp_min(0.01))


def _encode(offsets: Tensor, start: Tensor) -> Tensor:
    """(n, k, 2), (n, 3) µm -> (n, k, .): where a contact is from the peak contact and the start, and waves of it."""
    near = offsets / SPACE_UM
    away = near - start[:, None, :2] / SPACE_UM
    depth = (start[:, None, 2:] / SPACE_UM).expand_as(near[:, :, :1])
    far = torch.sqrt((away**2).sum(dim=2, keepdim=True) + depth**2)
    parts = [depth, torch.log(far)]
    for x in (near, away):
        parts += [x, x.norm(dim=2, keepdim=True)]
        parts += [f(x * 2.0**i) for i in range(N_FOURIER) for f in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=2)

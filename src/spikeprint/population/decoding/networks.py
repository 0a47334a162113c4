"""Networks over the bins of a trial. Enters: standardised trials (n, bins, units). Leaves: a score for each output.

``NETWORKS`` is the table; each entry takes bins, units, outputs and, for the graph, which units respond alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

WIDTH, HEADS, DROPOUT = 128, 4, 0.3
GRAPH_HEADS, GRAPH_FEATURES = 4, 16
N_STRONGEST = 10
"""Neighbours of a unit in the graph of correlations."""


@dataclass(frozen=True)
class Shape:
    """What a network is built for; ``adjacency`` (units, units) bool says which units are linked."""

    n_bins: int
    n_units: int
    n_outputs: int
    adjacency: torch.Tensor


class Linear(nn.Sequential):
    """All bins side by side, one weight for each: a regression of the kind that the loss says."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(shape.n_bins * shape.n_units, shape.n_outputs))


class Recurrent(nn.Module):
    """An LSTM over the bins; its last state is read."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.into = nn.Linear(shape.n_units, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(WIDTH, shape.n_outputs))

    def forward(self, trials: torch.Tensor) -> torch.Tensor:
        """Return (n, n_outputs)."""
        return self.head(self.lstm(self.into(trials))[0][:, -1])


class Attentive(nn.Module):
    """A transformer over the bins, with learnt positions; its outputs are averaged."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.into = nn.Linear(shape.n_units, WIDTH)
        self.position = nn.Parameter(torch.zeros(shape.n_bins, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, shape.n_outputs)

    def encode(self, trials: torch.Tensor) -> torch.Tensor:
        """Return (n, bins, width)."""
        return self.layers(self.into(trials) + self.position)

    def forward(self, trials: torch.Tensor) -> torch.Tensor:
        """Return (n, n_outputs)."""
        return self.head(self.encode(trials).mean(dim=1))


class AttentiveRecurrent(Attentive):
    """The transformer, then an LSTM over its outputs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, trials: torch.Tensor) -> torch.Tensor:
        """Return (n, n_outputs)."""
        return self.head(self.lstm(self.encode(trials))[0][:, -1])


class AttentionMLP(nn.Module):
    """Each bin by itself, a softmax over bins says which count, then two layers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.Linear(shape.n_units, WIDTH), nn.GELU(), nn.Dropout(DROPOUT))
        self.weigh = nn.Linear(WIDTH, 1)
        self.head = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, shape.n_outputs)
        )

    def forward(self, trials: torch.Tensor) -> torch.Tensor:
        """Return (n, n_outputs)."""
        bins = self.into(trials)
        return self.head((bins * self.weigh(bins).softmax(dim=1)).sum(dim=1))


class GraphAttention(nn.Module):
    """Units attend to units that respond alike, bin by bin; a read-out by unit, then an LSTM over bins.

    The graph is fixed for a session. Scores are LeakyReLU of summed projections of both units (Velickovic et al. 2018).
    """

    adjacency: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = GRAPH_HEADS
        self.register_buffer("adjacency", shape.adjacency)
        self.lift = nn.Linear(1, GRAPH_FEATURES)
        self.value = nn.Linear(GRAPH_FEATURES, GRAPH_FEATURES)
        self.left, self.right = nn.Linear(GRAPH_FEATURES, GRAPH_HEADS), nn.Linear(GRAPH_FEATURES, GRAPH_HEADS)
        self.drop = nn.Dropout(DROPOUT)
        self.out = nn.Linear(shape.n_units * GRAPH_FEATURES, WIDTH)  # unit by unit, so that each keeps its identity
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, shape.n_outputs)

    def forward(self, trials: torch.Tensor) -> torch.Tensor:
        """Return (n, n_outputs)."""
        n, n_bins, n_units = trials.shape
        nodes = self.lift(trials.reshape(n * n_bins, n_units, 1))
        left, right = (project(nodes).transpose(1, 2) for project in (self.left, self.right))
        scores = nn.functional.leaky_relu(left[..., None] + right[..., None, :], 0.2)
        weights = self.drop(scores.masked_fill(~self.adjacency, -torch.inf).softmax(dim=-1))
        values = self.value(nodes).reshape(n * n_bins, n_units, self.heads, -1).transpose(1, 2)
        mixed = nn.functional.elu((weights @ values).transpose(1, 2))
        return self.head(self.lstm(self.out(mixed.reshape(n, n_bins, -1)))[0][:, -1])


NETWORKS: dict[str, Callable[[Shape], nn.Module]] = {
    "linear": Linear,
    "lstm": Recurrent,
    "transformer": Attentive,
    "transformer_lstm": AttentiveRecurrent,
    "attention_mlp": AttentionMLP,
    "st_gat": GraphAttention,
}


def start_at_zero(network: nn.Module) -> None:
    """Let the last layer say 0, the mean of what is asked for: where nothing can be learnt that is the best answer."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def link_units(trials: torch.Tensor) -> torch.Tensor:
    """Return (units, units) bool: each unit and those whose responses correlate most with its own, both ways.

    Parameters
    ----------
    trials : (n, bins, units) training trials
    """
    summed = trials.sum(dim=1).T
    correlation = torch.corrcoef(summed).nan_to_num().abs() if len(summed) > 1 else torch.ones(1, 1)
    correlation.fill_diagonal_(torch.inf)  # itself
    strongest = correlation.topk(min(N_STRONGEST + 1, len(correlation)), dim=1).indices
    linked = torch.zeros_like(correlation, dtype=torch.bool).scatter_(1, strongest, True)
    return linked | linked.T

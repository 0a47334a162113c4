"""Looks at held-out rows. Enters: pools that training never draws from. Leaves: loss, bits, decoding of labels."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from .fitting import BITS, Hybrid, Look, Network, batch_loss
from .networks import encode_runs, is_dense
from .pools import Pool, Rules
from .sampling import Sampler

N_BATCHES = 4
LARGEST_BATCH = 512
N_REFERENCE, N_QUERY = 4000, 1000
"""Rows that neighbours are searched among, and rows that are decoded."""
N_NEIGHBOURS = 15
WINDOWS = 4096
"""Windows that are embedded at a time."""


def make_look(
    held: tuple[Pool, ...],
    train: Sequence[Pool],
    xs: Sequence[torch.Tensor],
    rules: Rules,
    hybrid: Hybrid | None,
    seed: int,
) -> Callable[[Network], Look]:
    """Return the look of a fit: the same pairs every time, and decoding of the labels where there are any.

    Parameters
    ----------
    held, train : pools of held-out and training rows
    xs : the recordings, transformed
    """
    rng = np.random.default_rng([seed, 1])
    batch_size = min(LARGEST_BATCH, *(len(pool.references) for pool in held))
    sampler = Sampler(held, rules, batch_size, None, "iid")
    batches = [sampler.draw(rng) for _ in range(N_BATCHES)]
    rows = [
        (_some(ours.references, N_REFERENCE, rng), _some(theirs.references, N_QUERY, rng))
        for ours, theirs in zip(train, held, strict=True)
    ]

    def look(network: Network) -> Look:
        device = next(network.parameters()).device
        here = [x.to(device) for x in xs]
        losses = [batch_loss(network, here, _to(batch, device), hybrid)[0] for batch in batches]
        loss = float(torch.stack([loss.total for loss in losses]).mean())
        bits = float(torch.stack([loss.log_negatives - loss.total for loss in losses]).mean()) * BITS
        if rules.mode == "time":
            return Look(loss, bits, bits)
        scores = [
            _decode(encoder, x, pool, *pair)
            for encoder, x, pool, pair in zip(network.encoders, here, train, rows, strict=True)
        ]
        return Look(loss, bits, float(np.mean(scores)))

    return look


def _some(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, size=n, replace=False))


def _to(batch: dict, device: torch.device) -> dict:
    if device.type == "cpu":
        return batch
    from lightning_utilities.core.apply_func import apply_to_collection

    return apply_to_collection(batch, torch.Tensor, lambda tensor: tensor.to(device))


def embed_rows(encoder: nn.Module, x: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Return the embedding (n, d) of single rows, by one pass over all where the encoder allows it."""
    at = torch.from_numpy(rows).to(x.device)
    if is_dense(encoder):
        return encode_runs(encoder, x, torch.zeros(1, dtype=torch.long, device=x.device), len(x))[at]
    return torch.cat([encode_runs(encoder, x, part, 1) for part in at.split(WINDOWS)])


def _decode(encoder: nn.Module, x: torch.Tensor, pool: Pool, known: np.ndarray, asked: np.ndarray) -> float:
    """R2 of continuous labels, or accuracy of classes, by the nearest training rows."""
    both = embed_rows(encoder, x, np.concatenate([known, asked]))
    both = nn.functional.normalize(both, dim=1)
    near = (both[len(known) :] @ both[: len(known)].T).topk(min(N_NEIGHBOURS, len(known)), dim=1).indices.cpu().numpy()
    if pool.values is not None:
        guess, truth = pool.values[known][near].mean(axis=1), pool.values[asked]
        spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
        used = spread > 0
        return float(np.mean(1 - ((guess - truth) ** 2).sum(axis=0)[used] / spread[used])) if used.any() else 0.0
    votes = pool.codes[known][near]
    guess = np.array([np.bincount(row).argmax() for row in votes])
    return float(np.mean(guess == pool.codes[asked]))

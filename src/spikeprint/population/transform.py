"""From recordings to embeddings. Enters: an encoder and a recording. Leaves: a row of the embedding for each row.

A segment is cut into pieces of a fixed length, so the size of a batch changes the memory needed and no value.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from .data import Population
from .networks import encode_runs, get_offset, is_dense
from .segments import find_centres, label_rows
from .smoothing import smooth_rows

PIECE = 1024
"""Rows of one piece."""


def embed_session(model: Any, number: int, population: Population, batch_size: int | None = None) -> np.ndarray:
    """Return the embedding (n_rows, d) of a session by the estimator's encoder ``number``, smoothed."""
    encoder = model.model_.encoders[number]
    x = model.input_transforms_[number].apply(population.counts).to(next(encoder.parameters()).device)
    embedding = embed_segments(encoder, x, population.segments, batch_size)
    is_angle = model.distance == "cosine"
    return smooth_rows(embedding, population.segments, population.valid, model.smoothing_, is_angle)


def embed_segments(encoder: nn.Module, x: torch.Tensor, segments: pd.DataFrame, batch_size: int | None) -> np.ndarray:
    """Embed every segment by itself, extended by its edge rows for as many rows out as in.

    Parameters
    ----------
    x : (n_rows, n_units) float32
    batch_size : rows that are embedded at a time, about

    Returns
    -------
    (n_rows, d) float32, NaN between segments
    """
    length = PIECE if is_dense(encoder) else 1
    pieces = _cut(segments, length)
    out = None
    at_once = max(1, (batch_size or 4 * PIECE) // length)
    encoder.eval()
    with torch.no_grad():
        for rows in np.unique(pieces[:, 1]):
            same = pieces[pieces[:, 1] == rows]
            for first in range(0, len(same), max(1, at_once * length // max(int(rows), 1))):
                some = torch.from_numpy(same[first : first + max(1, at_once * length // max(int(rows), 1))]).to(
                    x.device
                )
                part = encode_runs(encoder, x, some[:, 0], int(rows), bounds=(some[:, 2], some[:, 3])).cpu()
                if out is None:
                    out = torch.full((len(x), part.shape[1]), torch.nan)
                where = (some[:, :1] + torch.arange(int(rows), device=x.device)).reshape(-1).cpu()
                out[where] = part
    return out.numpy() if out is not None else np.zeros((0, 0), dtype=np.float32)


def find_whole(encoder: nn.Module, population: Population) -> np.ndarray:
    """Return the rows whose window lies inside a segment."""
    of_row = label_rows(population.segments, population.n_rows)
    return find_centres(of_row, np.ones(population.n_rows, dtype=bool), get_offset(encoder))


def row_times(population: Population) -> np.ndarray:
    """Return (n_rows,) seconds, the middle of each row's bin; NaN between segments."""
    of_row, table = population.segment_of_row, population.segments
    inside = of_row >= 0
    starts, firsts = table["t_start"].to_numpy(dtype=float), table["start_row"].to_numpy()
    times = np.full(population.n_rows, np.nan)
    mine = of_row[inside]
    times[inside] = starts[mine] + (np.flatnonzero(inside) - firsts[mine] + 0.5) * population.bin_width
    return times


def _cut(segments: pd.DataFrame, length: int) -> np.ndarray:
    """(n, 4): first row and rows of each piece, first and last row of its segment."""
    pieces = []
    for start, stop in zip(segments["start_row"].to_numpy(), segments["stop_row"].to_numpy(), strict=True):
        firsts = np.arange(start, stop, length)
        rows = np.minimum(length, stop - firsts)
        pieces.append(np.stack([firsts, rows, np.full_like(firsts, start), np.full_like(firsts, stop - 1)], axis=1))
    return np.concatenate(pieces)

"""From recordings to embeddings. Enters: an encoder and a recording. Leaves: a row of the embedding for each row.

A segment is cut into pieces of a fixed length, so the size of a batch changes the memory needed and no value.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

from .networks import encode_runs, get_offset, is_dense
from .segments import find_centres, label_rows

PIECE = 1024
"""Rows of one piece."""


def embed_segments(
    encoder: nn.Module, x: torch.Tensor, segments: pd.DataFrame, pad: bool, batch_size: int | None
) -> np.ndarray:
    """Embed every segment by itself.

    Parameters
    ----------
    x : (n_rows, n_units) float32
    pad : extend each segment by its edge rows, for as many rows out as in (NaN between segments); else only rows whose
        window lies inside a segment
    batch_size : rows that are embedded at a time, about

    Returns
    -------
    (n_rows, d) float32, or fewer rows without padding
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
    embedding = out.numpy() if out is not None else np.zeros((0, 0), dtype=np.float32)
    if pad:
        return embedding
    inside = find_centres(label_rows(segments, len(x)), np.ones(len(x), dtype=bool), get_offset(encoder))
    return embedding[inside]


def _cut(segments: pd.DataFrame, length: int) -> np.ndarray:
    """(n, 4): first row and rows of each piece, first and last row of its segment."""
    pieces = []
    for start, stop in zip(segments["start_row"].to_numpy(), segments["stop_row"].to_numpy(), strict=True):
        firsts = np.arange(start, stop, length)
        rows = np.minimum(length, stop - firsts)
        pieces.append(np.stack([firsts, rows, np.full_like(firsts, start), np.full_like(firsts, stop - 1)], axis=1))
    return np.concatenate(pieces)

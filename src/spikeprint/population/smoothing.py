"""Neighbouring rows taken together. Enters: an embedding. Leaves: for each row the mean of those around it.

Pairs in time say that rows a time offset apart are alike, so rows nearer than that are so many looks at one state. Of
unit vectors that scatter around a direction (their density falls as the loss has it, by the cosine) the direction of
the mean is the most likely one.
"""

import numpy as np
import pandas as pd

from .pools import MODES, Rules
from .segments import OUTSIDE, label_rows


def choose_reach(smoothing: int | str, rules: Rules) -> int:
    """Return the reach in rows; ``auto`` is the least time offset where pairs are made by it, else 1: nothing."""
    if smoothing != "auto":
        return int(smoothing)
    is_timed = rules.needs_partner or MODES[rules.mode].uses_steps
    return min(rules.time_offsets) if is_timed else 1


def smooth_rows(
    embedding: np.ndarray, segments: pd.DataFrame, valid: np.ndarray, reach: int, keeps_length: bool
) -> np.ndarray:
    """Return the weighted mean of every row and its neighbours in the same segment.

    Parameters
    ----------
    embedding : (n_rows, d) float32
    valid : (n_rows,) bool; other rows count for nothing, and one among them alone stays as it is
    reach : rows; the weight of a neighbour falls from 1 to 0 at this distance, 1 = the embedding as it is
    keeps_length : give each row its length back, as the cosine distance wants it
    """
    if reach <= 1:
        return embedding
    of_row = label_rows(segments, len(embedding))
    counts = (valid & (of_row != OUTSIDE)).astype(np.float32)
    known = np.where(counts[:, None] > 0, embedding, np.float32(0))
    total, weight = known.copy(), counts.copy()
    for step in range(1, min(reach, len(embedding))):
        shares = (of_row[step:] == of_row[:-step]) * np.float32(1 - step / reach)
        for here, there in ((slice(step, None), slice(None, -step)), (slice(None, -step), slice(step, None))):
            total[here] += shares[:, None] * known[there]
            weight[here] += shares * counts[there]
    mean: np.ndarray = np.where(weight[:, None] > 0, total / np.maximum(weight, 1e-12)[:, None], embedding)
    if keeps_length:
        before, after = (np.linalg.norm(part, axis=1, keepdims=True) for part in (embedding, mean))
        mean = np.where(after > 0, mean * (before / np.maximum(after, 1e-12)), mean)
    return mean.astype(np.float32)

"""Does a model learn or memorise? Enters: an estimator and data. Leaves: its scores beside those on shuffled rows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from .prepare import read_sessions


def shuffle_control(
    model: Any,
    X: Any,
    *y: Any,
    n: int = 1,
    segments: Any = None,
    seed: int = 0,
    diagnosis: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Refit with the rows of X permuted against the labels and time.

    Parameters
    ----------
    model : a ``PopulationEmbedder``, fitted or not; it is left as it is
    n : shuffles
    diagnosis : of a fit to the rows as they are, where there is one; None = it is made

    Returns
    -------
    A row for ``data`` and one for each shuffle: ``held_out_bits, training_bits, gap_bits, held_out_score, kept_step``.
    A shuffle with held-out bits well above 0, or a score above chance, says that the model memorises.
    """
    populations, is_multi = read_sessions(X, segments)
    if diagnosis is None:
        diagnosis = clone(model).fit(populations if is_multi else populations[0], *y).diagnosis_
    rows = [{"rows": "data", **diagnosis}]
    rng = np.random.default_rng(seed)
    for number in range(n):
        mixed = [replace(p, counts=p.counts[rng.permutation(p.n_rows)]) for p in populations]
        shuffled = clone(model).fit(mixed if is_multi else mixed[0], *y)
        rows.append({"rows": f"shuffle {number}", **shuffled.diagnosis_})
    return pd.DataFrame(rows)

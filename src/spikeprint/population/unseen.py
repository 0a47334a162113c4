"""Does a label decode where the decoder has not been? Enters: features, a label. Leaves: scores on rows left out."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import PopulationError
from .readout import CVDecoder

GAP = 50
"""Rows between training and test, wider than the windows of most encoders."""
MIN_ROWS = 20
"""Fewer rows than this on either side say nothing."""


@dataclass(frozen=True)
class LabelScore:
    """How well a label decodes from rows that are later than all the decoder was fitted on.

    Attributes
    ----------
    measure : ``R2`` or ``accuracy``
    score, chance : of the decoder, and of always answering the mean or the commonest class of training
    error, chance_error : median absolute error in units of the label, and that of the median; None for classes
    n_train, n_test : rows
    """

    measure: str
    score: float
    chance: float
    error: float | None
    chance_error: float | None
    n_train: int
    n_test: int


def decode_last_rows(
    features: np.ndarray, values: np.ndarray, valid: np.ndarray, last: float, decoder: CVDecoder | None = None
) -> LabelScore:
    """Fit a decoder on the first rows, score it on the last.

    Parameters
    ----------
    features : (n_rows, d) embedding or counts; rows that are not finite are left out
    values : (n_rows,) or (n_rows, k); float is continuous, all else classes
    valid : (n_rows,) bool
    last : share of the rows that are scored, from 0 to 1

    Raises
    ------
    PopulationError
        Too few rows, or rows whose labels the decoder's embedding was fitted on.
    """
    values = np.asarray(values)
    usable = _usable(features, values, valid)
    cut = int(len(values) * (1 - last))
    rows = np.arange(len(values))
    train, test = np.flatnonzero(usable & (rows < cut)), np.flatnonzero(usable & (rows >= cut + GAP))
    if min(len(train), len(test)) < MIN_ROWS:
        raise PopulationError(
            f"decoding: {len(train)} usable rows before and {len(test)} after row {cut} (less {GAP} between); "
            f"{MIN_ROWS} of each are needed, record more or change the share that is tested"
        )
    return _score(features, values, train, test, decoder or CVDecoder())


def decode_score(
    features: Any,
    values: Any,
    n_splits: int = 5,
    valid: Any = None,
    gap: int = GAP,
    decoder: CVDecoder | None = None,
    allow_seen: bool = False,
) -> pd.DataFrame:
    """Decode every block of a recording from the others.

    Parameters
    ----------
    features : (n_rows, d) embedding or counts, in order of time; rows that are not finite are left out
    values : (n_rows,) or (n_rows, k); float is continuous, all else classes
    n_splits : contiguous blocks
    valid : (n_rows,) bool, e.g. where the animal ran; None = all
    gap : rows between a block and what it is decoded from
    decoder : its ``period`` is that of a circular label, its ``embedder`` the model behind the embedding
    allow_seen : score an embedding of rows whose labels its model was fitted on

    Returns
    -------
    A row for each block: ``block``, then what ``LabelScore`` says.

    Raises
    ------
    PopulationError
        Lengths that differ, too few rows in a block, or rows whose labels the decoder's embedding was fitted on.
    """
    features, values = np.asarray(features, dtype=float), np.asarray(values)
    known = np.ones(len(values), dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if not len(features) == len(values) == len(known):
        raise PopulationError(
            f"decoding: {len(features)} rows of features, {len(values)} labels, {len(known)} of valid"
        )
    if n_splits < 2:
        raise PopulationError(f"decoding: n_splits {n_splits}; 2 blocks or more are needed")
    usable, rows, found = _usable(features, values, known), np.arange(len(values)), []
    borders = np.linspace(0, len(values), n_splits + 1).astype(int)
    for block, (start, stop) in enumerate(pairwise(borders)):
        test = np.flatnonzero(usable & (rows >= start) & (rows < stop))
        train = np.flatnonzero(usable & ((rows < start - gap) | (rows >= stop + gap)))
        if min(len(train), len(test)) < MIN_ROWS:
            raise PopulationError(
                f"decoding: block {block} has {len(test)} usable rows, {len(train)} lie outside it; {MIN_ROWS} of each "
                "are needed, record more or take fewer blocks"
            )
        score = _score(features, values, train, test, decoder or CVDecoder(), allow_seen)
        found.append({"block": block, **asdict(score)})
    return pd.DataFrame(found)


def _usable(features: np.ndarray, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    usable = np.asarray(valid) & np.isfinite(features).all(axis=1)
    if values.dtype.kind == "f":
        usable &= np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    return usable


def _score(
    features: np.ndarray,
    values: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    decoder: CVDecoder,
    allow_seen: bool = False,
) -> LabelScore:
    codes = None if values.dtype.kind == "f" else np.unique(values, return_inverse=True)[1]
    target = values if codes is None else codes
    score = decoder.fit(features[train], target[train]).score(features[test], target[test], allow_seen)
    sizes = (len(train), len(test))
    if codes is not None:
        common = np.bincount(codes[train]).argmax()
        return LabelScore("accuracy", score, float(np.mean(codes[test] == common)), None, None, *sizes)
    chance, chance_error = _constant(target[train], target[test], decoder.period)
    return LabelScore("R2", score, chance, decoder.median_error(features[test], target[test]), chance_error, *sizes)


def _constant(known: np.ndarray, asked: np.ndarray, period: float | None) -> tuple[float, float]:
    """R2 of the mean of training and median error of its median, around the circle where there is one."""
    from sklearn.metrics import r2_score

    def encode(values: Any) -> np.ndarray:
        angle = values * (2 * np.pi / (period or 1))
        return values if period is None else np.stack([np.cos(angle), np.sin(angle)], axis=1)

    mean = encode(known).mean(axis=0)
    score = float(r2_score(encode(asked), np.broadcast_to(mean, encode(asked).shape)))
    if period is None:
        return score, float(np.median(np.abs(asked - np.median(known, axis=0))))
    gap = np.abs(asked - np.arctan2(mean[1], mean[0]) * period / (2 * np.pi)) % period
    return score, float(np.median(np.minimum(gap, period - gap)))

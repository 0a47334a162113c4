"""Tracked keypoints. Enters: a table of DeepLabCut. Leaves: x and y of each keypoint, a row for each frame.

Frames keep their places: what was not tracked well is filled from the frames around it, or stays missing at the ends,
so that row i of the keypoints is still row i of the recording.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ...core.errors import DataError, MissingKey, suggest

LOGGER = logging.getLogger(__name__)

LEVELS = ("scorer", "bodyparts", "coords")
CUTOFF = 0.6


def is_keypoints(table: object) -> bool:
    """Whether a table has the levels of columns that DeepLabCut writes."""
    return isinstance(table, pd.DataFrame) and set(LEVELS) <= set(table.columns.names)


def read_keypoints(
    table: pd.DataFrame, where: str, keypoints: Sequence[str] | None = None, pcutoff: float = CUTOFF
) -> np.ndarray:
    """Return x and y of each keypoint, (n_frames, 2 * n_keypoints).

    Parameters
    ----------
    where : what to call the table in messages
    keypoints : names of body parts, in the order wanted; None = all
    pcutoff : positions of a smaller likelihood are taken as missing

    Returns
    -------
    Missing ones are interpolated in time; before the first and after the last frame where a keypoint was seen they stay
    NaN.

    Raises
    ------
    DataError
        Several animals.
    MissingKey
        No such keypoint; the message lists those that are there.
    """
    if "individuals" in table.columns.names:
        animals = table.columns.get_level_values("individuals").unique().tolist()
        raise DataError(f"{where}: keypoints of several animals ({', '.join(map(str, animals))}); save one to a file")
    known = table.columns.get_level_values("bodyparts").unique().tolist()
    wanted = known if keypoints is None else [keypoints] if isinstance(keypoints, str) else list(keypoints)
    for name in wanted:
        if name not in known:
            raise MissingKey(
                f"{where}: no keypoint '{name}'{suggest(str(name), map(str, known))}; there are: {', '.join(known)}"
            )
    columns, n_filled = [], 0
    for name in wanted:
        part = table.xs(name, axis=1, level="bodyparts")
        coords = part.columns.get_level_values("coords")
        values = part.to_numpy(dtype=float)
        xy = values[:, coords.isin(["x", "y"])].copy()
        if "likelihood" in coords:
            xy[(values[:, coords == "likelihood"] < pcutoff).ravel()] = np.nan
        n_filled += int(np.isnan(xy).any(axis=1).sum())
        columns.append(_fill(xy))
    if n_filled:
        share = 100 * n_filled / (len(table) * max(len(wanted), 1))
        LOGGER.info("%s: %.1f %% of the positions were not tracked well; interpolated in time", where, share)
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(table), 0))


def _fill(xy: np.ndarray) -> np.ndarray:
    """Interpolate linearly between the rows where both are known."""
    seen = np.flatnonzero(np.isfinite(xy).all(axis=1))
    rows = np.arange(len(xy))
    if not len(seen):
        return np.full_like(xy, np.nan)
    return np.stack([np.interp(rows, seen, column[seen], left=np.nan, right=np.nan) for column in xy.T], axis=1)

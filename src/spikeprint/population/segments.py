"""The one rule for gaps, trial borders, invalid times and edges. Enters: segments. Leaves: rows that may be used.

A row may be the centre of a window when every row of ``[c - left, c + right)`` lies in its segment and is valid.
"""

from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import PopulationError

OUTSIDE = -1
"""Segment of a row that belongs to none."""


def label_rows(segments: pd.DataFrame, n_rows: int) -> np.ndarray:
    """Return (n_rows,) int64: the position of each row's segment in the table, ``OUTSIDE`` where it has none."""
    of_row = np.full(n_rows, OUTSIDE, dtype=np.int64)
    starts, stops = segments["start_row"].to_numpy(), segments["stop_row"].to_numpy()
    for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        of_row[start:stop] = index
    return of_row


def find_centres(of_row: np.ndarray, valid: np.ndarray, offset: Any) -> np.ndarray:
    """Return the rows whose whole window lies in one segment and is valid, in ascending order.

    Parameters
    ----------
    of_row : (n_rows,) segment of each row, see ``label_rows``
    valid : (n_rows,) bool
    offset : ``(left, right)`` or an object with these attributes; the window of row c is ``[c - left, c + right)``
    """
    left, right = split_offset(offset)
    n = len(of_row)
    width = left + right
    if n < width:
        return np.zeros(0, dtype=np.int64)
    n_bad = np.concatenate([[0], np.cumsum(~valid | (of_row == OUTSIDE))])
    first = np.arange(n - width + 1)
    # segments are runs of rows: the same segment at both ends is the same segment in between
    whole = (n_bad[first + width] == n_bad[first]) & (of_row[first] == of_row[first + width - 1])
    return first[whole] + left


def find_pairs(of_row: np.ndarray, centres: np.ndarray, step: int) -> np.ndarray:
    """Return the centres whose row ``step`` later is a centre of the same segment."""
    is_centre = np.zeros(len(of_row), dtype=bool)
    is_centre[centres] = True
    inside = centres[centres + step < len(of_row)]
    return inside[is_centre[inside + step] & (of_row[inside] == of_row[inside + step])]


def split_offset(offset: Any) -> tuple[int, int]:
    """Return ``(left, right)`` of an offset, whatever its type.

    Raises
    ------
    PopulationError
        A negative side, or a window without rows.
    """
    left, right = (offset.left, offset.right) if hasattr(offset, "left") else offset
    if left < 0 or right < 0 or left + right < 1:
        raise PopulationError(f"offset ({left}, {right}): found a window without rows; both sides must be 0 or more")
    return int(left), int(right)


def make_segments(lengths: Any, bin_width: float = 1.0, t_start: Any = None) -> pd.DataFrame:
    """Return the table of segments that lie back to back.

    Parameters
    ----------
    lengths : (n_segments,) rows of each
    bin_width : seconds
    t_start : (n_segments,) start of each, seconds; default: one after another from 0
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    stops = np.cumsum(lengths)
    starts = stops - lengths
    begin = starts * bin_width if t_start is None else np.asarray(t_start, dtype=float)
    columns = {"segment_id": np.arange(len(lengths)), "start_row": starts, "stop_row": stops}
    return pd.DataFrame({**columns, "t_start": begin, "t_stop": begin + lengths * bin_width})

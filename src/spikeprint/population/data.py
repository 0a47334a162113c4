"""One recorded population. Enters: counts, segments, units, labels. Leaves: a ``Population`` whose parts fit together.

A continuous recording is one segment, or several with gaps between them; a stimulus session has one segment for each
presentation. All sampling draws from ``centres``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import PopulationError
from .segments import find_centres, label_rows, make_segments

SEGMENT_COLUMNS = ("segment_id", "start_row", "stop_row", "t_start", "t_stop")


@dataclass(frozen=True)
class Population:
    """Counts of many units in bins of one width.

    Attributes
    ----------
    session_id : name of the session
    bin_width : seconds
    counts : (n_rows, n_units) uint16, or float32 for other signals; may be memory-mapped
    segments : one row per run of bins: ``segment_id, start_row, stop_row`` (half-open), ``t_start, t_stop`` (seconds),
        then columns of the stimulus
    units : one row per column of counts, ``unit_id`` first
    labels : name -> (n_rows,) or (n_rows, d); float is continuous, anything else discrete
    periods : name -> period of a circular label
    valid : (n_rows,) bool, False inside invalid times
    """

    session_id: str
    bin_width: float
    counts: np.ndarray
    segments: pd.DataFrame
    units: pd.DataFrame
    valid: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        here = f"population '{self.session_id}'"
        if self.counts.ndim != 2 or 0 in self.counts.shape:
            raise PopulationError(f"{here}: counts are {self.counts.shape}; rows x units with at least one of each")
        n_rows, n_units = self.counts.shape
        if len(self.units) != n_units:
            raise PopulationError(f"{here}: {n_units} columns of counts but {len(self.units)} units; one row for each")
        if self.bin_width <= 0 or not np.isfinite(self.bin_width):
            raise PopulationError(f"{here}: bin width {self.bin_width} s; a positive number of seconds is needed")
        if self.valid.shape != (n_rows,):
            raise PopulationError(f"{here}: valid is {self.valid.shape}, counts have {n_rows} rows")
        for name, values in self.labels.items():
            if len(values) != n_rows:
                raise PopulationError(f"{here}: label '{name}' has {len(values)} rows, counts have {n_rows}")
        if unknown := set(self.periods) - set(self.labels):
            raise PopulationError(f"{here}: a period for {sorted(unknown)}, which are no labels")
        self._check_segments(here)

    def _check_segments(self, here: str) -> None:
        if missing := [name for name in SEGMENT_COLUMNS if name not in self.segments]:
            raise PopulationError(f"{here}: segments without the columns {', '.join(missing)}")
        starts, stops = self.segments["start_row"].to_numpy(), self.segments["stop_row"].to_numpy()
        if not len(starts):
            raise PopulationError(f"{here}: no segments; at least one run of bins is needed")
        wrong = (stops <= starts) | (stops > len(self.counts)) | (starts < np.concatenate([[0], stops[:-1]]))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise PopulationError(
                f"{here}: segment {self.segments['segment_id'].iloc[at]} is rows [{starts[at]}, {stops[at]}) of "
                f"{len(self.counts)}; segments must be sorted, not overlap and lie inside the counts"
            )

    @property
    def n_rows(self) -> int:
        """Number of bins."""
        return self.counts.shape[0]

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.counts.shape[1]

    @cached_property
    def segment_of_row(self) -> np.ndarray:
        """(n_rows,) int64, position in ``segments``; -1 between segments."""
        return label_rows(self.segments, self.n_rows)

    def centres(self, offset: Any) -> np.ndarray:
        """Return the rows whose window ``[c - left, c + right)`` lies in one segment and is valid.

        Parameters
        ----------
        offset : ``(left, right)`` or an object with these attributes
        """
        return find_centres(self.segment_of_row, self.valid, offset)

    def tensor(self) -> np.ndarray:
        """Return (trials, time, units), a view where the segments lie back to back.

        Raises
        ------
        PopulationError
            Segments of unequal length; the first that differs is named.
        """
        starts, stops = self.segments["start_row"].to_numpy(), self.segments["stop_row"].to_numpy()
        lengths = stops - starts
        if (lengths != lengths[0]).any():
            at = int(np.argmax(lengths != lengths[0]))
            raise PopulationError(
                f"population '{self.session_id}': segment {self.segments['segment_id'].iloc[at]} has {lengths[at]} "
                f"rows, the first has {lengths[0]}; a tensor needs equal lengths, nothing is cut"
            )
        if (starts[1:] == stops[:-1]).all():
            rows = self.counts[starts[0] : stops[-1]]
        else:
            rows = self.counts[np.concatenate([np.arange(a, b) for a, b in zip(starts, stops, strict=True)])]
        return rows.reshape(len(lengths), lengths[0], self.n_units)

    def select(self, what: Any) -> "Population":
        """Return the population of some segments: a mask over segments, a query on their columns, or segment ids.

        Raises
        ------
        PopulationError
            Nothing is left, or an id is not there.
        """
        keep = self._mask(what)
        if not keep.any():
            raise PopulationError(f"population '{self.session_id}': no segment is left by {what!r}")
        table = self.segments[keep]
        rows = np.concatenate([np.arange(a, b) for a, b in zip(table["start_row"], table["stop_row"], strict=True)])
        lengths = (table["stop_row"] - table["start_row"]).to_numpy()
        stops = np.cumsum(lengths)
        table = table.assign(start_row=stops - lengths, stop_row=stops).reset_index(drop=True)
        labels = {name: values[rows] for name, values in self.labels.items()}
        return replace(self, counts=self.counts[rows], segments=table, labels=labels, valid=self.valid[rows])

    def _mask(self, what: Any) -> np.ndarray:
        ids = self.segments["segment_id"]
        if isinstance(what, str):
            try:
                return ids.isin(self.segments.query(what)["segment_id"]).to_numpy()
            except (NameError, KeyError, SyntaxError, ValueError, TypeError, AttributeError) as error:
                known = ", ".join(self.segments.columns)
                raise PopulationError(f"query '{what}': {error}; columns of segments: {known}") from None
        what = np.asarray(what)
        if what.dtype == bool:
            if what.shape != ids.shape:
                raise PopulationError(f"a mask of {what.shape} for {len(ids)} segments")
            return what
        if missing := set(what.tolist()) - set(ids):
            raise PopulationError(f"population '{self.session_id}': no segments {sorted(missing)[:5]}")
        return ids.isin(what).to_numpy()

    def take_rows(self, start: int, stop: int) -> "Population":
        """Return the population of the rows ``[start, stop)``; a segment on the border is cut.

        Raises
        ------
        PopulationError
            No segment has a row there.
        """
        table = self.segments
        first, last = table["start_row"].clip(lower=start), table["stop_row"].clip(upper=stop)
        keep = first < last
        if not keep.any():
            raise PopulationError(f"population '{self.session_id}': no segment among rows [{start}, {stop})")
        begin = table["t_start"] + (first - table["start_row"]) * self.bin_width
        cut = last < table["stop_row"]
        end = table["t_stop"].where(~cut, begin + (last - first) * self.bin_width)
        table = table.assign(start_row=first - start, stop_row=last - start, t_start=begin, t_stop=end)[keep]
        labels = {name: values[start:stop] for name, values in self.labels.items()}
        counts, valid = self.counts[start:stop], self.valid[start:stop]
        return replace(self, counts=counts, segments=table.reset_index(drop=True), labels=labels, valid=valid)

    def select_units(self, keep: np.ndarray) -> "Population":
        """Return the population of the units where ``keep`` (n_units,) bool is true.

        Raises
        ------
        PopulationError
            No unit is left.
        """
        keep = np.asarray(keep, dtype=bool)
        if not keep.any():
            raise PopulationError(f"population '{self.session_id}': no unit of {self.n_units} is left")
        return replace(self, counts=self.counts[:, keep], units=self.units[keep].reset_index(drop=True))

    def with_label(self, name: str, values: Any, period: float | None = None) -> "Population":
        """Return the population with one more label, circular if it has a period."""
        periods = self.periods if period is None else {**self.periods, name: period}
        return replace(self, labels={**self.labels, name: np.asarray(values)}, periods=periods)

    def split(self, kind: str = "blocked", **options: Any) -> "dict[str, Population]":
        """Return the parts ``train``, ``val`` and ``test``; see ``splits.split_population``."""
        from . import split_population  # through the package: what it stands on is loaded when called

        return split_population(self, kind, **options)

    @classmethod
    def from_spikes(cls, spikes: Any, **options: Any) -> "Population":
        """Return the population of spike times by unit; see ``binning.bin_spikes``."""
        from . import bin_spikes

        return bin_spikes(spikes, **options)

    @classmethod
    def from_nwb(cls, path: Any, **options: Any) -> "Population":
        """Return the population of an NWB file; see ``binning.read_nwb``."""
        from . import read_nwb

        return read_nwb(path, **options)

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Mapping[str, Any] | None = None,
        segments: pd.DataFrame | Sequence[int] | None = None,
        bin_width: float = 1.0,
        session_id: str = "session",
        valid: Any = None,
    ) -> "Population":
        """Return the population of an array.

        Parameters
        ----------
        X : (n_rows, n_units) counts, or other signals as float; (n_trials, n_bins, n_units) is a segment for each trial
        y : labels by name, a value for each row, or for each of the trials
        segments : table of segments, or the lengths of segments back to back; default: one segment
        valid : (n_rows,) bool, default all

        Raises
        ------
        PopulationError
            Parts do not fit together.
        """
        counts = np.asanyarray(X)
        labels = {name: np.asarray(values) for name, values in (y or {}).items()}
        if counts.ndim == 3:
            n_trials, n_bins, _ = counts.shape
            counts, segments = counts.reshape(n_trials * n_bins, -1), [n_bins] * n_trials
            labels = {name: _by_row(values, n_trials, n_bins) for name, values in labels.items()}
        if counts.ndim != 2:
            raise PopulationError(f"population '{session_id}': X is {counts.shape}; rows x units is needed")
        n_rows, n_units = counts.shape
        if segments is None:
            segments = [n_rows]
        if not isinstance(segments, pd.DataFrame) and sum(segments) != n_rows:
            raise PopulationError(
                f"population '{session_id}': segments of {sum(segments)} rows in all, X has {n_rows}; lengths lie "
                "back to back and add up, a table of segments may leave rows out"
            )
        table = segments if isinstance(segments, pd.DataFrame) else make_segments(segments, bin_width)
        units = pd.DataFrame({"unit_id": [f"u{i:04d}" for i in range(n_units)]})
        is_valid = np.ones(n_rows, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
        return cls(session_id, bin_width, counts, table, units, is_valid, labels)


def _by_row(values: np.ndarray, n_trials: int, n_bins: int) -> np.ndarray:
    """A label of trials, or of the bins of each, as one of rows."""
    if values.shape[:2] == (n_trials, n_bins):
        return values.reshape(n_trials * n_bins, *values.shape[2:])
    return np.repeat(values, n_bins, axis=0) if len(values) == n_trials else values

"""Populations from outside formats. Enters: a path. Leaves: a ``Population``, in trials or continuous."""

from collections.abc import Sequence
from pathlib import Path

from ..io.population.nwb import read_nwb_session
from .binning import bin_session, bin_trials
from .data import Population


def read_nwb(
    path: Path | str,
    stimulus: str | None = None,
    n_bins: int = 10,
    bin_width: float = 0.025,
    labels: Sequence[str] = (),
) -> Population:
    """Return the population of an NWB file: one segment per presentation, or a continuous one.

    Parameters
    ----------
    stimulus : table of presentations, e.g. ``natural_scenes``, with ``n_bins`` bins for each; None = everything
    bin_width : seconds, without a stimulus
    labels : time series that become labels of a continuous population

    Raises
    ------
    DataError
        No units, or no such table or series; the message lists what is there.
    """
    session = read_nwb_session(Path(path), stimulus=stimulus, series=tuple(labels))
    return bin_session(session, bin_width) if stimulus is None else bin_trials(session, n_bins)

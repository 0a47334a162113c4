"""Populations from outside formats. Enters: a path. Leaves: a ``Population``, in trials or continuous."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.sessions import SpikeSession
from ..io.population.files import load_data, load_labelled
from ..io.population.hippocampus import read_hippocampus
from ..io.population.spikes import read_spikes
from .binning import bin_session, bin_trials, read_nwb
from .data import Population
from .folder import read_population


@dataclass(frozen=True)
class Reading:
    """What a file does not say about itself.

    Attributes
    ----------
    bin_width : seconds, of spike times without presentations
    stimulus : table of presentations of an NWB file, e.g. ``natural_scenes``; None = everything, continuous
    n_bins : bins of one presentation
    key : entry of the counts in a file with several arrays; None = the first
    """

    bin_width: float = 0.025
    stimulus: str | None = None
    n_bins: int = 10
    key: str | None = None


def read_source(path: Path, names: Sequence[str] = (), reading: Reading | None = None) -> Population:
    """Return the population at a path, whatever its kind, with the labels asked for.

    Parameters
    ----------
    path : folder of a population, of spike trains or of the hippocampus recording; ``.nwb``; a file of ``load_data``
    names : labels: of the population, time series, columns or entries of the same file, or files with a value per row

    Raises
    ------
    DataError
        Nothing that can be read, or a label that is nowhere; the message lists what is there.
    """
    path, reading = Path(path), reading or Reading()
    if not path.exists():
        raise DataError(f"{path}: missing")
    files = [name for name in names if Path(name).is_file()]
    inside = [name for name in names if name not in files]
    population = _read_folder(path, reading) if path.is_dir() else _read_file(path, inside, reading)
    for name in files:
        population = population.with_label(name, np.squeeze(load_data(name)))
    for name in inside:
        if name not in population.labels:
            known = ", ".join(population.labels) or "none"
            raise DataError(f"label '{name}': neither a file nor a label of {path}; labels there: {known}")
    return population


def _read_folder(path: Path, reading: Reading) -> Population:
    for card, read in FOLDERS.items():
        if (path / card).is_file():
            return read(path, reading)
    raise DataError(
        f"{path}: no population; a folder needs one of {', '.join(FOLDERS)} (a population, spike trains, a rat on a "
        "track). Give a file otherwise"
    )


def _read_file(path: Path, names: Sequence[str], reading: Reading) -> Population:
    if path.suffix.lower() == ".nwb":
        series = () if reading.stimulus else names
        return read_nwb(path, reading.stimulus, reading.n_bins, reading.bin_width, series)
    counts, labels = load_labelled(path, names, reading.key)
    if counts.ndim != 2:
        raise DataError(f"{path}: the array is {counts.shape}; rows x units is needed, name another with --key")
    return Population.from_arrays(counts, labels, session_id=path.stem)


def _bin(session: SpikeSession, reading: Reading) -> Population:
    in_trials = session.presentations is not None
    return bin_trials(session, reading.n_bins) if in_trials else bin_session(session, reading.bin_width)


FOLDERS: dict[str, Callable[[Path, Reading], Population]] = {
    "meta.json": lambda path, reading: read_population(path),
    "session.json": lambda path, reading: _bin(read_spikes(path), reading),
    "spikes.mat": lambda path, reading: _bin(read_hippocampus(path), reading),
}
"""File that tells the kind of a folder -> its reader."""


def as_kind(values: Any, kind: str | None) -> np.ndarray:
    """Return a label as ``continuous`` (float) or ``discrete`` (classes); None = as it is: float is continuous.

    Raises
    ------
    DataError
        Text that is to be continuous.
    """
    array = np.asarray(values)
    if kind is None:
        return array
    if kind == "discrete":
        return array.astype(str) if array.dtype.kind == "f" else array
    if array.dtype.kind not in "biuf":
        raise DataError(f"a label of {array.dtype} cannot be continuous; numbers are needed")
    return array.astype(float)

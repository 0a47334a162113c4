"""An embedding as a time series of an NWB file. Enters: the file, rows and their times. Leaves: a copy that has it.

A copy is changed by pynwb, read back, and only then takes its name; the source changes only if it is to be replaced.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError
from ..nwb_export import copy_to_change
from ..readers.nwb_file import check_readable, is_group, one_line, open_nwb

MODULE = "spikeprint"
"""Processing module that holds what this project computes."""


def write_nwb_embedding(
    source: Path,
    out: Path,
    embedding: np.ndarray,
    times_s: np.ndarray,
    name: str = "embedding",
    description: str = "embedding of the population",
    overwrite: bool = False,
) -> None:
    """Write a copy of an NWB file with an embedding as ``processing/spikeprint/<name>``, a ``TimeSeries``.

    Parameters
    ----------
    source : .nwb file that the embedded spikes are from; it stays as it is unless ``out`` is the same
    out : .nwb file to write
    embedding : (n_rows, d); times_s : (n_rows,) ascending, middle of each row's bin, on the clock of the file
    overwrite : replace ``out``, and a series of this name

    Raises
    ------
    ConfigError
        ``out`` is there, or has a series of this name; or the name is none.
    DataError
        Rows and times do not fit, or pynwb cannot read or write the file. Nothing is written then.
    """
    source, out = Path(source), Path(out)
    _check_rows(out, embedding, times_s)
    if not name or "/" in name or ":" in name:
        raise ConfigError(f"series '{name}': a name without '/' and ':' is needed")
    place = f"processing/{MODULE}/{name}"
    with open_nwb(source) as file:
        is_there = is_group(file, place)
    if out.exists() and not overwrite:
        raise ConfigError(f"{out}: is there already; give another name, or --overwrite to replace it")
    if is_there and not overwrite:
        raise ConfigError(f"{source}: has {place} already; give another --series, or --overwrite to replace it")
    try:
        with copy_to_change(source, out) as copy:
            if is_there:
                _remove(copy, place)
            _add(copy, embedding, times_s, name, description)
            _check(copy, embedding, times_s, place)
    except _failures() as error:
        raise DataError(f"{out}: cannot be written ({one_line(error)}); nothing is changed") from None


def _check_rows(out: Path, embedding: np.ndarray, times_s: np.ndarray) -> None:
    if embedding.ndim != 2 or times_s.shape != embedding.shape[:1] or not len(embedding):
        raise DataError(f"{out}: an embedding {embedding.shape} at times {times_s.shape}; (n, d) and (n,) are needed")
    if not np.isfinite(times_s).all() or (np.diff(times_s) <= 0).any():
        raise DataError(f"{out}: times of the embedding do not ascend; each row needs a later one, in seconds")


def _remove(path: Path, place: str) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        del file[place]


def _add(path: Path, embedding: np.ndarray, times_s: np.ndarray, name: str, description: str) -> None:
    from pynwb import NWBHDF5IO, TimeSeries

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb tells of old schemas, which are none of our business
        with NWBHDF5IO(str(path), "a", load_namespaces=True) as io:
            nwb = io.read()
            module: Any = nwb.processing.get(MODULE)
            if module is None:
                module = nwb.create_processing_module(MODULE, "computed by spikeprint")
            module.add(TimeSeries(name, embedding, "a.u.", timestamps=times_s, description=description))
            io.write(nwb)


def _check(path: Path, embedding: np.ndarray, times_s: np.ndarray, place: str) -> None:
    """Raise an error unless pynwb reads the copy and the series holds what was meant."""
    try:
        check_readable(path)
    except DataError as error:
        raise ValueError(str(error)) from None
    with open_nwb(path) as file:
        series = file[place]
        is_equal = np.array_equal(series["data"][...], embedding, equal_nan=True)
        if not is_equal or not np.array_equal(series["timestamps"][...], times_s):
            raise ValueError(f"{place} does not read back as written")


def _failures() -> tuple[type[Exception], ...]:
    """What pynwb, hdmf and h5py raise where a file is damaged, odd, or the disk is full."""
    from hdmf.build import BuildError, ConstructError

    return (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, BuildError, ConstructError)

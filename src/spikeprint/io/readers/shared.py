"""What readers of sortings share. Enters: arrays as a source holds them. Leaves: the parts of a ``Sorting``."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError, suggest

NO_LABELS = "none"
"""The label column that means: ignore the labels of the source."""
TICK_S = 1e-6
SHOWN = 8
"""At most so many names are listed in a message."""


def load_npy(path: Path) -> np.ndarray:
    """Read a ``.npy`` file of plain values, never a pickle.

    Raises
    ------
    DataError
        The file is missing, cut short, or holds objects.
    """
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; this file is needed") from None
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise DataError(f"{path}: not a whole .npy file of plain values ({one_line(error)})") from None


def load_vector(path: Path, n: int | None = None, whole: bool = False) -> np.ndarray:
    """Read one number per spike: (n,), from a file of shape (n,), (n, 1) or (1, n).

    Parameters
    ----------
    path : ``.npy`` file
    n : how many are needed; None = any number
    whole : the numbers are integers and become int64 (floats without a fraction are taken, uint64 is cast)

    Raises
    ------
    DataError
        The file cannot be read, is of another shape or type, or holds fractions where integers are needed.
    """
    values = load_npy(path)
    if values.size != max(values.shape, default=0) or values.dtype.kind not in "fiu":
        raise DataError(f"{path}: {values.dtype} {values.shape}; one number per spike is needed")
    values = values.reshape(-1)
    if n is not None and len(values) != n:
        raise DataError(f"{path}: {len(values)} values, but there are {n} spikes; one value per spike is needed")
    return to_integers(values, str(path)) if whole else values


def to_integers(values: np.ndarray, where: str) -> np.ndarray:
    """Return whole numbers as int64.

    Raises
    ------
    DataError
        A value is not a number or has a fraction; the message begins with ``where``.
    """
    values = np.asarray(values)
    if values.size == 0:
        return values.astype(np.int64)
    if values.dtype.kind not in "fiu":
        raise DataError(f"{where}: {values.dtype}; integers are needed")
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values) | (values != np.rint(values))
        if bad.any():
            raise DataError(f"{where}: value {int(np.argmax(bad)) + 1} is {values[bad][0]}; integers are needed")
    return values.astype(np.int64)


def group_by_unit(owner: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order spikes by unit, keeping their order within each.

    Parameters
    ----------
    owner : (n_spikes,) int64, whose spike each is
    units : (n_units,) int64 ascending; spikes of others are left out

    Returns
    -------
    order : (n_kept,) int64, indices of spikes, unit after unit
    offsets : (n_units + 1,) int64

    >>> [part.tolist() for part in group_by_unit(np.array([7, 3, 9, 3]), np.array([3, 7]))]
    [[1, 3, 0], [0, 2, 3]]
    """
    index = np.searchsorted(units, owner)
    kept = np.flatnonzero(np.append(units, 0)[index] == owner) if len(units) else np.empty(0, dtype=np.int64)
    kept = kept[index[kept] < len(units)]
    # 16-bit keys are sorted by radix, in linear time.
    key = index[kept].astype(np.uint16 if len(units) < 2**16 else np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(key, minlength=len(units)))])
    return kept[np.argsort(key, kind="stable")], offsets.astype(np.int64)


def last_spike_s(times: np.ndarray, rate_hz: float, where: str) -> float:
    """Return how long a session lasted at least: its last spike and a tick, seconds.

    Parameters
    ----------
    times : (n_spikes,) integers, samples of ``rate_hz``, or floats, seconds (``rate_hz`` 1.0)
    rate_hz : float, Hz

    Raises
    ------
    DataError
        There is no spike; the message begins with ``where``.
    """
    finite = times[np.isfinite(times)]
    if not len(finite):
        raise DataError(f"{where}: no spikes; at least one spike time is needed")
    last = max(float(finite.max()), 0.0)
    return (last + 1) / rate_hz if times.dtype.kind in "iu" else last / rate_hz + TICK_S


def pick_label_column(wanted: str | None, known: Iterable[str], default: str | None, where: Path) -> str | None:
    """Return the column that holds the cell types; None = the units are unlabelled.

    Parameters
    ----------
    wanted : what the user asked for; None = ``default``, where the source has it; "none" = ignore labels
    known : columns of the source

    Raises
    ------
    ConfigError
        The source has no column ``wanted``.
    """
    known = list(known)
    if wanted is None:
        return default if default in known else None
    if wanted == NO_LABELS:
        return None
    if wanted not in known:
        found = f"found: {shortlist(known)}" if known else "the source has none"
        raise ConfigError(f"{where}: no label column '{wanted}'{suggest(wanted, known)}; {found}")
    return wanted


def check_rate(value: Any, where: str) -> float:
    """Return a sampling frequency as a float, Hz.

    Raises
    ------
    DataError
        It is not a positive number; the message begins with ``where``.
    """
    try:
        rate_hz = float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise DataError(f"{where} is {str(value)[:40]!r}; a positive number of Hz is needed") from None
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise DataError(f"{where} is {rate_hz}; a positive number of Hz is needed")
    return rate_hz


def settle_rate(stated: Any, given_hz: float | None, where: str) -> float:
    """Return the sampling frequency, Hz: what the files state; the user's word is for files that state none.

    Parameters
    ----------
    stated : of the files, None where they do not say
    given_hz : of the user (``--sampling-frequency``); may differ from ``stated`` by 0.1 %, for rates are often rounded
    where : what should state the rate; the messages begin with it

    Raises
    ------
    DataError
        Nobody says, or it is not a positive number.
    ConfigError
        The two disagree.
    """
    if stated is None:
        if given_hz is None:
            raise DataError(f"{where}: no sampling rate; pass --sampling-frequency, in Hz")
        return check_rate(given_hz, f"{where}: the sampling frequency given")
    rate_hz = check_rate(stated, where)
    if given_hz is not None and not np.isclose(given_hz, rate_hz, rtol=1e-3):
        raise ConfigError(
            f"{where} is {rate_hz} Hz, --sampling-frequency says {given_hz} (`hybrid`: the recording); correct one"
        )
    return rate_hz


def to_column(values: Sequence[str]) -> np.ndarray:
    """Return the cells of a column as floats (empty = NaN) when all are numbers, else as objects of str."""
    cells = [value.strip() for value in values]
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(cells, dtype=object)


def shortlist(names: Iterable[Any]) -> str:
    """Return the first names of a list, and how many more there are."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def one_line(error: BaseException) -> str:
    """Return the message of a foreign error as one line of at most 120 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:120]

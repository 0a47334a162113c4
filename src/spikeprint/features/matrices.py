"""Units as scikit-learn hands them over. Enters: mappings, tables, matrices, labels. Leaves: checked canonical arrays.

scikit-learn picks rows of one matrix. It has the canonical modalities side by side, 50 + 100 + 201 columns.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd

from ..core.errors import UnitsError, suggest
from ..core.model_params import ConditionName
from ..core.types import LARGEST, MODALITIES, UNLABELLED, UnitTable
from .transforms import stretch_rows
from .waveform import MIN_SOURCE_SAMPLES

COLUMNS = tuple(column for modality in MODALITIES.values() for column in modality.columns)
"""Names of the columns of a matrix of units."""

ORIGIN: tuple[str, ...] = get_args(ConditionName)
"""What may be told about where units come from."""

LOWEST = {"waveform": -np.inf, "isi": 0.0, "acg": 0.0}
"""Modality -> least possible value: histograms count."""

FAULTS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "partly NaN; a missing modality is NaN throughout": lambda x, low: (
        np.isnan(x).any(axis=1) & ~np.isnan(x).all(axis=1)
    ),
    f"infinite or beyond {LARGEST:.0e}": lambda x, low: np.any(np.abs(x) > LARGEST, axis=1),
    "negative; a histogram counts from 0": lambda x, low: np.any(x < low, axis=1),
}
"""What is wrong -> function of (n, width) values and their least possible one, giving the rows (n,) bool."""


def stack_modalities(waveform: Any = None, isi: Any = None, acg: Any = None) -> np.ndarray:
    """Lay modalities side by side, as one matrix whose rows scikit-learn can pick.

    Parameters
    ----------
    waveform, isi, acg : (n, any width) each, at least one of them; see ``read_modalities``

    Returns
    -------
    (n, 351) float64, the canonical modalities in the order of ``COLUMNS``; what is not given is NaN

    Raises
    ------
    UnitsError
        Values that cannot be used; the message says which.

    >>> stack_modalities(waveform=np.ones((3, 50)), acg=np.ones((3, 201))).shape
    (3, 351)
    """
    return np.hstack(list(_complete({"waveform": waveform, "isi": isi, "acg": acg}).values()))


def read_modalities(units: Any) -> dict[str, np.ndarray]:
    """Return the canonical modalities of units in any of the forms that ``UnitEmbedder`` takes, checked.

    Parameters
    ----------
    units : one of

        - mapping of ``waveform``, ``isi``, ``acg`` to (n, any width); an absent key or an all-NaN row is missing. Other
          widths than 50, 100, 201 are stretched as those of a CSV folder are (``features.tables``): a waveform then
          has to span about 1 ms before its trough to 1.5 ms after, the ISI histogram 0..100 ms, the ACG -100..100 ms
        - ``UnitTable``
        - DataFrame that has the columns ``COLUMNS``, in any order
        - matrix (n, 351), e.g. of ``stack_modalities``

    Returns
    -------
    modality -> (n, canonical length) float64, n > 0

    Raises
    ------
    UnitsError
        Wrong shapes or keys, rows partly NaN, infinite values, negative histograms.
    """
    if isinstance(units, UnitTable):
        return _complete({name: getattr(units, name) for name in MODALITIES})
    if isinstance(units, Mapping):
        return _complete(units)
    if isinstance(units, pd.DataFrame):
        if absent := [column for column in COLUMNS if column not in units.columns]:
            raise UnitsError(
                f"X: {len(absent)} of {len(COLUMNS)} columns are missing, '{absent[0]}' first; give "
                "{'waveform': ..., 'isi': ..., 'acg': ...} or UnitEmbedder.stack(...)"
            )
        units = units[list(COLUMNS)]
    matrix = _read_numbers("X", units)
    if matrix.shape[1] != len(COLUMNS):
        raise UnitsError(
            f"X: {matrix.shape[1]} columns (features) found, {len(COLUMNS)} needed; UnitEmbedder.stack(waveform=..., "
            "isi=..., acg=...) makes them"
        )
    ends = np.cumsum([modality.length for modality in MODALITIES.values()])[:-1]
    return _complete(dict(zip(MODALITIES, np.split(matrix, ends, axis=1), strict=True)))


def read_labels(labels: Any, n_units: int) -> np.ndarray:
    """Return labels as words.

    Parameters
    ----------
    labels : (n_units,) of anything; ``""``, None and NaN mean unlabelled. None = nothing is labelled

    Returns
    -------
    (n_units,) str, ``""`` where unlabelled

    Raises
    ------
    UnitsError
        Not one label for each unit.
    """
    if labels is None:
        return np.full(n_units, UNLABELLED)
    words = np.asarray(labels, dtype=object)
    if words.shape != (n_units,):
        raise UnitsError(f"y: {words.shape} found, one label for each of {n_units} units is needed")
    return np.where(pd.isna(words), UNLABELLED, words).astype(str)


def read_classes(labels: Any) -> np.ndarray | None:
    """Return the distinct values of labels that are numbers, sorted as such, of their own type; None for words.

    Parameters
    ----------
    labels : as given to ``read_labels``

    >>> read_classes([10, 9, None, 10]).tolist()
    [9, 10]
    """
    if labels is None:
        return None
    values = np.asarray(labels, dtype=object)
    # a list of numbers finds their common type; one word among them makes all of them words
    known = np.array(values[~pd.isna(values)].tolist())
    if known.dtype.kind not in "biuf":
        return None
    classes = np.unique(known)
    words = set(read_labels(values, len(values))) - {UNLABELLED}
    return classes if set(read_labels(classes, len(classes))) == words else None  # not so: 1 beside 1.0


def read_origin(units: Any, origin: Mapping[str, Any] | None, n_units: int) -> dict[str, np.ndarray]:
    """Return what is told about where units come from, as words.

    Parameters
    ----------
    units : as given to ``read_modalities``; the card of a ``UnitTable`` counts where ``origin`` says nothing
    origin : keys of ``ORIGIN`` -> one word or (n_units,) words

    Returns
    -------
    each of ``ORIGIN`` -> (n_units,) str, ``""`` where not told

    Raises
    ------
    UnitsError
        An unknown key, or neither one word nor one for each unit.
    """
    if unknown := [name for name in origin or {} if name not in ORIGIN]:
        raise UnitsError(f"origin: unknown '{unknown[0]}'{suggest(unknown[0], ORIGIN)}; known: {', '.join(ORIGIN)}")
    told = (units.card if isinstance(units, UnitTable) else {}) | dict(origin or {})
    words = {name: np.asarray(told.get(name, ""), dtype=str) for name in ORIGIN}
    if wrong := [name for name, word in words.items() if word.shape not in ((), (n_units,))]:
        raise UnitsError(f"origin: {wrong[0]} {words[wrong[0]].shape}; one word, or one for each of {n_units} units")
    return {name: np.broadcast_to(word, (n_units,)) for name, word in words.items()}


def _complete(given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All modalities at their canonical lengths, in their order; what is not given is NaN."""
    if unknown := [name for name in given if name not in MODALITIES]:
        hint = suggest(str(unknown[0]), MODALITIES)
        raise UnitsError(f"X: unknown modality '{unknown[0]}'{hint}; known: {', '.join(MODALITIES)}")
    found = {name: _check(name, _read_numbers(name, x)) for name, x in given.items() if x is not None}
    n_units = {name: len(x) for name, x in found.items()}
    if len(set(n_units.values())) != 1:
        raise UnitsError(f"X: every modality needs one row per unit, found {n_units or 'none'}")
    (n,) = set(n_units.values())
    return {
        name: stretch_rows(found[name], spec.length) if name in found else np.full((n, spec.length), np.nan)
        for name, spec in MODALITIES.items()
    }


def _read_numbers(name: str, values: Any) -> np.ndarray:
    """(n, width) float64 with n > 0"""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UnitsError(f"{name}: not a table of numbers ({error}); (n_units, width) is needed") from None
    if found.ndim != 2:
        raise UnitsError(
            f"{name}: shape {found.shape} found, (n_units, width) is needed; one unit is a row: x[None, :]"
        )
    if not len(found):
        raise UnitsError(f"{name}: no units given (0 rows); at least one is needed")
    return found


def _check(name: str, values: np.ndarray) -> np.ndarray:
    """The values, when they can be those of modality ``name``."""
    if values.shape[1] < MIN_SOURCE_SAMPLES:
        raise UnitsError(
            f"{name}: {values.shape[1]} columns found, {MODALITIES[name].length} are canonical and at least "
            f"{MIN_SOURCE_SAMPLES} needed"
        )
    for reason, find in FAULTS.items():
        rows = np.flatnonzero(find(values, LOWEST[name]))
        if len(rows):
            more = f" and {len(rows) - 1} more rows" if len(rows) > 1 else ""
            raise UnitsError(f"{name}: row {rows[0]}{more}: {reason}")
    return values

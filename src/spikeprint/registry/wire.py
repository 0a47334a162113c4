"""What travels over HTTP. Enters: the body of a request, or answers. Leaves: arrays of units, or a body.

Every form that MLflow's scoring server knows is read into one: a mapping of arrays. What cannot be read is refused in
one line that says what is needed; nothing is guessed.
"""

import json
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from ..core.errors import DataError, suggest
from .serving import LENGTHS, ORIGIN

JSON, PARQUET = "application/json", "application/vnd.apache.parquet"
FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
NEEDED = f"one of {', '.join(FORMS)} in a JSON object, or a parquet body ({PARQUET}), is needed"

MAX_UNITS = 1 << 17
"""Of one parquet body: its columns may be compressed, so the size of the body is no bound."""

MAX_MESSAGE = 480
"""Characters of a refusal."""


class Refusal(DataError):
    """A request that cannot be answered; ``status`` is its HTTP code."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def read_request(
    body: bytes, content_type: str, query: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the units of a request and what is told about their origin.

    Parameters
    ----------
    body, content_type : of the request; no type means JSON
    query : words of the address; parquet has no other place for the origin

    Returns
    -------
    modality -> (n_units, length) float64, NaN rows and absent modalities = missing; and a word for each of ``ORIGIN``

    Raises
    ------
    Refusal
        The body is of another type or form, or holds something else than units.
    """
    kind, _, options = content_type.partition(";")
    charset = options.strip().lower().replace('"', "")
    if (kind.strip().lower() or JSON) not in READERS or charset not in ("", "charset=utf-8"):
        raise Refusal(f"content type '{content_type[:80]}': {NEEDED}, in UTF-8", 415)
    columns, params = READERS[kind.strip().lower() or JSON](body)
    if unknown := [name for name in columns if name not in LENGTHS]:
        hint = suggest(str(unknown[0]), LENGTHS)
        raise Refusal(f"unknown column '{str(unknown[0])[:40]}'{hint}; known: {', '.join(LENGTHS)}")
    if not columns:
        raise Refusal(f"no modality given; at least one column of {', '.join(LENGTHS)} is needed")
    return _fill(columns), _origin(params, query)


def write_answers(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Return ``{"predictions": [one object per unit]}``, as MLflow's scoring server would, from one value per unit.

    A float32 is written with as many digits as it needs to be read back as the same float32.
    """
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return orjson.dumps({"predictions": rows}, option=orjson.OPT_SERIALIZE_NUMPY)


def write_refusal(message: str) -> bytes:
    """Return an error in the form of MLflow's scoring server: one line, whatever words of the client it repeats."""
    readable = message.encode(errors="backslashreplace").decode()  # JSON may name half a character, which is no UTF-8
    message = " ".join(readable.split())[:MAX_MESSAGE]
    return orjson.dumps({"error_code": "BAD_REQUEST", "message": message})


def _read_json(body: bytes) -> tuple[dict[str, np.ndarray], Any]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = _read_loosely(body)
    if not isinstance(payload, dict):
        raise Refusal(f"a JSON {type(payload).__name__} found; {NEEDED}")
    found = [name for name in FORMS if name in payload]
    if len(found) != 1 or (unknown := sorted(payload.keys() - {found[0], "params"})):
        what = ", ".join(found) if len(found) > 1 else ", ".join(map(str, unknown if found else payload))[:80]
        raise Refusal(f"{what or 'an empty object'} found; {NEEDED}, beside 'params' at most")
    columns = UNPACK[found[0]](payload[found[0]], found[0])
    # numpy takes true for 1, which no unit means; the words stand in few bodies, so that the search is cheap
    is_suspect = b"true" in body or b"false" in body
    return {name: _as_rows(name, rows, is_suspect) for name, rows in columns.items()}, payload.get("params")


def _read_loosely(body: bytes) -> Any:
    """JSON as Python and MLflow read it, with NaN and Infinity, or the reason why it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError: not JSON, not UTF-8, or a number of thousands of digits
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:120]
        raise Refusal(f"the body is not JSON ({reason}); {NEEDED}") from None


def _unpack_split(value: Any, form: str) -> dict[str, Sequence[Any]]:
    """``{"columns": [...], "data": [[cell, ...], ...]}``, an ``index`` is left aside"""
    if not (isinstance(value, dict) and {"columns", "data"} <= value.keys() <= {"columns", "data", "index"}):
        raise Refusal(f"{form}: an object of 'columns' and 'data' is needed")
    names, rows = value["columns"], value["data"]
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names) and isinstance(rows, list)):
        raise Refusal(f"{form}: 'columns' must be a list of names and 'data' a list of rows")
    if len(set(names)) != len(names):
        raise Refusal(f"{form}: a column is named twice")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise Refusal(f"{form}: row {i} must be a list of {len(names)} cells, one per column")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _unpack_records(value: Any, form: str) -> dict[str, Sequence[Any]]:
    """``[{"waveform": [...], ...}, ...]``; a key that a unit lacks is a missing modality"""
    if not isinstance(value, list):
        raise Refusal(f"{form}: a list of objects, one per unit, is needed")
    for i, record in enumerate(value):
        if not isinstance(record, dict):
            raise Refusal(f"{form}: unit {i} is a {type(record).__name__}; an object with keys {', '.join(LENGTHS)}")
    names = {name: None for record in value for name in record} or dict.fromkeys(LENGTHS)
    return {name: [record.get(name) for record in value] for name in names}


def _unpack_any(value: Any, form: str) -> dict[str, Sequence[Any]]:
    """Records, or ``{"waveform": [[...], ...], ...}``"""
    if not isinstance(value, dict):
        return _unpack_records(value, form)
    for name, rows in value.items():
        if not isinstance(rows, list):
            raise Refusal(f"{form}: {str(name)[:40]} must be a list of rows, one per unit")
    return value


UNPACK = {
    "dataframe_split": _unpack_split,
    "dataframe_records": _unpack_records,
    "inputs": _unpack_any,
    "instances": _unpack_any,
}
"""Form -> function giving column -> one cell per unit."""


def _as_rows(name: str, rows: Sequence[Any], is_suspect: bool) -> np.ndarray:
    """One list of numbers per unit, None = missing, as (n_units, length) float64."""
    length = LENGTHS.get(name)
    if length is None:
        return np.empty((0, 0))  # refused by its name
    missing = [None] * length
    for i, row in enumerate(rows):
        if row is not None and not (isinstance(row, list) and len(row) == length):
            found = f"{len(row)} values" if isinstance(row, list) else f"a {type(row).__name__}"
            raise Refusal(f"{name}: row {i} holds {found}; {length} numbers are needed, or null where it is missing")
    if not is_suspect:
        with suppress(TypeError, OverflowError):  # something else than numbers, perhaps null: looked at closely below
            return _pack(rows, length)
    try:
        values = np.array([missing if row is None else row for row in rows])
        if is_suspect or values.dtype.kind not in "fiu":
            _refuse_words(name, rows)
        if values.ndim > 2:
            raise ValueError
        return values.astype(np.float64).reshape(len(rows), length)
    except (ValueError, TypeError, OverflowError):  # lists within lists, integers of hundreds of digits
        raise Refusal(f"{name}: {length} numbers per unit are needed; found something else") from None


def _pack(rows: Sequence[Any], length: int) -> np.ndarray:
    """Lists of numbers, None = missing, as (n_units, length) float64; takes a third of the time of ``np.array``"""
    packed, missing = array("d"), array("d", [np.nan]) * length
    for row in rows:
        if row is None:
            packed.extend(missing)
        else:
            packed.fromlist(row)
    return np.frombuffer(packed).reshape(len(rows), length)


def _refuse_words(name: str, rows: Sequence[Any]) -> None:
    for i, row in enumerate(rows):
        for value in row or ():
            if value is not None and type(value) not in (int, float):
                raise Refusal(f"{name}: row {i} holds a {type(value).__name__}; numbers are needed")


def _read_parquet(body: bytes) -> tuple[dict[str, np.ndarray], None]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(body))
        if file.metadata.num_rows > MAX_UNITS:
            raise Refusal(f"{file.metadata.num_rows} units found; at most {MAX_UNITS} fit into one body", 413)
        # an index that pandas has written is no column of units
        names = [name for name in file.schema_arrow.names if not name.startswith("__index_level_")]
        if any(name not in LENGTHS for name in names):
            return dict.fromkeys(names, np.empty((0, 0))), None  # refused by its name, unread
        table = file.read(columns=names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: of a damaged name
        raise Refusal(f"the body is not parquet ({' '.join(str(error).split())[:120]}); {NEEDED}") from None
    return {name: _as_matrix(name, table[name].combine_chunks()) for name in table.column_names}, None


def _as_matrix(name: str, column: Any) -> np.ndarray:
    """Lists of numbers of an arrow column, null = missing, as (n_units, length) float64."""
    import pyarrow
    import pyarrow.compute

    kind, length = column.type, LENGTHS[name]
    is_list = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind)
    is_number = is_list and (pyarrow.types.is_integer(kind.value_type) or pyarrow.types.is_floating(kind.value_type))
    if pyarrow.types.is_null(kind) or not len(column):  # pandas types an empty column at random
        return np.full((len(column), length), np.nan)
    if not is_number:
        raise Refusal(f"{name}: a column of type {str(kind)[:40]} found; lists of {length} numbers are needed")
    n_values = pyarrow.compute.list_value_length(column).to_numpy(zero_copy_only=False)
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    if (wrong := is_there & (n_values != length)).any():
        i = int(wrong.argmax())
        raise Refusal(f"{name}: row {i} holds {int(n_values[i])} values; {length} numbers are needed, or null")
    values = np.full((len(column), length), np.nan)
    flat = column.drop_null().flatten().to_numpy(zero_copy_only=False)
    values[is_there] = np.asarray(flat, dtype=np.float64).reshape(-1, length)
    return values


READERS = {JSON: _read_json, PARQUET: _read_parquet}
"""Content type -> reader of a body."""


def _fill(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add absent modalities as missing; a difference in numbers of units is left to the model to refuse."""
    n_units = len(next(iter(columns.values())))
    return {
        name: columns[name] if name in columns else np.full((n_units, length), np.nan)
        for name, length in LENGTHS.items()
    }


def _origin(params: Any, query: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(params or {}, dict):
        raise Refusal("params: an object of words is needed")
    told = {**query, **(params or {})}
    for name, word in told.items():
        if name not in ORIGIN:
            hint = suggest(str(name), ORIGIN)
            raise Refusal(f"params: unknown '{str(name)[:40]}'{hint}; known: {', '.join(ORIGIN)}")
        if not isinstance(word, str):
            raise Refusal(f"params: {name} must be a word, found a {type(word).__name__}")
    return {name: told.get(name, "") for name in ORIGIN}

"""Hard rules of a canonical folder. Enters: its tables and card. Leaves: every broken rule, with file, row and column.

Structure is checked before values, values before what must hold across columns and files, so that one fault is told
once. A row that is wholly empty is a missing modality and passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from ..core.types import LARGEST, MODALITIES, TECHNOLOGIES, UNLABELLED

MAX_CASES = 1000
"""At most this many failures of one check are listed for one column."""
CARD_FILE = "representation.json"
CARD_KEYS = ("dataset", "technology", "species", "format", "source_md5", *MODALITIES)
COUNTS = "counts_1ms"
"""Representation of histograms that were counted here; only they owe integers, symmetry and sums."""

MESSAGES = {
    "columns": "the canonical columns are needed, in their order",
    "type": "cells of this type are needed",
    "number": "a number is needed",
    "finite": "a finite number is needed",
    "finite_not_negative": "a finite number >= 0 is needed",
    "whole": "a whole number is needed, the card declares counts",
    "centre_zero": "the centre of an autocorrelogram is 0 by definition",
    "not_empty": "a unit id is needed",
    "unique": "unit ids must be unique",
    "whole_row": "cells are empty though the row is not; fill the row, or empty all of it",
    "symmetric": "largest difference between lag +k and lag -k; an autocorrelogram is symmetric",
    "isi_within_spikes": "intervals more than n_spikes - 1; a train of n spikes has n - 1 intervals",
    "acg_covers_isi": "intervals of 1-100 ms that are no pair of the autocorrelogram; each must be one",
    "row_count": "every file needs one row per unit",
    "classes": "at least 2 classes, or no labels at all, are needed",
    "card": "the card must declare the representation",
}
"""What is needed, for each check."""


@dataclass(frozen=True)
class Failure:
    """One broken rule. ``row`` counts from 1 below the header; None where a rule is not about one row or column."""

    file: str
    row: int | None
    column: str | None
    check: str
    found: str
    message: str


def check_canonical(frames: Mapping[str, pd.DataFrame], card: Mapping[str, Any]) -> list[Failure]:
    """Check a canonical folder.

    Parameters
    ----------
    frames : file name -> table as read, see ``io.datasets.read_canonical_frames``
    card : content of ``representation.json``

    Returns
    -------
    Every failure (at most ``MAX_CASES`` per check and column), in the order of the files; empty if all rules hold.
    """
    failures = _check_card(card)
    matrices: dict[str, pd.DataFrame] = {}
    for name, modality in MODALITIES.items():
        schema = _matrix_schema(name, _is_counts(card, name))
        found, matrix = _check_matrix(modality.file, frames[modality.file], schema)
        failures += found
        if matrix is not None:
            matrices[name] = matrix
    metadata, labels = frames["metadata.csv"], frames["labels.csv"]
    failures += _run("metadata.csv", metadata, _metadata_schema(metadata))
    failures += _run("labels.csv", labels, LABELS)
    failures += _check_classes(labels)
    uneven = [
        _fail(file, None, None, "row_count", f"{len(frame)} rows, metadata.csv has {len(metadata)}")
        for file, frame in frames.items()
        if len(frame) != len(metadata)
    ]
    if not uneven and len(matrices) == len(MODALITIES):
        failures += _check_units(matrices, metadata, card)
    return failures + uneven


def format_failures(failures: Sequence[Failure], limit: int = 10) -> str:
    """Return failures for people: one line per file and rule with its count, then the first ``limit`` places."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.file, failure.check), []).append(failure)
    lines = []
    for (file, _), group in groups.items():
        lines.append(f"{file}: {group[0].message} ({len(group)} found)")
        for failure in group[:limit]:
            places = [f"row {failure.row}" if failure.row else "", f"column {failure.column}" if failure.column else ""]
            where = ", ".join(place for place in places if place)
            lines.append(f"  {where}{': ' if where else ''}{failure.found}")
        if len(group) > limit:
            lines.append(f"  ... and {len(group) - limit} more")
    return "\n".join(lines)


STRUCTURE = {"column_in_dataframe": "missing", "column_in_schema": "not expected", "column_ordered": "out of place"}
"""What pandera's checks of the columns say of a column."""


def _fail(file: str, row: int | None, column: str | None, check: str, found: str) -> Failure:
    return Failure(file, row, column, check, found, MESSAGES[check])


def _is_counts(card: Mapping[str, Any], name: str) -> bool:
    entry = card.get(name)
    return isinstance(entry, Mapping) and entry.get("representation") == COUNTS


def _check(name: str, check: pa.Check) -> pa.Check:
    """Give a check the name under which its failures are told, and a limit to their number."""
    check.name = check.error = name
    check.n_failure_cases = MAX_CASES
    return check


def _matrix_schema(name: str, is_counts: bool) -> pa.DataFrameSchema:
    """Columns of one modality: names, order, and what a single cell may hold."""
    # bounds on both sides, because pandera's ``ge`` lets infinity pass
    low, rule = (-LARGEST, "finite") if name == "waveform" else (0.0, "finite_not_negative")
    checks = [_check(rule, pa.Check.in_range(low, LARGEST))]
    if is_counts:
        checks.append(_check("whole", pa.Check(lambda cells: cells == np.floor(cells))))
    columns = {column: pa.Column("float64", checks, nullable=True) for column in MODALITIES[name].columns}
    if is_counts and name == "acg":
        centre = MODALITIES[name].columns[MODALITIES[name].length // 2]
        columns[centre] = pa.Column("float64", [*checks, _check("centre_zero", pa.Check.eq(0))], nullable=True)
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def _metadata_schema(metadata: pd.DataFrame) -> pa.DataFrameSchema:
    """The fixed columns of metadata, and a rule for every scalar beside them: finite where known."""
    fixed = {
        "unit_id": pa.Column(str, _check("not_empty", pa.Check.ne("")), unique=True, report_duplicates="exclude_first"),
        "passes_qc": pa.Column(bool),
        "qc_reason": pa.Column(str),
    }
    scalars = {
        column: pa.Column(checks=_check("finite", pa.Check.in_range(-LARGEST, LARGEST)), nullable=True)
        for column in metadata.select_dtypes(["integer", "floating"]).columns
        if column not in fixed
    }
    return pa.DataFrameSchema({**fixed, **scalars})


LABELS = pa.DataFrameSchema({"cell_type": pa.Column(str)}, strict=True)
UNITS = pa.DataFrameSchema(
    {
        **{
            f"{name}_empty": pa.Column(float, _check("whole_row", pa.Check.isin([0, m.length])))
            for name, m in MODALITIES.items()
        },
        "acg_asymmetry": pa.Column(float, _check("symmetric", pa.Check.eq(0)), nullable=True, required=False),
        "isi_surplus": pa.Column(float, _check("isi_within_spikes", pa.Check.le(0)), nullable=True, required=False),
        "acg_deficit": pa.Column(float, _check("acg_covers_isi", pa.Check.le(0)), nullable=True, required=False),
    }
)
"""One row per unit: numbers that are 0 (or negative, or a whole row) when the unit's histograms agree."""


def _run(file: str, frame: pd.DataFrame, schema: pa.DataFrameSchema) -> list[Failure]:
    """Every failure pandera finds in one table."""
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        return [_from_case(file, case) for case in error.failure_cases.to_dict("records")]
    return []


def _from_case(file: str, case: dict[str, Any]) -> Failure:
    """Turn one of pandera's failure cases into ours."""
    check, found, row = str(case["check"]), case["failure_case"], case["index"]
    check = {"field_uniqueness": "unique", "not_nullable": "not_empty"}.get(check, check)
    if check in STRUCTURE:
        return _fail(file, None, str(found), "columns", STRUCTURE[check])
    if check not in MESSAGES:  # pandera names the type it wanted: dtype('bool')
        return _fail(file, None, case["column"], "type", f"{found} cells, {check} is needed")
    shown = f"{found:g}" if isinstance(found, (int, float)) else f"'{found}'"
    return _fail(file, None if row is None else int(row) + 1, case["column"], check, shown)


def _check_matrix(
    file: str, frame: pd.DataFrame, schema: pa.DataFrameSchema
) -> tuple[list[Failure], pd.DataFrame | None]:
    """Failures of a matrix; and the matrix with the rows at fault emptied, None if its columns are not the right ones.

    Structure comes first: pandera may leave values unchecked where columns are missing (its issue 1993).
    """
    structure = pa.DataFrameSchema({c: pa.Column(nullable=True) for c in schema.columns}, strict=True, ordered=True)
    failures = _run(file, frame, structure)
    if failures:
        return failures, None
    numbers = frame.apply(pd.to_numeric, errors="coerce") if (frame.dtypes == "str").any() else frame
    numbers = numbers.astype(np.float64)
    text = [column for column in frame.columns if not pd.api.types.is_numeric_dtype(frame[column])]
    for column in text:
        cells = frame[column].fillna("").astype(str).str.strip()
        rows = np.flatnonzero((cells != "") & numbers[column].isna())[:MAX_CASES]
        failures += [_fail(file, int(row) + 1, column, "number", f"'{cells.iloc[row]}'") for row in rows]
    failures += _run(file, numbers, schema)
    at_fault = sorted({failure.row - 1 for failure in failures if failure.row is not None})
    return failures, numbers.mask(pd.Series(np.isin(np.arange(len(numbers)), at_fault)), axis=0)


def _check_units(
    matrices: Mapping[str, pd.DataFrame], metadata: pd.DataFrame, card: Mapping[str, Any]
) -> list[Failure]:
    """What must hold within a unit's row and between its files."""
    values = {name: matrix.to_numpy() for name, matrix in matrices.items()}
    units = {f"{name}_empty": np.isnan(rows).sum(axis=1).astype(float) for name, rows in values.items()}
    isi, acg = values["isi"], values["acg"]
    if _is_counts(card, "acg"):
        units["acg_asymmetry"] = np.abs(acg - acg[:, ::-1]).max(axis=1)
    if _is_counts(card, "isi") and "n_spikes" in metadata:
        n_intervals = pd.to_numeric(metadata["n_spikes"], errors="coerce").to_numpy(dtype=float) - 1
        units["isi_surplus"] = isi.sum(axis=1) - np.maximum(n_intervals, 0)
    if _is_counts(card, "isi") and _is_counts(card, "acg"):
        units["acg_deficit"] = isi[:, 1:].sum(axis=1) - acg.sum(axis=1) / 2
    return [
        _fail(MODALITIES[str(failure.column).split("_")[0]].file, failure.row, None, failure.check, failure.found)
        for failure in _run("", pd.DataFrame(units), UNITS)
    ]


def _check_classes(labels: pd.DataFrame) -> list[Failure]:
    """A dataset with one class teaches a classifier nothing; one without labels is welcome."""
    classes = sorted(set(labels.get("cell_type", pd.Series(dtype=str)).dropna().astype(str)) - {UNLABELLED})
    if len(classes) != 1:
        return []
    return [_fail("labels.csv", None, "cell_type", "classes", f"1 class, '{classes[0]}'")]


def _check_card(card: Mapping[str, Any]) -> list[Failure]:
    """Keys of the card, its technology, and how the histograms were made."""
    failures = [_fail(CARD_FILE, None, key, "card", "missing") for key in CARD_KEYS if key not in card]
    if card.get("technology", TECHNOLOGIES[0]) not in TECHNOLOGIES:
        failures.append(_fail(CARD_FILE, None, "technology", "card", f"'{card['technology']}'"))
    for name in ("isi", "acg"):
        if name in card and not (isinstance(card[name], Mapping) and "representation" in card[name]):
            failures.append(_fail(CARD_FILE, None, name, "card", "no 'representation'"))
    return failures

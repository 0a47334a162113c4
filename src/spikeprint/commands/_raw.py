"""What verbs share that read units from outside: what a path holds, its units, and their features as the pipeline's."""

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import DataError, SchemaError
from ..core.types import TECHNOLOGIES, UNLABELLED, Sorting, SourceTable, UnitTable

if TYPE_CHECKING:
    from ..core.config import DatasetParams, FeatureParams, Params


def find_row(folder: Path, root: Path, params: "Params") -> "tuple[str, DatasetParams | None]":
    """Return the folder's name, and the row of params.yaml whose units lie in it."""
    folder = folder.resolve()
    rows = {(root / row.folder).resolve(): (name, row) for name, row in params.datasets.items()}
    return rows.get(folder, (folder.name, None))


def make_row(
    declared: "DatasetParams | None", kind: str, arguments: argparse.Namespace, rate_hz: float | None
) -> "DatasetParams":
    """Return the row that units of format ``kind`` have in params.yaml, or would have; the options given win.

    What a row of one's own would say of their origin is left open: it changes no feature.

    Raises
    ------
    ConfigError
        An option out of range.
    """
    from ..core.config import make_dataset_params

    options = {
        "format": kind,
        "label_column": arguments.label_column,
        "sampling_frequency_hz": rate_hz,
        "representation": arguments.representation,
    }
    neutral = {"folder": "-", "technology": TECHNOLOGIES[0], "species": "unknown"}
    given = {key: value for key, value in options.items() if value is not None}
    return make_dataset_params({**(declared.model_dump() if declared else neutral), **given})


def read_raw(path: Path, row: "DatasetParams") -> list[Sorting] | SourceTable:
    """Read the units at ``path`` as their row declares.

    Raises
    ------
    DataError, ConfigError
        Files or a label column that cannot be used.
    """
    from ..io.sources import read_units

    return read_units(path, row.format, row.sampling_frequency_hz, row.label_column)


def list_labels(raw: list[Sorting] | SourceTable) -> np.ndarray:
    """(n_units,) str, the labels as the source writes them."""
    return raw.labels if isinstance(raw, SourceTable) else np.concatenate([sorting.labels for sorting in raw])


def try_features(
    raw: list[Sorting] | SourceTable, path: Path, name: str, row: "DatasetParams", features: "FeatureParams"
) -> UnitTable:
    """Compute and validate the canonical features of what was read from ``path``.

    Raises
    ------
    DataError
        Features cannot be computed, no unit has any, or they break the schema.
    """
    from ..features.units import build_units
    from ..io.datasets import read_canonical_frames, write_canonical
    from ..validate.schemas import check_canonical, format_failures

    table = build_units(raw, name, row, features, source_md5="")
    n_units, missing = table.card["n_units"], table.card["missing"]
    if all(count == n_units for count in missing.values()):
        raise DataError(
            f"{path}: none of {n_units} units has a usable {', '.join(missing)}: rows are empty, constant or all "
            "zero; at least one unit with one measurement is needed"
        )
    with tempfile.TemporaryDirectory() as scratch:
        write_canonical(Path(scratch) / name, table)
        failures = check_canonical(*read_canonical_frames(Path(scratch) / name))
    if failures:
        hint = "" if row.representation in (None, "legacy") else _doubt(row.representation)
        raise SchemaError(f"{path}: its features break the schema{hint}\n{format_failures(failures)}")
    return table


def _doubt(representation: str) -> str:
    return f" (declared as {representation}; --representation legacy promises nothing)"


def count_unlabelled(written: np.ndarray, cleaned: np.ndarray) -> dict[str, int]:
    """Count the labels, as ``written`` (n,) str in the file, that became unlabelled in ``cleaned`` (n,) str."""
    taken = Counter(str(label) for label in written[(written != UNLABELLED) & (cleaned == UNLABELLED)])
    return dict(sorted(taken.items()))


def tell_unlabelled(taken: dict[str, int]) -> list[str]:
    """One line for people about the labels of ``count_unlabelled``; none when there are none."""
    words = ", ".join(f"{label} {count}" for label, count in taken.items())
    return [f"  taken as unlabelled: {words} (params.yaml: features.unlabelled_patterns)"] if taken else []

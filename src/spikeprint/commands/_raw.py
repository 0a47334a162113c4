"""What ``add`` and ``validate`` share: a raw folder is read, and its features computed as the pipeline will."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DataError, SchemaError
from ..core.types import UNLABELLED, Sorting, SourceTable, UnitTable

if TYPE_CHECKING:
    import numpy as np

    from ..core.config import DatasetParams, FeatureParams, Params


def find_row(folder: Path, root: Path, params: "Params") -> "tuple[str, DatasetParams | None]":
    """Return the folder's name, and its row of params.yaml if it is the dataset of this name under ``data/raw``."""
    folder = folder.resolve()
    is_ours = folder.parent == (root / "data" / "raw").resolve()
    return folder.name, params.datasets.get(folder.name) if is_ours else None


def read_raw(folder: Path, row: "DatasetParams") -> Sorting | SourceTable:
    """Read a raw folder of the format that its row declares.

    Raises
    ------
    DataError, ConfigError
        Files or a label column that cannot be used.
    """
    from ..io.datasets import read_sorting, read_source_table

    return read_sorting(folder) if row.format == "arrays" else read_source_table(folder, row.label_column)


def try_features(
    raw: Sorting | SourceTable, folder: Path, name: str, row: "DatasetParams", features: "FeatureParams"
) -> UnitTable:
    """Compute and validate the canonical features of what was read from ``folder``.

    Raises
    ------
    DataError
        Features cannot be computed, no unit has any, or they break the schema.
    """
    from ..features.build import build_from_sorting, build_from_table
    from ..io.datasets import read_canonical_frames, write_canonical
    from ..validate.schemas import check_canonical, format_failures

    origin = {"dataset": name, "technology": row.technology, "species": row.species, "format": row.format}
    card: dict[str, Any] = {**origin, "source_md5": ""}
    if isinstance(raw, Sorting):
        table = build_from_sorting(raw, features, card)
    else:
        table = build_from_table(raw, features, row.sampling_frequency_hz, card)
    n_units, missing = table.card["n_units"], table.card["missing"]
    if all(count == n_units for count in missing.values()):
        raise DataError(
            f"{folder}: none of {n_units} units has a usable {', '.join(missing)}: rows are empty, constant or all "
            "zero; at least one unit with one measurement is needed"
        )
    with tempfile.TemporaryDirectory() as scratch:
        write_canonical(Path(scratch) / name, table)
        failures = check_canonical(*read_canonical_frames(Path(scratch) / name))
    if failures:
        raise SchemaError(f"{folder}: its features break the schema\n{format_failures(failures)}")
    return table


def count_unlabelled(written: "np.ndarray", cleaned: "np.ndarray") -> dict[str, int]:
    """Count the labels, as ``written`` (n,) str in the file, that became unlabelled in ``cleaned`` (n,) str."""
    taken = Counter(str(label) for label in written[(written != UNLABELLED) & (cleaned == UNLABELLED)])
    return dict(sorted(taken.items()))


def tell_unlabelled(taken: dict[str, int]) -> list[str]:
    """One line for people about the labels of ``count_unlabelled``; none when there are none."""
    words = ", ".join(f"{label} {count}" for label, count in taken.items())
    return [f"  taken as unlabelled: {words} (params.yaml: features.unlabelled_patterns)"] if taken else []

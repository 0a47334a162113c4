"""Stage ``features@dataset``. Enters: ``data/raw/<dataset>/``. Leaves: ``data/canonical/``."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.config import DatasetParams, FeatureParams, Params
from ..core.errors import ConfigError, suggest
from ..core.files import find_root, hash_path
from ..core.runtime import timed
from ..core.types import UnitTable
from ..features.build import build_from_sorting, build_from_table
from ..io.datasets import read_sorting, read_source_table, write_canonical
from . import run_stage

LOGGER = logging.getLogger(__name__)

Build = Callable[[Path, DatasetParams, FeatureParams, dict[str, Any]], UnitTable]

FORMATS: dict[str, Build] = {
    "arrays": lambda folder, row, params, card: build_from_sorting(read_sorting(folder), params, card),
    "csv": lambda folder, row, params, card: build_from_table(
        read_source_table(folder, row.label_column), params, row.sampling_frequency_hz, card
    ),
}
"""``DatasetParams.format`` -> how a raw folder becomes canonical features."""


def main(argv: list[str]) -> None:
    """Compute the features of the dataset named by the only word of ``argv``.

    Raises
    ------
    ConfigError
        No such row under ``datasets``.
    DataError
        The raw folder cannot be read or used.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    if len(argv) != 1 or argv[0] not in params.datasets:
        hint = suggest(argv[0], params.datasets) if len(argv) == 1 else ""
        found = " ".join(argv) or "nothing"
        raise ConfigError(f"stage features: found {found}, needs one dataset of {', '.join(params.datasets)}{hint}")
    name, row = argv[0], params.datasets[argv[0]]
    folder = root / "data" / "raw" / name
    with timed(f"features {name}"):
        origin = {"dataset": name, "technology": row.technology, "species": row.species, "format": row.format}
        card = {**origin, "source_md5": hash_path(folder)}
        table = FORMATS[row.format](folder, row, params.features, card)
        write_canonical(root / "data" / "canonical" / name, table)
    n_passed = int(table.metadata["passes_qc"].sum())
    LOGGER.info("  %d units, %d labelled, %d pass QC", len(table.labels), table.card["n_labelled"], n_passed)


if __name__ == "__main__":
    run_stage(main)

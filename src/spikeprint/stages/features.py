"""Stage ``features@dataset``. Enters: the folder of a row of ``datasets``. Leaves: ``data/canonical/<dataset>/``."""

import logging

from ..core.config import Params
from ..core.files import find_root, hash_path
from ..core.runtime import timed
from ..features.units import build_units
from ..io.datasets import write_canonical
from ..io.sources import read_units
from . import pick_row, run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Compute the features of the dataset named by the only word of ``argv``.

    Raises
    ------
    ConfigError
        No such row under ``datasets``.
    DataError
        The folder cannot be read or used.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.datasets, "datasets")
    row = params.datasets[name]
    folder = root / row.folder
    with timed(f"features {name}"):
        raw = read_units(folder, row.format, row.sampling_frequency_hz, row.label_column)
        table = build_units(raw, name, row, params.features, source_md5=hash_path(folder))
        write_canonical(root / "data" / "canonical" / name, table)
    n_passed = int(table.metadata["passes_qc"].sum())
    LOGGER.info("  %d units, %d labelled, %d pass QC", len(table.labels), table.card["n_labelled"], n_passed)


if __name__ == "__main__":
    run_stage(main)

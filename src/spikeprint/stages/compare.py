"""``compare``: all canonical folders -> how far the datasets are from each other. Told, never fatal."""

import logging
import shutil

from ..core.config import Params
from ..core.errors import ConfigError
from ..core.files import find_root, write_json
from ..io.datasets import read_canonical
from ..validate import drift
from ..validate.suites import check_expectations, make_unit_health
from . import run_stage

LOGGER = logging.getLogger(__name__)
NOTHING = "one dataset: nothing to compare with"


def main(argv: list[str]) -> None:
    """Compare the datasets of params.yaml; write ``reports/metrics/comparison.json`` and the pages of ``_between``.

    Raises
    ------
    ConfigError
        Words were given.
    DataError
        A canonical folder is missing or damaged.
    """
    if argv:
        raise ConfigError(f"compare: {len(argv)} arguments; none is needed, all datasets of params.yaml are compared")
    root = find_root()
    names = Params.load(root / "params.yaml").datasets
    tables = {name: read_canonical(root / "data" / "canonical" / name) for name in names}
    units = {name: make_unit_health(table) for name, table in tables.items()}
    cards = {name: table.card for name, table in tables.items()}
    columns, shares = drift.compare_columns(units), drift.compare_shares(units)
    classes = drift.compare_classes({name: table.labels for name, table in tables.items()})
    between = drift.make_between(columns, shares, classes, cards)
    docs = root / "reports" / "validation" / "_between"  # no dataset is called so
    if len(tables) > 1:
        expectations = check_expectations(between, docs, "between", drift.BETWEEN, row_name="dataset")
    else:
        expectations = []
        shutil.rmtree(docs, ignore_errors=True)  # pages of datasets that have been removed
    outside = drift.find_outside(between)
    write_json(
        root / "reports" / "metrics" / "comparison.json",
        {
            "n_datasets": len(tables),
            "note": "" if len(tables) > 1 else NOTHING,
            "datasets": {name: len(table.labels) for name, table in tables.items()},
            "columns": columns,
            "shares": shares,
            "classes": classes,
            "representations": drift.compare_representations(cards),
            "outside": outside,
            "expectations": expectations,
        },
    )
    LOGGER.info("compare: %s", _tell(len(tables), outside, expectations))


def _tell(n_datasets: int, outside: list[dict], expectations: list[dict]) -> str:
    """The outcome in one line."""
    if n_datasets < 2:
        return NOTHING
    apart = [f"{row['dataset']} {row['column']} {row['value']:.3g}" for row in outside]
    apart += [row["column"] for row in expectations if not row["success"] and row["column"].endswith("_representation")]
    told = f"; not as expected: {', '.join(apart)}" if apart else " are alike"
    return f"{n_datasets} datasets{told}"


if __name__ == "__main__":
    run_stage(main)

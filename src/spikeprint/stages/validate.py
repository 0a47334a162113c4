"""``validate@<dataset>``: canonical folder -> pass and a summary, or every broken rule. Bad data cannot train."""

import logging
import time

from ..core.errors import ConfigError, SchemaError
from ..core.files import find_root, write_json
from ..io.datasets import read_canonical, read_canonical_frames
from ..validate.schemas import check_canonical, format_failures
from ..validate.suites import check_expectations, make_unit_health
from . import run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Validate ``data/canonical/<dataset>``; write ``reports/metrics/validation/<dataset>.json`` and the pages.

    Raises
    ------
    SchemaError
        A hard rule is broken; nothing is written and an older summary is removed.
    """
    if len(argv) != 1:
        raise ConfigError(f"validate: {len(argv)} arguments; one dataset is needed")
    started = time.perf_counter()
    dataset = argv[0]
    root = find_root()
    folder = root / "data" / "canonical" / dataset
    summary = root / "reports" / "metrics" / "validation" / f"{dataset}.json"
    summary.unlink(missing_ok=True)
    failures = check_canonical(*read_canonical_frames(folder))
    if failures:
        raise SchemaError(f"{folder}: {len(failures)} failures\n{format_failures(failures)}")
    table = read_canonical(folder)
    units = make_unit_health(table)
    expectations = check_expectations(units, root / "reports" / "validation" / dataset, dataset)
    classes = units.loc[table.labels != "", "unit_id"].groupby(table.labels[table.labels != ""]).size()
    write_json(
        summary,
        {
            "n_units": len(units),
            "n_labelled": int(classes.sum()),
            "classes": {name: int(count) for name, count in classes.items()},
            "missing": {name: int((units[f"has_{name}"] == 0).sum()) for name in ("waveform", "isi", "acg")},
            "failures": 0,
            "expectations": expectations,
        },
    )
    missed = [f"{row['expectation']} {row['column']}".strip() for row in expectations if not row["success"]]
    told = f"; not as expected: {', '.join(missed)}" if missed else ""
    LOGGER.info("validate %s: %d units pass%s (%.1f s)", dataset, len(units), told, time.perf_counter() - started)


if __name__ == "__main__":
    run_stage(main)

"""Stage ``report``: canonical tables and the numbers of the other stages -> figures and a page for people."""

from pathlib import Path
from typing import Any

import pandas as pd

from ..core.config import Params
from ..core.errors import DataError
from ..core.files import atomic_folder, find_root, read_json, write_text
from ..core.runtime import LOGGER, timed
from ..io.datasets import read_canonical
from ..report.figures import plot_ablations, plot_confusion, plot_data, plot_losses, plot_map
from ..report.generative import plot_generative
from ..report.style import make_styles
from ..report.summary import render_summary
from . import run_stage

DPI = 150


def main(argv: list[str]) -> None:
    """Write ``reports/summary.md`` and ``reports/figures/*.png``; datasets and ablations are those of params.yaml."""
    root = find_root()
    params = Params.load(root / "params.yaml")
    reports = root / "reports"
    registered, head = params.register_.ablation, params.served_head
    tables = {name: read_canonical(root / "data" / "canonical" / name) for name in params.datasets}
    validation = {name: read_json(reports / "metrics" / "validation" / f"{name}.json") for name in params.datasets}
    metrics: dict[str, Any] = {name: read_json(reports / "metrics" / f"{name}.json") for name in params.ablations}
    comparison = read_json(reports / "metrics" / "comparison.json")
    generative = read_json(reports / "metrics" / "generative.json")
    hybrids = {
        name: {
            part: read_json(reports / "metrics" / "hybrid" / name / f"{part}.json") for part in ("injected", "score")
        }
        for name in params.hybrid
    }
    styles = make_styles(label for table in tables.values() for label in table.labels)
    with timed("report"):
        figures = {
            "data": plot_data(tables, styles),
            "losses": plot_losses(_read_plot(reports, "losses", registered)),
            "ablations": plot_ablations(metrics, registered, head),
            "confusion": plot_confusion(_read_plot(reports, "confusion", registered)),
            "map": plot_map(_read_plot(reports, "map", registered), styles),
            "generative": plot_generative(
                generative.get("imputation", {}), _read_plot(reports, "generated", registered)
            ),
        }
        with atomic_folder(reports / "figures") as folder:
            for name, figure in figures.items():
                # Without the Software tag the bytes depend on the numbers only, so `dvc diff` shows real changes.
                figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
        page = render_summary(params, tables, validation, metrics, comparison, generative, hybrids)
        write_text(reports / "summary.md", page)
    LOGGER.info("wrote reports/summary.md")


def _read_plot(reports: Path, kind: str, ablation: str) -> pd.DataFrame:
    """Read ``reports/plots/<kind>/<ablation>.csv``; an empty cell of text is ``""``, of numbers NaN."""
    path = reports / "plots" / kind / f"{ablation}.csv"
    words = ("dataset", "unit_id", "cell_type", "actual", "predicted", "model", "panel", "modality", "name", "kind")
    text = dict.fromkeys(words, str)
    try:
        return pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"value": [""], "x": [""], "y": [""]})
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise DataError(f"{path}: missing or empty; the stages before report write it") from None


if __name__ == "__main__":
    run_stage(main)

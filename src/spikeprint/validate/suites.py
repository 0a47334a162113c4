"""Expectations on a dataset as a whole. Enters: a canonical table. Leaves: what held, and Great Expectations' pages.

The schemas stop bad data; an expectation that does not hold is told and goes on: it may be the animal, not the file.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.files import atomic_folder
from ..core.types import MODALITIES, UNLABELLED, UnitTable
from .pages import make_index, make_offline

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when great_expectations is imported

Expectation = tuple[str, str, Mapping[str, Any]]
"""Expectation of Great Expectations, column ("" = the table), arguments."""

EXPECTATIONS: tuple[Expectation, ...] = (
    ("ExpectTableRowCountToBeBetween", "", {"min_value": 10}),
    ("ExpectColumnValuesToBeUnique", "unit_id", {}),
    ("ExpectColumnValuesToBeBetween", "firing_rate_hz", {"min_value": 0, "max_value": 500}),
    ("ExpectColumnMedianToBeBetween", "firing_rate_hz", {"min_value": 0.05, "max_value": 100}),
    ("ExpectColumnValuesToBeBetween", "trough_to_peak_ms", {"min_value": 0.05, "max_value": 1.5, "mostly": 0.95}),
    ("ExpectColumnValuesToBeBetween", "fwhm_ms", {"min_value": 0.02, "max_value": 1.0, "mostly": 0.95}),
    ("ExpectColumnMeanToBeBetween", "passes_qc", {"min_value": 0.5}),
    ("ExpectColumnMeanToBeBetween", "has_waveform", {"min_value": 0.5}),
    ("ExpectColumnMeanToBeBetween", "has_isi", {"min_value": 0.5}),
    ("ExpectColumnMeanToBeBetween", "has_acg", {"min_value": 0.5}),
    ("ExpectColumnMeanToBeBetween", "is_labelled", {"min_value": 0.2}),
    ("ExpectColumnMaxToBeBetween", "class_share", {"max_value": 0.8}),
    ("ExpectColumnMinToBeBetween", "class_share", {"min_value": 0.02}),
)
"""What is expected of the units of one dataset."""


def make_unit_health(table: UnitTable) -> pd.DataFrame:
    """Return one row per unit: its metadata, the modalities it has (0 or 1), and the share of its class.

    A dataset without any labels is no dataset with too few: ``is_labelled`` is NaN there.
    ``class_share`` is the part of the labelled units that carry the unit's label, NaN where it has none.
    """
    labelled = table.labels != UNLABELLED
    share = pd.Series(table.labels).map(pd.Series(table.labels[labelled]).value_counts(normalize=True))
    present = {f"has_{name}": np.isfinite(getattr(table, name)).all(axis=1).astype(float) for name in MODALITIES}
    return table.metadata.assign(
        **present,
        passes_qc=table.metadata["passes_qc"].astype(float),
        is_labelled=labelled.astype(float) if labelled.any() else np.nan,
        class_share=share.to_numpy(dtype=float),
    )


def check_expectations(
    units: pd.DataFrame,
    docs: Path,
    name: str,
    expectations: Sequence[Expectation] = EXPECTATIONS,
    row_name: str | None = None,
) -> list[dict[str, Any]]:
    """Check a table against expectations and write the pages of Great Expectations.

    Parameters
    ----------
    units : result of ``make_unit_health``, or any table
    docs : folder of the pages, replaced; opens at ``index.html``, also without a network
    name : of the table, shown in the pages
    expectations : columns that the table lacks, or has no value of, are left out
    row_name : column by which the pages name the rows at fault; for small tables

    Returns
    -------
    One row per expectation: ``expectation, column, success, observed``. ``observed`` is the
    value asked about, or for rules on single values the part of the values that keep the rule.
    """
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    known = [row for row in expectations if not row[1] or (row[1] in units and units[row[1]].notna().any())]
    rules = [getattr(gxe, kind)(**({"column": column} if column else {}), **rest) for kind, column, rest in known]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("units").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=rules))
    definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
    detail: Any = {"result_format": "COMPLETE", "unexpected_index_column_names": [row_name]} if row_name else "SUMMARY"
    with atomic_folder(docs) as temporary:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(temporary.resolve())}
        site: Any = {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": store,
        }
        context.add_data_docs_site(site_name="pages", site_config=site)
        pages = gx.checkpoint.UpdateDataDocsAction(name="pages", site_names=["pages"])
        definitions = [context.validation_definitions.add(definition)]
        checkpoint = gx.Checkpoint(name=name, validation_definitions=definitions, actions=[pages], result_format=detail)
        run = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": units})
        results: Any = next(iter(run.run_results.values())).results
        rows = _read_results(results)
        limits = [_say_limits(result.expectation_config.kwargs) for result in results]
        _finish_pages(temporary, name, rows, limits)
    return rows


def _read_results(results: Any) -> list[dict[str, Any]]:
    """One row per expectation of a validation."""
    return [
        {
            "expectation": result.expectation_config.type,
            "column": result.expectation_config.kwargs.get("column", ""),
            "success": bool(result.success),
            "observed": _observed(result.result),
        }
        for result in results
    ]


def _say_limits(arguments: Mapping[str, Any]) -> str:
    """What an expectation asks for, "" where it has no numbers."""
    words = {"min_value": "at least", "max_value": "at most", "mostly": "for a part of"}
    told = [f"{word} {arguments[key]:.3g}" for key, word in words.items() if arguments.get(key) is not None]
    return ", ".join(told)


def _finish_pages(docs: Path, name: str, rows: Sequence[Mapping[str, Any]], limits: Sequence[str]) -> None:
    """Make every page readable offline; the index lists the outcomes and links the others."""
    links = {}
    for title, pattern in (("results", "validations/**/*.html"), ("expectations", "expectations/*.html")):
        for page in sorted(docs.glob(pattern)):
            page.write_text(make_offline(page.read_text(encoding="utf-8")), encoding="utf-8")
            links[f"{title}: {page.stem}"] = page.relative_to(docs).as_posix()
    (docs / "index.html").write_text(make_index(name, rows, limits, links), encoding="utf-8")


def _observed(result: Mapping[str, Any]) -> float:
    """The value an expectation looked at, rounded so that the file stays the same on every machine."""
    if "observed_value" in result:
        return round(float(result["observed_value"]), 6)
    return round(1 - float(result["unexpected_percent"] or 0) / 100, 6)

"""Expectations on a dataset as a whole. Enters: a canonical table. Leaves: what held, and Great Expectations' pages.

The schemas stop bad data; an expectation that does not hold is told and goes on: it may be the animal, not the file.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.files import atomic_folder
from ..core.types import MODALITIES, UNLABELLED, UnitTable

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when great_expectations is imported

EXPECTATIONS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
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
"""Expectation, column ("" = the table), arguments. Columns that a dataset lacks, or has no value of, are left out."""


def make_unit_health(table: UnitTable) -> pd.DataFrame:
    """Return one row per unit: its metadata, the modalities it has (0 or 1), and the share of its class.

    ``class_share`` is the part of the labelled units that carry the unit's label, NaN where it has none.
    """
    labelled = table.labels != UNLABELLED
    share = pd.Series(table.labels).map(pd.Series(table.labels[labelled]).value_counts(normalize=True))
    present = {f"has_{name}": np.isfinite(getattr(table, name)).all(axis=1).astype(float) for name in MODALITIES}
    return table.metadata.assign(
        **present,
        passes_qc=table.metadata["passes_qc"].astype(float),
        is_labelled=labelled.astype(float),
        class_share=share.to_numpy(dtype=float),
    )


def check_expectations(units: pd.DataFrame, docs: Path, name: str) -> list[dict[str, Any]]:
    """Check ``EXPECTATIONS`` and write the pages of Great Expectations.

    Parameters
    ----------
    units : result of ``make_unit_health``
    docs : folder of the pages, replaced; opens at ``index.html``
    name : dataset, shown in the pages

    Returns
    -------
    One row per expectation: ``expectation, column, success, observed``. ``observed`` is the
    value asked about, or for rules on single values the part of the values that keep the rule.
    """
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    known = [row for row in EXPECTATIONS if not row[1] or (row[1] in units and units[row[1]].notna().any())]
    rules = [getattr(gxe, kind)(**({"column": column} if column else {}), **rest) for kind, column, rest in known]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("units").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=rules))
    definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
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
        checkpoint = gx.Checkpoint(name=name, validation_definitions=definitions, actions=[pages])
        run = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": units})
    results: Any = next(iter(run.run_results.values())).results
    return [
        {
            "expectation": result.expectation_config.type,
            "column": result.expectation_config.kwargs.get("column", ""),
            "success": bool(result.success),
            "observed": _observed(result.result),
        }
        for result in results
    ]


def _observed(result: Mapping[str, Any]) -> float:
    """The value an expectation looked at, rounded so that the file stays the same on every machine."""
    if "observed_value" in result:
        return round(float(result["observed_value"]), 6)
    return round(1 - float(result["unexpected_percent"] or 0) / 100, 6)

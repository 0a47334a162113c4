"""Dataset-level expectations: what holds, what does not, and the pages."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.types import UnitTable
from spikeprint.validate.suites import check_expectations, make_unit_health


def outcome(table: UnitTable, docs: Path, expectation: str, column: str) -> tuple[bool, float]:
    """Success and observed value of one expectation."""
    rows = check_expectations(make_unit_health(table), docs, "toy")
    (row,) = [row for row in rows if (row["expectation"], row["column"]) == (expectation, column)]
    return row["success"], row["observed"]


def test_a_good_dataset_meets_every_expectation(table: UnitTable, tmp_path: Path) -> None:
    rows = check_expectations(make_unit_health(table), tmp_path / "docs", "toy")
    assert all(row["success"] for row in rows)
    assert {"firing_rate_hz", "trough_to_peak_ms", "has_acg", "class_share", "unit_id"} <= {
        row["column"] for row in rows
    }


def test_twice_gives_the_same_rows_and_one_set_of_pages(table: UnitTable, tmp_path: Path) -> None:
    units, docs = make_unit_health(table), tmp_path / "docs"
    assert check_expectations(units, docs, "toy") == check_expectations(units, docs, "toy")
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]
    assert len(list(docs.glob("validations/**/*.html"))) == 1


def test_the_pages_open_at_the_index(table: UnitTable, tmp_path: Path) -> None:
    check_expectations(make_unit_health(table), tmp_path / "docs", "toy")
    index = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    links = {str(page.relative_to(tmp_path / "docs")) for page in (tmp_path / "docs").glob("validations/**/*.html")}
    assert all(link in index for link in links)


def test_the_pages_need_no_network(table: UnitTable, tmp_path: Path) -> None:
    check_expectations(make_unit_health(table), tmp_path / "docs", "toy")
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "docs").rglob("*.html")]
    assert len(pages) == 3
    assert not any("<script" in page or 'src="http' in page or '<link rel="stylesheet"' in page for page in pages)
    assert all("<style>" in page for page in pages)


def test_the_index_shows_outcomes_with_their_limits(table: UnitTable, tmp_path: Path) -> None:
    table.acg[: len(table.acg) * 2 // 3] = np.nan
    check_expectations(make_unit_health(table), tmp_path / "docs", "toy")
    index = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "11 of 12 expectations hold" in index
    assert '<td>has_acg</td><td>column mean</td><td>at least 0.5</td><td>0.333333</td><td class="no">' in index
    assert "at least 0.05, at most 1.5, for a part of 0.95" in index


def test_any_table_and_expectations_and_the_rows_at_fault_by_name(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": ["left", "right"], "distance": [0.1, 0.9], "empty": [np.nan, np.nan]})
    wanted = [
        ("ExpectColumnValuesToBeBetween", "distance", {"max_value": 0.5}),
        ("ExpectColumnValuesToBeBetween", "empty", {"max_value": 0.5}),
        ("ExpectColumnValuesToBeBetween", "absent", {"max_value": 0.5}),
    ]
    rows = check_expectations(frame, tmp_path / "docs", "between", wanted, row_name="who")
    assert [(row["column"], row["success"], row["observed"]) for row in rows] == [("distance", False, 0.5)]
    (page,) = (tmp_path / "docs").glob("validations/**/*.html")
    text = page.read_text(encoding="utf-8").replace(" ", "").replace("\n", "")
    assert ">right<" in text
    assert ">left<" not in text


def test_missing_modality_is_told(table: UnitTable, tmp_path: Path) -> None:
    table.acg[: len(table.acg) * 2 // 3] = np.nan
    success, observed = outcome(table, tmp_path / "docs", "expect_column_mean_to_be_between", "has_acg")
    assert (success, observed) == (False, pytest.approx(1 / 3, abs=1e-6))


def test_impossible_rate_is_told_with_the_part_that_holds(table: UnitTable, tmp_path: Path) -> None:
    table.metadata.loc[:2, "firing_rate_hz"] = 5000.0
    success, observed = outcome(table, tmp_path / "docs", "expect_column_values_to_be_between", "firing_rate_hz")
    assert (success, observed) == (False, 0.9)


def test_one_class_that_drowns_the_others_is_told(table: UnitTable, tmp_path: Path) -> None:
    table.labels[:] = "PV"
    table.labels[:3] = "SOM"
    assert outcome(table, tmp_path / "docs", "expect_column_max_to_be_between", "class_share") == (False, 0.9)


def test_columns_without_values_are_left_out(table: UnitTable, tmp_path: Path) -> None:
    table.metadata["trough_to_peak_ms"] = np.nan
    table.labels[:] = ""
    rows = check_expectations(make_unit_health(table), tmp_path / "docs", "toy")
    assert not {"trough_to_peak_ms", "class_share"} & {row["column"] for row in rows}


def test_class_share_is_among_labelled_units(table: UnitTable) -> None:
    units = make_unit_health(table)
    assert units["class_share"].dropna().unique().tolist() == [0.5]
    assert units["class_share"].isna().sum() == 10

"""docs/features.md is what the tables of the features say."""

from pathlib import Path

import pytest

from spikeprint.features.assemble import QC_RULES
from spikeprint.features.scalars import SCALARS
from spikeprint.report.features_page import render_features_page, write_features_page

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_up_to_date() -> None:
    found = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert found == render_features_page(), "run: python -m spikeprint.report.features_page"


def test_every_scalar_is_a_line_with_its_unit_and_meaning() -> None:
    lines = render_features_page().splitlines()
    for name, scalar in SCALARS.items():
        line = next(line for line in lines if line.startswith(f"| `{name}` |"))
        assert f"| {scalar.unit} | {scalar.description} |" in line


@pytest.mark.parametrize("reason", [*QC_RULES, "no_features"])
def test_every_rule_is_listed(reason: str) -> None:
    assert f"\n| `{reason}` | " in render_features_page().split("## Quality control")[1]


def test_tables_have_as_many_cells_as_their_header() -> None:
    for block in render_features_page().split("\n\n"):
        if block.startswith("| "):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1, block


def test_the_page_is_written(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    write_features_page(tmp_path)
    assert (tmp_path / "docs" / "features.md").read_text(encoding="utf-8").startswith("# Features\n")

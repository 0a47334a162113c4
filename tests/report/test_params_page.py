"""docs/params.md is what the models and params.yaml say."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from spikeprint.report.params_page import describe_type, render_params_page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def values() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def test_page_is_up_to_date(values: dict) -> None:
    found = (ROOT / "docs" / "params.md").read_text(encoding="utf-8")
    assert found == render_params_page(values), "run: python -m spikeprint.report.params_page"


@pytest.mark.parametrize("section", ["features", "model", "evaluate", "register", "gates"])
def test_every_key_of_a_section_is_listed(values: dict, section: str) -> None:
    table = render_params_page(values).split(f"## `{section}`")[1].split("\n## ")[0]
    assert [key for key in values[section] if f"| `{key}` |" not in table] == []


def test_rows_of_users_do_not_change_the_page(values: dict) -> None:
    row = {"folder": "x", "technology": "tetrode", "species": "rat", "format": "csv"}
    more = {**values, "datasets": {**values["datasets"], "mine": row}, "ablations": {"mine": {}}}
    assert render_params_page(more) == render_params_page(values)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[float, Field(gt=0, le=5)], ("number", "> 0, ≤ 5")),
        (Annotated[int, Field(ge=1_000)] | None, ("whole number or null", "≥ 1,000")),
        (list[Literal["a", "b"]], ("list of `a`, `b`", "")),
        (dict[str, str], ("mapping", "")),
    ],
)
def test_types_and_ranges_are_in_words(annotation: object, words: tuple[str, str]) -> None:
    assert describe_type(annotation) == words

"""Rows of params.yaml: only their own lines change."""

from pathlib import Path

import pytest
import yaml

from spikeprint.core.errors import ConfigError
from spikeprint.io.rows import drop_row, insert_row

ROW = {"technology": "mea", "species": "mouse", "format": "csv"}
TEXTS = {
    "next section": "# top\ndatasets:\n  a: {x: 1}  # first\n  # about b\n  b: {x: 2}\n\n# model\nmodel:\n  n: 1\n",
    "end of file": "model: {n: 1}\ndatasets:\n    a: {x: 1}\n    b: {x: 2}",
    "blocks": "datasets:\n  a:\n    x: 1\n\n  b:\n    x: 2\n    y: [1,\n      2]\n# tail\n\nmodel: 3\n",
    "crlf": "datasets:\r\n  a: {x: 1}\r\n  b: {x: 2}\r\nmodel: 3\r\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_row_goes_behind_the_last(text: str) -> None:
    rows = yaml.safe_load(insert_row(text, "new", ROW))["datasets"]
    assert list(rows) == ["a", "b", "new"]
    assert rows["new"] == ROW


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_other_line_stays(text: str) -> None:
    line = "new: {technology: mea, species: mouse, format: csv}"
    rest = [old for old in insert_row(text, "new", ROW).splitlines() if old.strip() != line]
    assert rest == text.splitlines()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_adding_and_dropping_gives_back_the_bytes(text: str) -> None:
    back = drop_row(insert_row(text, "new", ROW), "new")
    assert back.rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_row_can_be_dropped(text: str, name: str) -> None:
    dropped = drop_row(text, name)
    assert list(yaml.safe_load(dropped)["datasets"]) == [{"a": "b", "b": "a"}[name]]
    assert dropped.count("#") == text.count("#") - (name == "a" and "# first" in text)


def test_text_is_quoted_where_yaml_needs_it() -> None:
    row = {"species": "no", "label_column": "cell: type, #2"}
    assert yaml.safe_load(insert_row(TEXTS["next section"], "new", row))["datasets"]["new"] == row


def test_rows_on_one_line_are_refused() -> None:
    with pytest.raises(ConfigError, match="one row per line"):
        insert_row("datasets: {a: {x: 1}}\nmodel: 1\n", "new", ROW)


def test_the_projects_own_file(root: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    assert drop_row(insert_row(text, "zz_new", ROW), "zz_new") == text


EMPTY = "a: 1\nrecordings: {}  # none yet\ndatasets:\n  d: {x: 1}\n"


def test_the_first_row_of_an_empty_section_and_back() -> None:
    text = insert_row(EMPTY, "r", {"format": "binary"}, "recordings")
    assert yaml.safe_load(text)["recordings"] == {"r": {"format": "binary"}}
    assert drop_row(text, "r", "recordings") == EMPTY


def test_the_last_row_leaves_an_empty_section() -> None:
    text = "recordings:\n  r: {format: binary}\n\nb: 1\n"
    assert drop_row(text, "r", "recordings") == "recordings: {}\n\nb: 1\n"


def test_the_row_of_hybrid_goes_with_its_recording(root: Path) -> None:
    text = (root / "params.yaml").read_text()
    after = drop_row(drop_row(text, "toy_hybrid", "hybrid"), "toy_recording", "recordings")
    assert yaml.safe_load(after)["hybrid"] == yaml.safe_load(after)["recordings"] == {}

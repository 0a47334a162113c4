"""Dataset rows of a parameter file. Enters: the text of ``params.yaml``. Leaves: the text with one row more or fewer.

Only the lines of the row change: comments, order, spacing and the style of every other line stay as the user wrote
them, which no YAML writer promises. Adding and dropping a row gives back the same bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from ..core.errors import ConfigError


def insert_row(text: str, name: str, row: Mapping[str, Any]) -> str:
    """Return ``text`` with ``name: {...}`` as the last row under ``datasets``.

    Raises
    ------
    ConfigError
        ``datasets`` is not written as one row per line.
    """
    spans, indent = _find_rows(text)
    lines = text.splitlines(keepends=True)
    end = max(stop for _, stop in spans.values())
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    value = yaml.safe_dump(dict(row), default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    lines.insert(end, f"{' ' * indent}{name}: {value.strip()}\n")
    return _checked(text, "".join(lines), lambda rows: rows.update({name: dict(row)}))


def drop_row(text: str, name: str) -> str:
    """Return ``text`` without the row ``name`` under ``datasets``.

    Raises
    ------
    ConfigError
        ``datasets`` is not written as one row per line.
    """
    start, end = _find_rows(text)[0][name]
    lines = text.splitlines(keepends=True)
    return _checked(text, "".join(lines[:start] + lines[end:]), lambda rows: rows.pop(name))


def _find_rows(text: str) -> tuple[dict[str, tuple[int, int]], int]:
    """First line and line after the last of each row, and the column where their names start."""
    lines = text.splitlines()
    section = next(value for key, value in yaml.compose(text).value if key.value == "datasets")
    starts = [key.start_mark.line for key, _ in section.value]
    spans = {}
    for (key, value), limit in zip(section.value, [*starts[1:], len(lines)], strict=True):
        # the mark after a block stands at the next word; blank lines and comments before that are not the row's
        end = min(value.end_mark.line + (value.end_mark.column > 0), limit)
        while end > key.start_mark.line + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        spans[key.value] = (key.start_mark.line, end)
    return spans, section.value[0][0].start_mark.column


def _checked(old: str, new: str, change: Callable[[dict[str, Any]], Any]) -> str:
    """``new``, if it says what ``old`` says but for the ``change`` of its datasets."""
    wanted = yaml.safe_load(old)
    change(wanted["datasets"])
    try:
        found = yaml.safe_load(new)
    except yaml.YAMLError:
        found = None
    if found != wanted:
        raise ConfigError("params.yaml: 'datasets' is not written as one row per line; write it so, or edit it by hand")
    return new

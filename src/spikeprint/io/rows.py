"""Rows of a parameter file. Enters: the text of ``params.yaml``. Leaves: the text with one row more or fewer.

Only the lines of the row change: comments, order, spacing and the style of every other line stay as the user wrote
them, which no YAML writer promises. Adding and dropping a row gives back the same bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from ..core.errors import ConfigError


def insert_row(text: str, name: str, row: Mapping[str, Any], section: str = "datasets") -> str:
    """Return ``text`` with ``name: {...}`` as the last row under ``section``.

    Raises
    ------
    ConfigError
        The section is not written as one row per line.
    """
    key, spans, indent = _find_rows(text, section)
    lines = text.splitlines(keepends=True)
    end = max((stop for _, stop in spans.values()), default=key + 1)
    if not spans:
        lines[key] = lines[key].replace(EMPTY, "", 1)
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    value = yaml.safe_dump(dict(row), default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    lines.insert(end, f"{' ' * indent}{name}: {value.strip()}\n")
    return _checked(text, "".join(lines), section, lambda rows: rows.update({name: dict(row)}))


def drop_row(text: str, name: str, section: str = "datasets") -> str:
    """Return ``text`` without the row ``name`` under ``section``; an empty section is written ``{}``.

    Raises
    ------
    ConfigError
        The section is not written as one row per line.
    """
    key, spans, _ = _find_rows(text, section)
    start, end = spans[name]
    lines = text.splitlines(keepends=True)
    if len(spans) == 1:
        lines[key] = lines[key].replace(":", f":{EMPTY}", 1)
    return _checked(text, "".join(lines[:start] + lines[end:]), section, lambda rows: rows.pop(name))


EMPTY = " {}"
"""What stands behind the name of a section without rows."""
INDENT = 2


def _find_rows(text: str, section: str) -> tuple[int, dict[str, tuple[int, int]], int]:
    """Line of the section's name; first line of each row and the line after its last; the column where names start."""
    lines = text.splitlines()
    key, value = next((key, value) for key, value in yaml.compose(text).value if key.value == section)
    starts = [name.start_mark.line for name, _ in value.value]
    spans = {}
    for (name, row), limit in zip(value.value, [*starts[1:], len(lines)], strict=False):
        # the mark after a block stands at the next word; blank lines and comments before that are not the row's
        end = min(row.end_mark.line + (row.end_mark.column > 0), limit)
        while end > name.start_mark.line + 1 and (
            not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")
        ):
            end -= 1
        spans[name.value] = (name.start_mark.line, end)
    return key.start_mark.line, spans, value.value[0][0].start_mark.column if value.value else INDENT


def _checked(old: str, new: str, section: str, change: Callable[[dict[str, Any]], Any]) -> str:
    """``new``, if it says what ``old`` says but for the ``change`` of its section."""
    wanted = yaml.safe_load(old)
    change(wanted[section])
    try:
        found = yaml.safe_load(new)
    except yaml.YAMLError:
        found = None
    if found != wanted:
        raise ConfigError(
            f"params.yaml: '{section}' is not written as one row per line; write it so, or edit it by hand"
        )
    return new

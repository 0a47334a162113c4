"""The reference page of ``params.yaml``. Enters: the parameter models, the shipped values. Leaves: ``docs/params.md``.

``python -m spikeprint.report.params_page`` writes the page anew.
"""

import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union

import yaml
from pydantic.fields import FieldInfo

from ..core.config import Params, Section
from ..core.files import find_root, write_text

INTRO = """\
# Parameters

`params.yaml` is the only configuration file. It is checked before anything runs: unknown keys and values out of range
are refused, with the nearest known key. Changing a value makes exactly those stages stale that read it.

`<name>` stands for the rows of a section: sessions, datasets; keys that a row may leave out show their default. A row
under `ablations` holds the keys of `model` that it changes and a `description`; all other values are those of
`model`. A new row needs no code.

This page is made from the models in `src/spikeprint/core/config.py` and the values in `params.yaml` by
`python -m spikeprint.report.params_page`; edit those, not the page.
"""
COLUMNS = ("key", "type", "range", "value", "meaning")
NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "value"}
BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}


def render_params_page(values: Mapping[str, Any]) -> str:
    """Return the page: a table per section, in it a line per key with its type, range, value and meaning.

    Parameters
    ----------
    values : content of ``params.yaml``
    """
    parts = [INTRO]
    for path, model, found in _walk("", Params, values):
        rows = [_row(name, field, found) for name, field in _fields(model) if _row_model(field) is None]
        title = f"## `{path.rstrip('.')}`" if path else "## Top level"
        about = " ".join((model.__doc__ or "").replace("``", "`").split()) if path else ""
        table = "\n".join("| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows))
        parts += [title, about, table] if rows else []
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def write_params_page(root: Path) -> None:
    """Write ``docs/params.md`` of the project at ``root``."""
    values = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    write_text(root / "docs" / "params.md", render_params_page(values))


def _walk(path: str, model: type[Section], values: Mapping[str, Any]) -> Iterator[tuple[str, type[Section], Mapping]]:
    """Yield every section with its path and values. The values of rows are the user's own: they are left out."""
    yield path, model, values
    for name, field in _fields(model):
        below = _row_model(field)
        if below is not None:
            is_section = typing.get_origin(field.annotation) is not dict
            inner = values.get(name) or {} if is_section else {}
            yield from _walk(f"{path}{name}." if is_section else f"{path}{name}.<name>.", below, inner)


def _fields(model: type[Section]) -> list[tuple[str, FieldInfo]]:
    """Names as written in params.yaml, with their fields."""
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _row_model(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds, alone or once per name; None for a plain value."""
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _row(name: str, field: FieldInfo, values: Mapping[str, Any]) -> list[str]:
    """One line of a table; rows inside a section are the user's own and shown as no value."""
    kind, limits = describe_type(field.annotation, field.metadata)
    if name not in values and not field.is_required():
        values = {**values, name: field.get_default(call_default_factory=True)}
    is_value = name in values and kind != "rows"
    value = list(values[name]) if is_value and isinstance(values[name], tuple) else values.get(name)
    return [f"`{name}`", kind, limits, f"`{_flow(value)}`" if is_value else "", field.description or ""]


def describe_type(annotation: Any, metadata: Iterable[Any] = ()) -> tuple[str, str]:
    """Return what a value is and its limits, both in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner = [item for note in arguments[1:] for item in getattr(note, "metadata", [note])]
        return describe_type(arguments[0], [*inner, *metadata])
    limits = ", ".join(
        text.format(f"{getattr(note, key):,}")
        for note in metadata
        for key, text in BOUNDS.items()
        if hasattr(note, key)
    )
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments), limits
    described = [describe_type(argument) for argument in arguments]
    kinds, inner_limits = [kind for kind, _ in described], ", ".join(text for _, text in described if text)
    limits = ", ".join(filter(None, (limits, inner_limits)))
    if origin in (Union, UnionType):
        return " or ".join(kinds), limits
    if origin is list:
        return f"list of {kinds[0]}", limits
    if origin is tuple:
        return f"{len(kinds)} of {kinds[0]}", limits
    if origin is dict:
        return "rows" if kinds[1] == "mapping" else "mapping", limits
    return NAMES[annotation], limits


def _flow(value: Any) -> str:
    """Return a value as params.yaml writes it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


if __name__ == "__main__":
    write_params_page(find_root())

"""Whether one served model can stand in for another. Enters: two MLflow signatures. Leaves: what would break."""

from collections.abc import Mapping
from typing import Any

from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, Schema


def find_incompatible(old: ModelSignature, new: ModelSignature) -> list[str]:
    """Say what a client of ``old`` would run into with ``new``; empty when nothing.

    What was accepted must be accepted with the same type and shape, nothing new may be required, and what was answered
    must still be answered.
    """
    before, after = _columns(old.inputs), _columns(new.inputs)
    problems = [f"input '{name}' is gone" for name in before.keys() - after.keys()]
    problems += [f"input '{name}' is now needed" for name in after.keys() - before.keys() if _is_required(after[name])]
    for name in before.keys() & after.keys():
        if _type(before[name]) != _type(after[name]):
            problems.append(f"input '{name}' was {_type(before[name])}, is {_type(after[name])}")
        elif _is_required(after[name]) and not _is_required(before[name]):
            problems.append(f"input '{name}' may no longer be left out")
    told, tells = _params(old.params), _params(new.params)
    problems += [f"parameter '{name}' is gone" for name in told.keys() - tells.keys()]
    problems += [
        f"parameter '{name}' was {told[name]}, is {tells[name]}"
        for name in told.keys() & tells.keys()
        if told[name] != tells[name]
    ]
    answered, answers = _columns(old.outputs), _columns(new.outputs)
    problems += [f"answer '{name}' is gone" for name in answered.keys() - answers.keys()]
    return sorted(problems)


def _columns(schema: Schema | None) -> dict[str, dict[str, Any]]:
    return {str(item.get("name", i)): item for i, item in enumerate(schema.to_dict())} if schema else {}


def _params(schema: ParamSchema | None) -> dict[str, Any]:
    return {item["name"]: item["type"] for item in schema.to_dict()} if schema else {}


def _type(column: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in column.items() if key not in ("name", "required")}


def _is_required(column: Mapping[str, Any]) -> bool:
    return bool(column.get("required", True))

"""A model as a folder that answers alike everywhere. Enters: config and arrays. Leaves: a bundle, or its predictor.

``weights.safetensors`` (arrays), ``bundle.json`` (config and SHA-256 of the other files), ``code/`` (the predictor and
what it imports), ``loader.py`` (opens the folder). Nothing is pickled, nothing needs the installed package.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.errors import DataError, IncompatibleBundle, ModelError
from ..core.files import atomic_folder, read_json, write_arrays, write_json, write_text
from .loader import load_predictor

SCHEMA_VERSION = 1
"""Raised whenever the layout of the folder changes; bundles of another number are refused."""

ENTRY = "cvae/predictor.py"
LOADER = "registry/loader.py"
PACKAGE = Path(__file__).resolve().parents[1]


def write_bundle(folder: Path, config: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a bundle atomically; an older one in the same place is replaced as a whole.

    Parameters
    ----------
    folder : where; files added later (the folds of training) are not part of the digests
    config, arrays : what ``cvae.predictor.Predictor`` takes; ``config`` must be JSON values

    Raises
    ------
    ModelError
        The predictor imports something that cannot be copied along.
    """
    with atomic_folder(folder) as temporary:
        write_arrays(temporary / "weights.safetensors", arrays)
        for module in import_closure(ENTRY):
            target = temporary / "code" / module
            for parent in target.relative_to(temporary).parents[:-1]:
                write_text(temporary / parent / "__init__.py", "")
            write_text(target, (PACKAGE / module).read_text(encoding="utf-8"))
        write_text(temporary / "loader.py", (PACKAGE / LOADER).read_text(encoding="utf-8"))
        files = {path.relative_to(temporary).as_posix(): _sha256(path) for path in _covered(temporary)}
        card = {"schema_version": SCHEMA_VERSION, "spikeprint_version": __version__, "model": config}
        write_json(temporary / "bundle.json", {**card, "files": files})


def open_bundle(folder: Path) -> Any:
    """Verify a bundle and return its ``Predictor``, built by the bundle's own code.

    Raises
    ------
    IncompatibleBundle
        The folder is no bundle, is of another schema version, was changed since it was written, or needs other
        versions of numpy or torch.
    """
    folder = Path(folder)
    card = _read_card(folder)
    recorded, found = card["files"], {p.relative_to(folder).as_posix(): _sha256(p) for p in _covered(folder)}
    for name in sorted(recorded.keys() | found.keys()):
        if recorded.get(name) != found.get(name):
            state = "missing" if name not in found else "not part of it" if name not in recorded else "changed"
            raise IncompatibleBundle(f"{folder / name}: {state} since the bundle was written; fetch or train it again")
    try:
        return load_predictor(folder)
    except (ImportError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise IncompatibleBundle(
            f"{folder}: written by spikeprint {card['spikeprint_version']}, does not load here ({reason})"
        ) from error


def bundle_digest(folder: Path) -> str:
    """Return the SHA-256 of ``bundle.json``, which names the SHA-256 of every other file: equal digest, equal model."""
    _read_card(Path(folder))
    return _sha256(Path(folder) / "bundle.json")


def import_closure(entry: str) -> list[str]:
    """Return the modules that ``entry`` needs inside the package, itself included, as sorted relative paths.

    Parameters
    ----------
    entry : path of a module relative to the package, e.g. ``cvae/predictor.py``

    Raises
    ------
    ModelError
        A relative import does not lead to a module: bundles leave the content of ``__init__.py`` behind.
    """
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(_imported(module))
    return sorted(found)


def _imported(module: str) -> Iterator[str]:
    """Yield the modules behind the relative imports of one module."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = Path(module).parents[node.level - 1].joinpath(*(node.module or "").split("."))
            if (PACKAGE / base).with_suffix(".py").is_file():
                yield base.with_suffix(".py").as_posix()
                continue
            for alias in node.names:
                if not (PACKAGE / base / f"{alias.name}.py").is_file():
                    raise ModelError(f"{module}, line {node.lineno}: '{alias.name}' is no module of {base.as_posix()}")
                yield (base / f"{alias.name}.py").as_posix()


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        card = read_json(folder / "bundle.json")
    except DataError as error:
        raise IncompatibleBundle(f"{error}; {folder} is not a model bundle") from None
    if not isinstance(card, dict) or card.get("schema_version") != SCHEMA_VERSION:
        found = card.get("schema_version") if isinstance(card, dict) else type(card).__name__
        raise IncompatibleBundle(
            f"{folder}: bundle schema {found} found, {SCHEMA_VERSION} needed; train again or install its version"
        )
    if absent := [key for key in ("spikeprint_version", "model", "files") if key not in card]:
        raise IncompatibleBundle(f"{folder / 'bundle.json'}: key '{absent[0]}' is missing; fetch or train it again")
    return card


def _covered(folder: Path) -> list[Path]:
    """Files that decide what the model answers and are present."""
    code = (path for path in (folder / "code").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path for path in (folder / "weights.safetensors", folder / "loader.py", *sorted(code)) if path.is_file()]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

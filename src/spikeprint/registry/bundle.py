"""A model as a folder that answers alike everywhere. Enters: config and arrays. Leaves: a bundle, or its predictor.

``weights.safetensors`` (arrays), ``bundle.json`` (config, parameters, size and SHA-256 of the other files), ``code/``
(the predictor and what it imports), ``loader.py`` (opens the folder). Nothing is pickled, nothing needs the installed
package.
"""

import ast
import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.errors import DataError, IncompatibleBundle, ModelError
from ..core.files import atomic_folder, read_arrays, read_json, write_arrays, write_json, write_text
from .loader import load_predictor

LOGGER = logging.getLogger(__name__)

SCHEMA_VERSION = 4
"""Raised whenever the layout of the folder or the network changes; bundles of another number are refused."""

WEIGHTS = "weights.safetensors"
TRAINING_ONLY = "held."
"""Arrays of this prefix describe training units: reports need them, serving does not."""

ENTRY = "cvae/predictor.py"
LOADER = "registry/loader.py"
PACKAGE = Path(__file__).resolve().parents[1]


def write_bundle(
    folder: Path, config: dict[str, Any], arrays: Mapping[str, np.ndarray], params: dict[str, Any] | None = None
) -> None:
    """Write a bundle atomically; an older one in the same place is replaced as a whole.

    Parameters
    ----------
    folder : where; files added later (the folds of training) are not part of the digests
    config, arrays : what ``cvae.predictor.Predictor`` takes; ``config`` must be JSON values
    params : values of ``core.model_params.ModelParams`` that the model was trained with, kept for whoever trains again

    Raises
    ------
    ModelError
        The predictor imports something that cannot be copied along.
    """
    with atomic_folder(folder) as temporary:
        write_arrays(temporary / WEIGHTS, {k: v for k, v in arrays.items() if not k.startswith(TRAINING_ONLY)})
        for module in import_closure(ENTRY):
            target = temporary / "code" / module
            for parent in target.relative_to(temporary).parents[:-1]:
                write_text(temporary / parent / "__init__.py", "")
            write_text(target, (PACKAGE / module).read_text(encoding="utf-8"))
        write_text(temporary / "loader.py", (PACKAGE / LOADER).read_text(encoding="utf-8"))
        files = {path.relative_to(temporary).as_posix(): _identify(path) for path in _covered(temporary)}
        card = {"schema_version": SCHEMA_VERSION, "spikeprint_version": __version__, "model": config, "params": params}
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
    card = check_bundle(folder)
    try:
        return load_predictor(folder)
    except (ImportError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise IncompatibleBundle(
            f"{folder}: written by spikeprint {card['spikeprint_version']}, does not load here ({reason})"
        ) from error


def check_bundle(folder: Path) -> dict[str, Any]:
    """Return the card of a bundle, all of whose files are as they were written.

    Raises
    ------
    IncompatibleBundle
        The folder is no bundle, is of another schema version, or was changed since it was written.
    """
    card = read_card(folder)
    recorded, found = card["files"], {p.relative_to(folder).as_posix(): _identify(p) for p in _covered(folder)}
    for name in sorted(recorded.keys() | found.keys()):
        if recorded.get(name) != found.get(name):
            state = "missing" if name not in found else "not part of it" if name not in recorded else "changed"
            raise IncompatibleBundle(f"{folder / name}: {state} since the bundle was written; fetch or train it again")
    return card


def read_bundle(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return card and arrays of a bundle from anywhere: only ``bundle.json`` and the weights are read, nothing runs.

    The installed ``Predictor`` takes ``card["model"]`` and the arrays. Where the bundle was written with other code its
    answers may differ from those of ``open_bundle``: a warning tells so.

    Raises
    ------
    IncompatibleBundle
        The folder is no bundle, is of another schema version, its weights were changed since it was written, or are not
        those of the installed network.
    """
    folder = Path(folder)
    card = read_card(folder)
    weights = folder / WEIGHTS
    if not weights.is_file() or _identify(weights) != card["files"].get(WEIGHTS):
        state = "changed" if weights.is_file() else "missing"
        raise IncompatibleBundle(f"{weights}: {state} since the bundle was written; fetch or train it again")
    try:
        arrays = read_arrays(weights)
        _check_shapes(card["model"], arrays)
    except (DataError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise IncompatibleBundle(f"{folder}: not a model of the installed network ({reason}); train again") from error
    other = [module for module in import_closure(ENTRY) if not _is_same(module, card["files"])]
    if other:
        LOGGER.warning("%s: written with another %s; answers may differ a little", folder, ", ".join(other))
    return card, arrays


def _check_shapes(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless the weights are those that ``config`` describes, before any memory is taken for them."""
    import torch

    from ..cvae.networks import CVAENetwork, NetworkShape

    with torch.device("meta"):
        needed = {
            f"network.{k}": tuple(v.shape) for k, v in CVAENetwork(NetworkShape(**config["shape"])).state_dict().items()
        }
    found = {name: x.shape for name, x in arrays.items() if name.startswith("network.")}
    if wrong := sorted(name for name in needed.keys() | found.keys() if needed.get(name) != found.get(name)):
        raise ValueError(f"{wrong[0]} is {found.get(wrong[0])}, {needed.get(wrong[0])} is needed")


def _is_same(module: str, files: Mapping[str, Any]) -> bool:
    """Whether the installed module is the one that the bundle was written with."""
    return files.get(f"code/{module}") == _identify(PACKAGE / module)


def bundle_digest(folder: Path) -> str:
    """Return the SHA-256 of ``bundle.json``, which names the SHA-256 of every other file: equal digest, equal model."""
    read_card(Path(folder))
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


def read_card(folder: Path) -> dict[str, Any]:
    """Return the content of ``bundle.json``.

    Raises
    ------
    IncompatibleBundle
        There is none, it is of another schema version, or lacks something.
    """
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
    if not (isinstance(card["model"], dict) and isinstance(card["files"], dict)):
        raise IncompatibleBundle(f"{folder / 'bundle.json'}: 'model' and 'files' must be mappings; fetch it again")
    return card


def _covered(folder: Path) -> list[Path]:
    """Files that decide what the model answers and are present."""
    code = (path for path in (folder / "code").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path for path in (folder / WEIGHTS, folder / "loader.py", *sorted(code)) if path.is_file()]


def _identify(path: Path) -> dict[str, Any]:
    return {"sha256": _sha256(path), "n_bytes": path.stat().st_size}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

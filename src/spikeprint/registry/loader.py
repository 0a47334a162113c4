"""Open a model bundle with the code inside it. Enters: a bundle folder. Leaves: its predictor.

This file needs only the standard library and safetensors (the bundle's own code adds numpy and torch): every bundle
carries a copy, and whoever serves a bundle runs that copy without having spikeprint.
"""

import hashlib
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file


def load_predictor(folder: Path | str) -> Any:
    """Build the ``Predictor`` of a bundle.

    The bundle's ``code/`` is imported as a package whose name holds the digest of that code: bundles with the same code
    share it, bundles with different code never meet, whatever version of spikeprint is installed.

    Parameters
    ----------
    folder : holds ``bundle.json``, ``weights.safetensors`` and ``code/``

    Returns
    -------
    An instance of the bundle's own ``cvae.predictor.Predictor``

    Raises
    ------
    ValueError
        The weights are not those that the card names: a damaged number answers as readily as a right one.
    """
    folder = Path(folder).resolve()
    card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    weights = folder / "weights.safetensors"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != card["files"][weights.name]["sha256"]:
        raise ValueError(f"{weights.name}: changed since the bundle was written; fetch or train it again")
    package = _import_code(folder / "code")
    predictor = _import(f"{package}.cvae.predictor")
    return predictor.Predictor(card["model"], load_file(weights))


def _import_code(code: Path) -> str:
    """Make ``code`` importable under its own name and return that name."""
    digest = hashlib.sha256()
    for file in sorted(code.rglob("*.py")):
        digest.update(file.relative_to(code).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    name = f"spikeprint_bundle_{digest.hexdigest()[:32]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, code / "__init__.py", submodule_search_locations=[str(code)]
        )
        if spec is None:
            raise ImportError(f"{code}: not a package")
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return name


def _import(name: str) -> Any:
    """Import without leaving ``__pycache__`` in the bundle: its files are versioned and may be read-only."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(name)
    finally:
        sys.dont_write_bytecode = before

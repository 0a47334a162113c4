"""Show what this project stands on: versions, device, data, remotes, tracking store, and what is stale."""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ..core.errors import SpikeprintError
from ..core.files import find_root
from ..core.runtime import redact
from .add import quote_error
from .run import dvc, environment

PACKAGES = (
    "spikeprint",
    "dvc",
    "mlflow",
    "torch",
    "pytorch-lightning",
    "pandas",
    "numpy",
    "pandera",
    "great-expectations",
    "scikit-learn",
)
"""Packages whose versions are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; exit code 1 when the parameters cannot be used or a dataset is missing."""
    from ..registry.remote import tracking_uri

    root = find_root()
    found: dict[str, Any] = {
        "project": str(root),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": _device(),
        "tracking": tracking_uri(root),
        "remotes": _dvc_lines(root, "remote", "list"),
        "params": "ok",
        "data": {},
    }
    try:
        found["data"] = _data(root)
    except SpikeprintError as error:
        found["params"] = str(error)
    found["stale"] = _stale(root)
    print(redact(json.dumps(found, indent=2) if arguments.json else _text(found)))
    missing = [name for name, state in found["data"].items() if state == "missing"]
    return int(found["params"] != "ok" or bool(missing))


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return "mps" if torch.backends.mps.is_available() else f"cpu ({os.cpu_count()} cores)"


def _data(root: Path) -> dict[str, str]:
    """State of each dataset: canonical, raw, simulated on the next run, or missing."""
    from ..core.config import Params

    params = Params.load(root / "params.yaml")
    states = {}
    for name in params.datasets:
        if (root / "data" / "canonical" / name).is_dir():
            states[name] = "canonical"
        elif (root / "data" / "raw" / name).is_dir():
            states[name] = "raw"
        else:
            is_simulated = name in params.simulate.sessions or name in params.simulate.recordings
            states[name] = "simulated on the next run" if is_simulated else "missing"
    return states


def _stale(root: Path) -> list[str]:
    output = subprocess.run(dvc("status", "--json"), cwd=root, env=environment(), capture_output=True, text=True)
    if output.returncode:
        return [f"unknown: {quote_error(output.stderr) or 'dvc status failed'}"]
    return sorted(json.loads(output.stdout or "{}"))


def _dvc_lines(root: Path, *words: str) -> list[str]:
    output = subprocess.run(dvc(*words), cwd=root, env=environment(), capture_output=True, text=True)
    return [" ".join(line.split()) for line in output.stdout.splitlines() if line.strip()]


def _text(found: dict[str, Any]) -> str:
    rows = [
        ("project", found["project"]),
        ("python", found["python"]),
        *((name, version) for name, version in found["versions"].items()),
        ("device", found["device"]),
        ("tracking", found["tracking"]),
        ("remotes", "; ".join(found["remotes"]) or "none: `make remote` makes a local one"),
        ("params", found["params"]),
        *((f"data {name}", state) for name, state in found["data"].items()),
        ("stale", ", ".join(found["stale"]) or "nothing"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

"""What tests ask a project's registry, and how they change its parameters."""

import csv
from pathlib import Path
from typing import Any

import yaml

from spikeprint.registry.tracking import connect

NAME = "spikeprint-cvae"


def aliases(project: Path) -> dict[str, str]:
    """Alias -> version."""
    return {alias: str(n) for alias, n in connect(project).get_registered_model(NAME).aliases.items()}


def ledger(project: Path) -> list[dict[str, str]]:
    """The lines of the history that git keeps."""
    path = project / "reports" / "promotions.csv"
    return list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []


def edit_params(project: Path, section: str, **values: Any) -> None:
    """Change keys of one section of params.yaml."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params[section] |= values
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

"""Who logs a run, from which commit, in what environment. Enters: a project folder. Leaves: tags and versions."""

import getpass
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .remote import USERNAME

PACKAGES = ("spikeprint", "numpy", "pandas", "scipy", "numba", "scikit-learn", "torch", "pytorch-lightning", "mlflow")
"""Versions recorded with a run."""


def tell_origin(root: Path) -> dict[str, str]:
    """Tags that say who logged a run, of which commit."""
    commit = git_commit(root)
    return {
        "mlflow.user": user_name(),
        "mlflow.source.git.commit": commit.removesuffix("-dirty"),
        "git.commit": commit,
    }


def tell_environment() -> dict[str, Any]:
    """Python, platform and packages of the process that logs the run."""
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "platform": platform.platform(), "packages": packages}


def git_commit(root: Path) -> str:
    """Return the commit checked out in ``root``, with ``-dirty`` when code or parameters differ from it.

    What the pipeline writes itself (``dvc.lock``, ``reports/``) does not count. ``"unknown"`` without a repository.
    """
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", ".", ":(exclude)dvc.lock", ":(exclude)reports")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def user_name() -> str:
    """Return the name at the team's server, else at this machine, ``"unknown"`` where it has none (some containers)."""
    try:
        return os.environ.get(USERNAME) or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()

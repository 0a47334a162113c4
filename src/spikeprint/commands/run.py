"""Rebuild what is stale, then bring MLflow up to date.

Runs `dvc repro` (only what a change touches), `spikeprint sync` (runs in MLflow) and `spikeprint register` (a new model
version if the model changed; without labels there is nothing to register). With stages named, only those and what they
need are rebuilt and nothing is registered.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from ..core.errors import ModelError
from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("stages", nargs="*", help="stages to rebuild, e.g. train@production or evaluate (default: all)")
    parser.add_argument("--force", action="store_true", help="rebuild even what is up to date")


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline of the project around the current folder."""
    from ..core.config import Params

    started = time.perf_counter()
    root = find_root()
    Params.load(root / "params.yaml")  # a typo is told before anything runs
    options = [*(["--force"] if arguments.force else []), *(["--quiet"] if arguments.quiet else [])]
    code = subprocess.run(dvc("repro", *options, *arguments.stages), cwd=root, env=environment()).returncode
    if code:
        raise ModelError(
            f"dvc repro stopped with exit code {code}; the stage's own message is above. Mend it, run again"
        )
    from ..registry.register import NotRegistrable, register
    from ..registry.tracking import sync

    new = sync(root)
    print(f"MLflow: {len(new)} new run{'s' if len(new) != 1 else ''}; compare them with `make ui`")
    if not arguments.stages:
        try:
            print(register(root).describe())
        except NotRegistrable as reason:  # embeddings and report are what such data give: the run is whole
            print(f"not registered: {reason}")
        print(f"report: {root / 'reports' / 'summary.md'}")
    print(f"done in {time.perf_counter() - started:.0f} s")
    return 0


def dvc(*words: str) -> list[str]:
    """Return the command line that runs this environment's DVC."""
    return [sys.executable, "-m", "dvc", *words]


def environment() -> dict[str, str]:
    """Return the environment for stages: this Python first on the path, no usage reports."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}

"""Rebuild the MLflow runs from dvc.lock: one run per finished row. Runs that are there already stay."""

import argparse

from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none."""


def run(arguments: argparse.Namespace) -> int:
    """Print one line per new run."""
    from ..registry.remote import tracking_uri
    from ..registry.tracking import sync

    root = find_root()
    new = sync(root)
    for made in new:
        print(f"{made.ablation}: run {made.run_id}")
    print(f"{len(new)} new run{'s' if len(new) != 1 else ''} in {tracking_uri(root)}")
    return 0

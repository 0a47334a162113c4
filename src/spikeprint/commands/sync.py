"""Rebuild the MLflow runs from dvc.lock: one run per finished ablation row. Runs that are there already stay."""

import argparse

from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none."""


def run(arguments: argparse.Namespace) -> int:
    """Print one line per new run."""
    from ..registry.populations import sync_populations
    from ..registry.tracking import sync, tracking_uri

    root = find_root()
    new, populations = sync(root), sync_populations(root)
    for made in new:
        print(f"{made.ablation}: run {made.run_id}")
    for shown in populations:
        print(f"{shown.stage}: run {shown.run_id}")
    n_new = len(new) + len(populations)
    print(f"{n_new} new run{'s' if n_new != 1 else ''} in {tracking_uri(root)}")
    return 0

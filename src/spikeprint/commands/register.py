"""Make the trained model a version in the model registry; it becomes @staging if it passes the gates of params.yaml.

The same model with the same scores is registered once, however often this is called.
"""

import argparse

from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none."""


def run(arguments: argparse.Namespace) -> int:
    """Print what was registered and how it fared at the gates."""
    from ..registry.register import register

    print(register(find_root()).describe())
    return 0

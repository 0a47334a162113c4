"""Thin DVC entry points, one module per stage: read -> call -> write."""

import sys
from collections.abc import Callable

from ..core.errors import SpikeprintError
from ..core.runtime import setup_logging


def run_stage(main: Callable[[list[str]], None]) -> None:
    """Run a stage's ``main`` on the command line's words; an error becomes one line and its exit code."""
    setup_logging()
    try:
        main(sys.argv[1:])
    except SpikeprintError as error:
        sys.exit(_report(error))


def _report(error: SpikeprintError) -> int:
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code

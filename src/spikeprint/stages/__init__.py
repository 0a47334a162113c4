"""Thin DVC entry points, one module per stage: read -> call -> write."""

import sys
from collections.abc import Callable, Collection

from ..core.errors import ConfigError, SpikeprintError, suggest
from ..core.runtime import setup_logging


def run_stage(main: Callable[[list[str]], None]) -> None:
    """Run a stage's ``main`` on the command line's words; an error becomes one line and its exit code."""
    setup_logging()
    try:
        main(sys.argv[1:])
    except SpikeprintError as error:
        sys.exit(_report(error))


def pick_row(argv: list[str], rows: Collection[str], section: str) -> str:
    """Return the row of a section that the only word of ``argv`` names.

    Raises
    ------
    ConfigError
        No word, several, or one that is no row.
    """
    if len(argv) == 1 and argv[0] in rows:
        return argv[0]
    hint = suggest(argv[0], rows) if len(argv) == 1 else ""
    found, known = " ".join(argv) or "nothing", ", ".join(rows) or "none"
    raise ConfigError(f"params.yaml: found {found}, needs one row of {section}: {known}{hint}")


def require_recording(name: str, recordings: Collection[str], where: str) -> None:
    """Raise ConfigError unless ``recordings`` has the row that ``where``, a key of params.yaml, names."""
    if name not in recordings:
        raise ConfigError(f"params.yaml: {where}: no row '{name}' under recordings{suggest(name, recordings)}")


def _report(error: SpikeprintError) -> int:
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code

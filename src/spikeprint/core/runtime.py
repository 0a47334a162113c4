"""How a process runs: logging, progress, threads. Enters: a verbosity. Leaves: readable lines on stderr."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("spikeprint")


def setup_logging(level: int | None = None) -> None:
    """Send the package's log to standard error.

    ``level`` defaults to WARNING when the environment variable ``SPIKEPRINT_QUIET`` is set, else INFO.
    """
    if level is None:
        level = logging.WARNING if os.environ.get("SPIKEPRINT_QUIET") else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for logger in (LOGGER, logging.getLogger("__main__")):  # what `python -m` runs, a stage, is called so
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Log ``what`` and the wall seconds the block took."""
    started = time.perf_counter()
    yield
    LOGGER.info("%s: %.1f s", what, time.perf_counter() - started)

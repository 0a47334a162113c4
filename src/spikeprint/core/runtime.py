"""How a process runs: logging, progress, threads. Enters: a verbosity. Leaves: readable lines on stderr."""

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("spikeprint")


SECRETS = (
    (re.compile(r"(\w[\w+.-]*://[^\s/:@'\"]*:)[^\s/'\"]*@"), r"\1***@"),
    (re.compile(r"(https?://)[^\s/:@'\"]+@"), r"\1***@"),
    (re.compile(r"([?&](?:password|token|secret|key|signature)=)[^\s&'\"]+", re.IGNORECASE), r"\1***"),
)
"""What a secret in an address looks like, and what is shown instead."""


def redact(text: str) -> str:
    """Hide passwords and tokens of addresses; whatever is logged, printed as an error or by ``doctor`` goes through it.

    >>> redact("tracking store postgresql://team:s3cret@db/mlflow?password=x")
    'tracking store postgresql://team:***@db/mlflow?password=***'
    >>> redact("http://127.0.0.1:5001 serves models:/spikeprint-cvae@production")
    'http://127.0.0.1:5001 serves models:/spikeprint-cvae@production'
    """
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text


class RedactingFormatter(logging.Formatter):
    """Formats a record, its trace included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return redact(super().format(record))


def setup_logging(level: int | None = None) -> None:
    """Send the package's log to standard error.

    ``level`` defaults to WARNING when the environment variable ``SPIKEPRINT_QUIET`` is set, else INFO.
    """
    if level is None:
        level = logging.WARNING if os.environ.get("SPIKEPRINT_QUIET") else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(message)s"))
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

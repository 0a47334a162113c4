"""What saturation has cut off. Enters: records. Leaves: ``clipped.ledger``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...core.files import atomic_path


def write_ledger(path: Path, lost: np.ndarray) -> None:
    """Write the records of a ledger, atomically."""
    with atomic_path(path) as temporary:
        lost.tofile(temporary)


@contextmanager
def append_to(path: Path) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield what appends records to a ledger, at once: a run that is killed keeps what it has noted."""
    with path.open("ab", buffering=0) as file:

        def note(lost: np.ndarray) -> None:
            if len(lost):
                file.write(lost.tobytes())

        yield note

"""What saturation has cut off. Enters: records. Leaves: ``clipped.ledger``, whole or as it was."""

from pathlib import Path

import numpy as np

from ...core.files import atomic_path


def write_ledger(path: Path, lost: np.ndarray) -> None:
    """Write the records of a ledger, atomically."""
    with atomic_path(path) as temporary:
        lost.tofile(temporary)

"""Result tables on disk. Enters: a table or the path of a CSV. Leaves: the other."""

from pathlib import Path

import pandas as pd

from ...core.errors import DataError
from ...core.files import write_csv


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    write_csv(path, table)


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV.

    Raises
    ------
    DataError
        It is missing or empty.
    """
    try:
        return pd.read_csv(path)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise DataError(f"{path}: missing or empty; a table of results is needed") from None

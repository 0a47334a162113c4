"""Cell types for phy. Enters: one prediction per cluster. Leaves: two ``cluster_*.tsv`` files in a phy folder.

phy shows every ``cluster_<column>.tsv`` as a column of its cluster view. No other file of the folder is opened for
writing.
"""

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.files import atomic_path

COLUMNS = ("cell_type", "cell_type_confidence")
"""Columns in phy; column ``x`` is held by ``cluster_x.tsv``."""
WRITE_BITS = 0o222
_CLUSTERS = ("spike_clusters.npy", "spike_templates.npy")


def list_clusters(folder: Path) -> np.ndarray:
    """(n_clusters,) str, the clusters of a phy folder, in the order of their numbers.

    Raises
    ------
    DataError
        The folder holds no ``spike_clusters.npy`` or ``spike_templates.npy`` that can be read.
    """
    path = next((folder / name for name in _CLUSTERS if (folder / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder}: no {' or '.join(_CLUSTERS)}; the phy folder of the sorting is needed")
    try:
        clusters = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a whole NumPy file of plain arrays ({error})") from None
    if clusters.dtype.kind not in "iu":
        raise DataError(f"{path}: {clusters.dtype} {clusters.shape}; one whole number per spike is needed")
    return np.unique(clusters).astype(str)


def resolve_writable(path: Path) -> Path:
    """Return the file that a path leads to through links, so that the file is replaced and not the link.

    Raises
    ------
    DataError
        The file is there and nobody may write it, as in the store of DVC: replacing it would go round that.
    """
    target = path.resolve()
    if target.is_file() and target.stat().st_mode & WRITE_BITS == 0:
        said = f"{path} (a link to {target})" if path.is_symlink() else str(path)
        raise DataError(f"{said}: write-protected; write into a copy, or allow it by chmod u+w; it is unchanged")
    return target


def write_cluster_columns(
    folder: Path, clusters: Sequence[str], labels: Sequence[str], confidence: Sequence[float], overwrite: bool = False
) -> list[Path]:
    """Write ``cluster_cell_type.tsv`` and ``cluster_cell_type_confidence.tsv``; both or, on an error, neither.

    Parameters
    ----------
    folder : a phy folder
    clusters, labels, confidence : (n_clusters,) each; only these clusters get a value

    Returns
    -------
    the files written

    Raises
    ------
    DataError
        A file exists already and ``overwrite`` is False or it is write-protected, or the folder cannot be written.
    """
    paths = [folder / f"cluster_{column}.tsv" for column in COLUMNS]
    there = [path.name for path in paths if path.exists()]
    if there and not overwrite:
        raise DataError(f"{folder}: holds {' and '.join(there)} already; --overwrite replaces them")
    targets = [resolve_writable(path) for path in paths]
    columns = (list(labels), [f"{value:.6g}" for value in confidence])
    try:
        with ExitStack() as stack:  # both are complete before either takes its name
            for target, column, cells in zip(targets, COLUMNS, columns, strict=True):
                with stack.enter_context(atomic_path(target)).open("w", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
                    writer.writerow(["cluster_id", column])
                    writer.writerows(zip(clusters, cells, strict=True))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); nothing was changed") from None
    return paths

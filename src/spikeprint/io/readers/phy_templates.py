"""Waveforms from a sorter's templates. Enters: a phy folder and its spikes. Leaves: ``Templates`` in arbitrary units.

Kilosort's templates live in whitened space, where neither shape nor extent is that of a spike. They are multiplied
back; where that cannot be done they are missing, never passed off as waveforms. Who wrote a folder is told by the files
that only they write:

- Kilosort 4 writes a scaled identity as ``whitening_mat.npy`` for phy's sake and the real matrix, which acts on columns
  of channels, as ``whitening_mat_dat.npy`` (kilosort/io.py, save_to_phy). Its templates are means of spikes.
- Earlier ones write the real matrix, which acts on rows, and templates of unit size: a spike is template x amplitude.
- SpikeInterface (``channel_map_si.npy``) whitens nothing; its templates are means of spikes.
"""

import logging
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.types import Templates
from .shared import load_npy, load_vector

TEMPLATES = "templates.npy"
_INDICES = ("template_ind.npy", "templates_ind.npy")
_OWNERS = ("spike_templates.npy", "spike_clusters.npy")
_BY_KILOSORT_4, _BY_SPIKEINTERFACE = "whitening_mat_dat.npy", "channel_map_si.npy"
_INVERSE, _MATRIX = "whitening_mat_inv.npy", "whitening_mat.npy"
_POSITIONS, _MAP = "channel_positions.npy", "channel_map.npy"
TEMPLATE_FILES = (
    TEMPLATES, *_INDICES, "amplitudes.npy", _BY_KILOSORT_4, _BY_SPIKEINTERFACE, _INVERSE, _MATRIX, _POSITIONS, _MAP,
)  # fmt: skip
"""All that is read here."""

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    """``values`` (n_templates, n_samples, n_local) as stored, on ``channels`` (n_templates, n_local), -1 = none."""

    values: np.ndarray
    channels: np.ndarray
    n_channels: int


def load_positions(folder: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return where the sorted channels are, and which channels of the traces they are.

    Returns
    -------
    positions : (n_channels, 2) µm, or None without ``channel_positions.npy``
    channels : (n_channels,) int64, or None without ``channel_map.npy``

    Raises
    ------
    DataError
        A file is damaged, or the two differ in length.
    """
    channels = load_vector(folder / _MAP, whole=True) if (folder / _MAP).is_file() else None
    if not (folder / _POSITIONS).is_file():
        return None, channels
    positions = load_npy(folder / _POSITIONS)
    if positions.ndim != 2 or positions.shape[1] != 2 or positions.dtype.kind not in "fiu":
        raise DataError(f"{folder / _POSITIONS}: {positions.dtype} {positions.shape}; one [x, y] per channel is needed")
    if channels is not None and len(channels) != len(positions):
        raise DataError(
            f"{folder}: {len(positions)} rows in {_POSITIONS}, {len(channels)} channels in {_MAP}; as many are needed"
        )
    return positions.astype(np.float64), channels


def read_templates(
    folder: Path, order: np.ndarray, offsets: np.ndarray, n_spikes: int, rate_hz: float
) -> Templates | None:
    """Average the un-whitened templates of the spikes of each unit.

    Parameters
    ----------
    folder : phy folder
    order, offsets : spikes of each unit, as ``units.group_by_unit`` gives them
    n_spikes : of the folder
    rate_hz : Hz

    Returns
    -------
    One per unit, weighted by the spikes (and their amplitudes) that each template has in it; None without
    ``templates.npy`` or without a way to un-whiten it

    Raises
    ------
    DataError
        A file is damaged, or shapes disagree.
    """
    if not (folder / TEMPLATES).is_file():
        return None
    positions, _ = load_positions(folder)
    stored = _load(folder, positions)
    back = _find_inverse(folder, stored.n_channels)
    if back is None:
        LOGGER.warning(
            "%s: %s is whitened and there is no whitening matrix to undo it: waveforms are missing; put the raw traces "
            "(dat_path of params.py) into the folder to measure them", folder, TEMPLATES,
        )  # fmt: skip
        return None
    template = _read_owners(folder, n_spikes, len(stored.values))
    if template is None:
        return None
    template = template[order]
    is_mean = (folder / _BY_KILOSORT_4).is_file() or (folder / _BY_SPIKEINTERFACE).is_file()
    has_sizes = (folder / "amplitudes.npy").is_file() and not is_mean
    sizes = (
        load_vector(folder / "amplitudes.npy", n_spikes)[order].astype(np.float64) if has_sizes else np.ones(len(order))
    )
    values = np.full((len(offsets) - 1, stored.values.shape[1], stored.n_channels), np.nan, dtype=np.float32)
    undone: dict[int, np.ndarray] = {}
    for unit, (start, stop) in enumerate(pairwise(offsets)):
        used, inverse = np.unique(template[start:stop], return_inverse=True)
        weights = np.bincount(inverse, weights=sizes[start:stop], minlength=len(used)) / (stop - start)
        for k in used:
            if int(k) not in undone:
                undone[int(k)] = _undo(stored, int(k), back)
        values[unit] = sum(weight * undone[int(k)] for k, weight in zip(used, weights, strict=True))
    return Templates(values, rate_hz, "au", positions)


def _read_owners(folder: Path, n_spikes: int, n_templates: int) -> np.ndarray | None:
    """(n_spikes,) template of each spike; clusters that nobody has split or merged bear the numbers of templates."""
    path = next(folder / name for name in _OWNERS if (folder / name).is_file())
    template = load_vector(path, n_spikes, whole=True)
    if not len(template) or (template.min() >= 0 and template.max() < n_templates):
        return template
    if path.name == _OWNERS[0]:
        raise DataError(f"{path}: template {template.max()}; {TEMPLATES} has {n_templates}, counted from 0")
    LOGGER.warning("%s: clusters were split or merged and %s is missing: waveforms are missing", folder, _OWNERS[0])
    return None


def _load(folder: Path, positions: np.ndarray | None) -> _Stored:
    """The templates and the channels they stand on."""
    path = folder / TEMPLATES
    values = load_npy(path)
    if values.ndim != 3 or values.dtype.kind != "f":
        raise DataError(
            f"{path}: {values.dtype} {values.shape}; numbers (n_templates, n_samples, n_channels) are needed"
        )
    n_local = values.shape[2]
    index_file = next((folder / name for name in _INDICES if (folder / name).is_file()), None)
    if index_file is None:
        if positions is not None and len(positions) != n_local:
            raise DataError(
                f"{path}: {values.shape}, but {_POSITIONS} has {len(positions)} channels; as many are needed"
            )
        return _Stored(values, np.broadcast_to(np.arange(n_local), (len(values), n_local)), n_local)
    channels = load_npy(index_file)
    if channels.shape != (len(values), n_local) or channels.dtype.kind not in "fiu":
        raise DataError(f"{index_file}: {channels.shape}; the channels of {TEMPLATES} {values.shape} are needed")
    channels = channels.astype(np.int64)
    n_channels = int(channels.max()) + 1 if positions is None else len(positions)
    # -1, or a number past the last channel, fills up the row of a template with fewer channels.
    return _Stored(values, np.where(channels < n_channels, channels, -1), n_channels)


def _find_inverse(folder: Path, n_channels: int) -> np.ndarray | None:
    """(n_channels, n_channels): whitened row of channels @ this = row as recorded; None where it is not known."""
    if (folder / _BY_KILOSORT_4).is_file():
        return _invert(folder / _BY_KILOSORT_4, n_channels).T
    if (folder / _BY_SPIKEINTERFACE).is_file():
        return np.eye(n_channels)
    if (folder / _INVERSE).is_file():
        inverse = _load_square(folder / _INVERSE, n_channels)
    elif (folder / _MATRIX).is_file():
        inverse = _invert(folder / _MATRIX, n_channels)
    else:
        return None
    # Kilosort 4 without its real matrix: a multiple of the identity undoes nothing.
    is_blank = n_channels > 1 and np.allclose(
        inverse, np.eye(n_channels) * inverse[0, 0], atol=1e-6 * abs(inverse[0, 0])
    )
    return None if is_blank else inverse


def _load_square(path: Path, n_channels: int) -> np.ndarray:
    matrix = load_npy(path)
    if matrix.shape != (n_channels, n_channels) or matrix.dtype.kind not in "fiu" or not np.isfinite(matrix).all():
        raise DataError(f"{path}: {matrix.dtype} {matrix.shape}; finite numbers {(n_channels, n_channels)} are needed")
    return matrix.astype(np.float64)


def _invert(path: Path, n_channels: int) -> np.ndarray:
    try:
        return np.linalg.inv(_load_square(path, n_channels))
    except np.linalg.LinAlgError:
        raise DataError(f"{path}: has no inverse; export the sorting again") from None


def _undo(stored: _Stored, k: int, back: np.ndarray) -> np.ndarray:
    """(n_samples, n_channels) of one template as recorded; channels that it does not stand on are NaN."""
    present = stored.channels[k] >= 0
    channels = stored.channels[k][present]
    found = np.full((stored.values.shape[1], stored.n_channels), np.nan)
    found[:, channels] = stored.values[k][:, present].astype(np.float64) @ back[np.ix_(channels, channels)]
    return found

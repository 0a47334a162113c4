"""Where the contacts are. Enters: a file of probeinterface or Kilosort. Leaves: a probeinterface ``ProbeGroup``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, suggest
from ...core.files import read_json

_NAMES = ("probe.json", "probe*.json", "*hanMap*.mat", "*kilosortChanMap*.mat", "*hanMap*.json", "*prb.json")
_KILOSORT = {"chanMap": "chanMap", "xc": "xcoords", "yc": "ycoords", "kcoords": "kcoords", "n_chan": "n_chan"}
"""Names in a Kilosort4 .json -> names in a Kilosort .mat."""
_NEEDED = ("chanMap", "xcoords", "ycoords")


def find_probe(folder: Path) -> Path | None:
    """Return the probe file of a recording folder, None without one; Kilosort's name for it holds ``chanMap``."""
    for pattern in _NAMES:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    return None


def read_probe(path: Path, n_channels: int) -> Any:
    """Read a probe and how it is wired to the channels of the traces.

    Parameters
    ----------
    path : ``.json`` of probeinterface, ``.json`` of Kilosort4 (chanMap from 0), or ``.mat`` of Kilosort (from 1)
    n_channels : channels of the traces; a Kilosort map may use fewer (sync, disconnected), probeinterface names all

    Returns
    -------
    probeinterface.ProbeGroup, two-dimensional, µm; unconnected contacts have device channel -1

    Raises
    ------
    DataError
        The file is damaged, of neither kind, or does not fit the number of channels.
    """
    if path.suffix == ".mat":
        return _from_kilosort(path, _read_mat(path), n_channels)
    content = read_json(path)
    if isinstance(content, dict) and "chanMap" in content:
        renamed = {_KILOSORT.get(str(name), str(name)): values for name, values in content.items()}
        return _from_kilosort(path, renamed, n_channels)
    if not (isinstance(content, dict) and content.get("specification") == "probeinterface"):
        raise DataError(f"{path}: neither a probeinterface file nor a Kilosort4 probe (chanMap, xc, yc)")
    return _from_probeinterface(path, n_channels)


def _from_probeinterface(path: Path, n_channels: int) -> Any:
    """The probes of a probeinterface file; without wiring contact i is channel i."""
    import probeinterface

    try:
        group = probeinterface.read_probeinterface(path)
    except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
        raise DataError(f"{path}: not a whole probeinterface file ({_first_line(error)})") from None
    n_contacts = group.get_contact_count()
    if group.ndim != 2:
        raise DataError(f"{path}: contacts in {group.ndim} dimensions; two (x, y in µm) are needed")
    wiring = np.asarray(group.get_global_device_channel_indices()["device_channel_indices"])
    if (wiring < 0).all():
        group.set_global_device_channel_indices(np.arange(n_contacts))
        wiring = np.arange(n_contacts)
    connected = wiring[wiring >= 0]
    if len(connected) != n_channels or not np.array_equal(np.sort(connected), np.arange(n_channels)):
        raise DataError(
            f"{path}: {len(connected)} connected contacts (channels {connected.min()} to {connected.max()}), the "
            f"traces have {n_channels} channels; one contact per channel is needed"
        )
    return group


def _from_kilosort(path: Path, content: Mapping[str, Any], n_channels: int) -> Any:
    """One probe from Kilosort's lists; disconnected channels get no wiring."""
    import probeinterface

    for name in _NEEDED:
        if name not in content:
            raise DataError(f"{path}: no '{name}'{suggest(name, content)}; found: {', '.join(content)}")
    try:
        columns = {name: np.asarray(content[name], dtype=np.float64).ravel() for name in _NEEDED}
        shanks = np.asarray(content.get("kcoords", np.zeros(len(columns["chanMap"]))), dtype=np.float64).ravel()
        connected = np.asarray(content.get("connected", np.ones(len(columns["chanMap"])))).ravel().astype(bool)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: chanMap, xcoords, ycoords must be numbers ({error})") from None
    lengths = {len(values) for values in (*columns.values(), shanks, connected)}
    if len(lengths) != 1 or lengths == {0}:
        counts = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
        raise DataError(
            f"{path}: {counts}, kcoords {len(shanks)}, connected {len(connected)}; equal lengths are needed"
        )
    channels = columns["chanMap"].astype(np.int64) - (1 if path.suffix == ".mat" else 0)
    if channels.min() < 0 or channels.max() >= n_channels or len(np.unique(channels)) != len(channels):
        raise DataError(
            f"{path}: chanMap names channels {channels.min()} to {channels.max()} (counted from 0), the traces have "
            f"{n_channels} channels; each at most once, 0 to {n_channels - 1}"
        )
    probe = probeinterface.Probe(ndim=2, si_units="um")
    shank_ids = None if len(np.unique(shanks)) == 1 else np.array([f"{s:g}" for s in shanks])
    positions = np.column_stack([columns["xcoords"], columns["ycoords"]])
    probe.set_contacts(positions, shapes="circle", shape_params={"radius": 5}, shank_ids=shank_ids)
    probe.set_device_channel_indices(np.where(connected, channels, -1))
    group = probeinterface.ProbeGroup()
    group.add_probe(probe)
    return group


def _read_mat(path: Path) -> dict[str, Any]:
    """Variables of a MATLAB file, v5 or v7.3."""
    import h5py
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                return {name: values[()] for name, values in file.items() if isinstance(values, h5py.Dataset)}
        return {name: values for name, values in loadmat(path).items() if not name.startswith("__")}
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path}: not a whole MATLAB file ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    """First line of what a library said, or the kind of error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

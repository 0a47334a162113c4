"""Probe files: probeinterface and Kilosort's two kinds give the same contacts; misfits are told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import probeinterface
import pytest
from scipy.io import savemat

from spikeprint.core.errors import DataError
from spikeprint.io.traces.probes import find_probe, read_probe

XY = np.array([[0.0, 0.0], [20.0, 20.0], [0.0, 40.0], [20.0, 60.0]])


def write_probeinterface(path: Path, wiring: list[int] | None = None, xy: np.ndarray = XY) -> Path:
    probe = probeinterface.Probe(ndim=2)
    probe.set_contacts(xy, shapes="circle", shape_params={"radius": 5})
    if wiring is not None:
        probe.set_device_channel_indices(wiring)
    probeinterface.write_probeinterface(path, probe)
    return path


def kilosort(first: int, **changes: Any) -> dict[str, Any]:
    return {"chanMap": np.arange(4) + first, "xcoords": XY[:, 0], "ycoords": XY[:, 1], "kcoords": np.ones(4)} | changes


def by_channel(group: Any) -> dict[int, tuple[float, float]]:
    """Channel -> position of the connected contacts."""
    wiring = group.get_global_device_channel_indices()["device_channel_indices"]
    positions = np.concatenate([probe.contact_positions for probe in group.probes])
    return {int(c): (float(x), float(y)) for c, (x, y) in zip(wiring, positions, strict=True) if c >= 0}


EXPECTED = {i: (float(x), float(y)) for i, (x, y) in enumerate(XY)}


def test_probeinterface_with_and_without_wiring(tmp_path: Path) -> None:
    assert by_channel(read_probe(write_probeinterface(tmp_path / "probe.json"), 4)) == EXPECTED
    turned = by_channel(read_probe(write_probeinterface(tmp_path / "b.json", [3, 2, 1, 0]), 4))
    assert turned == {3 - i: position for i, position in EXPECTED.items()}


def test_kilosort_mat_counts_from_one(tmp_path: Path) -> None:
    savemat(tmp_path / "chanMap.mat", kilosort(1, connected=np.array([1, 1, 0, 1])))
    found = by_channel(read_probe(tmp_path / "chanMap.mat", 5))
    assert found == {i: EXPECTED[i] for i in (0, 1, 3)}
    assert find_probe(tmp_path) == tmp_path / "chanMap.mat"


def test_kilosort4_json_counts_from_zero(tmp_path: Path) -> None:
    content = {
        "chanMap": [0, 1, 2, 3],
        "xc": [0, 20, 0, 20],
        "yc": [0, 20, 40, 60],
        "kcoords": [0, 0, 1, 1],
        "n_chan": 4,
    }
    (tmp_path / "probe.json").write_text(json.dumps(content))
    group = read_probe(tmp_path / "probe.json", 4)
    assert by_channel(group) == EXPECTED
    assert list(group.probes[0].shank_ids) == ["0", "0", "1", "1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (kilosort(1, xcoords=np.zeros(3)), "chanMap 4, xcoords 3, ycoords 4, kcoords 4, connected 4; equal lengths"),
        (kilosort(3), r"chanMap names channels 2 to 5 \(counted from 0\), the traces have 4 channels"),
        (kilosort(0), "chanMap names channels -1 to 2"),
        ({"chanMap": np.arange(4), "xcoord": XY[:, 0]}, "no 'xcoords'; did you mean 'xcoord'"),
        (kilosort(1, xcoords=np.array(["a", "b", "c", "d"])), "must be numbers"),
    ],
)
def test_kilosort_maps_that_do_not_fit(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    savemat(tmp_path / "chanMap.mat", content)
    with pytest.raises(DataError, match=message):
        read_probe(tmp_path / "chanMap.mat", 4)


@pytest.mark.parametrize(("n_channels", "wiring"), [(5, None), (3, None), (4, [0, 1, 2, 5]), (4, [0, 1, 2, -1])])
def test_probeinterface_must_name_every_channel(tmp_path: Path, n_channels: int, wiring: list[int] | None) -> None:
    path = write_probeinterface(tmp_path / "probe.json", wiring)
    with pytest.raises(DataError, match=f"the traces have {n_channels} channels; one contact per channel is needed"):
        read_probe(path, n_channels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("{}", "neither a probeinterface file nor a Kilosort4 probe"),
        ('{"specification": "probeinterface", "version": "0.2"}', "not a whole probeinterface file"),
    ],
)
def test_damaged_json(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "probe.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_probe(tmp_path / "probe.json", 4)


def test_damaged_mat(tmp_path: Path) -> None:
    (tmp_path / "chanMap.mat").write_bytes(b"not MATLAB" * 30)
    with pytest.raises(DataError, match="not a whole MATLAB file"):
        read_probe(tmp_path / "chanMap.mat", 4)


def test_no_probe_file(tmp_path: Path) -> None:
    assert find_probe(tmp_path) is None

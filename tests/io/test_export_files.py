"""Predictions written into phy folders and NWB files; nothing else in them changes."""

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from nwb_files import add_traces, new_file, save, spike, trains, write_nwb
from spikeprint.core.errors import DataError
from spikeprint.io.nwb_export import NewColumn, add_unit_columns, list_unit_ids
from spikeprint.io.phy_export import list_clusters, write_cluster_columns
from spikeprint.io.readers.nwb import read_nwb

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def phy(tmp_path: Path) -> Path:
    folder = tmp_path / "phy"
    folder.mkdir()
    np.save(folder / "spike_clusters.npy", np.array([[7], [2], [7], [11]], dtype=np.uint32))
    np.save(folder / "spike_templates.npy", np.array([0, 1, 2, 3]))
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n2\tgood\n")
    return folder


@pytest.fixture
def nwb(tmp_path: Path) -> Path:
    means = np.stack([spike()] * 2, axis=1)
    units = [{**unit, "electrodes": [0, 1], "waveform_mean": means, "quality": "good"} for unit in trains()]
    return write_nwb(tmp_path / "session.nwb", units, n_electrodes=3, rate_hz=30_000.0)


def content(path: Path) -> dict[str, Any]:
    """Every object of an HDF5 file with its bytes and attributes; references as the names they lead to."""
    found: dict[str, Any] = {}

    def plain(file: h5py.File, value: Any) -> Any:
        if isinstance(value, h5py.Reference):
            return file[value].name
        return [plain(file, item) for item in value] if isinstance(value, (np.ndarray, list)) else value

    with h5py.File(path) as file:

        def visit(name: str, item: Any) -> None:
            attributes = {key: plain(file, value) for key, value in item.attrs.items()}
            data = plain(file, item[...]) if isinstance(item, h5py.Dataset) and item.ndim else None
            scalar = plain(file, item[()]) if isinstance(item, h5py.Dataset) and not item.ndim else None
            shape = (item.dtype, item.shape, item.chunks) if isinstance(item, h5py.Dataset) else ()
            found[name] = (attributes, repr(data), repr(scalar), shape)

        visit("/", file)
        file.visititems(visit)
    return found


def columns(*labels: str, n: int = 3) -> dict[str, NewColumn]:
    confidence = np.linspace(0.5, 0.9, n)
    confidence[-1] = np.nan
    return {
        "spikeprint_cell_type": NewColumn("predicted", np.array(labels or ("PV", "SOM", ""))),
        "spikeprint_confidence": NewColumn("its probability", confidence),
    }


# NWB -----------------------------------------------------------------------------------------------------------------


def test_columns_are_added_and_nothing_else_changes(nwb: Path) -> None:
    before = content(nwb)
    add_unit_columns(nwb, columns())
    after = content(nwb)
    new = {"units/spikeprint_cell_type", "units/spikeprint_confidence"}
    assert set(after) - set(before) == new
    assert set(before) <= set(after)
    for name in set(before) - {"units"}:
        assert after[name] == before[name], name
    (old, *_), (changed, *_) = before["units"], after["units"]
    assert changed["colnames"] == [*old["colnames"], "spikeprint_cell_type", "spikeprint_confidence"]
    assert {**changed, "colnames": 0} == {**old, "colnames": 0}
    assert sorted(p.name for p in nwb.parent.iterdir()) == ["session.nwb"]


def test_pynwb_reads_the_columns(nwb: Path) -> None:
    add_unit_columns(nwb, columns())
    with NWBHDF5IO(str(nwb), "r") as io:
        frame = io.read().units.to_dataframe()
    assert frame.index.tolist() == [10, 13, 16]
    assert frame["spikeprint_cell_type"].tolist() == ["PV", "SOM", ""]
    np.testing.assert_array_equal(frame["spikeprint_confidence"], [0.5, 0.7, np.nan])
    assert frame["quality"].tolist() == ["good"] * 3


def test_pynwb_may_append_after_us(nwb: Path) -> None:
    add_unit_columns(nwb, columns())
    with NWBHDF5IO(str(nwb), "a") as io:
        file = io.read()
        file.add_unit_column("later", "another", data=[1, 2, 3])
        io.write(file)
    assert read_nwb(nwb)[0].extra["later"].tolist() == [1, 2, 3]


def test_the_file_reads_as_before_apart_from_the_columns(nwb: Path) -> None:
    (before,) = read_nwb(nwb)
    add_unit_columns(nwb, columns())
    (after,) = read_nwb(nwb)
    assert after.labels.tolist() == ["", "", ""]  # a prediction is no label
    assert after.extra["spikeprint_cell_type"].tolist() == ["PV", "SOM", ""]
    np.testing.assert_array_equal(after.spike_times, before.spike_times)


def test_written_columns_are_replaced_only_on_demand(nwb: Path) -> None:
    add_unit_columns(nwb, columns())
    first = nwb.read_bytes()
    with pytest.raises(DataError, match=r"has spikeprint_cell_type and spikeprint_confidence already; --overwrite"):
        add_unit_columns(nwb, columns("x", "y", "z"))
    assert nwb.read_bytes() == first
    add_unit_columns(nwb, columns("x", "y", "z"), overwrite=True)
    with NWBHDF5IO(str(nwb), "r") as io:
        units = io.read().units
        assert units["spikeprint_cell_type"][:].tolist() == ["x", "y", "z"]
        assert len(set(units.colnames)) == len(units.colnames)


def test_permissions_stay(nwb: Path) -> None:
    os.chmod(nwb, 0o640)
    add_unit_columns(nwb, columns())
    assert stat.S_IMODE(nwb.stat().st_mode) == 0o640


def test_a_link_stays_and_its_file_is_changed(nwb: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.nwb"
    link.symlink_to(nwb)
    add_unit_columns(link, columns())
    assert link.is_symlink()
    assert [path.name for path in link.parent.iterdir()] == ["link.nwb"]
    assert read_nwb(nwb)[0].extra["spikeprint_cell_type"].tolist() == ["PV", "SOM", ""]


def test_write_protected_files_are_refused(nwb: Path, tmp_path: Path) -> None:
    """The store of DVC is protected so, and data/raw may hold links into it."""
    before = nwb.read_bytes()
    os.chmod(nwb, 0o444)
    with pytest.raises(DataError, match=r"session\.nwb: write-protected; write into a copy, or allow it by chmod u\+w"):
        add_unit_columns(nwb, columns())
    link = tmp_path / "link.nwb"
    link.symlink_to(nwb)
    with pytest.raises(DataError, match=r"link\.nwb \(a link to .*session\.nwb\): write-protected"):
        add_unit_columns(link, columns())
    assert link.is_symlink()
    assert (nwb.read_bytes(), stat.S_IMODE(nwb.stat().st_mode)) == (before, 0o444)


def test_raw_traces_stay(tmp_path: Path) -> None:
    file = add_traces(new_file(3))
    file.add_unit(spike_times=[1.0], id=5)
    path = save(file, tmp_path / "both.nwb")
    before = content(path)
    add_unit_columns(path, {"spikeprint_cell_type": NewColumn("predicted", np.array(["PV"]))})
    after = content(path)
    assert after["acquisition/raw0/data"] == before["acquisition/raw0/data"]


def test_values_must_fit(nwb: Path) -> None:
    before = nwb.read_bytes()
    with pytest.raises(DataError, match=r"column 'spikeprint_cell_type' with 2 values; .* and 3 values are needed"):
        add_unit_columns(nwb, columns("PV", "SOM", n=2))
    with pytest.raises(DataError, match=r"column 'quality' with 3 values; a name that begins with 'spikeprint_'"):
        add_unit_columns(nwb, {"quality": NewColumn("", np.array(["a", "b", "c"]))})
    assert nwb.read_bytes() == before


def test_a_file_that_pynwb_cannot_read_stays_as_it_is(nwb: Path) -> None:
    with h5py.File(nwb, "r+") as file:
        del file["session_start_time"]
    before = nwb.read_bytes()
    with pytest.raises(DataError, match=r"with the new columns pynwb cannot read it \(.*\); the file is unchanged"):
        add_unit_columns(nwb, columns())
    assert nwb.read_bytes() == before
    assert [p.name for p in nwb.parent.iterdir()] == ["session.nwb"]


def test_a_full_disk_leaves_the_file(nwb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = nwb.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spikeprint.io.nwb_export.shutil.copyfile", full)
    with pytest.raises(DataError, match=r"cannot be written \(\[Errno 28\] No space left on device\); it is unchanged"):
        add_unit_columns(nwb, columns())
    assert nwb.read_bytes() == before
    assert [p.name for p in nwb.parent.iterdir()] == ["session.nwb"]


@pytest.mark.filterwarnings("ignore:The .manufacturer. field")
def test_real_file(tmp_path: Path) -> None:
    """Schema 2.4, written by another program."""
    source = ROOT.parent / "shared" / "recordings" / "nwb_units_only" / "A8604-211122.nwb"
    if not source.is_file():
        pytest.skip("needs ../shared/recordings/nwb_units_only")
    path = tmp_path / source.name
    shutil.copyfile(source, path)
    before = content(path)
    add_unit_columns(path, columns())
    after = content(path)
    assert {name: after[name] for name in before if name != "units"} == {n: before[n] for n in before if n != "units"}
    with NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
        assert io.read().units["spikeprint_cell_type"][:].tolist() == ["PV", "SOM", ""]


def test_unit_ids_of_a_file(nwb: Path) -> None:
    assert list_unit_ids(nwb).tolist() == ["10", "13", "16"]


# phy -----------------------------------------------------------------------------------------------------------------


def test_phy_files(phy: Path) -> None:
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in phy.iterdir()}
    paths = write_cluster_columns(phy, ["2", "11"], ["PV", 'a "b"\tc'], [0.25, 1 / 3])
    assert [p.name for p in paths] == ["cluster_cell_type.tsv", "cluster_cell_type_confidence.tsv"]
    assert paths[0].read_text() == 'cluster_id\tcell_type\n2\tPV\n11\t"a ""b""\tc"\n'
    assert paths[1].read_text() == "cluster_id\tcell_type_confidence\n2\t0.25\n11\t0.333333\n"
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in phy.iterdir() if p not in paths} == before


def test_phy_files_are_replaced_only_on_demand(phy: Path) -> None:
    (phy / "cluster_cell_type.tsv").write_text("by hand")
    with pytest.raises(DataError, match=r"holds cluster_cell_type.tsv already; --overwrite replaces them"):
        write_cluster_columns(phy, ["2"], ["PV"], [0.5])
    assert (phy / "cluster_cell_type.tsv").read_text() == "by hand"
    assert not (phy / "cluster_cell_type_confidence.tsv").exists()
    write_cluster_columns(phy, ["2"], ["PV"], [0.5], overwrite=True)
    assert "PV" in (phy / "cluster_cell_type.tsv").read_text()


def test_phy_files_behind_links_are_replaced_there(phy: Path, tmp_path: Path) -> None:
    stored = tmp_path / "stored.tsv"
    stored.write_text("old")
    (phy / "cluster_cell_type.tsv").symlink_to(stored)
    write_cluster_columns(phy, ["2"], ["PV"], [0.5], overwrite=True)
    assert (phy / "cluster_cell_type.tsv").is_symlink()
    assert stored.read_text() == "cluster_id\tcell_type\n2\tPV\n"
    os.chmod(stored, 0o444)
    (phy / "cluster_cell_type_confidence.tsv").unlink()
    with pytest.raises(DataError, match=r"cluster_cell_type\.tsv \(a link to .*stored\.tsv\): write-protected"):
        write_cluster_columns(phy, ["2"], ["SOM"], [0.5], overwrite=True)
    assert "PV" in stored.read_text()
    assert not (phy / "cluster_cell_type_confidence.tsv").exists()


def test_clusters_of_a_phy_folder(phy: Path) -> None:
    assert list_clusters(phy).tolist() == ["2", "7", "11"]
    (phy / "spike_clusters.npy").unlink()
    assert list_clusters(phy).tolist() == ["0", "1", "2", "3"]
    (phy / "spike_templates.npy").write_bytes(b"\x93NUMPY nonsense")
    with pytest.raises(DataError, match=r"spike_templates.npy: not a whole NumPy file"):
        list_clusters(phy)
    np.save(phy / "spike_templates.npy", np.array([0.5]))
    with pytest.raises(DataError, match=r"float64 \(1,\); one whole number per spike is needed"):
        list_clusters(phy)
    (phy / "spike_templates.npy").unlink()
    with pytest.raises(DataError, match=r"no spike_clusters.npy or spike_templates.npy; the phy folder"):
        list_clusters(phy)

"""IBL/ALF folders: probes, names with parts, volts and metres."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.readers.alf import find_alf, read_alf

UUID = "0a018f12-ee06-4b11-97aa-bbbbbbbbbbbb"
WAVES = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32) * 1e-5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One probe: clusters 0, 2 and 3 have spikes; template 1 serves cluster 2."""
    root = tmp_path / "alf" / "probe00"
    root.mkdir(parents=True)
    for name, values in {
        "spikes.times": np.array([0.1, 0.2, 0.3, 0.4, 5.0, 6.0]),
        "spikes.clusters": np.array([2, 0, 2, 3, 2, 0], dtype=np.uint16),
        "spikes.templates": np.array([1, 0, 1, 3, 2, 0]),
        "spikes.amps": np.arange(6) * 1e-4,
        "spikes.depths": np.arange(6) * 10.0,
        "templates.waveforms": WAVES,
        "templates.waveformsChannels": np.array([[0, 1, 2], [3, 4, 5], [2, 1, 0], [7, 6, -1]]),
        "channels.localCoordinates": np.column_stack([np.arange(8) % 2 * 32.0, np.arange(8) * 20.0]),
        "clusters.depths": np.array([0.0, 20, 40, 60]),
    }.items():
        np.save(root / f"{name}.npy", values)
    frame = pd.DataFrame({"cluster_id": [3, 2, 0], "label": [1.0, 0.5, 0.0], "cell_type": ["PV", None, "SOM"]})
    frame.to_csv(root / "clusters.metrics.csv", index=False)
    (root / "clusters.uuids.csv").write_text("uuids\n" + "\n".join("abcd"))
    return root


def test_reads_a_probe(folder: Path) -> None:
    (sorting,) = read_alf(folder)
    assert sorting.unit_ids.tolist() == ["0", "2", "3"]
    assert sorting.spike_times.tolist() == [0.2, 6.0, 0.1, 0.3, 5.0, 0.4]
    assert sorting.offsets.tolist() == [0, 2, 5, 6]
    assert sorting.time_rate_hz == 1.0
    np.testing.assert_allclose(sorting.duration_s, 6.000001)
    np.testing.assert_allclose(sorting.amplitudes_uv, [100, 500, 0, 200, 400, 300], rtol=1e-6)
    assert sorting.depths_um.tolist() == [10, 50, 0, 20, 40, 30]
    assert sorting.labels.tolist() == ["", "", ""]
    assert sorting.extra["label"].tolist() == [0.0, 0.5, 1.0]
    assert sorting.extra["cell_type"].tolist() == ["SOM", "", "PV"]
    assert sorting.extra["uuids"].tolist() == ["a", "c", "d"]
    assert sorting.extra["depths"].tolist() == [0, 40, 60]


def test_templates(folder: Path) -> None:
    templates = read_alf(folder)[0].templates
    assert templates.unit == "uV"
    assert templates.sampling_frequency_hz == 30_000.0
    np.testing.assert_allclose(templates.values[:2], WAVES[:2] * 1e6, rtol=1e-5)  # cluster 2 was found with template 1
    np.testing.assert_allclose(templates.values[2, :, :2], WAVES[3, :, :2] * 1e6, rtol=1e-5)
    assert np.isnan(templates.values[2, :, 2]).all()
    assert templates.positions_um[1].tolist() == [[32, 60], [0, 80], [32, 100]]
    assert np.isnan(templates.positions_um[2, 2]).all()
    assert read_alf(folder, 25_000.0)[0].templates.sampling_frequency_hz == 25_000.0


def test_waveforms_by_cluster_are_preferred(folder: Path) -> None:
    np.save(folder / "clusters.waveforms.npy", WAVES * 2)
    np.save(folder / "clusters.waveformsChannels.npy", np.tile([0, 1, 2], (4, 1)))
    values = read_alf(folder)[0].templates.values
    np.testing.assert_allclose(values, WAVES[[0, 2, 3]] * 2e6, rtol=1e-5)


def test_what_may_be_missing(folder: Path) -> None:
    (folder / "channels.localCoordinates.npy").unlink()
    templates = read_alf(folder)[0].templates
    assert templates.positions_um is None
    assert np.isnan(templates.values[2, :, 2]).all()
    np.save(folder / "templates.waveforms.npy", WAVES[:3])
    np.save(folder / "templates.waveformsChannels.npy", np.zeros((3, 3), dtype=int))
    assert np.isnan(read_alf(folder)[0].templates.values[2]).all()  # template 3 is not there
    for path in folder.iterdir():
        if path.name not in ("spikes.times.npy", "spikes.clusters.npy"):
            path.unlink()
    (sorting,) = read_alf(folder)
    assert sorting.templates is sorting.amplitudes_uv is sorting.depths_um is None
    assert sorting.extra == {}


def test_parquet_metrics_and_labels(folder: Path) -> None:
    pd.read_csv(folder / "clusters.metrics.csv").to_parquet(folder / "clusters.metrics.pqt")
    (folder / "clusters.metrics.csv").unlink()
    assert read_alf(folder, label_column="cell_type")[0].labels.tolist() == ["SOM", "", "PV"]
    assert "cell_type" not in read_alf(folder, label_column="cell_type")[0].extra
    with pytest.raises(ConfigError, match="no label column 'celltype'; did you mean 'cell_type'"):
        read_alf(folder, label_column="celltype")


def test_names_with_a_uuid_and_several_probes(folder: Path) -> None:
    for path in list(folder.iterdir()):
        stem, extension = path.name.rsplit(".", 1)
        path.rename(folder / f"{stem}.{UUID}.{extension}")
    assert read_alf(folder)[0].extra["uuids"].tolist() == ["a", "c", "d"]
    assert len(find_alf(folder.parent)) == len(list(folder.iterdir())) == 11
    other = folder.parent / "probe01" / "pykilosort"
    other.mkdir(parents=True)
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert [sorting.session_id for sorting in read_alf(folder.parent)] == ["probe00", "probe01/pykilosort"]
    assert read_alf(next(folder.glob("spikes.times*")))[0].session_id == ""


def test_two_revisions_are_one_too_many(folder: Path) -> None:
    np.save(folder / f"spikes.times.{UUID}.npy", np.zeros(6))
    with pytest.raises(DataError, match=r"2 files for spikes\.times\.npy \(spikes\.times\.0a.*keep one"):
        read_alf(folder)


def test_foreign_folders(tmp_path: Path) -> None:
    np.save(tmp_path / "spikes.times.npy", np.zeros(3))
    assert find_alf(tmp_path) == find_alf(tmp_path / "absent") == []
    with pytest.raises(DataError, match=r"no spikes\.times\.npy and spikes\.clusters\.npy; an ALF folder"):
        read_alf(tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("spikes.clusters", np.arange(5), r"spikes\.clusters\.npy: 5 values, but there are 6 spikes"),
        ("spikes.clusters", np.full(6, -1), "cluster -1; numbers from 0"),
        ("spikes.clusters", np.full(6, 0.5), r"value 1 is 0\.5; integers"),
        ("spikes.amps", np.ones(2), r"spikes\.amps\.npy: 2 values"),
        ("spikes.times", np.full(6, np.nan), "no spikes"),
        ("templates.waveforms", np.ones((4, 6)), r"templates\.waveforms\.npy: float64 \(4, 6\)"),
        ("templates.waveformsChannels", np.ones((4, 2)), r"templates\.waveformsChannels\.npy: \(4, 2\); one channel"),
        ("channels.localCoordinates", np.ones(8), r"channels\.localCoordinates\.npy: float64 \(8,\)"),
        ("spikes.times", np.array([{}] * 6, dtype=object), r"spikes\.times\.npy: not a whole \.npy file"),
    ],
)
def test_bad_files(folder: Path, name: str, values: np.ndarray, message: str) -> None:
    np.save(folder / f"{name}.npy", values)
    with pytest.raises(DataError, match=message) as caught:
        read_alf(folder)
    assert "\n" not in str(caught.value)


def test_bad_tables(folder: Path) -> None:
    (folder / "clusters.metrics.pqt").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"clusters\.metrics\.pqt: not a whole table"):
        read_alf(folder)
    (folder / "clusters.metrics.pqt").unlink()
    (folder / "clusters.metrics.csv").write_text("cluster_id,x\n1,2\n1,3\n")
    with pytest.raises(DataError, match="a cluster_id stands in several rows"):
        read_alf(folder)

"""Spike trains as dicts and arrays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.arrays import write_sorting
from spikeprint.io.readers.trains import find_arrays, from_trains, read_arrays_source

SECONDS = {"a": np.array([0.5, 2.0]), 7: [1.0]}
SAMPLES = {"a": np.array([10, 20], dtype=np.uint64), 7: np.array([5], dtype=np.int32)}


def test_seconds() -> None:
    sorting = from_trains(SECONDS, labels={7: "PV"})
    assert sorting.unit_ids.tolist() == ["a", "7"]
    assert sorting.spike_times.tolist() == [0.5, 2.0, 1.0]
    assert sorting.offsets.tolist() == [0, 2, 3]
    assert sorting.time_rate_hz == 1.0
    np.testing.assert_allclose(sorting.duration_s, 2.000001)
    assert sorting.labels.tolist() == ["", "PV"]
    assert sorting.templates is None


def test_samples() -> None:
    sorting = from_trains(SAMPLES, sampling_frequency_hz=10.0, duration_s=60)
    assert sorting.spike_times.tolist() == [10, 20, 5]
    assert sorting.spike_times.dtype == np.int64
    assert sorting.time_rate_hz == 10.0
    assert sorting.duration_s.tolist() == [60.0, 60.0]
    assert from_trains(SAMPLES, sampling_frequency_hz=10.0).duration_s.tolist() == [2.1, 2.1]


def test_empty_trains_are_of_either_kind() -> None:
    assert from_trains({"a": [], "b": np.array([3])}, sampling_frequency_hz=10.0).offsets.tolist() == [0, 0, 1]
    assert from_trains({"a": np.array([], dtype=int), "b": [0.5]}).spike_times.dtype == np.float64


def test_templates_of_any_width() -> None:
    templates = {7: np.arange(4.0), "a": np.array([[1.0, 2, 3, 4], [5, np.nan, 7, 8], [9, 9, 9, 9]])}
    found = from_trains(SECONDS, templates, templates_hz=20_000.0).templates
    assert found.values.shape == (2, 4, 3)
    assert found.values[1, :, 0].tolist() == [0, 1, 2, 3]
    assert np.isnan(found.values[1, :, 1:]).all()
    assert found.values[0, :, [0, 2]].tolist() == [[1, 2, 3, 4], [9, 9, 9, 9]]
    assert np.isnan(found.values[0, :, 1]).all()  # not finite in part: missing
    assert found.sampling_frequency_hz == 20_000.0
    one = from_trains(SAMPLES, {"a": np.ones(3)}, sampling_frequency_hz=3e4).templates
    assert np.isnan(one.values[1]).all()
    assert one.sampling_frequency_hz == 3e4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trains": {}}, "no spikes"),
        ({"trains": {"a": []}}, "no spikes"),
        ({"trains": SAMPLES}, "integers are samples; pass --sampling-frequency"),
        ({"trains": {"a": np.array([1]), "b": np.array([1.0])}}, "a hold integers, others floats"),
        ({"trains": {"a": np.array(["x"])}}, "unit 'a' is <U1"),
        ({"trains": {"a": np.ones((2, 2))}}, r"unit 'a' is float64 \(2, 2\); one row"),
        ({"trains": {1: [0.1], "1": [0.2]}}, r"2 units, but 1 names \(1\); unit ids must be unique as text"),
        ({"trains": SAMPLES, "sampling_frequency_hz": 0}, "a positive number of Hz"),
        (
            {"trains": SECONDS, "templates": {"x": [1.0], "a": [1.0]}, "templates_hz": 1.0},
            "only in templates: x; only in trains: 7; the same unit ids",
        ),
        ({"trains": SECONDS, "labels": {"b": "PV"}}, "only in labels: b; only in trains: a, 7"),
        ({"trains": SECONDS, "templates": {"a": [1.0]}}, "no sampling frequency; pass templates_hz"),
        (
            {"trains": SECONDS, "templates": {"a": [1.0], 7: [1.0, 2]}, "templates_hz": 1.0},
            "samples differ: a 1, 7 2; all templates need one length",
        ),
        (
            {"trains": SECONDS, "templates": {"a": np.ones((1, 1, 1))}, "templates_hz": 1.0},
            r"unit 'a' is .*\(n_channels,",
        ),
        ({"trains": SECONDS, "duration_s": 0}, "duration 0.0 s"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_trains(**arguments)


# Files ---------------------------------------------------------------------------------------------------------------


def test_npz_of_trains(tmp_path: Path) -> None:
    path = tmp_path / "anything.npz"
    np.savez(
        path,
        **{"a": np.array([10, 20]), "7": np.array([5]), "template/7": np.arange(4.0)},
        sampling_frequency_hz=20_000.0,
        unit_ids=np.array(["7", "a"]),
        labels=np.array(["PV", "SOM"]),
        duration_s=12.5,
        templates_hz=40_000.0,
    )
    assert find_arrays(path) == find_arrays(tmp_path) == [path]
    (sorting,) = read_arrays_source(tmp_path)
    assert dict(zip(sorting.unit_ids, sorting.labels, strict=True)) == {"a": "SOM", "7": "PV"}
    assert sorting.time_rate_hz == 20_000.0
    assert sorting.duration_s.tolist() == [12.5, 12.5]
    assert sorting.templates.sampling_frequency_hz == 40_000.0
    assert sorting.templates.values[1, :, 0].tolist() == [0, 1, 2, 3]
    assert read_arrays_source(path, label_column="none")[0].labels.tolist() == ["", ""]
    with pytest.raises(ConfigError, match="no label column 'label'; did you mean 'labels'"):
        read_arrays_source(path, label_column="label")


def test_the_rate_may_come_from_the_option(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([10, 20]))
    assert read_arrays_source(tmp_path, 1000.0)[0].duration_s.tolist() == [0.021]
    with pytest.raises(DataError, match=r"x\.npz: trains: integers are samples; pass --sampling-frequency"):
        read_arrays_source(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.array([1.0]), "labels": np.array(["x"])}, "'labels' needs 'unit_ids' beside it"),
        (
            {"a": np.array([1.0]), "labels": np.array(["x"]), "unit_ids": np.array(["a", "b"])},
            "1 labels|2 unit_ids, 1 labels",
        ),
        ({"a": np.array([{}], dtype=object)}, r"not a whole \.npz file of plain arrays \(Object arrays"),
        ({"spike_samples": np.array([1]), "offsets": np.array([0, 1])}, "part of an arrays folder"),
        ({"a": np.array(1.0)}, r"unit 'a' is float64 \(\); one row"),
    ],
)
def test_npz_refuses(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        read_arrays_source(tmp_path)
    assert "x.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(100.0))
    whole = path.read_bytes()
    for cut in (0, 3, 50, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"x\.npz: not a whole"):
            read_arrays_source(path)


def test_arrays_folder(tmp_path: Path) -> None:
    sorting = from_trains(SAMPLES, {"a": np.ones(9)}, sampling_frequency_hz=3e4, duration_s=1.0, labels={"a": "PV"})
    write_sorting(tmp_path / "s", replace(sorting, extra={"region": np.array(["x", "y"], dtype=object)}))
    names = ["spikes.npz", "templates.npy", "units.csv", "recording.json"]
    assert [path.name for path in find_arrays(tmp_path / "s")] == names
    (back,) = read_arrays_source(tmp_path / "s")
    np.testing.assert_array_equal(back.spike_times, sorting.spike_times)
    assert back.labels.tolist() == ["PV", ""]
    assert read_arrays_source(tmp_path / "s", label_column="none")[0].labels.tolist() == ["", ""]
    assert read_arrays_source(tmp_path / "s", label_column="region")[0].labels.tolist() == ["x", "y"]
    with pytest.raises(ConfigError, match=r"units\.csv: no label column 'cell_typ'; did you mean 'cell_type'"):
        read_arrays_source(tmp_path / "s", label_column="cell_typ")
    (tmp_path / "s" / "units.csv").unlink()
    with pytest.raises(DataError, match=r"units\.csv: missing"):
        read_arrays_source(tmp_path / "s")
    assert find_arrays(tmp_path / "s") == []


def test_what_is_not_of_this_layout(tmp_path: Path) -> None:
    assert find_arrays(tmp_path) == find_arrays(tmp_path / "absent") == []
    savemat(tmp_path / "chanMap.mat", {"xcoords": 1})
    assert find_arrays(tmp_path) == []  # a probe beside traces
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", a=[1.0])
    assert find_arrays(tmp_path) == []
    (tmp_path / "b.npz").unlink()
    (tmp_path / "waveforms.csv").write_text("x")
    assert find_arrays(tmp_path) == []
    with pytest.raises(DataError, match=r"no single \.npz or \.mat file"):
        read_arrays_source(tmp_path)


def test_a_mat_of_another_layout_lists_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "chanMap.mat"
    savemat(path, {"xcoords": 1, "ycoords": 2})
    assert find_arrays(path) == [path]
    with pytest.raises(DataError, match=r"chanMap\.mat: holds xcoords, ycoords; a cell array 'spikes'"):
        read_arrays_source(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file" + b" " * 200)
    with pytest.raises(DataError, match=r"chanMap\.mat: "):
        read_arrays_source(path)


def test_tetrodes_of_clusters(tmp_path: Path) -> None:
    def cell(*items: Any) -> np.ndarray:
        found = np.empty((1, len(items)), dtype=object)
        for i, item in enumerate(items):
            found[0, i] = item
        return found

    span = np.array([[100.0, 160.0]])
    first = {"time": np.array([[101.0], [159.5]]), "timerange": span}
    silent = {"time": np.empty((0, 1)), "timerange": span}
    savemat(tmp_path / "x.mat", {"spikes": cell(cell(silent, first), np.empty((1, 0)), cell(np.empty((1, 0)), first))})
    (sorting,) = read_arrays_source(tmp_path)
    assert sorting.unit_ids.tolist() == ["t01c02", "t03c02"]
    assert sorting.spike_times.tolist() == [1.0, 59.5, 1.0, 59.5]
    assert sorting.duration_s.tolist() == [60.0, 60.0]


def test_public_tetrode_recording(root: Path) -> None:
    folder = root.parent / "shared" / "recordings" / "hippocampus_linear_track"
    if not folder.is_dir():
        pytest.skip("real data (../shared/recordings) is not on this machine")
    assert [path.name for path in find_arrays(folder)] == ["spikes.mat"]
    (sorting,) = read_arrays_source(folder)
    assert len(sorting.unit_ids) == 31
    assert len(sorting.spike_times) == 28_829
    assert sorting.n_spikes[sorting.unit_ids == "t01c01"].tolist() == [1748]
    np.testing.assert_allclose(sorting.duration_s, 6365.2707 - 4396.9975)
    assert sorting.spike_times.min() >= 0
    assert sorting.spike_times.max() < sorting.duration_s[0]

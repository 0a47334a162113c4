"""SortingAnalyzers: trains, templates, sizes, noise and columns come through from memory, folder and zarr."""

import json
import pickle
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.postprocessing

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.readers.analyzer import find_analyzer, from_analyzer, read_analyzer

DURATIONS = [4.0, 3.0]
RATE_HZ = 25000.0


@pytest.fixture(scope="module")
def analyzer() -> Any:
    """Four units, two segments, one unit without spikes, sparse, with labels."""
    recording, sorting = si.generate_ground_truth_recording(
        durations=DURATIONS, num_channels=16, num_units=4, sampling_frequency=RATE_HZ, seed=3
    )
    trains = [{u: sorting.get_unit_spike_train(u, segment_index=k) for u in sorting.unit_ids[:3]} for k in range(2)]
    trains = [train | {"silent": np.array([], dtype=np.int64)} for train in trains]
    sorting = si.NumpySorting.from_unit_dict(trains, RATE_HZ)
    sorting.set_property("cell_type", np.array(["PV", "SOM", "PV", ""]))
    sorting.set_property("KSLabel", np.array(["good", "mua", "good", "mua"], dtype=object))
    sorting.set_property("snr_like", np.array([1.5, 2.5, np.nan, 0.0]))
    sorting.set_property("location", np.zeros((4, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sparsity = si.ChannelSparsity(
            np.arange(16) < np.array([[16], [8], [4], [2]]), sorting.unit_ids, recording.channel_ids
        )
        made = si.create_sorting_analyzer(
            sorting, recording, sparsity=sparsity, main_channel_indices=np.zeros(4, int), seed=0
        )
        for name in ("random_spikes", "noise_levels", "templates", "spike_amplitudes", "spike_locations"):
            made.compute(name, progress_bar=False)
        made.compute("quality_metrics", metric_names=["num_spikes", "snr"])
    return made


@pytest.fixture(scope="module")
def folder(analyzer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "one"
    analyzer.save_as(folder=path, format="binary_folder")
    return path


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_values(analyzer: Any) -> None:
    found = from_analyzer(analyzer)
    first = [analyzer.sorting.get_unit_spike_train("1", segment_index=k) for k in range(2)]
    mine = slice(found.offsets[1], found.offsets[2])
    assert found.unit_ids.tolist() == ["0", "1", "2", "silent"]
    expected = np.concatenate([first[0], first[1] + 4 * 25000])
    np.testing.assert_array_equal(found.spike_times[mine], expected)
    assert found.segment is not None
    np.testing.assert_array_equal(found.segment[mine], np.repeat([0, 1], [len(train) for train in first]))
    assert found.spike_times.dtype == np.int64
    assert found.time_rate_hz == RATE_HZ
    assert found.duration_s.tolist() == [7.0] * 4
    assert found.labels.tolist() == ["PV", "SOM", "PV", ""]
    assert sorted(found.extra) == ["KSLabel", "main_channel_id", "num_spikes", "snr", "snr_like"]
    assert found.extra["KSLabel"].tolist() == ["good", "mua", "good", "mua"]


def test_templates_are_nan_where_nothing_was_measured(analyzer: Any) -> None:
    found = from_analyzer(analyzer)
    assert found.templates is not None
    values = found.templates.values
    assert found.templates.unit == "uV"
    assert np.isnan(values).all(axis=1).sum(axis=1).tolist() == [0, 8, 12, 16]
    stored = analyzer.get_extension("templates").get_data(operator="average")
    np.testing.assert_array_equal(values[1][:, :8], stored[1][:, :8])
    np.testing.assert_array_equal(found.templates.positions_um, analyzer.get_channel_locations())
    peak = np.ptp(stored[0], axis=0).argmax()
    assert found.noise_uv is not None
    assert found.noise_uv[0] == pytest.approx(analyzer.get_extension("noise_levels").get_data()[peak])
    assert np.isnan(found.noise_uv[3])


def test_sizes_are_of_the_right_spikes(analyzer: Any) -> None:
    found = from_analyzer(analyzer)
    by_unit = analyzer.get_extension("spike_amplitudes").get_data(outputs="by_unit")
    assert found.amplitudes_uv is not None
    assert found.depths_um is not None
    expected = np.abs(np.concatenate([by_unit[k]["2"] for k in range(2)]))
    np.testing.assert_allclose(found.amplitudes_uv[found.offsets[2] : found.offsets[3]], expected, rtol=1e-6)
    depths = analyzer.get_extension("spike_locations").get_data(outputs="by_unit")[1]["0"]["y"]
    np.testing.assert_allclose(found.depths_um[: found.offsets[1]][-len(depths) :], depths, rtol=1e-6)


def test_folder_and_zarr_read_as_memory_does_without_the_recording(analyzer: Any, folder: Path, tmp_path: Path) -> None:
    analyzer.save_as(folder=tmp_path / "a.zarr", format="zarr")
    (tmp_path / "a.zarr").rename(tmp_path / "renamed")
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in copy.glob("recording.*"):
        path.unlink()
    (copy / "recording.pickle").write_bytes(b"cposix\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    expected = from_analyzer(analyzer)
    for path in (copy, tmp_path / "renamed"):
        (found,) = read_analyzer(path)
        np.testing.assert_array_equal(found.spike_times, expected.spike_times)
        assert found.templates is not None
        assert expected.templates is not None
        np.testing.assert_array_equal(found.templates.values, expected.templates.values)
        np.testing.assert_array_equal(found.amplitudes_uv, expected.amplitudes_uv)
        assert found.labels.tolist() == expected.labels.tolist()
        assert found.session_id == ""
        assert len(find_analyzer(path)) == sum(file.is_file() for file in path.rglob("*"))
    assert not (tmp_path / "ran").exists()


def test_several_analyzers_are_sessions(folder: Path, tmp_path: Path) -> None:
    for name in ("mon", "tue"):
        shutil.copytree(folder, tmp_path / name)
    assert [found.session_id for found in read_analyzer(tmp_path)] == ["mon", "tue"]
    assert len(find_analyzer(tmp_path)) == 2 * len(find_analyzer(folder))


def test_metrics_become_columns(analyzer: Any, folder: Path) -> None:
    (found,) = read_analyzer(folder)
    counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    np.testing.assert_array_equal(found.extra["num_spikes"][:3], counts[:3])
    assert (found.extra["snr"][:3] > 0).all()


def test_without_extensions_parts_are_missing(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / "extensions")
    (found,) = read_analyzer(copy)
    assert (found.templates, found.amplitudes_uv, found.depths_um, found.noise_uv) == (None, None, None, None)


def test_label_columns(folder: Path) -> None:
    assert read_analyzer(folder, label_column="none")[0].labels.tolist() == [""] * 4
    other = read_analyzer(folder, label_column="KSLabel")[0]
    assert other.labels.tolist() == ["good", "mua", "good", "mua"]
    assert "cell_type" in other.extra
    with pytest.raises(ConfigError, match="label_column 'KSlabel'; did you mean 'KSLabel'"):
        read_analyzer(folder, label_column="KSlabel")


def test_foreign_paths(tmp_path: Path) -> None:
    (tmp_path / "spikeinterface_info.json").write_bytes(b"\xff\xfe\x00")
    assert find_analyzer(tmp_path) == []
    assert find_analyzer(tmp_path / "nowhere") == []
    with pytest.raises(DataError, match="no SortingAnalyzer"):
        read_analyzer(tmp_path)


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ("settings.json", "not a whole SortingAnalyzer"),
        ("sorting/spikes.npy", r"spikes\.npy: not a whole NumPy file"),
        ("recording_info/recording_attributes.json", "not a whole SortingAnalyzer"),
    ],
)
def test_damaged_folder(folder: Path, tmp_path: Path, victim: str, message: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / victim).write_bytes(b"{")
    with pytest.raises(DataError, match=message) as caught:
        read_analyzer(copy)
    assert "\n" not in str(caught.value)


def test_pickled_zarr_is_refused(analyzer: Any, tmp_path: Path) -> None:
    analyzer.save_as(folder=tmp_path / "a.zarr", format="zarr")
    head = tmp_path / "a.zarr" / "extensions" / "templates" / "average" / ".zarray"
    head.write_text(json.dumps(json.loads(head.read_text()) | {"filters": [{"id": "pickle"}]}, indent=1))
    with pytest.raises(DataError, match="holds a pickle, which runs code when opened"):
        read_analyzer(tmp_path / "a.zarr")


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["sorting/properties/evil.npy", "extensions/templates/evil.pkl", "sorting/bare.npy"])
def test_a_folder_that_would_run_code_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    payload = Payload(tmp_path / "ran")
    if "properties" in name:
        np.save(copy / name, np.array([payload] * 4, dtype=object), allow_pickle=True)
    else:
        (copy / name).write_bytes(pickle.dumps(payload))
    with pytest.raises(DataError, match="code when opened") as caught:
        read_analyzer(copy)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_pickles_that_are_never_opened_do_not_matter(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "extensions" / "principal_components").mkdir()
    for name in ("recording.pickle", "sorting/provenance.pkl", "extensions/principal_components/pca_model.pkl"):
        (copy / name).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    (found,) = read_analyzer(copy)
    assert found.extra["KSLabel"].tolist() == ["good", "mua", "good", "mua"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["cell_type", "provenance.pkl"])
def test_a_pickle_only_in_the_consolidated_heads_of_a_zarr_is_refused(analyzer: Any, tmp_path: Path, name: str) -> None:
    analyzer.save_as(folder=tmp_path / "a.zarr", format="zarr")
    heads = json.loads((tmp_path / "a.zarr" / ".zmetadata").read_text())
    heads["metadata"][f"sorting/properties/{name}/.zarray"] = {"filters": [{"id": "pickle"}]}
    (tmp_path / "a.zarr" / ".zmetadata").write_text(json.dumps(heads))
    with pytest.raises(DataError, match=f"sorting/properties/{name}: holds a pickle"):
        read_analyzer(tmp_path / "a.zarr")

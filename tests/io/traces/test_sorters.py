"""Measuring and sorting: µV, depths and noise are those simulated; lupin finds the units and finds them again."""

import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spikeinterface as si

from spikeprint.core.config import Params, RawSessionParams, RecordingParams, SpikesParams
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.types import Sorting
from spikeprint.io.traces import sorters
from spikeprint.io.traces.given import find_given, read_given, to_spikeinterface
from spikeprint.io.traces.ground_truth import write_recording
from spikeprint.io.traces.recordings import open_recording

ROW = RecordingParams(format="binary")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def params(root: Path) -> SpikesParams:
    return Params.load(root / "params.yaml").spikes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sorting]:
    """Six seconds, eight channels, three units, and the truth."""
    folder = tmp_path_factory.mktemp("raw") / "rec"
    row = RawSessionParams(n_channels=8, n_units=3, duration_s=6, sampling_frequency_hz=25000, noise_uv=6)
    return folder, write_recording(folder, row, 1)


def test_measured_units_are_the_simulated_ones(made: tuple[Path, Sorting], params: SpikesParams) -> None:
    folder, truth = made
    recording = sorters.preprocess(open_recording(folder, ROW), params.model_copy(update={"reference": "none"}))
    found = sorters.measure(recording, to_spikeinterface(truth, recording), params)
    assert found.templates is not None
    assert truth.templates is not None
    assert found.amplitudes_uv is not None
    assert found.depths_um is not None
    np.testing.assert_array_equal(found.spike_times, truth.spike_times)
    assert found.templates.unit == "uV"
    assert found.templates.values.shape[1] == round(1.2 * 25) + round(2.2 * 25)
    assert found.duration_s.tolist() == [6.0] * 3
    for unit in range(3):
        true_size = np.ptp(truth.templates.values[unit], axis=0)
        size = np.ptp(found.templates.values[unit], axis=0)
        assert np.nanargmax(size) == true_size.argmax()
        # the band-pass takes the slow part of a spike
        assert np.nanmax(size) == pytest.approx(true_size.max(), rel=0.25)
        mine = slice(found.offsets[unit], found.offsets[unit + 1])
        depth = np.asarray(found.templates.positions_um)[true_size.argmax(), 1]
        assert np.median(found.depths_um[mine]) == pytest.approx(depth, abs=30)
        trough = -np.nanmin(found.templates.values[unit])
        assert np.median(found.amplitudes_uv[mine]) == pytest.approx(trough, rel=0.15)
    # white noise of 6 µV within 300-6000 Hz of 12500 Hz
    np.testing.assert_allclose(found.noise_uv, 6 * np.sqrt(5700 / 12500), rtol=0.1)


def test_same_seed_same_bytes(made: tuple[Path, Sorting], tmp_path: Path) -> None:
    folder, truth = made
    row = RawSessionParams(n_channels=8, n_units=3, duration_s=6, sampling_frequency_hz=25000, noise_uv=6)
    write_recording(tmp_path / "again", row, 1)
    write_recording(tmp_path / "other", row, 2)
    traces = [(path / "traces.bin").read_bytes() for path in (folder, tmp_path / "again", tmp_path / "other")]
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]
    assert len(traces[0]) == 6 * 25000 * 8 * 2
    assert (folder / "truth" / "spikes.npz").read_bytes() == (tmp_path / "again" / "truth" / "spikes.npz").read_bytes()
    assert truth.offsets[-1] > 20


def test_given_sortings(made: tuple[Path, Sorting], tmp_path: Path) -> None:
    folder, truth = made
    recording = open_recording(folder, ROW)
    with pytest.raises(ConfigError, match=r"no sorting in it \(sorting/, phy/ or units.npz\); set `sorter`"):
        read_given(tmp_path, recording)
    trains = {str(u): truth.spike_times[truth.offsets[i] : truth.offsets[i + 1]] for i, u in enumerate(truth.unit_ids)}
    np.savez(tmp_path / "units.npz", **trains)
    found = read_given(tmp_path, recording)
    np.testing.assert_array_equal(found.get_unit_spike_train("1"), trains["1"])
    assert find_given(tmp_path) == [tmp_path / "units.npz"]
    to_spikeinterface(truth, recording).save(folder=tmp_path / "sorting")
    np.testing.assert_array_equal(read_given(tmp_path, recording).get_unit_spike_train("2"), trains["2"])
    assert tmp_path / "sorting" / "spikes.npy" in find_given(tmp_path)
    (tmp_path / "sorting" / "spikes.npy").write_bytes(b"x")
    with pytest.raises(DataError, match=r"spikes\.npy: not a whole NumPy file"):
        read_given(tmp_path, recording)
    np.save(tmp_path / "sorting" / "spikes.npy", np.arange(3))
    with pytest.raises(DataError, match="not a whole sorting of SpikeInterface"):
        read_given(tmp_path, recording)


def test_a_given_sorting_must_be_of_its_recording(
    made: tuple[Path, Sorting], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = open_recording(made[0], ROW)
    train = np.arange(100, 140_000, 100)
    cases: list[tuple[Any, float, str]] = [
        ([{"a": train}], 30000.0, "30000 Hz, its recording 25000 Hz"),
        ([{"a": train}, {"a": train}], 25000.0, "2 segments, its recording 1"),
        (
            [{"a": np.append(train, np.arange(150_000, 150_050))}],
            25000.0,
            "50 of 1449 spikes beyond the recording of 6 s",
        ),
    ]
    for number, (trains, rate_hz, message) in enumerate(cases):
        si.NumpySorting.from_unit_dict(trains, rate_hz).save(folder=tmp_path / str(number) / "sorting")
        with pytest.raises(DataError, match=message):
            read_given(tmp_path / str(number), recording)
    np.savez(tmp_path / "units.npz", a=cases[2][0][0]["a"])
    with pytest.raises(DataError, match=r"units\.npz: 50 of 1449 spikes beyond"):
        read_given(tmp_path, recording)
    sorting = si.NumpySorting.from_unit_dict([{"a": np.append(train, 150_000), "b": train}], 25000.0)
    sorting.set_property("main_channel_id", np.array(["x", "y"]))
    sorting.set_property("cell_type", np.array(["PV", "SOM"]))
    sorting.save(folder=tmp_path / "few" / "sorting")
    found = read_given(tmp_path / "few", recording)
    np.testing.assert_array_equal(found.get_unit_spike_train("a"), train)
    assert found.get_property("cell_type").tolist() == ["PV", "SOM"]
    assert "main_channel_id" not in found.get_property_keys()
    assert "1 of 2799 spikes beyond the recording of 6 s; dropped" in caplog.text


def test_a_given_sorting_that_would_run_code_is_refused(made: tuple[Path, Sorting], tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    si.NumpySorting.from_unit_dict([{"a": np.array([100])}], 25000.0).save(folder=tmp_path / "sorting")
    (tmp_path / "sorting" / "properties").mkdir(exist_ok=True)
    evil = tmp_path / "sorting" / "properties" / "evil.npy"
    np.save(evil, np.array([Payload()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="other objects run code when opened"):
        read_given(tmp_path, open_recording(made[0], ROW))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("trains", "message"),
    [
        ({}, "no spikes; at least one"),
        ({"a": np.array([["x"]])}, "units.npz"),
        ({"a": np.array([None])}, "not a whole .npz file of plain arrays"),
    ],
)
def test_units_file_faults(made: tuple[Path, Sorting], tmp_path: Path, trains: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "units.npz", **trains)
    with pytest.raises(DataError, match=message):
        read_given(tmp_path, open_recording(made[0], ROW))


def test_samples_are_cut_into_segments_and_strays_dropped() -> None:
    recording = si.generate_recording(num_channels=2, durations=[1.0, 2.0], sampling_frequency=1000.0)
    sorting = Sorting(
        unit_ids=np.array(["a", "b"]),
        spike_times=np.array([2.5, 0.2, np.nan, 9.0, 1.0]),
        offsets=np.array([0, 4, 5]),
        time_rate_hz=1.0,
        duration_s=np.full(2, 3.0),
        labels=np.array(["PV", ""]),
    )
    found = to_spikeinterface(sorting, recording)
    assert found.get_unit_spike_train("a", segment_index=0).tolist() == [200]
    assert found.get_unit_spike_train("a", segment_index=1).tolist() == [1500]
    assert found.get_unit_spike_train("b", segment_index=1).tolist() == [0]
    assert found.get_property("cell_type").tolist() == ["PV", ""]


def test_measure_refuses_what_does_not_belong_together(made: tuple[Path, Sorting], params: SpikesParams) -> None:
    recording = open_recording(made[0], ROW)
    trains = {"a": np.array([100])}
    for sorting, message in (
        (si.NumpySorting.from_unit_dict([trains], 20000.0), "20000 Hz, its recording 25000 Hz"),
        (si.NumpySorting.from_unit_dict([trains, trains], 25000.0), "2 segments, its recording 1"),
        (si.NumpySorting.from_unit_dict([{}], 25000.0), "no units"),
    ):
        with pytest.raises(DataError, match=message):
            sorters.measure(recording, sorting, params)


def test_missing_sorter_names_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "kilosort" else real(name))
    with pytest.raises(ConfigError, match=r"kilosort4 is not installed: pip install kilosort; installed: lupin"):
        sorters.sort(None, "kilosort4", 0)


def test_failing_sorter_is_one_line(made: tuple[Path, Sorting], monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeinterface.sorters.internal.lupin import LupinSorter

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("too few peaks")

    monkeypatch.setattr(LupinSorter, "_run_from_folder", fail)
    with pytest.raises(DataError, match="sorter lupin failed: ValueError: too few peaks; choose another") as caught:
        sorters.sort(open_recording(made[0], ROW), "lupin", 0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_lupin_finds_the_simulated_units_and_finds_them_again(params: SpikesParams, tmp_path: Path) -> None:
    from spikeinterface.comparison import compare_sorter_to_ground_truth

    row = RawSessionParams(n_channels=16, n_units=5, duration_s=20, sampling_frequency_hz=30000, noise_uv=6)
    truth = write_recording(tmp_path / "rec", row, 0)
    recording = sorters.preprocess(open_recording(tmp_path / "rec", ROW), params)
    found, again = (sorters.sort(recording, "lupin", 0) for _ in range(2))
    np.testing.assert_array_equal(found.to_spike_vector(), again.to_spike_vector())
    accuracy = compare_sorter_to_ground_truth(to_spikeinterface(truth, recording), found).get_performance()["accuracy"]
    assert truth.templates is not None
    is_large = np.ptp(truth.templates.values, axis=1).max(axis=1) > 120
    assert is_large.sum() >= 3
    assert (accuracy.to_numpy(dtype=float)[is_large] > 0.8).all()

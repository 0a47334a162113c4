"""NWB units tables, written by pynwb."""

import contextlib
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from nwb_files import add_traces, new_file, save, spike, trains, write_nwb
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.readers.nwb import find_nwb, find_nwb_traces, holds_traces, holds_units, read_nwb

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.nwb"


def test_times_ids_and_durations(path: Path) -> None:
    (sorting,) = read_nwb(write_nwb(path, trains()))
    assert sorting.unit_ids.tolist() == ["10", "13", "16"]
    assert sorting.offsets.tolist() == [0, 2, 5, 9]
    assert sorting.spike_times.tolist() == [0.5, 1.5, 0.5, 1.5, 2.5, 0.5, 1.5, 2.5, 3.5]
    assert (sorting.spike_times.dtype, sorting.time_rate_hz) == (np.float64, 1.0)
    assert sorting.duration_s == pytest.approx([3.5] * 3, abs=2e-6)
    assert (sorting.segment, sorting.templates, sorting.session_id) == (None, None, "")
    assert sorting.labels.tolist() == ["", "", ""]


def test_a_unit_without_spikes_is_kept(path: Path) -> None:
    (sorting,) = read_nwb(write_nwb(path, [{"spike_times": [1.0]}, {"spike_times": np.empty(0)}]))
    assert sorting.n_spikes.tolist() == [1, 0]
    assert sorting.unit_ids.tolist() == ["0", "1"]


def test_a_table_without_any_spike_is_read(path: Path) -> None:
    (sorting,) = read_nwb(write_nwb(path, [{"spike_times": np.empty(0)}, {"spike_times": np.empty(0)}]))
    assert sorting.n_spikes.tolist() == [0, 0]
    assert (sorting.duration_s > 0).all()


def test_gaps_are_taken_out_of_the_clock(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    units = [
        {"spike_times": [100.5, 105.0, 200.0, 203.0], "obs_intervals": [[100.0, 110.0], [200.0, 205.0]]},
        {"spike_times": [101.0, 103.0, 150.0], "obs_intervals": [[100.0, 110.0]]},
    ]
    (sorting,) = read_nwb(write_nwb(path, units))
    assert sorting.duration_s.tolist() == [15.0, 10.0]
    np.testing.assert_allclose(sorting.spike_times, [0.5, 5.0, 10.0, 13.0, 1.0, 3.0])
    assert sorting.offsets.tolist() == [0, 4, 6]
    assert sorting.segment is not None
    assert sorting.segment.tolist() == [0, 0, 1, 1, 0, 0]
    assert "1 of 7 spikes lie outside obs_intervals: left out" in caplog.text


def test_one_interval_needs_no_segments(path: Path) -> None:
    (sorting,) = read_nwb(write_nwb(path, [{"spike_times": [5.0, 9.0], "obs_intervals": [[4.0, 9.0]]}]))
    assert sorting.spike_times.tolist() == [1.0, 5.0]
    assert sorting.duration_s.tolist() == [5.0]
    assert sorting.segment is None


def test_labels_and_other_columns(path: Path) -> None:
    more = [("PV", "good", 1.5, True), ("", "mua", np.nan, False), ("SOM", "good", 2.0, True)]
    names = ("cell_type", "quality", "snr", "isolated")
    units = [{**unit, **dict(zip(names, row, strict=True))} for unit, row in zip(trains(), more, strict=True)]
    write_nwb(path, units)
    (sorting,) = read_nwb(path)
    assert sorting.labels.tolist() == ["PV", "", "SOM"]
    assert set(sorting.extra) == {"quality", "snr", "isolated"}
    assert sorting.extra["quality"].tolist() == ["good", "mua", "good"]
    np.testing.assert_array_equal(sorting.extra["snr"], [1.5, np.nan, 2.0])
    assert sorting.extra["isolated"].tolist() == [True, False, True]
    (other,) = read_nwb(path, label_column="quality")
    assert other.labels.tolist() == ["good", "mua", "good"]
    assert other.extra["cell_type"].tolist() == ["PV", "", "SOM"]
    (none,) = read_nwb(path, label_column="none")
    assert none.labels.tolist() == ["", "", ""]
    with pytest.raises(ConfigError, match=r"no column 'cel_type' in its units table; did you mean 'cell_type'\?"):
        read_nwb(path, label_column="cel_type")


def test_a_label_column_where_there_is_none(path: Path) -> None:
    write_nwb(path, trains())
    with pytest.raises(ConfigError, match=r"columns: none of one value per unit"):
        read_nwb(path, label_column="cell_type")


def test_our_own_predictions_are_no_labels(path: Path) -> None:
    units = [{**unit, "spikeprint_cell_type": "PV"} for unit in trains()]
    (sorting,) = read_nwb(write_nwb(path, units))
    assert sorting.labels.tolist() == ["", "", ""]
    assert sorting.extra["spikeprint_cell_type"].tolist() == ["PV"] * 3


def test_electrode_group_is_named(path: Path) -> None:
    file = new_file(2)
    file.add_unit(spike_times=[1.0], electrode_group=file.electrode_groups["probe0"])
    (sorting,) = read_nwb(save(file, path))
    assert sorting.extra["electrode_group"].tolist() == ["probe0"]


def test_amplitudes_and_depths_with_a_unit_in_their_name(path: Path) -> None:
    """As the IBL writes them."""
    units = [
        {
            **unit,
            "spike_amplitudes_uV": 50.0 + unit["spike_times"],
            "spike_distances_from_probe_tip_um": 1_000.0 + unit["spike_times"],
            "spike_amplitudes": 5e-5 + unit["spike_times"],
        }
        for unit in trains()
    ]
    (sorting,) = read_nwb(write_nwb(path, units))
    np.testing.assert_allclose(sorting.amplitudes_uv, 50.0 + sorting.spike_times)
    np.testing.assert_allclose(sorting.depths_um, 1_000.0 + sorting.spike_times)
    assert sorting.amplitudes_uv is not None
    assert sorting.amplitudes_uv.dtype == np.float32
    assert sorting.extra == {}


def test_several_files_are_several_sessions(tmp_path: Path) -> None:
    write_nwb(tmp_path / "b.nwb", trains(2))
    write_nwb(tmp_path / "a.nwb", trains(1))
    (tmp_path / "._a.nwb").write_bytes(b"\0")
    (tmp_path / "notes.txt").write_text("x")
    assert find_nwb(tmp_path) == [tmp_path / "a.nwb", tmp_path / "b.nwb"]
    sortings = read_nwb(tmp_path)
    assert [(s.session_id, len(s.unit_ids)) for s in sortings] == [("a", 1), ("b", 2)]


def test_files_of_one_name_are_told_apart_by_folder(tmp_path: Path) -> None:
    for subject in ("sub-1", "sub-2"):
        (tmp_path / subject).mkdir()
        write_nwb(tmp_path / subject / "ecephys.nwb", trains(1))
    assert [s.session_id for s in read_nwb(tmp_path)] == ["sub-1_ecephys", "sub-2_ecephys"]


def test_invalid_times_are_told(path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("spikeprint"), "propagate", True)
    file = new_file()
    file.add_invalid_time_interval(start_time=1.0, stop_time=2.5)
    file.add_unit(spike_times=[1.0, 3.0])
    (sorting,) = read_nwb(save(file, path))
    assert sorting.spike_times.tolist() == [1.0, 3.0]
    assert "1 intervals (1.5 s in all) are marked invalid_times" in caplog.text


def test_units_are_preferred_to_traces(tmp_path: Path) -> None:
    raw = save(add_traces(new_file(2), 2), tmp_path / "raw.nwb")
    sorted_ = write_nwb(tmp_path / "sorted.nwb", trains())
    assert (holds_units(raw), holds_traces(raw)) == (False, True)
    assert (holds_units(sorted_), holds_traces(sorted_)) == (True, False)
    assert find_nwb(tmp_path) == [sorted_]
    assert find_nwb_traces(tmp_path) == [raw]
    assert find_nwb(raw) == []
    assert len(read_nwb(tmp_path)) == 1
    with pytest.raises(DataError, match=r"raw.nwb: no units table with spike_times; it holds 2 raw ElectricalSeries"):
        read_nwb(raw)


def test_foreign_things_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    assert find_nwb(tmp_path) == find_nwb(tmp_path / "x.csv") == find_nwb(tmp_path / "absent") == []
    assert find_nwb_traces(tmp_path) == []
    with pytest.raises(DataError, match=r"no .nwb file here"):
        read_nwb(tmp_path)


def test_a_file_without_units_or_traces(path: Path) -> None:
    save(new_file(), path)
    assert find_nwb(path) == [path]  # so that reading it says why
    with pytest.raises(DataError, match=r"it holds no data; choose a file with sorted units"):
        read_nwb(path)


def test_hdf5_that_is_no_nwb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["traces"] = np.zeros(3)
    with pytest.raises(DataError, match=r"it is no NWB file \(it holds traces\)"):
        read_nwb(path)


def test_not_hdf5(path: Path) -> None:
    path.write_text("hello")
    assert find_nwb(path) == [path]
    with pytest.raises(
        DataError, match=r"session.nwb: not a whole HDF5 file \(.*\); copy or download it again"
    ) as error:
        read_nwb(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_truncated(path: Path, kept: float) -> None:
    write_nwb(path, trains())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=r"not a whole HDF5 file"):
        read_nwb(path)


def test_noise_anywhere_is_one_line_or_harmless(path: Path) -> None:
    """Bytes overwritten at many places: a DataError or a sorting, nothing else."""
    whole = bytearray(write_nwb(path, trains()).read_bytes())
    rng = np.random.default_rng(0)
    for start in rng.integers(0, len(whole) - 64, 60):
        damaged = whole.copy()
        damaged[start : start + 64] = rng.bytes(64)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(DataError):
            read_nwb(path)


def test_an_index_that_does_not_fit(path: Path) -> None:
    write_nwb(path, trains())
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][1] = 200
    with pytest.raises(DataError, match=r"units/spike_times_index ends at 9 of 9 values or steps back"):
        read_nwb(path)


def test_no_index(path: Path) -> None:
    write_nwb(path, trains())
    with h5py.File(path, "r+") as file:
        del file["units/spike_times_index"]
    with pytest.raises(DataError, match=r"units/spike_times_index: missing; one row for each of 3 units"):
        read_nwb(path)


def test_ids_that_repeat(path: Path) -> None:
    write_nwb(path, [{**unit, "id": 4} for unit in trains()])
    with pytest.raises(DataError, match=r"units/id '4' stands twice"):
        read_nwb(path)


def test_intervals_that_end_before_they_start(path: Path) -> None:
    write_nwb(path, [{"spike_times": [1.0], "obs_intervals": [[5.0, 2.0]]}])
    with pytest.raises(DataError, match=r"obs_intervals row 0 is \[5.0, 2.0\] \(1 such rows\)"):
        read_nwb(path)


def test_an_empty_units_table(path: Path) -> None:
    write_nwb(path, trains(1))
    with h5py.File(path, "r+") as file:
        for name in ("id", "spike_times", "spike_times_index"):
            dtype = file[f"units/{name}"].dtype
            del file[f"units/{name}"]
            file[f"units/{name}"] = np.empty(0, dtype=dtype)
    with pytest.raises(DataError, match=r"its units table has no rows"):
        read_nwb(path)


def test_wide_index_types_and_byte_strings(path: Path) -> None:
    """Indexes of 64 unsigned bits and text of fixed length, as other writers store them."""
    write_nwb(path, trains())
    with h5py.File(path, "r+") as file:
        del file["units/spike_times_index"]
        file["units/spike_times_index"] = np.array([2, 5, 9], dtype=np.uint64)
        file["units/region"] = np.array([b"CA1", b"CA3 ", b""])
    (sorting,) = read_nwb(path)
    assert sorting.n_spikes.tolist() == [2, 3, 4]
    assert sorting.extra["region"].tolist() == ["CA1", "CA3", ""]


def test_real_file() -> None:
    folder = ROOT.parent / "shared" / "recordings" / "nwb_units_only"
    if not folder.is_dir():
        pytest.skip("needs ../shared/recordings/nwb_units_only")
    (sorting,) = read_nwb(folder)
    assert sorting.unit_ids.tolist() == ["6", "191", "206"]
    assert sorting.n_spikes.tolist() == [11020, 4690, 5644]
    assert sorting.duration_s[0] == pytest.approx(1087.3528, abs=1e-3)
    assert sorting.templates is None
    assert sorting.extra["electrode_group"].tolist() == ["group0_psb"] * 3


# Waveforms: see test_nwb_waveforms.py


def test_waveforms_are_read_too(path: Path) -> None:
    write_nwb(path, [{"spike_times": [1.0], "waveform_mean": spike()}], rate_hz=30_000.0)
    assert read_nwb(path)[0].templates is not None

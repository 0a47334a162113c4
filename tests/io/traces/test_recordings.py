"""Raw recordings of every layout: values in µV, rates, segments and probes survive; faults are told in one line."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import probeinterface
import pytest
import spikeinterface as si

from spikeprint.core.config import Params, RecordingParams, SpikesParams
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.traces.recordings import find_binary, find_saved, open_recording, read_layout
from spikeprint.io.traces.sorters import preprocess

RATE_HZ, N_CHANNELS = 29999.757983, 4
BINARY = RecordingParams(format="binary")
SAVED = RecordingParams(format="spikeinterface")
NWB = RecordingParams(format="nwb")


@pytest.fixture(scope="module")
def spikes(root: Path) -> SpikesParams:
    return Params.load(root / "params.yaml").spikes


def make_binary(folder: Path, n_samples: tuple[int, ...] = (3000,), dtype: str = "int16", **layout: Any) -> Path:
    """A folder with one binary per segment, recording.json and probe.json; sample = row * 4 + channel."""
    folder.mkdir(parents=True)
    for number, n in enumerate(n_samples):
        np.arange(n * N_CHANNELS).astype(dtype).tofile(folder / f"part{number}.bin")
    values = {
        "sampling_frequency_hz": RATE_HZ,
        "n_channels": N_CHANNELS,
        "dtype": dtype,
        "gain_uv": 0.195,
        "offset_uv": 2.5,
    }
    (folder / "recording.json").write_text(json.dumps(values | layout))
    probe = probeinterface.generate_linear_probe(N_CHANNELS, 25)
    probe.set_device_channel_indices(np.arange(N_CHANNELS))
    probeinterface.write_probeinterface(folder / "probe.json", probe)
    return folder


def test_binary_has_rate_gain_offset_probe_and_segments(tmp_path: Path) -> None:
    folder = make_binary(tmp_path / "rec", (3000, 1000))
    recording = open_recording(folder, BINARY)
    assert recording.get_sampling_frequency() == RATE_HZ
    assert [recording.get_num_samples(k) for k in range(recording.get_num_segments())] == [3000, 1000]
    traces = recording.get_traces(segment_index=1, start_frame=10, end_frame=11, return_in_uV=True)
    np.testing.assert_allclose(traces[0], np.arange(40, 44) * 0.195 + 2.5, rtol=1e-6)
    np.testing.assert_allclose(recording.get_channel_locations()[:, 1], [0, 25, 50, 75])
    names = [path.name for path in find_binary(folder)]
    assert names == ["part0.bin", "part1.bin", "recording.json", "probe.json"]


def test_header_bytes_are_skipped(tmp_path: Path) -> None:
    folder = make_binary(tmp_path / "rec", byte_offset=80)
    assert open_recording(folder, BINARY).get_traces(start_frame=0, end_frame=1).tolist() == [[40, 41, 42, 43]]


def test_kilosort_map_leaves_the_sync_channel_behind(tmp_path: Path) -> None:
    folder = make_binary(tmp_path / "rec")
    content = {"chanMap": [2, 0, 1], "xc": [0, 0, 0], "yc": [10, 20, 30], "kcoords": [0, 0, 0], "n_chan": 4}
    (folder / "probe.json").write_text(json.dumps(content))
    recording = open_recording(folder, BINARY)
    first = dict(zip(recording.get_channel_locations()[:, 1], recording.get_traces(0, 0, 1)[0], strict=True))
    assert first == {10: 2, 20: 0, 30: 1}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"n_channels": 7}, r"24000 bytes; 7 channels of int16 need a multiple of 14 after 0 bytes of header"),
        ({"n_channels": 5}, r"24000 bytes|4 connected contacts"),
        ({"dtype": "int13"}, "dtype 'int13'; one of int8, uint8, int16"),
        ({"sampling_frequency_hz": 0}, "sampling frequency 0.0 Hz; a positive one is needed"),
        ({"sampling_frequency_hz": "fast"}, "must be numbers"),
        ({"n_channels": 0}, "n_channels = 0; a whole number above 0"),
        ({"gain_uv": -1}, "gain_uv = -1; µV per bit above 0, or null"),
    ],
)
def test_layout_faults(tmp_path: Path, layout: dict[str, Any], message: str) -> None:
    folder = make_binary(tmp_path / "rec")
    path = folder / "recording.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | layout))
    with pytest.raises(DataError, match=message) as caught:
        open_recording(folder, BINARY)
    assert "\n" not in str(caught.value)


def test_missing_pieces(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing; a folder with a recording is needed"):
        open_recording(tmp_path / "nowhere", BINARY)
    folder = make_binary(tmp_path / "rec")
    (folder / "probe.json").rename(folder / "unrelated.txt")
    with pytest.raises(DataError, match=r"no probe file; probe\.json"):
        open_recording(folder, BINARY)
    layout = json.loads((folder / "recording.json").read_text())
    layout["sampling_rate_hz"] = layout.pop("sampling_frequency_hz")
    (folder / "recording.json").write_text(json.dumps(layout))
    with pytest.raises(DataError, match="no 'sampling_frequency_hz'; did you mean 'sampling_rate_hz'"):
        read_layout(folder)
    (folder / "part0.bin").unlink()
    (folder / "recording.json").write_text(json.dumps({"sampling_frequency_hz": 1, "n_channels": 1, "dtype": "int16"}))
    with pytest.raises(DataError, match="no traces; a file"):
        read_layout(folder)
    assert find_binary(folder) == []


def test_preprocess_gives_microvolts(tmp_path: Path, spikes: SpikesParams) -> None:
    """A 1 kHz sine of 100 µV on one channel survives filter and median reference; the offset does not."""
    n = 6000
    sine = 100 * np.sin(2 * np.pi * 1000 * np.arange(n) / RATE_HZ)
    traces = np.zeros((n, N_CHANNELS))
    traces[:, 2] = sine
    folder = make_binary(tmp_path / "rec", offset_uv=50.0)
    (folder / "part0.bin").write_bytes(np.rint(traces / 0.195).astype("<i2").tobytes())
    found = preprocess(open_recording(folder, BINARY), spikes).get_traces()[1000:5000]
    assert found.dtype == np.float32
    assert np.abs(found[:, 2]).max() == pytest.approx(100, rel=0.02)
    assert np.abs(found[:, [0, 1, 3]]).max() < 1


def test_preprocess_of_unsigned_samples_without_gain(tmp_path: Path, spikes: SpikesParams) -> None:
    folder = make_binary(tmp_path / "rec", dtype="uint16", gain_uv=None)
    recording = preprocess(open_recording(folder, BINARY), spikes)
    assert not recording.has_scaleable_traces()
    assert np.isfinite(recording.get_traces()).all()


def test_filtered_traces_are_not_filtered_again(tmp_path: Path, spikes: SpikesParams) -> None:
    """A slow sine stays when recording.json says that the traces are filtered."""
    slow = 100 * np.sin(2 * np.pi * 20 * np.arange(6000) / RATE_HZ)
    for flag, least, most in ((True, 95, 105), (False, 0, 10)):
        folder = make_binary(tmp_path / str(flag), is_filtered=flag)
        traces = np.zeros((6000, N_CHANNELS))
        traces[:, 1] = slow
        (folder / "part0.bin").write_bytes(np.rint(traces / 0.195).astype("<i2").tobytes())
        found = preprocess(open_recording(folder, BINARY), spikes).get_traces()[2000:4000, 1]
        assert least <= np.abs(found).max() <= most


def test_band_must_fit_the_rate(tmp_path: Path, spikes: SpikesParams) -> None:
    recording = open_recording(make_binary(tmp_path / "rec", sampling_frequency_hz=10_000), BINARY)
    with pytest.raises(ConfigError, match="must rise and stay below half the sampling rate, 5000 Hz"):
        preprocess(recording, spikes)


def test_saved_by_spikeinterface(tmp_path: Path) -> None:
    recording = open_recording(make_binary(tmp_path / "rec"), BINARY)
    recording.save(folder=tmp_path / "saved", verbose=False, progress_bar=False)
    recording.save(folder=tmp_path / "z" / "saved.zarr", format="zarr", verbose=False, progress_bar=False)
    (tmp_path / "z" / "saved.zarr").rename(tmp_path / "renamed")
    recording.dump(tmp_path / "j.json", relative_to=tmp_path)
    assert find_saved(tmp_path / "j.json") == [tmp_path / "j.json", tmp_path / "rec" / "part0.bin"]
    for path in (tmp_path / "saved", tmp_path / "renamed", tmp_path / "j.json"):
        found = open_recording(path, SAVED)
        assert found.get_sampling_frequency() == RATE_HZ
        np.testing.assert_array_equal(found.get_traces(), recording.get_traces())
        assert find_saved(path)


def test_pickled_or_foreign_recordings_are_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "cached.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    assert find_saved(folder) == []
    with pytest.raises(DataError, match=r"cached\.pkl is a pickle, which runs code when opened"):
        open_recording(folder, SAVED)
    (folder / "x.json").write_text('{"class": "os.path.SomeRecording", "kwargs": {}}')
    with pytest.raises(DataError, match=r"names the class 'os\.path\.SomeRecording'"):
        open_recording(folder, SAVED)


DESCRIPTION = {
    "class": "spikeinterface.core.numpyextractors.NumpyRecording",
    "module": "spikeinterface",
    "version": "0.105.3",
    "kwargs": {},
    "annotations": {},
    "properties": {},
    "relative_paths": True,
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(DESCRIPTION)[:-1] + r', "cl\u0061ss": "os.system"}', "a key stands twice"),
        (json.dumps(DESCRIPTION | {"kwargs": {"a": {"class": "spikeinterface.core.loading.load"}}}), r"loading\.load'"),
        (json.dumps(DESCRIPTION | {"kwargs": {"a": [{"class": "os.system"}]}}), r"names the class 'os\.system'"),
        (
            json.dumps(DESCRIPTION | {"kwargs": {"class": "spikeinterface.core.no_such.Recording"}}),
            "names the class 'spikeinterface.core.no_such.Recording'",
        ),
        (json.dumps(DESCRIPTION | {"kwargs": {"a": ["x.PKL"]}}), "refers to x.PKL, a pickle"),
        (json.dumps(DESCRIPTION | {"kwargs": {"file_paths": ["../x.raw"]}}), r"elsewhere \(../x.raw\).*save\(folder="),
        (json.dumps(DESCRIPTION | {"kwargs": {"folder_path": "/data/x"}}), r"elsewhere \(/data/x\)"),
    ],
)
def test_descriptions_that_are_not_opened(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        open_recording(path, SAVED)
    assert "\n" not in str(caught.value)
    assert find_saved(path) == [path]


def test_saved_folders_that_would_run_code_are_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    recording = open_recording(make_binary(tmp_path / "rec"), BINARY)
    recording.set_property("words", np.array(["a", None, "b", "c"], dtype=object))
    saved = tmp_path / "saved"
    recording.save(folder=saved, verbose=False, progress_bar=False)
    # words with gaps are objects too, and harmless
    (saved / "provenance.pkl").write_bytes(b"never opened")
    assert open_recording(saved, SAVED).get_property("words").tolist() == ["a", None, "b", "c"]
    np.save(saved / "properties" / "evil.npy", np.array([Payload()] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"evil\.npy: not a whole NumPy file of numbers and text .*Path"):
        open_recording(saved, SAVED)
    assert not (tmp_path / "ran").exists()


def test_a_saved_zarr_with_a_pickle_is_refused(tmp_path: Path) -> None:
    recording = open_recording(make_binary(tmp_path / "rec"), BINARY)
    recording.save(folder=tmp_path / "saved.zarr", format="zarr", verbose=False, progress_bar=False)
    head = tmp_path / "saved.zarr" / "channel_ids" / ".zarray"
    head.write_text(json.dumps(json.loads(head.read_text()) | {"filters": [{"id": "pickle"}]}))
    with pytest.raises(DataError, match="channel_ids: holds a pickle, which runs code when opened"):
        open_recording(tmp_path / "saved.zarr", SAVED)


def test_damaged_saved_recording(tmp_path: Path) -> None:
    open_recording(make_binary(tmp_path / "rec"), BINARY).save(folder=tmp_path / "saved", verbose=False)
    (tmp_path / "saved" / "binary.json").write_text("{}")
    with pytest.raises(DataError, match="not readable as a recording"):
        open_recording(tmp_path / "saved", SAVED)


def make_nwb(path: Path, names: tuple[str, ...]) -> Path:
    """An NWB file with raw series of int16, conversion 2e-7 V and offset 1e-6 V."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ecephys import ElectricalSeries

    file = NWBFile("x", "id", datetime(2024, 1, 1, tzinfo=UTC))
    group = file.create_electrode_group("probe", "x", "ca1", file.create_device("d"))
    for row in range(N_CHANNELS):
        file.add_electrode(rel_x=0.0, rel_y=25.0 * row, group=group, location="ca1")
    region = file.create_electrode_table_region(list(range(N_CHANNELS)), "all")
    data = np.arange(2000 * N_CHANNELS, dtype="int16").reshape(-1, N_CHANNELS)
    for name in names:
        file.add_acquisition(ElectricalSeries(name, data, region, rate=RATE_HZ, conversion=2e-7, offset=1e-6))
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def test_nwb_conversion_and_offset_are_applied(tmp_path: Path) -> None:
    make_nwb(tmp_path / "a.nwb", ("raw",))
    recording = open_recording(tmp_path, NWB)
    assert open_recording(tmp_path / "a.nwb", NWB).get_num_samples() == 2000
    assert recording.get_sampling_frequency() == RATE_HZ
    traces = recording.get_traces(start_frame=10, end_frame=11, return_in_uV=True)
    np.testing.assert_allclose(traces[0], np.arange(40, 44) * 0.2 + 1.0, rtol=1e-5)
    np.testing.assert_allclose(recording.get_channel_locations()[:, 1], [0, 25, 50, 75])


def test_nwb_with_several_series_needs_a_choice(tmp_path: Path) -> None:
    make_nwb(tmp_path / "a.nwb", ("one", "two"))
    with pytest.raises(ConfigError, match="2 streams; set `stream` to one of acquisition/one, acquisition/two"):
        open_recording(tmp_path, NWB)
    row = RecordingParams(format="nwb", stream="acquisition/two")
    assert open_recording(tmp_path, row).get_num_samples() == 2000


def test_nwb_faults(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 .nwb files \(none\); one recording is one file"):
        open_recording(tmp_path, NWB)
    make_nwb(tmp_path / "a.nwb", ())
    with pytest.raises(DataError, match="no ElectricalSeries; raw traces are needed"):
        open_recording(tmp_path, NWB)
    (tmp_path / "a.nwb").write_bytes(b"\x89HDF damaged")
    with pytest.raises(DataError, match="not readable as a recording"):
        open_recording(tmp_path, NWB)


def test_traces_without_a_probe(tmp_path: Path) -> None:
    traces = si.generate_recording(num_channels=2, durations=[1.0], set_probe=False)
    traces.save(folder=tmp_path / "saved", verbose=False)
    with pytest.raises(DataError, match="no contact positions; add a probe file"):
        open_recording(tmp_path / "saved", SAVED)

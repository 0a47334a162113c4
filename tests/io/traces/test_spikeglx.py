"""SpikeGLX heads: every real .meta parses, values are those of the text; damaged ones say what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.config import RecordingParams
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.traces.recordings import find_spikeglx, open_recording
from spikeprint.io.traces.spikeglx import check_run, find_metas, read_meta, read_positions

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "recordings" / "spikeglx_meta"
METAS = sorted(FOLDER.glob("*.meta"))
N_METAS = 18


@pytest.fixture
def real() -> Path:
    if not FOLDER.is_dir():
        pytest.skip("real data (../shared/recordings) is not on this machine")
    return FOLDER


def text_of(path: Path) -> dict[str, str]:
    """key=value lines, read as simply as can be."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def make_run(folder: Path, meta: Path, n_samples: int, name: str = "run_g0_t0.imec0.ap") -> Path:
    """A short run with the head of a real one."""
    folder.mkdir(parents=True, exist_ok=True)
    n_channels = int(text_of(meta)["nSavedChans"])
    lines = [line for line in meta.read_text().splitlines() if not line.startswith(("fileName=", "fileSizeBytes="))]
    lines += [f"fileName=D:/data/{name}.bin", f"fileSizeBytes={n_samples * n_channels * 2}"]
    (folder / f"{name}.meta").write_text("\n".join(lines) + "\n")
    samples = np.arange(n_samples * n_channels, dtype="<i2") % 100
    (folder / f"{name}.bin").write_bytes(samples.astype("<i2").tobytes())
    return folder / f"{name}.meta"


def test_all_of_them_are_there(real: Path) -> None:
    assert len(find_metas(real)) == N_METAS


@pytest.mark.parametrize("path", METAS, ids=lambda path: path.name)
def test_every_real_meta_parses_to_what_its_text_says(path: Path) -> None:
    meta, text = read_meta(path), text_of(path)
    rate = text.get("imSampRate") or text["niSampRate"]
    assert meta.sampling_frequency_hz == float(rate)
    assert meta.n_channels == int(text["nSavedChans"])
    assert meta.n_neural == len(meta.gains_uv)
    assert (meta.gains_uv > 0).all()
    if "fileTimeSecs" in text:
        assert meta.n_bytes == int(text["fileSizeBytes"])
        assert meta.duration_s == pytest.approx(float(text["fileTimeSecs"]), rel=1e-5)
    if meta.device == "imec":
        ap, lf, _ = (int(n) for n in text["snsApLfSy"].split(","))
        assert meta.n_neural == ap + lf
        assert meta.stream == ("ap" if ap else "lf")
    if meta.stream == "ap":
        positions = read_positions(path)
        assert positions is not None
        assert positions.shape == (meta.n_neural, 2)


@pytest.mark.parametrize(
    ("name", "rate", "gain", "probe_type", "stream"),
    [
        ("sample3A_g0_t0.imec.ap", 30000.0, 0.6e6 / 512 / 500, None, "imec.ap"),
        ("sample3A_g0_t0.imec.lf", 2500.0, 0.6e6 / 512 / 250, None, "imec.lf"),
        ("sample3B_g0_t0.imec1.ap", 30000.390639481, 0.6e6 / 512 / 500, 0, "imec1.ap"),
        ("sample3B_g0_t0.nidq", 30003.0003, 5e6 / 32768, None, "nidq"),
        ("sampleNP2.1_g0_t0.imec.ap", 30000.0, 0.5e6 / 8192 / 80, 21, "imec0.ap"),
        ("sampleNP2.4_4shanks_appVersion20230905.ap", 30000.0, 0.62e6 / 2048 / 100, 2013, "imec1.ap"),
        ("sampleNP2QB.imec.ap", 30000.0, 0.62e6 / 2048 / 100, 2020, "imec0.ap"),
    ],
)
def test_values_of_some(real: Path, name: str, rate: float, gain: float, probe_type: int | None, stream: str) -> None:
    meta = read_meta(real / f"{name}.meta")
    assert (meta.sampling_frequency_hz, meta.probe_type, meta.name) == (rate, probe_type, stream)
    np.testing.assert_allclose(meta.gains_uv, gain, rtol=1e-12)


def test_a_run_still_acquiring_has_no_size(real: Path) -> None:
    meta = read_meta(real / "sampleNP2.4_4shanks_while_acquiring_incomplete.ap.meta")
    assert meta.n_bytes is None
    assert meta.duration_s is None


def test_saved_subset_takes_its_own_gains(real: Path, tmp_path: Path) -> None:
    """Channel 5 of the table gets another gain; only channels 5 and 6 were saved."""
    text = (real / "sample3B_g0_t0.imec1.ap.meta").read_text()
    text = text.replace("(5 0 0 500 250 1)", "(5 0 0 1000 250 1)").replace("snsApLfSy=384,0,1", "snsApLfSy=2,0,1")
    text = text.replace("snsSaveChanSubset=0:383,768", "snsSaveChanSubset=5:6,768")
    (tmp_path / "a.imec0.ap.meta").write_text(text)
    np.testing.assert_allclose(
        read_meta(tmp_path / "a.imec0.ap.meta").gains_uv, [0.6e6 / 512 / 1000, 0.6e6 / 512 / 500]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("imSampRate=30000.390639481", ""), "no 'imSampRate'"),
        (("imSampRate=30000.390639481", "imSampRate=fast"), "a number is damaged"),
        (("typeThis=imec", "typeThis=video"), "typeThis = 'video'; imec, nidq or obx is needed"),
        (("nSavedChans=", "channels="), "not a SpikeGLX .meta file"),
        (("imSampRate=30000.390639481", "imSampRate=0"), "0.0 Hz, 385 channels; both must be above 0"),
    ],
)
def test_damaged_meta_says_what_is_missing(real: Path, tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "a.imec1.ap.meta"
    path.write_text((real / "sample3B_g0_t0.imec1.ap.meta").read_text().replace(*change))
    with pytest.raises(DataError, match=message) as caught:
        read_meta(path)
    assert "\n" not in str(caught.value)


def test_missing_meta() -> None:
    with pytest.raises(DataError, match=r"missing; a SpikeGLX \.meta file is needed"):
        read_meta(Path("nowhere.imec0.ap.meta"))


def test_run_opens_with_rate_gain_and_probe(real: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.ap.meta", 300)
    assert find_spikeglx(tmp_path / "run") == [path, path.with_suffix(".bin")]
    recording = open_recording(tmp_path / "run", RecordingParams(format="spikeglx"))
    assert recording.get_sampling_frequency() == 30000.390639481
    assert recording.get_num_channels() == 384
    np.testing.assert_allclose(recording.get_channel_gains(), 2.34375)
    np.testing.assert_allclose(recording.get_channel_locations(), read_positions(path))
    traces = recording.get_traces(start_frame=0, end_frame=1, return_in_uV=True)
    np.testing.assert_allclose(traces[0, :3], np.array([0, 1, 2]) * 2.34375)


def test_run_errors(real: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.ap.meta", 30)
    row = RecordingParams(format="spikeglx", stream="imec9.ap")
    with pytest.raises(ConfigError, match=r"no stream 'imec9\.ap'; did you mean 'imec0\.ap'\?; there are: imec0\.ap"):
        open_recording(tmp_path / "run", row)
    with path.with_suffix(".bin").open("ab") as file:
        file.write(b"abc")
    with pytest.raises(
        DataError, match="385 channels of int16 \\(nSavedChans\\) need a multiple of 770; copy it again"
    ):
        open_recording(tmp_path / "run", RecordingParams(format="spikeglx"))
    path.with_suffix(".bin").unlink()
    with pytest.raises(DataError, match=r"missing; the traces of run_g0_t0\.imec0\.ap\.meta are needed"):
        check_run(path)
    assert find_spikeglx(tmp_path / "run") == []
    path.unlink()
    with pytest.raises(DataError, match=r"no SpikeGLX .meta file \(run_g0_t0.imec0.ap.meta\)"):
        open_recording(tmp_path / "run", RecordingParams(format="spikeglx"))


def test_several_streams_need_a_choice_unless_one_is_ap(real: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.ap.meta", 30)
    make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.lf.meta", 30, "run_g0_t0.imec0.lf")
    assert open_recording(tmp_path / "run", RecordingParams(format="spikeglx")).get_sampling_frequency() > 30000
    low = open_recording(tmp_path / "run", RecordingParams(format="spikeglx", stream="imec0.lf"))
    assert low.get_sampling_frequency() == 2500.0325532900833


def test_a_file_opens_its_own_run(real: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.ap.meta", 300)
    low = make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.lf.meta", 30, "run_g0_t0.imec0.lf")
    row = RecordingParams(format="spikeglx")
    for file, n_samples in ((path, 300), (path.with_suffix(".bin"), 300), (low.with_suffix(".bin"), 30)):
        assert open_recording(file, row).get_num_samples() == n_samples
    make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.ap.meta", 30, "run_g0_t1.imec0.ap")
    with pytest.raises(DataError, match=r"2 runs of stream imec0\.ap lie in its folder; move this one"):
        open_recording(path, row)


def test_a_binary_cut_off_is_refused(real: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", real / "sample3B_g0_t0.imec1.ap.meta", 30)
    whole = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(whole[: -770 * 2])
    with pytest.raises(DataError, match=r"21560 bytes; run_g0_t0\.imec0\.ap\.meta says fileSizeBytes=23100: cut off"):
        open_recording(tmp_path / "run", RecordingParams(format="spikeglx"))
    lines = [line for line in path.read_text().splitlines() if not line.startswith("fileSizeBytes=")]
    path.write_text("\n".join(lines))
    assert check_run(path).n_bytes is None

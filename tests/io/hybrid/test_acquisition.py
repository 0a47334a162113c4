"""Files of acquisition systems come in, go out as flat binaries with hybrid units, and their samples come back."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from acquisition_files import NSX_GAIN_UV, RHD_GAIN_UV, write_blackrock, write_intan
from hybrid_data import Toy, make_toy
from spikeprint.cli import main
from spikeprint.core.config import RecordingParams
from spikeprint.io.hybrid.fingerprint import hash_file
from spikeprint.io.traces.recordings import open_recording


@dataclass(frozen=True)
class System:
    """A writer, the ending of its files, type, gain and offset (bits) of their samples, samples of a whole block."""

    write: Callable[[Path, np.ndarray], None]
    suffix: str
    dtype: str
    gain_uv: float
    zero: int
    block: int


SYSTEMS = {
    "intan": System(write_intan, ".rhd", "uint16", RHD_GAIN_UV, 32768, 128),
    "blackrock": System(write_blackrock, ".ns6", "int16", NSX_GAIN_UV, 0, 1),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("systems") / "recording", seconds=3.0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_file_of_the_system_goes_through_the_verb_and_back(name: str, toy: Toy, tmp_path: Path) -> None:
    system, folder, target = SYSTEMS[name], tmp_path / "session", tmp_path / "target"
    traces = np.fromfile(toy.folder / "traces0.bin", "<i2").reshape(-1, 24)
    folder.mkdir()
    system.write(folder / f"session{system.suffix}", traces)
    shutil.copy2(toy.folder / "probe.json", folder / "probe.json")
    before = hash_file(folder / f"session{system.suffix}")
    stored = traces[: len(traces) // system.block * system.block].astype(int) + system.zero

    np.savez(tmp_path / "units.npz", sampling_frequency_hz=30_000.0, **toy.trains)
    options = ["--set=units=['3']", "--set=channels.radius_um=45", "--set=times.mode=renewal"]
    words = ["plan", target, "--source", folder, "--sorting", tmp_path / "units.npz", *options]
    for step in (words, ["apply", target]):
        assert main(["hybrid", *map(str, step)]) == 0
    (hybrid,) = target.glob("*.GT.bin")
    added = np.fromfile(hybrid, system.dtype).reshape(-1, 24).astype(int) - stored
    assert np.abs(added).max() > 100
    assert (added == 0).mean() > 0.5
    opened = open_recording(target, RecordingParams(format="binary"))
    assert opened.get_sampling_frequency() == 30_000
    assert opened.get_channel_gains() == pytest.approx([system.gain_uv] * 24)
    assert opened.get_channel_offsets() == pytest.approx([-system.zero * system.gain_uv] * 24)
    np.testing.assert_array_equal(opened.get_channel_locations(), toy.positions_um)
    assert main(["hybrid", "remove", str(target)]) == 0
    np.testing.assert_array_equal(np.fromfile(hybrid, system.dtype).reshape(-1, 24), stored)
    assert hash_file(folder / f"session{system.suffix}") == before


def test_a_file_that_is_cut_is_told(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy2(toy.folder / "probe.json", tmp_path / "probe.json")
    for suffix, told in ((".rhd", "not readable as intan"), (".ns6", "not readable as blackrock")):
        (tmp_path / f"cut{suffix}").write_bytes(b"NEURALCD")
        words = ["plan", tmp_path / "t", "--source", tmp_path / f"cut{suffix}", "--sorting", toy.sorting]
        assert main(["hybrid", *map(str, words)]) == 1
        assert told in capsys.readouterr().err
    assert not (tmp_path / "t").exists()

"""Stages simulate_recording and spikes: from params.yaml to an arrays folder, without looking at the truth."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from spikeprint.core.errors import ConfigError
from spikeprint.io.arrays import read_sorting
from spikeprint.stages import simulate_recording, spikes


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small parameters and one recording whose sorting is given."""
    values = yaml.safe_load((root / "params.yaml").read_text())
    row = {"n_channels": 8, "n_units": 3, "duration_s": 4, "sampling_frequency_hz": 25000, "noise_uv": 6}
    values["simulate"]["recordings"] = {"small": row}
    values["recordings"] = {"small": {"format": "binary"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_traces_and_a_given_sorting_become_units(project: Path) -> None:
    simulate_recording.main(["small"])
    raw = project / "data" / "raw" / "small"
    assert sorted(path.name for path in raw.iterdir()) == ["probe.json", "recording.json", "traces.bin", "truth"]
    truth = read_sorting(raw / "truth")
    trains = {
        u: truth.spike_times[a:b] for u, a, b in zip(truth.unit_ids, truth.offsets, truth.offsets[1:], strict=False)
    }
    np.savez(raw / "units.npz", **trains)
    shutil.rmtree(raw / "truth")
    spikes.main(["small"])
    found = read_sorting(project / "data" / "interim" / "sortings" / "small")
    np.testing.assert_array_equal(found.spike_times, truth.spike_times)
    assert found.templates is not None
    assert found.templates.unit == "uV"
    assert found.noise_uv is not None
    assert found.amplitudes_uv is not None


def test_truth_is_not_a_sorting(project: Path) -> None:
    simulate_recording.main(["small"])
    with pytest.raises(ConfigError, match="no sorting in it"):
        spikes.main(["small"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "found nothing, needs one row of recordings: small"),
        (["smal"], "found smal, needs one row of recordings: small; did you mean 'small'"),
    ],
)
def test_spikes_needs_a_known_recording(project: Path, argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spikes.main(argv)


def test_simulate_recording_needs_a_known_row(project: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"found smal, needs one row of simulate.recordings: small; did you mean 'small'\?"
    ):
        simulate_recording.main(["smal"])

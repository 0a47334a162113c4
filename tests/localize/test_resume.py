"""A localiser whose training is killed goes on after its last whole epoch, and ends as if nothing had happened."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.localize_params import LocalizeParams
from spikeprint.core.spikes import Source
from spikeprint.localizer import SpikeLocalizer

TRAIN = """
import sys
from pathlib import Path
from spikeprint.core.config import RecordingParams
from spikeprint.core.localize_params import LocalizeParams
from spikeprint.io.traces.recordings import open_recording
from spikeprint.localizer import SpikeLocalizer

if __name__ == "__main__":
    recording = open_recording(Path(sys.argv[1]), RecordingParams(format="binary"))
    SpikeLocalizer(LocalizeParams.model_validate_json(sys.argv[2])).fit(recording, Path(sys.argv[3]))
"""


@pytest.fixture
def short(params: LocalizeParams) -> LocalizeParams:
    network = params.network.model_copy(update={"n_spikes": 2_000, "epochs": 5})
    return params.model_copy(update={"network": network})


def test_a_killed_training_goes_on(
    short: LocalizeParams, source: Source, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script, store = tmp_path / "train.py", tmp_path / "store"
    script.write_text(TRAIN)
    words = [sys.executable, "-W", "ignore", str(script), str(folder), short.model_dump_json(), str(store)]
    child = subprocess.Popen(words)
    deadline = time.monotonic() + 300
    while not list(store.glob("*/simulated/state.ckpt")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    assert child.wait() == -9, "it was still at work"
    with caplog.at_level(logging.INFO, logger="spikeprint.training"):
        resumed = SpikeLocalizer(short).fit_source(source, store)
    assert "going on from" in caplog.text
    whole = SpikeLocalizer(short).fit_source(source)
    assert resumed.curves_ == whole.curves_
    assert resumed.fitted_ is not None
    assert whole.fitted_ is not None
    assert all(np.array_equal(value, resumed.fitted_.arrays[name]) for name, value in whole.fitted_.arrays.items())


def test_another_seed_or_recording_does_not_go_on_from_it(
    short: LocalizeParams, source: Source, tmp_path: Path
) -> None:
    tiny = short.model_copy(
        update={"network": short.network.model_copy(update={"n_spikes": 1_000, "epochs": 1}), "joint": short.joint}
    )
    peaks = source.peaks
    half = peaks.take(slice(0, len(peaks) // 2))
    names = {
        SpikeLocalizer(tiny, seed=seed)._digest(found)
        for seed in (0, 1)
        for found in (source, type(source)(**{**vars(source), "peaks": half}))
    }
    assert len(names) == 4

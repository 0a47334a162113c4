"""Stage explore: what it writes of a small recording that was localised, and what it refuses."""

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from spikeprint.core.config import RawSessionParams
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.files import read_json
from spikeprint.core.spikes import Peaks
from spikeprint.io.arrays import write_sorting
from spikeprint.io.traces.ground_truth import write_recording
from spikeprint.report.explorer import N_SHOWN
from spikeprint.report.movie import can_write_movies
from spikeprint.stages import explore, localize, snippets

RAW = RawSessionParams(
    n_channels=12, n_units=5, duration_s=8, sampling_frequency_hz=25000, noise_uv=6, drift_um=5, drift_period_s=8
)


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one localised recording; its sorting is the truth."""
    made = tmp_path_factory.mktemp("explored")
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["recordings"], values["localized"] = {"small": {"format": "binary"}}, {"small": {}}
    values["localize"]["method"] = "monopole"
    row = {"folder": "data/interim/localized/small", "technology": "neuropixels", "species": "mouse"}
    values["datasets"], values["hybrid"] = {"small": row | {"format": "arrays"}}, {}
    (made / "params.yaml").write_text(yaml.safe_dump(values))
    (made / "dvc.yaml").write_text("stages: {}\n")
    sorting = write_recording(made / "data/raw/small", RAW, 2)
    write_sorting(made / "data/interim/sortings/small", sorting)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.setenv("SPIKEPRINT_WORKERS", "1")
        snippets.main(["small"])
        localize.main(["small"])
        explore.main(["small"])
    return made


def test_the_page_holds_the_spikes_and_every_localiser_that_needs_no_training(folder: Path) -> None:
    page = (folder / "reports/explorer/small.html").read_text(encoding="utf-8")
    told = json.loads(re.search(r'<script id="payload" type="application/json">(.*?)</script>', page, re.S)[1])
    scores = read_json(folder / "reports/metrics/localize/small.json")
    assert (told["title"], told["method"]) == ("small", "monopole")
    assert told["about"]["median_um"] == pytest.approx(scores["median_um"])
    names = {"peak_channel", "center_of_mass", "grid_convolution", "monopole_library", "monopole"}
    assert set(told["snippets"]["estimates"]) == names
    assert told["snippets"]["waves"]["shape"][1:3] == [2, 10]
    error = told["spikes"]["error"]
    steps = np.frombuffer(base64.b64decode(error["data"]), dtype=np.int16)
    known = steps[steps != -32768] * error["scale"] + error["offset"]
    assert np.median(known) == pytest.approx(scores["median_um"], abs=0.05)
    # the sorting is the truth: a peak that is a true spike has a unit
    units = np.frombuffer(base64.b64decode(told["spikes"]["unit"]["data"]), dtype=np.int16)
    assert (units >= 0).mean() == pytest.approx((steps != -32768).mean(), abs=0.05)


def test_the_figures_are_written_and_nothing_else(folder: Path) -> None:
    names = {path.name for path in (folder / "reports/localization/small").iterdir()}
    assert {"raster.png", "comparison.png", "agreement.png", "motion.png", "displacements.png"} <= names
    assert ("movie.mp4" in names) == can_write_movies()
    assert all(name.endswith((".png", ".mp4")) for name in names)


def test_spikes_with_waveforms_come_from_few_seconds_of_a_long_recording() -> None:
    samples = np.arange(0, 3_600_000, 30)
    peaks = Peaks(
        samples, np.zeros(len(samples), dtype=int), np.ones(len(samples), dtype=np.float32), 1000.0, 3_600_000
    )
    rows = explore.choose_shown(peaks, seed=0)
    assert len(np.unique(rows)) == N_SHOWN
    assert (np.diff(rows) > 0).all()
    seconds = np.unique(peaks.times_s[rows].astype(int))
    assert 100 < len(seconds) <= explore.MAX_SECONDS
    assert seconds[-1] - seconds[0] > 3000
    few = peaks.take(np.arange(50))
    np.testing.assert_array_equal(explore.choose_shown(few, seed=0), np.arange(50))


def test_a_changed_recording_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "project"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "data/raw/small")
    write_recording(copy / "data/raw/small", RAW.model_copy(update={"duration_s": 9}), 2)
    monkeypatch.chdir(copy)
    with pytest.raises(DataError, match=r"recording: 225000 samples .* peaks of 200000 samples .* localise this"):
        explore.main(["small"])


def test_explore_needs_a_known_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=r"found smal, needs one row of localized: small"):
        explore.main(["smal"])

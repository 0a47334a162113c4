"""A small drifting recording with its truth, its peaks, and a network trained on its simulated world for seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeprint.core.config import RawSessionParams, RecordingParams
from spikeprint.core.localize_params import LocalizeParams
from spikeprint.core.production import LOCALIZATION
from spikeprint.core.spikes import GroundTruth, Source
from spikeprint.io.traces.ground_truth import write_recording
from spikeprint.io.traces.recordings import open_recording
from spikeprint.io.traces.truth import read_truth
from spikeprint.localize.fit import FittedLocalizer, fit_localizer
from spikeprint.localize.reference import Recipe, fit_reference
from spikeprint.localizer import SpikeLocalizer

RAW = RawSessionParams(
    n_channels=32, n_units=12, duration_s=16, sampling_frequency_hz=30000, noise_uv=6, drift_um=10, drift_period_s=16
)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEPRINT_WORKERS", "1")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def params() -> LocalizeParams:
    """Production, small and short."""
    network = LOCALIZATION.network.model_copy(
        update={"n_neighbours": 12, "n_hidden": 32, "n_layers": 1, "n_spikes": 5_000, "epochs": 3, "batch_size": 128}
    )
    joint = LOCALIZATION.joint.model_copy(update={"outer": 1, "epochs": 2, "block_bins": 8, "min_spikes": 10})
    return LOCALIZATION.model_copy(update={"network": network, "joint": joint})


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording as ``simulate_recording`` leaves it."""
    made = tmp_path_factory.mktemp("drifting") / "raw"
    write_recording(made, RAW, seed=4)
    return made


@pytest.fixture(scope="session")
def recording(folder: Path) -> Any:
    """The same as SpikeInterface opens it."""
    return open_recording(folder, RecordingParams(format="binary"))


@pytest.fixture(scope="session")
def truth(folder: Path) -> GroundTruth:
    """Where its neurons are."""
    return read_truth(folder)


@pytest.fixture(scope="session")
def source(recording: Any, params: LocalizeParams) -> Source:
    """Its peaks and snippets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKEPRINT_WORKERS", "1")
        return SpikeLocalizer(params).open(recording)


@pytest.fixture(scope="session")
def fitted(source: Source, params: LocalizeParams) -> dict[str, FittedLocalizer]:
    """Every network of the table, trained for seconds."""
    recipe = Recipe(n_spikes=3_000, epochs=2, batch_size=64)
    return {
        "production": fit_localizer(source, params.network, seed=0),
        "cnn": fit_reference(source, "cnn", recipe, seed=0),
        "transformer": fit_reference(source, "transformer", Recipe("truth", 400, 1, 64), seed=0),
    }


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded."""
    return np.random.default_rng(0)

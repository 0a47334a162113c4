"""What all tests share: a seeded set of units, quiet tools, the way to the shared real data."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from spikeprint.core.config import ModelParams, Params
from spikeprint.cvae.units import Units

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_datasets() -> Path:
    """The real datasets beside the project; tests that need them are skipped where they are absent."""
    folder = ROOT.parent / "shared" / "datasets"
    if not folder.is_dir():
        pytest.skip("real data (../shared/datasets) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def model_params() -> ModelParams:
    """The production row, small and short."""
    base = Params.load(ROOT / "params.yaml").ablation("production")
    return base.model_copy(update={"n_latent": 6, "n_hidden": 32, "epochs": 25, "patience": 25, "batch_size": 64})


@pytest.fixture(scope="session")
def units() -> Units:
    """180 units of three easy classes in two datasets, made with NumPy: canonical arrays, some modalities missing."""
    rng = np.random.default_rng(7)
    n = 180
    kind = np.arange(n) % 3
    samples, lags = np.arange(50), np.arange(1, 101)
    width = np.array([1.5, 2.5, 4.0])[kind][:, None] * rng.lognormal(0, 0.1, (n, 1))
    waveform = -np.exp(-0.5 * ((samples - 20) / width) ** 2) * rng.uniform(50, 200, (n, 1)) + rng.normal(0, 2, (n, 50))
    rate = np.array([5.0, 20.0, 60.0])[kind][:, None] * rng.lognormal(0, 0.2, (n, 1))
    isi = rng.poisson(2000 * np.exp(-np.arange(100) * rate / 1000) * rate / 1000).astype(float)
    half = rng.poisson(20 * rate * (1 - np.exp(-lags / (40 / np.sqrt(rate))))).astype(float)
    acg = np.hstack([half[:, ::-1], np.zeros((n, 1)), half])
    acg[::10] = np.nan
    waveform[5] = np.nan
    dataset = np.where(np.arange(n) < 110, "left", "right")
    origin = {
        "dataset": dataset,
        "technology": np.where(dataset == "left", "neuropixels", "tetrode"),
        "species": np.full(n, "mouse"),
    }
    labels = np.array(["PV", "SOM", "pyramidal"])[kind]
    labels[::15] = ""
    return Units({"waveform": waveform, "isi": isi, "acg": acg}, origin, labels)

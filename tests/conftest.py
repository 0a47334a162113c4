"""What all tests share: a seeded set of units, quiet tools, the way to the shared real data."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from spikeprint.core.config import ModelParams, Params
from spikeprint.cvae.units import Units
from support import Project, make_once, shrink

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left alone with one at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def _forget_tracking_store() -> None:
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(autouse=True)
def _own_tracking_store() -> Iterator[None]:
    """MLflow keeps its address in a global and in the environment: no test may leave its own to the next."""
    _forget_tracking_store()
    yield
    _forget_tracking_store()


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A verb called in this process sets up logging for it, and for what it starts: no test may leave that behind."""
    monkeypatch.setenv("SPIKEPRINT_QUIET", "")  # so that it is restored whoever sets it
    loggers = [logging.getLogger(name) for name in ("spikeprint", "__main__")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


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
    small = {"n_members": 4, "n_latent": 6, "n_hidden": 24, "epochs": 25, "patience": 25, "batch_size": 64}
    return base.model_copy(update={**small, "validation_frac": 0.25})


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
        "region": np.full(n, ""),
        "representation": np.full(n, "1ms"),
    }
    labels = np.array(["PV", "SOM", "pyramidal"])[kind]
    labels[::15] = ""
    return Units({"waveform": waveform, "isi": isi, "acg": acg}, origin, labels)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def fresh_project(common: Path) -> Project:
    """A clone of the work tree with small parameters, committed, nothing run."""
    return make_once(common / "fresh" / "project", _start)


@pytest.fixture(scope="session")
def finished_project(fresh_project: Project, common: Path) -> Project:
    """The same after ``spikeprint run`` and a commit: outputs, MLflow runs, a registered version. Tests copy it."""

    def finish(folder: Path) -> None:
        project = fresh_project.copy(folder)
        project.run("spikeprint", "run")
        project.commit("first run")

    return make_once(common / "finished" / "project", finish)


def _start(folder: Path) -> None:
    project = Project(folder)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.splitlines()):
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("reports/"):
            (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, project.folder / name)
    project.edit_params(shrink)
    project.run("git", "init", "-q", "-b", "main")
    project.run("dvc", "remote", "add", "--local", "--default", "storage", project.folder.parent / "remote")
    project.commit("start")


@pytest.fixture
def project(finished_project: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, for one test to change."""
    return finished_project.copy(tmp_path / "project")

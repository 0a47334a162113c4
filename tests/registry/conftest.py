"""A project whose pipeline "has run": real bundles and tables, a hand-written dvc.lock, an MLflow store that is copied.

Creating a tracking database takes seconds, so one is made per session and every test gets a copy.
"""

import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from spikeprint.core.files import write_arrays, write_csv, write_json
from spikeprint.core.types import UnitTable
from spikeprint.cvae.networks import CVAENetwork, NetworkShape
from spikeprint.features.transforms import INPUT_LENGTHS
from spikeprint.io.datasets import write_canonical
from spikeprint.registry.bundle import write_bundle
from spikeprint.registry.lock import dvc_md5

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["PV", "SOM", "pyramidal"]
SCORES = {"left": (0.8, 0.3), "right": (0.7, 0.4)}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an empty tracking store."""
    from spikeprint.registry.tracking import connect

    folder = make_project(tmp_path_factory.mktemp("template") / "project")
    connect(folder)
    return folder


@pytest.fixture(scope="session")
def registered_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose production row is version 1 and holds @staging."""
    from spikeprint.registry.register import register

    folder = shutil.copytree(template, tmp_path_factory.mktemp("registered") / "project")
    register(folder)
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``template`` that a test may change."""
    return _own_copy(template, tmp_path, monkeypatch)


@pytest.fixture
def registered(registered_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``registered_template`` that a test may change."""
    return _own_copy(registered_template, tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def two_template(registered_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with version 1 in production and a better version 2 in staging."""
    from spikeprint.registry.promote import promote
    from spikeprint.registry.register import register

    folder = shutil.copytree(registered_template, tmp_path_factory.mktemp("two") / "project")
    promote(folder, "production")
    write_results(folder, "production", 5, dict.fromkeys(("left", "right"), (0.9, 0.3)))
    write_lock(folder)
    register(folder)
    return folder


@pytest.fixture
def two(two_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``two_template`` that a test may change (the bundles in its store are shared)."""
    return _own_copy(two_template, tmp_path, monkeypatch)


@pytest.fixture
def request_units() -> dict[str, np.ndarray]:
    """Four canonical units; the last has no ACG."""
    arrays = make_arrays(4, seed=3)
    arrays["acg"][3] = np.nan
    return arrays


@pytest.fixture
def make_parts():
    """Give the function that makes a model's config and arrays."""
    return make_model


@pytest.fixture(name="write_results")
def _write_results():
    """Give the function that replaces the results of a row."""
    return write_results


@pytest.fixture
def retrain():
    """Give a function that replaces the production row by another model with other scores."""

    def change(project: Path, seed: int, accuracy: float, *datasets: str) -> None:
        write_results(project, "production", seed, dict.fromkeys(datasets or ("left",), (accuracy, 0.3)))
        write_lock(project)

    return change


@pytest.fixture
def relock():
    """Give the function that rewrites dvc.lock after a change of files."""
    return write_lock


def _own_copy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return shutil.copytree(folder, tmp_path / "project")


def make_project(folder: Path) -> Path:
    """Write params.yaml, two canonical datasets, two trained and evaluated rows, and the lock that fits them."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["datasets"] = {
        "left": {"folder": "data/raw/left", "technology": "neuropixels", "species": "mouse", "format": "csv"},
        "right": {"folder": "data/raw/right", "technology": "tetrode", "species": "rat", "format": "csv"},
    }
    params["gates"] |= {"clean_commit": False, "max_missed_expectations": 0}
    params["model"] |= {"n_members": 1, "n_latent": 5, "n_hidden": 16, "head": "logistic"}
    params["ablations"] = {name: params["ablations"][name] for name in ("production", "baseline")}
    folder.mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for seed, name in enumerate(params["datasets"]):
        arrays = make_arrays(12, seed)
        arrays["waveform"] = arrays["waveform"].astype(np.float32)
        metadata = pd.DataFrame({"unit_id": [f"{name}-{i}" for i in range(12)], "passes_qc": True, "qc_reason": ""})
        card = {"dataset": name, **params["datasets"][name]}
        table = UnitTable(**arrays, labels=np.array(CLASSES * 4), metadata=metadata, card=card)
        write_canonical(folder / "data" / "canonical" / name, table)
        raw = folder / "data" / "raw" / name
        raw.mkdir(parents=True)
        for file in ("units.csv", "more.csv"):
            (raw / file).write_text(f"{name}/{file}\n", encoding="utf-8")
        expectations = [{"expectation": "expect_rows", "column": "", "success": True, "observed": 12}]
        report = {"n_units": 12, "failures": 0, "expectations": expectations}
        write_json(folder / "reports" / "metrics" / "validation" / f"{name}.json", report)
    for seed, name in enumerate(params["ablations"]):
        write_results(folder, name, seed)
    write_lock(folder)
    (folder / ".gitignore").write_text("*\n!params.yaml\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "params.yaml"], ["commit", "-q", "-m", "start"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    return folder


def make_arrays(n_units: int, seed: int) -> dict[str, np.ndarray]:
    """Canonical waveform (n, 50), isi (n, 100) and acg (n, 201), float64."""
    rng = np.random.default_rng(seed)
    half = rng.poisson(5, (n_units, 100)).astype(float)
    return {
        "waveform": rng.normal(0, 20, (n_units, 50)),
        "isi": rng.poisson(5, (n_units, 100)).astype(float),
        "acg": np.hstack([half[:, ::-1], np.zeros((n_units, 1)), half]),
    }


def make_model(seed: int = 0) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Config and arrays of an untrained model with a random logistic head."""
    shape = NetworkShape(
        lengths=dict(INPUT_LENGTHS),
        n_members=1,
        n_latent=5,
        n_hidden=16,
        n_condition=2,
        condition_sizes={"dataset": 2, "technology": 2},
        n_classes=len(CLASSES),
        class_in_encoder=False,
        class_in_decoder=True,
        use_fusion=True,
        use_batch_norm=True,
        dropout=0.1,
        input_dropout=0.0,
        input_share=1.0,
    )
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    arrays = {f"network.{name}": value.numpy() for name, value in CVAENetwork(shape).state_dict().items()}
    head = {"mean": np.zeros(5), "scale": np.ones(5), "weights": rng.normal(size=(5, 3)), "bias": np.zeros(3)}
    arrays |= {f"head.{name}": value for name, value in head.items()}
    vocabulary = {"dataset": ["left", "right"], "technology": ["neuropixels", "tetrode"]}
    words = {"vocabulary": vocabulary, "classes": CLASSES, "head": {"kind": "logistic", "classes": CLASSES}}
    return {"shape": asdict(shape), "use_descriptors": False, **words}, arrays


def write_results(folder: Path, name: str, seed: int, scores: dict[str, tuple[float, float]] = SCORES) -> None:
    """Write what train, embed and evaluate leave behind; ``scores`` holds accuracy and control per dataset."""
    write_bundle(folder / "models" / "cvae" / name, *make_model(seed))
    write_arrays(folder / "models" / "cvae" / name / "folds.safetensors", {"fold_0.x": np.zeros(3)})
    write_arrays(folder / "data" / "embeddings" / name / "embeddings.safetensors", {"final": np.full((24, 5), seed)})
    metrics = {
        dataset: {
            "n_units": 12,
            "classes": dict.fromkeys(CLASSES, 4),
            "logistic": {
                "balanced_accuracy": {"mean": accuracy, "sd": 0.1, "folds": [accuracy, None]},
                "calibration_error": 0.05,
            },
            "sets": {"coverage": 0.9, "size": 1.2, "called_novel": 0.1},
            "control": {"balanced_accuracy": {"mean": control, "sd": 0.1, "folds": [control]}},
        }
        for dataset, (accuracy, control) in scores.items()
    }
    accuracy, control = np.mean(list(scores.values()), axis=0)
    overall = {"logistic": {"balanced_accuracy": accuracy}, "control": {"balanced_accuracy": control}}
    report = {"ablation": name, "head": "logistic", "n_units": 24, "datasets": metrics, "overall": overall}
    write_json(folder / "reports" / "metrics" / f"{name}.json", report)
    plots = folder / "reports" / "plots"
    losses = [
        (model, epoch, split, part, 1.0 / epoch)
        for model in ("final", "fold_0")
        for epoch in (1, 2, 3)
        for split in ("train", "val")
        for part in ("total", "kl")
    ]
    write_csv(plots / "predictions" / f"{name}.csv", make_predictions({d: a for d, (a, _) in scores.items()}, seed))
    columns = ["model", "epoch", "split", "part", "value"]
    write_csv(plots / "losses" / f"{name}.csv", pd.DataFrame(losses, columns=columns))
    write_csv(
        plots / "confusion" / f"{name}.csv", pd.DataFrame({"dataset": ["left"], "actual": "PV", "predicted": "PV"})
    )


def make_predictions(accuracy: dict[str, float], seed: int) -> pd.DataFrame:
    """Out-of-fold predictions of 90 units per dataset, in five folds, of which a share is right."""
    tables = []
    for dataset, share in accuracy.items():
        actual = np.array(CLASSES * 30)
        order = np.random.default_rng(seed).permutation(90)
        wrong = np.isin(np.arange(90), order[: round(90 * (1 - share))])
        tables.append(
            pd.DataFrame(
                {
                    "dataset": dataset,
                    "unit_id": [f"{dataset}-{i}" for i in range(90)],
                    "cell_type": actual,
                    "fold": np.arange(90) // 3 % 5,
                    "predicted": np.where(wrong, np.roll(actual, 1), actual),
                    "confidence": 0.9,
                    "model": "out_of_fold",
                }
            )
        )
    return pd.concat(tables)


def write_lock(folder: Path) -> None:
    """Write the dvc.lock that fits the files and parameters of a project."""
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    stages: dict[str, Any] = {}
    for name in params["datasets"]:
        stages[f"features@{name}"] = _entry(folder, [f"data/raw/{name}"], [f"data/canonical/{name}"])
        report = f"reports/metrics/validation/{name}.json"
        stages[f"validate@{name}"] = _entry(folder, [f"data/canonical/{name}"], [report])
    for name, row in params["ablations"].items():
        bundle, embedding = f"models/cvae/{name}", f"data/embeddings/{name}"
        losses, *plots = (f"reports/plots/{kind}/{name}.csv" for kind in ("losses", "confusion", "predictions"))
        used = {key: params[key] for key in ("seed", "datasets", "model", "presets", "evaluate")} | {
            f"ablations.{name}": row
        }
        stages[f"train@{name}"] = _entry(
            folder, ["data/canonical", "reports/metrics/validation"], [bundle, losses], used
        )
        stages[f"embed@{name}"] = _entry(folder, ["data/canonical", bundle], [embedding])
        stages[f"evaluate@{name}"] = _entry(folder, [embedding], [f"reports/metrics/{name}.json", *plots])
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def _entry(folder: Path, deps: list[str], outs: list[str], params: dict[str, Any] | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "cmd": "python",
        **{
            kind: [{"path": path, "hash": "md5", "md5": dvc_md5(folder / path)} for path in paths]
            for kind, paths in (("deps", deps), ("outs", outs))
        },
    }
    return entry | ({"params": {"params.yaml": params}} if params else {})

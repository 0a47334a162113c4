"""Made-up tables in the layout the stages write, so that the report is tested before and without the pipeline."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.types import UNLABELLED, UnitTable

PARTS = ("total", "waveform", "isi", "acg", "kl", "classification", "consistency")


def make_table(name: str, cell_types: list[str], n_units: int = 60, seed: int = 0) -> UnitTable:
    """Units whose width, rate and burstiness depend on their type; one in six unlabelled, one in twelve failing QC."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, max(len(cell_types), 1), n_units)
    labels = np.array(cell_types or [UNLABELLED])[code].astype(object)
    labels[rng.random(n_units) < 1 / 6] = UNLABELLED
    ms, k, lag = (np.arange(50) - 20) / 20, np.arange(100) + 0.5, np.abs(np.arange(-100, 101))
    width = (0.15 + 0.05 * (code % 7))[:, None] * rng.uniform(0.9, 1.1, (n_units, 1))
    waveform = -np.exp(-((ms / width) ** 2)) + 0.4 * np.exp(-(((ms - 3 * width) / (2 * width)) ** 2))
    rate = (3.0 + 6.0 * (code % 5))[:, None]
    isi = rng.poisson(40 * rate * np.exp(-k * rate / 100) * (k > 1.5))
    acg = rng.poisson(20 * rate * (1 - np.exp(-lag / (2 + code[:, None] % 4)))).astype(np.float64)
    metadata = pd.DataFrame({"unit_id": [f"{name}_{i}" for i in range(n_units)], "firing_rate_hz": rate[:, 0]})
    metadata["passes_qc"] = rng.random(n_units) > 1 / 12
    metadata["qc_reason"] = np.where(metadata["passes_qc"], "", "isi_violations_ratio")
    card = {"dataset": name, "technology": "neuropixels", "species": "mouse", "format": "csv"}
    scaled = (100 * waveform).astype(np.float32)
    return UnitTable(scaled, isi.astype(np.float64), acg, labels.astype(str), metadata, card)


def make_scores(mean: float, rng: np.random.Generator) -> dict:
    folds = np.clip(mean + 0.04 * rng.standard_normal(5), 0, 1)
    return {"mean": float(folds.mean()), "sd": float(folds.std(ddof=1)), "folds": folds.tolist()}


def make_metrics(ablation: str, tables: dict[str, UnitTable], level: float, with_control: bool = True) -> dict:
    """The content of ``reports/metrics/<ablation>.json``; a dataset without labels has no scores."""
    rng = np.random.default_rng(len(ablation))
    datasets: dict[str, dict] = {}
    for name, table in tables.items():
        found, counts = np.unique(table.labels[table.labels != UNLABELLED], return_counts=True)
        entry: dict = {"n_units": len(table.labels), "classes": dict(zip(found.tolist(), counts.tolist(), strict=True))}
        for head, shift in {"knn": -0.03, "network": 0.0}.items() if len(found) else ():
            accuracy = make_scores(level + shift, rng)
            entry[head] = {"balanced_accuracy": accuracy, "macro_f1": make_scores(level + shift, rng)}
        if with_control and len(found):
            entry["control"] = {"balanced_accuracy": make_scores(1 / len(found), rng)}
        datasets[name] = entry
    overall = {head: {"balanced_accuracy": level, "macro_f1": level} for head in ("knn", "network")}
    if with_control:
        overall["control"] = {"balanced_accuracy": 0.2}
    n_units = sum(len(table.labels) for table in tables.values())
    return {"ablation": ablation, "n_units": n_units, "datasets": datasets, "overall": overall}


def make_losses(n_epochs: int = 60) -> pd.DataFrame:
    """Falling curves of the final model, two folds and a control; the consistency term is switched off."""
    rng = np.random.default_rng(0)
    rows = [
        (model, epoch, split, part, (part != "consistency") * height * (np.exp(-epoch / 15) + rng.normal(end, 0.01)))
        for height, part in enumerate(PARTS, start=1)
        for model, worse in {"final": 0.0, "fold_0": 0.1, "fold_1": 0.05, "control_0": 0.9}.items()
        for split, end in {"train": 0.4 + worse, "val": 0.5 + worse}.items()
        for epoch in range(n_epochs)
    ]
    return pd.DataFrame(rows, columns=["model", "epoch", "split", "part", "value"])


def make_confusion(tables: dict[str, UnitTable]) -> pd.DataFrame:
    """Four in five units are called what they are."""
    rng = np.random.default_rng(0)
    rows = []
    for name, table in tables.items():
        actual = table.labels[table.labels != UNLABELLED]
        wrong = rng.permutation(actual)
        predicted = np.where(rng.random(len(actual)) < 0.75, actual, wrong)
        rows += [(name, a, p) for a, p in zip(actual, predicted, strict=True)]
    return pd.DataFrame(rows, columns=["dataset", "actual", "predicted"])


def make_points(tables: dict[str, UnitTable]) -> pd.DataFrame:
    """One cloud per cell type, a little apart in every dataset."""
    rng = np.random.default_rng(0)
    names = sorted({label for table in tables.values() for label in table.labels})
    frames = []
    for shift, (name, table) in enumerate(tables.items()):
        angle = np.array([2 * np.pi * names.index(label) / len(names) for label in table.labels])
        centre = 6 * np.column_stack([np.cos(angle), np.sin(angle)]) * (table.labels != UNLABELLED)[:, None]
        xy = centre + 0.4 * shift + rng.standard_normal((len(angle), 2)) * 1.3
        cell_type = pd.Series(table.labels).replace(UNLABELLED, np.nan)
        frame = {"dataset": name, "unit_id": table.unit_ids, "cell_type": cell_type, "x": xy[:, 0], "y": xy[:, 1]}
        frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)


def make_generative(datasets: Iterable[str]) -> dict:
    """The content of ``reports/metrics/generative.json``; the last dataset has no ACGs."""
    score = {"n": 30, "mse": 0.1, "mse_dataset_mean": 0.2, "mse_mean": 0.25, "mse_zero": 1.0, "explained": 0.5}
    imputation = {name: {modality: score for modality in ("waveform", "isi", "acg")} for name in datasets}
    for by_modality in list(imputation.values())[-1:]:
        del by_modality["acg"]
    swap = {"a -> b": {"isi": {"gain": 0.1, "p": 0.01}, "acg": {"gain": -0.1, "p": 0.9}}}
    way = {"start": "PV", "end": "SOM", "p_end": [0.0625, 0.5, 0.9375]}
    samples = {"coverage": 0.6, "two_sample": 0.75, "reconstructions": {"coverage": 0.7}}
    return {"imputation": imputation, "swap": swap, "interpolation": way, "samples": samples}


def make_generated() -> pd.DataFrame:
    """Traces as stage ``generate`` writes them: two examples, two swaps of which one is drawn, a way, two samples."""
    rng, parts = np.random.default_rng(0), []
    shapes = {"waveform": -np.exp(-((np.arange(50) - 20) ** 2) / 8), "isi": np.exp(-np.arange(50) / 20)}
    shapes["acg"] = 1 - np.exp(-np.arange(50) / 10)
    wanted = [("examples", name, kind) for name in "01" for kind in ("real", "imputed")]
    wanted += [("swap", name, kind) for name in ("a → b", "b → a") for kind in ("before", "after", "target")]
    wanted += [("path", "PV → SOM", f"{step}") for step in range(11)] + [("samples", name, "sampled") for name in "01"]
    for modality, shape in shapes.items():
        for panel, name, kind in wanted:
            value = shape * rng.uniform(0.7, 1.3) + rng.normal(0, 0.02, 50)
            about = {"panel": panel, "modality": modality, "name": name, "kind": kind}
            parts.append(pd.DataFrame({**about, "position": np.arange(50), "value": value}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def generative_of() -> Callable[[Iterable[str]], dict]:
    return make_generative


@pytest.fixture(scope="session")
def generated() -> pd.DataFrame:
    return make_generated()


@pytest.fixture(scope="session")
def two_tables() -> dict[str, UnitTable]:
    """Two labelled datasets with one class in common."""
    return {
        "toy_neuropixels": make_table("toy_neuropixels", ["PV", "SOM", "Pyra"], 140),
        "toy_silicon": make_table("toy_silicon", ["PV", "VIP"], 90, seed=1),
    }


@pytest.fixture(scope="session")
def odd_tables() -> dict[str, UnitTable]:
    """Eight datasets: one with 20 classes, one without a label, one without ACGs, one whose units all fail QC."""
    tables = {f"set_{i}": make_table(f"set_{i}", [f"class_{j:02d}" for j in range(2 + i)], 50, i) for i in range(4)}
    tables["twenty"] = make_table("twenty", [f"class_{j:02d}" for j in range(20)], 300)
    tables["unlabelled"] = make_table("unlabelled", [], 40)
    no_acg = make_table("no_acg", ["class_00", "class_01"], 40)
    no_acg.acg[:] = np.nan
    tables["no_acg"] = no_acg
    failed = make_table("failed", ["class_00"], 20)
    failed.metadata["passes_qc"] = False
    tables["failed"] = failed
    return tables


@pytest.fixture(scope="session")
def metrics_of() -> Callable[..., dict]:
    return make_metrics


@pytest.fixture(scope="session")
def losses() -> pd.DataFrame:
    return make_losses()


@pytest.fixture(scope="session")
def confusion_of() -> Callable[[dict[str, UnitTable]], pd.DataFrame]:
    return make_confusion


@pytest.fixture(scope="session")
def points_of() -> Callable[[dict[str, UnitTable]], pd.DataFrame]:
    return make_points


@pytest.fixture
def hybrid_of() -> Callable[..., dict[str, dict]]:
    """What the stages hybrid and score_hybrid tell of a row."""

    def told(accuracy: float | None = 0.75) -> dict[str, dict]:
        found = {"n_assigned": 3, "n_well_detected": 2, "accuracy": accuracy, "recall": 0.8}
        return {
            "injected": {"n_units": 4, "n_dropped": 0, "n_spikes": 1200, "n_clipped": 0},
            "score": {"sorter": "lupin", "n_hybrid": 4, **(found if accuracy is not None else {})},
        }

    return told

"""Scoring of the study: who is predicted by what, and what is said when nothing can be scored."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.config import Params
from spikeprint.evaluate.splits import make_folds
from spikeprint.stages.evaluate import Said, score

ROOT = Path(__file__).resolve().parents[2]
N = 72


@pytest.fixture
def params() -> Params:
    return Params.load(ROOT / "params.yaml")


@pytest.fixture
def study() -> tuple[Said, pd.DataFrame]:
    """What networks say of 60 units of two classes, 4 of a rare one, 6 unlabelled and 2 without data."""
    rng = np.random.default_rng(0)
    labels = np.array(["PV", "SOM"] * 30 + ["VIP"] * 4 + [""] * 6 + ["PV", ""])
    folds = make_folds(labels, 5, 42, 10)
    folds[-2:] = -1
    centres = {"PV": 0, "SOM": 1, "VIP": 2, "": 0}
    latent = rng.normal(0, 0.3, (N, 4)) + 3 * np.eye(4)[[centres[label] for label in labels]]
    units = pd.DataFrame(
        {
            "dataset": "lab",
            "unit_id": [str(i) for i in range(N)],
            "cell_type": labels,
            "fold": folds,
            "teaches": np.arange(N) < N - 2,
            "predicted": ["PV"] * (N - 2) + ["", ""],
            "confidence": [0.5] * (N - 2) + [np.nan] * 2,
        }
    )
    distance = np.square(latent[:, None, :3] - 3 * np.eye(3)[:, :3]).sum(axis=2)
    probabilities = np.exp(-distance) / np.exp(-distance).sum(axis=1, keepdims=True)
    said = {"": latent, ".probabilities": probabilities, ".sets": probabilities > 0.2, ".novelty": distance.min(axis=1)}
    names = ["final", *(f"{kind}_{k}" for kind in ("fold", "control") for k in range(5))]
    return Said({name + what: x for name in names for what, x in said.items()}, ["PV", "SOM", "VIP"]), units


def test_scored_units_are_predicted_out_of_fold(study: tuple, params: Params) -> None:
    metrics, table = score(*study, params, "network")
    scored = study[1]["fold"] >= 0
    assert (table["model"][scored] == "out_of_fold").all()
    assert (table["predicted"][scored] == table["cell_type"][scored]).mean() > 0.95
    assert metrics["datasets"]["lab"]["n_units"] == 60
    assert metrics["datasets"]["lab"]["classes"] == {"PV": 30, "SOM": 30}
    assert set(metrics["overall"]) == {"network", "knn", "logistic", "control"}
    assert metrics["datasets"]["lab"]["sets"]["coverage"] > 0.95
    assert (table["prediction_set"][scored] == table["predicted"][scored]).mean() > 0.9
    assert metrics["overall"]["control"]["balanced_accuracy"] < 0.7 < metrics["overall"]["knn"]["balanced_accuracy"]


def test_other_units_keep_the_final_models_answer_and_say_whether_it_learnt_from_them(
    study: tuple, params: Params
) -> None:
    _, table = score(*study, params, "network")
    assert (table["model"][60:64] == "in_sample").all()
    assert (table["model"][64:70] == "final").all()
    assert (table["predicted"][60:70] == "PV").all()


def test_units_without_data_get_no_prediction(study: tuple, params: Params) -> None:
    _, table = score(*study, params, "network")
    assert (table["predicted"][70:] == "").all()
    assert (table["model"][70:] == "").all()
    assert table["confidence"][70:].isna().all()


def test_without_labels_nothing_is_scored(study: tuple, params: Params) -> None:
    said, units = study
    blind = units.assign(cell_type="", fold=-1, predicted="", confidence=np.nan)
    metrics, table = score(Said({"final": said.arrays["final"]}, []), blind, params, "network")
    assert metrics == {"datasets": {}, "overall": {}}
    assert (table["model"] == "").all()

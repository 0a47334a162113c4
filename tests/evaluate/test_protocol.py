"""The published protocol: who is tested when, what counts, and rows against their definition."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold

from spikeprint.core.errors import NotEnoughSpikes
from spikeprint.evaluate.protocol import Answer, Study, collect, make_row, plan_folds, plan_transfer

RNG = np.random.default_rng(0)
LABELS = np.array(["PV"] * 30 + ["SOM"] * 20 + ["VIP"] * 6 + [""] * 9)[RNG.permutation(65)]
ALL = np.ones(65, dtype=bool)
CLASSES = np.array(["PV", "SOM"])


def answers_of(study: Study) -> dict[int, Answer]:
    """Random probabilities for every unit that is asked about."""
    return {fold: Answer(CLASSES, RNG.dirichlet([1, 1], asked.sum()), 0.5) for fold, asked in study.asked.items()}


def test_folds_are_those_of_the_published_benchmark() -> None:
    study = plan_folds("x", LABELS, ALL, 5, 42)
    scored = np.flatnonzero(np.isin(LABELS, CLASSES))
    splits = StratifiedKFold(5, shuffle=True, random_state=42).split(scored, LABELS[scored])
    for fold, (train, test) in enumerate(splits):
        assert np.array_equal(np.flatnonzero(study.asked[fold]), scored[test])
        assert np.array_equal(np.flatnonzero(study.teaches[fold]), scored[train])
    assert np.array_equal(np.flatnonzero(study.counts), scored)


def test_units_without_data_are_asked_about_but_teach_nothing() -> None:
    has_data = np.arange(65) % 7 > 0
    study = plan_folds("x", LABELS, has_data, 5, 42)
    full = plan_folds("x", LABELS, ALL, 5, 42)
    for fold in range(5):
        assert np.array_equal(study.asked[fold], full.asked[fold])
        assert np.array_equal(study.teaches[fold], full.teaches[fold] & has_data)


def test_a_row_scores_each_fold_and_sums_the_time() -> None:
    study = plan_folds("x", LABELS, ALL, 5, 42)
    answers = answers_of(study)
    row = make_row(study, LABELS, "coin", answers, False)
    accuracies, f1s = [], []
    for fold, asked in study.asked.items():
        predicted = CLASSES[answers[fold].probabilities.argmax(axis=1)]
        accuracies.append(balanced_accuracy_score(LABELS[asked], predicted))
        f1s.append(f1_score(LABELS[asked], predicted, average="macro"))
    assert np.allclose(row["balanced_accuracy"]["folds"], accuracies)
    assert row["balanced_accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert row["balanced_accuracy"]["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert np.allclose(row["macro_f1"]["folds"], f1s)
    by_class = [
        np.concatenate(
            [2 * (1 - answers[k].probabilities[LABELS[asked] == name, i]) ** 2 for k, asked in study.asked.items()]
        )
        for i, name in enumerate(CLASSES)
    ]
    assert row["brier_score"] == pytest.approx(np.mean([distances.mean() for distances in by_class]))
    assert {key: row[key] for key in ("dataset", "method", "n_units", "classes", "seconds", "transductive")} == {
        "dataset": "x",
        "method": "coin",
        "n_units": 50,
        "classes": {"PV": 30, "SOM": 20},
        "seconds": 2.5,
        "transductive": False,
    }


def test_a_transfer_scores_shared_classes_and_other_answers_are_errors() -> None:
    labels = np.array(["PV"] * 12 + ["SOM"] * 12 + ["GoC"] * 12 + [""] * 3 + ["PV"] * 10 + ["SOM"] * 11 + ["VIP"] * 15)
    is_target = np.arange(len(labels)) >= 39
    study = plan_transfer("a -> b", labels, np.ones(len(labels), dtype=bool), is_target)
    assert np.array_equal(study.teaches[0], ~is_target & (labels != ""))
    assert np.array_equal(study.asked[0], is_target)
    probabilities = np.tile([0.8, 0.1, 0.1], (36, 1))
    probabilities[:5] = [0.1, 0.9, 0.0]
    row = make_row(study, labels, "m", {0: Answer(np.array(["GoC", "PV", "SOM"]), probabilities, 1.0)}, False)
    assert row["classes"] == {"PV": 10, "SOM": 11}
    assert row["n_units"] == 21
    assert row["balanced_accuracy"] == {"mean": 0.25, "sd": 0.0, "folds": [0.25]}


def test_answers_are_set_against_their_own_unit() -> None:
    study = plan_folds("x", LABELS, ALL, 5, 42)
    perfect = {
        fold: Answer(CLASSES, (LABELS[asked][:, None] == CLASSES) * 1.0, 0.0) for fold, asked in study.asked.items()
    }
    found = collect(study, LABELS, perfect)
    assert np.array_equal(found.actual, found.predicted)
    assert sorted(found.rows) == np.flatnonzero(study.counts).tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(65, ""), "none of 65 units has a label; two cell types of at least 10 units"),
        (np.array(["PV"] * 60 + ["SOM"] * 5), "PV 60, SOM 5; two cell types"),
        (np.array(["PV"] * 65), "PV 65; two cell types"),
    ],
)
def test_too_few_to_score_is_one_line(labels: np.ndarray, message: str) -> None:
    with pytest.raises(NotEnoughSpikes, match=message) as caught:
        plan_folds("x", labels, ALL, 5, 42)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_a_transfer_needs_two_shared_classes() -> None:
    labels = np.array(["PV"] * 12 + ["SOM"] * 12 + ["PV"] * 12 + ["SOM"] * 9)
    with pytest.raises(NotEnoughSpikes, match="in both: PV; two are needed"):
        plan_transfer("a -> b", labels, np.ones(45, dtype=bool), np.arange(45) >= 24)


def test_classes_whose_units_are_all_empty_cannot_be_learnt_from() -> None:
    with pytest.raises(NotEnoughSpikes, match="any measurement to learn from: units per cell type: SOM 16"):
        plan_folds("x", LABELS, LABELS == "SOM", 5, 42)

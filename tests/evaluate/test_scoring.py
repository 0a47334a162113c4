"""Cross-validated scoring: every scored unit once, by a head that never met it."""

import numpy as np
import pytest

from spikeprint.evaluate.scoring import fit_each_fold, predict_folds, take_trained
from spikeprint.evaluate.splits import make_folds

LABELS = np.array(["a", "b", "c"])[np.arange(120) % 3]
FOLDS = make_folds(LABELS, 5, 0, 10)
TEACHES = np.ones(120, dtype=bool)


def test_each_scored_unit_is_predicted_once_in_its_fold() -> None:
    rng = np.random.default_rng(0)
    embeddings = {k: rng.normal(size=(120, 4)) + 4 * np.eye(4)[np.arange(120) % 3] for k in range(5)}
    found = predict_folds(fit_each_fold("logistic", embeddings, 0), dict.fromkeys(embeddings, LABELS), FOLDS, TEACHES)
    assert sorted(found.rows) == list(range(120))
    assert np.array_equal(FOLDS[found.rows], found.fold)
    assert found.scores()["balanced_accuracy"]["mean"] > 0.95


def test_a_feature_that_names_the_test_units_cannot_help() -> None:
    """Noise, plus each unit's own label wherever it is tested: nothing to learn from in the training folds."""
    rng = np.random.default_rng(1)
    embeddings = {}
    for k in range(5):
        leak = np.where(k == FOLDS, np.arange(120) % 3, 0)
        embeddings[k] = np.column_stack([rng.normal(size=(120, 4)), leak])
    scores = predict_folds(
        fit_each_fold("knn", embeddings, 0), dict.fromkeys(embeddings, LABELS), FOLDS, TEACHES
    ).scores()
    assert scores["balanced_accuracy"]["mean"] < 0.5


def test_units_that_do_not_teach_are_tested_but_never_learnt_from() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(120, 4)) + 4 * np.eye(4)[np.arange(120) % 3]
    teaches = np.arange(120) % 2 == 0
    spoilt = np.where(teaches[:, None], clean, 100 * rng.normal(size=(120, 4)))
    everywhere = dict.fromkeys(range(5), LABELS)
    found = predict_folds(fit_each_fold("knn", dict.fromkeys(range(5), spoilt), 0), everywhere, FOLDS, teaches)
    reference = predict_folds(fit_each_fold("knn", dict.fromkeys(range(5), clean), 0), everywhere, FOLDS, teaches)
    taught = teaches[found.rows]
    assert np.array_equal(found.predicted[taught], reference.predicted[taught])
    assert sorted(found.rows) == list(range(120))


def test_a_class_that_a_shuffle_left_out_of_training_counts_as_missed() -> None:
    truth = LABELS.copy()
    truth[FOLDS != 0] = np.where(truth[FOLDS != 0] == "c", "a", truth[FOLDS != 0])
    noise = {0: np.random.default_rng(0).normal(size=(120, 4))}
    found = predict_folds(fit_each_fold("knn", noise, 0), {0: truth}, FOLDS, TEACHES)
    assert "c" in found.actual
    assert "c" not in found.predicted


def test_a_trained_read_out_answers_among_the_datasets_own_classes() -> None:
    """The network also knows a class of another dataset, and finds it likeliest: it cannot be the answer here."""
    names = ["a", "b", "c", "elsewhere"]
    probabilities = np.hstack([0.1 + 0.2 * np.eye(3)[np.arange(120) % 3], np.full((120, 1), 0.5)])
    asked = take_trained(dict.fromkeys(range(5), probabilities), names)
    found = predict_folds(asked, dict.fromkeys(range(5), LABELS), FOLDS, TEACHES)
    assert found.scores()["balanced_accuracy"]["mean"] == 1.0
    np.testing.assert_allclose(found.confidence, 0.3 / 0.5)
    assert found.scores()["calibration_error"] == pytest.approx(0.4)
    assert found.scores()["brier_score"] == pytest.approx(0.4**2 + 2 * 0.2**2)

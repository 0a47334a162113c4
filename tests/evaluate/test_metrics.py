"""Metrics against scikit-learn's; fold summaries; the map."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from spikeprint.evaluate.metrics import balanced_accuracy, macro_f1, map_2d, summarise_folds

RNG = np.random.default_rng(0)
ACTUAL = RNG.choice(["a", "b", "c"], 90, p=[0.6, 0.3, 0.1])
PREDICTED = np.where(RNG.random(90) < 0.7, ACTUAL, RNG.choice(["a", "b", "c"], 90))


def test_metrics_equal_scikit_learns() -> None:
    assert balanced_accuracy(ACTUAL, PREDICTED) == pytest.approx(balanced_accuracy_score(ACTUAL, PREDICTED))
    assert macro_f1(ACTUAL, PREDICTED) == pytest.approx(f1_score(ACTUAL, PREDICTED, average="macro"))


def test_a_class_that_is_only_predicted_does_not_count_as_a_class() -> None:
    assert balanced_accuracy(np.array(["a", "a", "b"]), np.array(["a", "z", "b"])) == pytest.approx(0.75)


def test_folds_are_summarised_with_the_sample_standard_deviation() -> None:
    found = summarise_folds([0.5, 0.7])
    assert found["mean"] == pytest.approx(0.6)
    assert found["sd"] == pytest.approx(np.sqrt(0.02))


def test_the_map_keeps_neighbours_together_and_repeats() -> None:
    codes = np.arange(90) % 3
    embedding = 5 * np.eye(4)[codes] + RNG.normal(0, 0.3, (90, 4))
    layout = map_2d(embedding, seed=0)
    centres = np.array([layout[codes == k].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(layout[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == codes).mean() > 0.95
    np.testing.assert_array_equal(layout, map_2d(embedding, seed=0))

"""Cross-validated scoring: every scored unit once, by a head that never met it."""

import numpy as np

from spikeprint.evaluate.scoring import predict_folds
from spikeprint.evaluate.splits import make_folds

LABELS = np.array(["a", "b", "c"])[np.arange(120) % 3]
FOLDS = make_folds(LABELS, 5, 0, 10)


def test_each_scored_unit_is_predicted_once_in_its_fold() -> None:
    rng = np.random.default_rng(0)
    embeddings = {k: rng.normal(size=(120, 4)) + 4 * np.eye(4)[np.arange(120) % 3] for k in range(5)}
    found = predict_folds("logistic", embeddings, dict.fromkeys(embeddings, LABELS), FOLDS, seed=0)
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
    scores = predict_folds("knn", embeddings, dict.fromkeys(embeddings, LABELS), FOLDS, seed=0).scores()
    assert scores["balanced_accuracy"]["mean"] < 0.5

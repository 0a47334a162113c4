"""Every head goes through one suite; each is compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from spikeprint.core.errors import NotEnoughSpikes
from spikeprint.evaluate.heads import HEADS, fit_head
from spikeprint.evaluate.readout import READOUTS, read_out


def blobs(seed: int, spread: float = 1.0, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.arange(150) % n_classes
    return rng.normal(0, spread, (150, 5)) + 3 * np.eye(5)[codes] + 1, codes


def test_heads_and_readouts_are_the_same_table() -> None:
    assert set(HEADS) == set(READOUTS)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_head_learns_blobs_and_gives_probabilities(kind: str, n_classes: int) -> None:
    x, codes = blobs(0, n_classes=n_classes)
    probabilities = read_out(kind, fit_head(kind, x, codes, seed=0), blobs(1, n_classes=n_classes)[0])
    assert probabilities.shape == (150, n_classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert balanced_accuracy_score(codes, probabilities.argmax(axis=1)) > 0.9


@pytest.mark.parametrize("kind", HEADS)
def test_shuffled_labels_are_at_chance(kind: str) -> None:
    x, codes = blobs(0)
    codes = np.random.default_rng(0).permutation(codes)
    predicted = read_out(kind, fit_head(kind, x, codes, seed=0), blobs(1)[0]).argmax(axis=1)
    assert balanced_accuracy_score(blobs(1)[1], predicted) < 0.5


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("codes", [np.zeros(10, int), np.array([0] * 9 + [1])], ids=["one class", "one unit"])
def test_too_little_to_learn_from_is_refused(kind: str, codes: np.ndarray) -> None:
    with pytest.raises(NotEnoughSpikes, match="at least two classes"):
        fit_head(kind, np.ones((10, 2)), codes, seed=0)


def test_knn_answers_like_scikit_learn() -> None:
    x, codes = blobs(2, spread=2.5)
    arrays = fit_head("knn", x, codes, seed=0)
    peer = KNeighborsClassifier(int(arrays["k"][0]), metric="cosine", algorithm="brute").fit(
        x.astype(np.float32), codes
    )
    query = blobs(3, spread=2.5)[0]
    np.testing.assert_allclose(read_out("knn", arrays, query), peer.predict_proba(query), atol=1e-12)


def test_logistic_answers_like_scikit_learn() -> None:
    x, codes = blobs(2, spread=2.5)
    arrays = fit_head("logistic", x, codes, seed=0)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    answers = read_out("logistic", arrays, x)
    peers = [
        LogisticRegression(C=c, class_weight="balanced", tol=1e-8, max_iter=5000).fit(z, codes).predict_proba(z)
        for c in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    ]
    assert min(np.abs(answers - peer).max() for peer in peers) < 1e-3  # another solver, converged further


@pytest.mark.parametrize("n_classes", [2, 3])
def test_mlp_answers_like_scikit_learn(n_classes: int) -> None:
    x, codes = blobs(2, spread=2.5, n_classes=n_classes)
    arrays = fit_head("mlp", x, codes, seed=0)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    peer = MLPClassifier(
        (64,), learning_rate_init=0.01, early_stopping=True, n_iter_no_change=20, max_iter=500, random_state=0
    ).fit((x - mean) / scale, codes)
    query = blobs(3, spread=2.5)[0]
    np.testing.assert_allclose(read_out("mlp", arrays, query), peer.predict_proba((query - mean) / scale), atol=1e-6)


def test_mlp_finds_a_rare_class_and_what_no_line_divides() -> None:
    rng = np.random.default_rng(0)
    radius = np.r_[rng.uniform(0, 1, 60), rng.uniform(2, 3, 600)]
    angle = rng.uniform(0, 2 * np.pi, 660)
    x, codes = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), np.arange(660) // 60 > 0
    found = read_out("mlp", fit_head("mlp", x, codes.astype(int), seed=0), x).argmax(axis=1)
    assert balanced_accuracy_score(codes, found) > 0.97


def test_mlp_learns_from_two_units_of_a_class_and_repeats() -> None:
    x, codes = blobs(0)
    rows = np.r_[np.flatnonzero(codes < 2), np.flatnonzero(codes == 2)[:2]]
    one, other = (fit_head("mlp", x[rows], codes[rows], seed=0) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert balanced_accuracy_score(codes, read_out("mlp", one, x).argmax(axis=1)) > 0.8

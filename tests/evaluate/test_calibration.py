"""Calibration: a known distortion is undone; the gradient and optimum are checked by brute force."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import brier_score_loss

from spikeprint.evaluate.calibration import expected_calibration_error, fit_calibration, squared_distance
from spikeprint.evaluate.decision import apply_calibration


def truthful(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three equal classes that are exactly the posterior."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    evidence = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[codes]
    likelihood = np.exp(1.5 * evidence)
    return likelihood / likelihood.sum(axis=1, keepdims=True), codes


def test_a_known_distortion_is_undone() -> None:
    probabilities, codes = truthful(6000, 0)
    distorted = apply_calibration(probabilities, 2.5, np.array([1.0, 0.0, -1.0]))
    found = fit_calibration(distorted, codes)
    assert found.scale == pytest.approx(1 / 2.5, rel=0.1)
    np.testing.assert_allclose(found.bias, [-0.4, 0, 0.4], atol=0.1)
    again = apply_calibration(distorted, found.scale, found.bias)
    assert expected_calibration_error(again, codes) < 0.03 < expected_calibration_error(distorted, codes)
    truth = np.eye(3, dtype=bool)[codes]
    assert squared_distance(again, truth).mean() < squared_distance(distorted, truth).mean()


def test_the_optimum_is_that_of_a_search_without_gradients() -> None:
    probabilities, codes = truthful(60, 1)
    keep = ~((codes == 2) & (np.arange(60) > 20))
    probabilities, codes = probabilities[keep], codes[keep]
    counts = np.bincount(codes)

    def loss(theta: np.ndarray) -> float:
        q = apply_calibration(probabilities, np.exp(theta[0]), theta[1:])
        entropy = -np.log(q[np.arange(len(codes)), codes])
        balanced = np.mean([entropy[codes == k].mean() for k in range(3)])
        return balanced + 2.0 / (2 * counts.min() * 3) * (theta[1:] ** 2).sum()

    options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 10_000, "maxfev": 10_000}
    peer = minimize(loss, np.zeros(4), method="Nelder-Mead", options=options)
    found = fit_calibration(probabilities, codes, strength=2.0)
    np.testing.assert_allclose(np.r_[np.log(found.scale), found.bias], peer.x, atol=1e-4)


def test_copies_of_a_common_class_change_nothing() -> None:
    probabilities, codes = truthful(90, 2)
    more = np.r_[np.arange(90), np.flatnonzero(codes == 0), np.flatnonzero(codes == 0)]
    one, other = fit_calibration(probabilities, codes), fit_calibration(probabilities[more], codes[more])
    np.testing.assert_allclose(np.r_[one.scale, one.bias], np.r_[other.scale, other.bias], atol=1e-5)


def test_a_strong_penalty_leaves_the_scale_alone() -> None:
    probabilities, codes = truthful(90, 3)
    found = fit_calibration(apply_calibration(probabilities, 1.0, np.array([2.0, 0, 0])), codes, strength=1e6)
    np.testing.assert_allclose(found.bias, 0, atol=1e-4)


def test_classes_too_rare_to_fit_keep_their_bias() -> None:
    probabilities, codes = truthful(90, 4)
    rows = np.r_[np.flatnonzero(codes < 2), np.flatnonzero(codes == 2)[:1]]
    found = fit_calibration(probabilities[rows], codes[rows])
    assert found.bias[2] == 0
    assert found.bias[0] != 0
    alone = fit_calibration(probabilities[codes == 0], codes[codes == 0])
    assert (alone.scale, alone.bias.tolist()) == (1.0, [0, 0, 0])


def test_certainties_stay_finite() -> None:
    codes = np.arange(30) % 3
    right, wrong = np.eye(3)[codes], np.eye(3)[(codes + 1) % 3]
    for probabilities in (right, wrong):
        found = fit_calibration(probabilities, codes)
        assert np.isfinite(apply_calibration(probabilities, found.scale, found.bias)).all()
    assert apply_calibration(wrong, found.scale, found.bias).max() < 0.4


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.65, 0.65])
    probabilities = np.column_stack([confidence, 1 - confidence])
    codes = np.array([0, 0, 0, 1])
    assert expected_calibration_error(probabilities, codes, n_bins=10) == pytest.approx((0.1 + 0.3) / 4)
    # Class 0 weighs 1/6 a unit, class 1 1/2: 2 * 0.05 / 6, and |-0.35 / 6 + 0.65 / 2|
    balanced = expected_calibration_error(probabilities, codes, n_bins=10, balanced=True)
    assert balanced == pytest.approx(0.1 / 6 + 0.65 / 2 - 0.35 / 6)


def test_the_mean_squared_distance_is_scikit_learns_brier_score() -> None:
    probabilities, codes = truthful(50, 5)
    found = squared_distance(probabilities, np.eye(3, dtype=bool)[codes]).mean()
    assert found == pytest.approx(brier_score_loss(codes, probabilities, scale_by_half=False))


def test_a_class_that_the_head_does_not_know_is_as_far_as_its_certainty_of_none() -> None:
    """As if there were one more column, for that class, with probability 0."""
    probabilities, truth = np.array([[0.7, 0.3], [1.0, 0.0]]), np.zeros((2, 2), dtype=bool)
    np.testing.assert_allclose(squared_distance(probabilities, truth), [0.49 + 0.09 + 1, 2.0])

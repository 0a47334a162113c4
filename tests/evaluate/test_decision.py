"""Decisions: coverage of the sets, thresholds against NumPy's quantile, novelty against SciPy's distance."""

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from spikeprint.evaluate import decision
from spikeprint.evaluate.decision import (
    apply_calibration,
    conformal_thresholds,
    join_novelty,
    novelty_limits,
    novelty_score,
    prediction_sets,
    trace_distance,
)


def classified(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three overlapping classes of unequal size, right as often as they say."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    evidence = np.exp(rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[codes])
    return evidence / evidence.sum(axis=1, keepdims=True), codes


def test_the_served_file_needs_numpy_only() -> None:
    tree = ast.parse(Path(decision.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert {ast.unparse(node) for node in imports} == {
        "import math",
        "import numpy as np",
        "from collections.abc import Mapping",
    }


def test_calibration_by_hand_and_identity() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(apply_calibration(p, 1.0, np.zeros(3)), p, atol=3e-5)
    expected = np.array([0.5**2, 0.3**2 * 4, 0.2**2]) / (0.5**2 + 0.3**2 * 4 + 0.2**2)
    np.testing.assert_allclose(apply_calibration(p, 2.0, np.log([1, 4, 1]))[0], expected)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_every_class_is_covered_as_often_as_asked_from_few_held_out_units(coverage: float) -> None:
    """On average over many small held-out sets, and by no more than one rank too often."""
    probabilities, codes = classified(200 * 300, seed=0)
    asked, truth = classified(5000, seed=1)
    covered, ranks = np.zeros((300, 3)), np.zeros((300, 3))
    for k, rows in enumerate(np.arange(200 * 300).reshape(300, 200)):
        sets = prediction_sets(asked, conformal_thresholds(probabilities[rows], codes[rows], coverage))
        covered[k] = [sets[truth == code, code].mean() for code in range(3)]
        ranks[k] = 1 / (np.bincount(codes[rows], minlength=3) + 1)
    spare = covered.mean(axis=0) - coverage
    assert (spare > -0.015).all()
    assert (spare < ranks.mean(axis=0) + 0.015).all()


def test_the_threshold_is_the_corrected_quantile() -> None:
    probabilities, codes = classified(300, seed=2)
    thresholds = conformal_thresholds(probabilities, codes, 0.9)
    for code in range(3):
        own = 1 - probabilities[codes == code, code]
        level = np.ceil((len(own) + 1) * 0.9) / len(own)
        assert thresholds[code] == np.quantile(own, level, method="inverted_cdf")


@pytest.mark.parametrize(("n", "expected"), [(0, 1.0), (8, 1.0), (9, 0.9), (17, 0.9), (19, 0.9 - 0.8 / 18)])
def test_a_class_with_too_few_units_is_always_in(n: int, expected: float) -> None:
    scores = np.linspace(0.9, 0.1, n)
    found = conformal_thresholds(np.column_stack([1 - scores, scores]), np.zeros(n, int), 0.9)
    assert found[1] == 1.0
    assert found[0] == pytest.approx(expected)
    assert prediction_sets(np.array([[0.0, 1.0]]), found)[0].tolist() == [found[0] == 1.0, True]


def test_a_set_may_be_empty() -> None:
    assert not prediction_sets(np.array([[0.4, 0.3, 0.3]]), np.array([0.5, 0.6, 0.6])).any()
    assert prediction_sets(np.array([[0.4, 0.4, 0.2]]), np.array([0.6, 0.6, 0.6])).tolist() == [[True, True, False]]


def test_novelty_is_the_smallest_mahalanobis_distance() -> None:
    rng = np.random.default_rng(0)
    x, centres = rng.normal(size=(20, 4)), rng.normal(size=(3, 4))
    roots = rng.normal(size=(3, 4, 4))
    precision = roots @ roots.transpose(0, 2, 1)
    expected = [min(mahalanobis(row, c, p) for c, p in zip(centres, precision, strict=True)) for row in x]
    np.testing.assert_allclose(novelty_score(x, centres, precision), expected)


def test_trace_distance_is_the_mean_over_what_is_there_to_the_nearest_class() -> None:
    rng = np.random.default_rng(0)
    places, centres = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 4, 3))
    root = rng.normal(size=(2, 4, 3, 3))
    precision, seen = root @ root.transpose(0, 1, 3, 2), np.array([[1, 1, 0, 0, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=bool)
    expected = []
    for unit in range(6):
        there = np.flatnonzero(seen[:, unit])
        each = [[mahalanobis(places[m, unit], centres[m, c], precision[m, c]) ** 2 for m in there] for c in range(4)]
        expected.append(min(np.mean(row) ** 0.5 for row in each) if len(there) else 0)
    np.testing.assert_allclose(trace_distance(places, seen, centres, precision), expected)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_limits_pass_the_share_asked_for_and_ignore_what_tells_nothing(coverage: float) -> None:
    latent, traces = np.random.default_rng(0).gamma(4, size=(2, 1000))
    for second in (traces, np.zeros(1000)):
        limits = novelty_limits(latent, second, coverage)
        assert np.isclose((join_novelty(latent, second, limits) <= 1).mean(), coverage, atol=0.002)
    np.testing.assert_allclose(limits, [np.quantile(latent, coverage), np.inf])
    assert join_novelty(np.array([0.0]), np.array([9e9]), limits) == 0

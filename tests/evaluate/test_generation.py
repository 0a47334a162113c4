"""Scores of made-up traces against what they must be."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from spikeprint.evaluate.generation import (
    COLUMNS,
    long_rows,
    score_imputation,
    score_path,
    score_samples,
    score_swap,
)

RNG = np.random.default_rng(0)
TRACES = np.sin(np.linspace(0, 6, 20)) * RNG.normal(2, 0.5, (60, 1)) + RNG.normal(0, 0.1, (60, 20))


def test_imputation_is_compared_with_every_baseline() -> None:
    made, mean = TRACES + 0.1, TRACES.mean(axis=0)
    score = score_imputation(TRACES, made, {"mean": mean})
    assert score["n"] == 60
    assert score["mse"] == pytest.approx(0.01)
    assert score["mse_mean"] == pytest.approx(np.mean([(row - mean) ** 2 for row in TRACES]))
    assert score["mse_zero"] == pytest.approx((TRACES**2).mean())
    assert score["wasserstein"] == pytest.approx(wasserstein_distance(made.ravel(), TRACES.ravel()))
    assert score["explained"] == pytest.approx(1 - 0.01 / score["mse_mean"])
    assert score_imputation(TRACES, np.zeros_like(TRACES), {"mean": mean})["explained"] < 0


def test_a_right_swap_gains_and_a_wrong_one_loses() -> None:
    target = TRACES + 1
    right = score_swap(TRACES, TRACES + 0.9, TRACES, target, 0)
    assert right["before"] == pytest.approx(1)
    assert right["after"] == pytest.approx(0.01)
    assert right["gain"] > right["chance"]
    assert right["p"] == pytest.approx(1 / 201)
    wrong = score_swap(TRACES, TRACES - 0.5, TRACES, target, 0)
    assert wrong["gain"] < 0
    assert wrong["p"] == 1


def test_a_swap_between_like_units_gains_what_chance_does() -> None:
    one, two = TRACES[:30], TRACES[30:]
    score = score_swap(one, one + 0.05 * RNG.normal(size=one.shape).mean(axis=0), one, two, 0)
    assert score["p"] > 0.02
    assert abs(score["gain"] - score["chance"]) < 0.05


def test_a_straight_way_is_monotone_and_even() -> None:
    a, b = TRACES[:2]
    straight = score_path(np.linspace(a, b, 7))
    assert straight["monotone"] == 1
    assert straight["evenness"] == pytest.approx(1)
    assert straight["to_start"][-1] == straight["to_end"][0] == pytest.approx(((a - b) ** 2).mean())
    jump = score_path(np.array([a, a, a, b, b, b]))
    assert jump["evenness"] == pytest.approx(0.2)
    assert jump["monotone"] == pytest.approx(0.2)


def test_samples_of_the_same_kind_are_not_told_apart() -> None:
    rng = np.random.default_rng(1)
    real, alike, far = rng.normal(0, 1, (200, 4)), rng.normal(0, 1, (200, 4)), rng.normal(4, 1, (200, 4))
    good, bad = (score_samples({"isi": real}, {"isi": made}) for made in (alike, far))
    assert good["two_sample"] == pytest.approx(0.5, abs=0.1)
    assert good["coverage"] > 0.9
    assert good["wasserstein"]["isi"] < 0.1
    assert bad["two_sample"] > 0.95
    assert bad["coverage"] < 0.1
    assert bad["wasserstein"]["isi"] == pytest.approx(4, abs=0.2)


def test_one_sample_repeated_covers_little() -> None:
    real = np.random.default_rng(1).normal(0, 1, (200, 4))
    assert score_samples({"isi": real}, {"isi": np.zeros((200, 4))})["coverage"] < 0.6


def test_traces_become_rows() -> None:
    frame = long_rows({"real": np.array([1.0, 2.0]), "imputed": np.array([3.0, 4.0])}, "examples", "isi", "u")
    assert list(frame.columns) == COLUMNS
    assert frame["value"].tolist() == [1, 2, 3, 4]
    assert frame["kind"].tolist() == ["real", "real", "imputed", "imputed"]
    assert frame["position"].tolist() == [0, 1, 0, 1]
    assert list(long_rows({}).columns) == COLUMNS

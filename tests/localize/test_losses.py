"""The objective against its definition: dense histogram, pair by pair, closed-form entropies."""

from itertools import combinations

import numpy as np
import pytest
import torch

from spikeprint.localize.histograms import Grid, correlate_bins, count_cells, entropies, score_with_control
from spikeprint.localize.losses import soft_histogram, spatial_entropy, tether, windowed_correlation

SOFT = Grid((-40.0, 0.0), (80.0, 200.0), 4.0, 4.0)
HARD = Grid((-80.0, -40.0), (120.0, 240.0), 8.0, None)


def draw(rng: np.random.Generator, n: int = 300, n_bins: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform([-30, 10], [70, 190], (n, 2)), np.sort(rng.uniform(0, n_bins, n))


def dense(xy: np.ndarray, bins: np.ndarray, n_bins: int) -> np.ndarray:
    """The definition: every cell, nothing cut off."""
    nx, ny = SOFT.shape
    x, y = SOFT.low_um[0] + 4.0 * np.arange(nx), SOFT.low_um[1] + 4.0 * np.arange(ny)
    found = np.zeros((n_bins, nx * ny))
    for (px, py), i in zip(xy, bins, strict=True):
        found[i] += np.outer(np.exp(-((x - px) ** 2) / 32), np.exp(-((y - py) ** 2) / 32)).ravel()
    return found


def test_soft_histogram_is_the_dense_product_within_three_sigma(rng: np.random.Generator) -> None:
    xy, times = draw(rng)
    found = soft_histogram(torch.from_numpy(xy), torch.from_numpy(times.astype(np.int64)), 5, SOFT).numpy()
    exact = dense(xy, times.astype(np.int64), 5)
    assert np.abs(found - exact).max() < 0.012 * exact.max()
    assert np.abs(found - exact).mean() < 0.002 * exact.max()
    np.testing.assert_allclose(count_cells(xy, times.astype(np.int64), 5, SOFT), found, atol=1e-4)


def test_soft_histogram_has_the_right_gradient(rng: np.random.Generator) -> None:
    xy = torch.from_numpy(rng.uniform([0.3, 50.3], [3.7, 53.7], (4, 2))).requires_grad_()
    small = Grid((-8.0, 40.0), (16.0, 64.0), 4.0, 4.0)
    bins = torch.tensor([0, 0, 1, 1])
    assert torch.autograd.gradcheck(lambda x: soft_histogram(x, bins, 2, small), (xy,), eps=1e-5)


def test_correlation_is_that_of_the_pairs(rng: np.random.Generator) -> None:
    rows = rng.random((6, 40))
    valid = torch.tensor([True, True, False, True, True, True])
    found = windowed_correlation(torch.from_numpy(rows), valid, window=2)
    kept = [(i, j) for i, j in combinations(range(6), 2) if j - i <= 2 and valid[i] and valid[j]]
    assert float(found) == pytest.approx(np.mean([np.corrcoef(rows[i], rows[j])[0, 1] for i, j in kept]))
    everything = correlate_bins(rows)[np.triu_indices(6, 1)]
    pairs = [np.corrcoef(rows[i], rows[j])[0, 1] for i, j in combinations(range(6), 2)]
    assert everything == pytest.approx(pairs)


def test_correlation_of_equal_and_of_empty_bins(rng: np.random.Generator) -> None:
    row = rng.random(40)
    above = np.triu_indices(3, 1)
    assert correlate_bins(np.stack([row, row, row]))[above] == pytest.approx([1, 1, 1])
    assert correlate_bins(np.stack([row, row, np.zeros(40)]))[above] == pytest.approx([1, 0, 0])
    nobody = torch.zeros(3, dtype=torch.bool)
    assert float(windowed_correlation(torch.rand(3, 40), nobody, 3)) == 0.0


def test_entropy_of_a_uniform_histogram_and_of_one_spike() -> None:
    uniform = np.ones((1, 500))
    assert entropies(uniform)[0] == pytest.approx(np.log(500), abs=1e-6)
    assert np.isnan(entropies(np.zeros((1, 500)))[0])
    xy = torch.tensor([[20.0, 100.0]])
    one = soft_histogram(xy, torch.tensor([0]), 1, SOFT)
    assert float(spatial_entropy(one, torch.tensor([True]))) == pytest.approx(2.83, abs=0.01)


def test_tether_holds_all_axes() -> None:
    start = torch.zeros(5, 3)
    moved = torch.tensor([0.0, 0.0, 3.0]).expand(5, 3).clone().requires_grad_()
    held = tether(moved, start)
    held.backward()
    assert float(held.detach()) == pytest.approx(3.0)
    assert (moved.grad[:, 2] > 0).all()


def test_collapsed_x_scores_more_although_it_is_worse(rng: np.random.Generator) -> None:
    places = rng.uniform([0, 20], [48, 180], (30, 2))
    unit = rng.integers(0, 30, 4_000)
    xy = places[unit] + rng.normal(0, 4, (4_000, 2))
    times = np.sort(rng.uniform(0, 20, 4_000))
    found = score_with_control(xy, times, 20.0, {"soft4": SOFT, "hard8": HARD})
    pairs = correlate_bins(count_cells(xy, times.astype(np.int64), 20, SOFT))[np.triu_indices(20, 1)]
    assert found["rho_soft4"] == pytest.approx(pairs.mean())
    assert found["rho_soft4_collapsed"] > found["rho_soft4"] > found["rho_hard8"]
    assert found["H_soft4"] - found["H_hard8"] > 1.0
    assert set(found) == {f"{m}_{g}{c}" for m in ("rho", "H") for g in ("soft4", "hard8") for c in ("", "_collapsed")}

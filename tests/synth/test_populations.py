"""Counts with a dead time and the continuous task: means, variances, and the same again by seed."""

import numpy as np
import pytest

from spikeprint.core.errors import SettingError
from spikeprint.synth.populations import NOISES, refractory_counts, simulate_continuous

N = 40_000


@pytest.mark.parametrize("rate", [5.0, 60.0, 400.0])
def test_counts_with_a_dead_time_are_those_of_a_renewal_process(rate: float) -> None:
    window, dead = 3.0, 0.01
    counts = refractory_counts(np.full(N, rate), window, dead, seed=1)
    spread, mean = 1 / rate, 1 / rate + dead  # of one interval
    assert counts.mean() == pytest.approx(window / mean + (spread**2 - mean**2) / (2 * mean**2), rel=0.01)
    assert counts.var() == pytest.approx(window * spread**2 / mean**3, rel=0.1)


def test_counts_agree_with_intervals_summed_one_by_one() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(1 / 30, (N, 60)) + 0.02, axis=1)
    slow = np.bincount((times < 0.5).sum(axis=1), minlength=26) / N
    fast = np.bincount(refractory_counts(np.full(N, 30.0), 0.5, 0.02, seed=2), minlength=26) / N
    assert np.abs(slow - fast).max() < 5 * np.sqrt(0.25 * 2 / N)


def test_without_a_dead_time_counts_are_poisson() -> None:
    counts = refractory_counts(np.full((N, 2), [4.0, 0.0]), 2.0, 0.0)
    assert counts[:, 0].mean() == pytest.approx(8, rel=0.02)
    assert counts[:, 0].var() == pytest.approx(8, rel=0.04)
    assert not counts[:, 1].any()
    assert not refractory_counts(np.zeros(3), 2.0, 0.01).any()
    assert not refractory_counts(np.full(9, 1e6), 0.01, 0.01).any()  # the first interval has its dead time too


def test_the_latent_has_the_moments_of_its_label() -> None:
    data = simulate_continuous(N, 4)
    wave = np.sin(data.label)
    assert data.label.mean() == pytest.approx(np.pi, rel=0.02)
    assert 0 <= data.label.min() < data.label.max() <= 2 * np.pi
    away = data.latent - np.stack([data.label, 2 * wave], axis=1)
    for part, variance in zip(away.T, (0.6 - 0.3 * np.abs(wave), 0.3 * np.abs(wave)), strict=True):
        assert part.mean() == pytest.approx(0, abs=0.02)
        assert np.mean(part**2 - variance) == pytest.approx(0, abs=0.01)
        assert np.cov(part**2, variance)[0, 1] == pytest.approx(variance.var(), rel=0.2)


HALF = np.sqrt(2 / np.pi)
MOMENTS = {
    "poisson": (lambda rates: rates, lambda rates: rates),
    "gaussian": (lambda rates: rates + HALF, lambda rates: 1 - HALF**2 + 0 * rates),
    "uniform": (lambda rates: rates + 1, lambda rates: 1 / 3 + 0 * rates),
    "laplace": (lambda rates: rates + np.exp(-rates) / 2, None),
}


@pytest.mark.parametrize("noise", MOMENTS)
def test_noise_has_the_mean_and_variance_of_its_kind(noise: str) -> None:
    data = simulate_continuous(3000, 40, noise)
    mean, variance = MOMENTS[noise]
    away = data.counts - mean(data.rates)
    assert away.mean() == pytest.approx(0, abs=0.02)
    if variance is not None:
        assert np.mean(away**2) == pytest.approx(variance(data.rates).mean(), rel=0.02)


def test_rates_depend_on_the_label_and_counts_are_of_their_kind() -> None:
    for noise in NOISES:
        data = simulate_continuous(500, 30, noise)
        assert data.counts.shape == data.rates.shape == (500, 30)
        assert data.latent.shape == (500, 2)
        assert np.isfinite(data.counts).all()
        assert (data.counts.dtype.kind == "u") == (noise in ("poisson", "refractory_poisson"))
        assert (data.counts.min() < 0) == (noise == "t")
        assert np.exp(-2.2) <= data.rates.min() < data.rates.max() <= np.exp(2.2)
        assert np.median(data.rates.std(axis=0) / data.rates.mean(axis=0)) > 0.1
    assert np.median(simulate_continuous(500, 30, "t").counts - data.rates) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("noise", NOISES)
def test_equal_seeds_give_equal_counts(noise: str) -> None:
    first, same, other = (simulate_continuous(60, 9, noise, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.counts, same.counts)
    assert not np.array_equal(first.counts, other.counts)


def test_the_mixing_is_the_same_for_every_seed() -> None:
    short, long = simulate_continuous(20, 9, seed=0), simulate_continuous(20, 9, "t", seed=0)
    assert np.array_equal(short.rates, long.rates)
    both = [simulate_continuous(4000, 9, seed=seed) for seed in (0, 1)]
    near = np.abs(both[0].latent[:, None, 0] - both[1].latent[:, 0]) + np.abs(
        both[0].latent[:, None, 1] - both[1].latent[:, 1]
    )
    row, column = np.unravel_index(near.argmin(), near.shape)
    assert both[0].rates[row] == pytest.approx(both[1].rates[column], rel=0.05)
    assert not np.allclose(both[0].rates[row], simulate_continuous(4000, 9, mixing_seed=1).rates[row], rtol=0.05)


def test_what_cannot_be_simulated_is_said() -> None:
    with pytest.raises(SettingError, match="did you mean 'poisson'"):
        simulate_continuous(10, 4, "poison")
    with pytest.raises(SettingError, match="n_dim = 1"):
        simulate_continuous(10, 1)
    with pytest.raises(SettingError, match="length = 0"):
        simulate_continuous(0, 4)
    with pytest.raises(SettingError, match="rate"):
        refractory_counts(np.array([1.0, np.nan]), 1.0, 0.01)
    with pytest.raises(SettingError, match="window = 0"):
        refractory_counts(np.ones(2), 0.0, 0.01)
    with pytest.raises(SettingError, match="refractory = -1"):
        refractory_counts(np.ones(2), 1.0, -1.0)

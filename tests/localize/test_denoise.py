"""Smoothing keeps spikes and takes noise away."""

import numpy as np

from spikeprint.localize.denoise import smooth_snippets


def test_noise_goes_and_spikes_stay(rng: np.random.Generator) -> None:
    t = np.arange(75) - 25
    shapes = np.stack([np.exp(-((t / width) ** 2)) for width in (4, 6, 9)])
    clean = -(rng.uniform(20, 120, (200, 6, 1)) * shapes[rng.integers(0, 3, (200, 1))])
    clean[:, 5] = 0
    noisy = (clean + rng.normal(0, 8, clean.shape)).astype(np.float32)
    noisy[:, 5] = 0
    smooth = smooth_snippets(noisy)
    there = slice(0, 5)
    assert np.abs(smooth - clean)[:, there].std() < 0.5 * np.abs(noisy - clean)[:, there].std()
    np.testing.assert_array_equal(smooth[:, 5], 0)
    assert smooth.dtype == np.float32
    # three shapes span the spikes: three components leave a clean one as it is
    np.testing.assert_allclose(smooth_snippets(clean, 3), clean, atol=1e-3)

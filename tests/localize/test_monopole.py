"""The batched monopole fit: exact without noise, no contact more than there is."""

import numpy as np

from spikeprint.localize.geometry import find_neighbourhoods
from spikeprint.localize.monopole import localise_monopoles, measure_sizes

ROW = np.arange(40)
CONTACTS = np.column_stack([16.0 * ((ROW % 2) * 2 + (ROW // 2) % 2), 20.0 * (ROW // 2)])


def test_noise_free_monopoles_are_found_to_a_tenth_of_a_micrometre(rng: np.random.Generator) -> None:
    around = find_neighbourhoods(CONTACTS, 10)
    n = 200
    xyz = np.column_stack([rng.uniform(0, 48, n), rng.uniform(60, 320, n), rng.uniform(8, 45, n)])
    alpha = rng.uniform(1_000, 9_000, n)
    distance = np.sqrt(((CONTACTS[None] - xyz[:, None, :2]) ** 2).sum(axis=2) + xyz[:, 2:] ** 2)
    channels = distance.argmin(axis=1)
    sizes = alpha[:, None] / np.take_along_axis(distance, around.channels[channels], axis=1)
    wave = -np.exp(-((np.arange(90) - 30) ** 2) / 20.0)
    snippets = (sizes[:, :, None] * wave).astype(np.float32)
    found = localise_monopoles(snippets, channels, around, 30, 30_000.0)
    np.testing.assert_allclose(found.xyz_um, xyz, atol=0.1)
    assert found.alpha_uv_um is not None
    np.testing.assert_allclose(found.alpha_uv_um, alpha, rtol=0.02)


def test_contacts_that_are_not_there_do_not_count(rng: np.random.Generator) -> None:
    few = CONTACTS[:6]
    around = find_neighbourhoods(few, 10)
    snippets = np.zeros((1, 10, 90), dtype=np.float32)
    distance = np.sqrt(((few - [20.0, 22.0]) ** 2).sum(axis=1) + 15.0**2)
    snippets[0, :6, 30] = -3_000 / distance[around.channels[2, :6]]
    snippets[0, 6:] = 1e6
    found = localise_monopoles(snippets, np.array([2]), around, 30, 30_000.0)
    np.testing.assert_allclose(found.xyz_um[0], [20, 22, 15], atol=0.1)


def test_a_spike_that_arrives_later_elsewhere_keeps_its_size() -> None:
    t = np.arange(90)
    waves = [-100 * np.exp(-((t - 30 - lag) ** 2) / 8.0) * share for lag, share in ((0, 1.0), (2, 0.6), (4, 0.3))]
    snippets = np.array([waves], dtype=np.float32)
    found = measure_sizes(snippets, np.array([0]), 30, 30_000.0)[0]
    np.testing.assert_allclose(found / found[0], [1.0, 0.6, 0.3], rtol=0.02)
    turned = snippets * np.array([1, -1, 1], dtype=np.float32)[:, None]
    assert measure_sizes(turned, np.array([0]), 30, 30_000.0)[0, 1] < 0.2 * found[1]

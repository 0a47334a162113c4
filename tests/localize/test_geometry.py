"""Neighbourhoods: the nearest contacts, in the same order on every machine, of any probe."""

import numpy as np
import pytest

from spikeprint.core.errors import DataError
from spikeprint.localize.geometry import find_neighbourhoods

CHECKERBOARD = np.array([[16.0 * ((i % 2) * 2 + (i // 2) % 2), 20.0 * (i // 2)] for i in range(40)])


def test_nearest_contacts_ordered_by_depth_then_x() -> None:
    around = find_neighbourhoods(CHECKERBOARD, 10)
    for channel, mine in enumerate(around.channels):
        distance = np.linalg.norm(CHECKERBOARD - CHECKERBOARD[channel], axis=1)
        assert distance[mine].max() <= np.sort(distance)[9] + 1e-9
        assert [tuple(CHECKERBOARD[i][::-1]) for i in mine] == sorted(tuple(CHECKERBOARD[i][::-1]) for i in mine)
        assert mine[around.own[channel]] == channel
    np.testing.assert_allclose(around.anchors_um, CHECKERBOARD[around.channels].mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(around.offsets_um[7], CHECKERBOARD[around.channels[7]] - CHECKERBOARD[7])


def test_ties_do_not_depend_on_the_order_of_channels(rng: np.random.Generator) -> None:
    order = rng.permutation(len(CHECKERBOARD))
    one, other = find_neighbourhoods(CHECKERBOARD, 10), find_neighbourhoods(CHECKERBOARD[order], 10)
    for place, channel in enumerate(order):
        np.testing.assert_array_equal(order[other.channels[place]], one.channels[channel])


def test_a_probe_with_few_contacts_leaves_places_empty() -> None:
    around = find_neighbourhoods(np.array([[0.0, 0], [20, 0], [0, 20], [20, 20]]), 10)
    assert around.is_there.sum(axis=1).tolist() == [4] * 4
    assert (around.offsets_um[~around.is_there] == 0).all()
    np.testing.assert_allclose(around.anchors_um, np.full((4, 2), 10.0))


@pytest.mark.parametrize(
    ("contacts", "message"),
    [
        (np.zeros((2, 2)), "2 channels; at least 3"),
        (np.array([[0.0, 0], [0, 0], [0, 20]]), "3 channels at 2 places"),
        (np.array([[0.0, 0], [np.nan, 0], [0, 20]]), "finite"),
    ],
)
def test_probes_that_cannot_be_used(contacts: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_neighbourhoods(contacts, 10)

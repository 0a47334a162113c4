"""The simulated world: spikes that a detector meets, with the truth that is told of them."""

import numpy as np
import pytest

from spikeprint.core.spikes import Source
from spikeprint.localize.fit import make_reader, make_simulator
from spikeprint.localize.simulate import DECAYS, Simulator, World, draw_sources
from spikeprint.localize.waves import FINE, make_waves


@pytest.fixture(scope="module")
def simulator(source: Source) -> Simulator:
    return make_simulator(source, make_reader(source, 10).around, np.random.default_rng(0), World())


def test_spikes_are_such_as_a_detector_meets(simulator: Simulator, rng: np.random.Generator) -> None:
    truth = simulator.draw(rng, 400)
    own = simulator.around.own[truth.channels]
    trough = truth.snippets[:, :, simulator.n_before]
    peak = trough[np.arange(400), own]
    assert (peak < 0).all()
    assert (np.take_along_axis(trough, own[:, None], 1) <= trough.min(axis=1, keepdims=True) + 15).mean() > 0.95
    expected = truth.sizes_uv[np.arange(400), own]
    assert np.corrcoef(expected, -peak)[0, 1] > 0.95


def test_one_generator_gives_one_world(simulator: Simulator) -> None:
    one, other = (simulator.draw(np.random.default_rng(5), 50) for _ in range(2))
    np.testing.assert_array_equal(one.snippets, other.snippets)
    assert not np.array_equal(one.snippets, simulator.draw(np.random.default_rng(6), 50).snippets)


def test_overlaps_add_spikes(simulator: Simulator) -> None:
    alone = simulator.draw(np.random.default_rng(5), 200)
    crowded = simulator.draw(np.random.default_rng(5), 200, overlap=1.0)
    np.testing.assert_array_equal(alone.xyz_um, crowded.xyz_um)
    assert np.square(crowded.snippets).sum() > 1.05 * np.square(alone.snippets).sum()


def test_a_drifting_neuron_is_met_twice(simulator: Simulator, rng: np.random.Generator) -> None:
    truth = simulator.draw(rng, 400, drift_um=20.0)
    contacts, own = simulator.around.contacts_um[truth.channels], simulator.around.own[truth.channels]
    places = truth.xyz_um + np.pad(contacts, ((0, 0), (0, 1)))
    way = places[1::2] - places[::2]
    np.testing.assert_allclose(way[:, [0, 2]], 0, atol=1e-3)
    assert 15 < np.abs(way[:, 1]).max() <= 20
    assert (truth.channels[1::2] != truth.channels[::2]).any(), "its peak moves to another contact"
    assert not np.array_equal(truth.snippets[1::2], truth.snippets[::2])
    peak = -truth.snippets[np.arange(400), own, simulator.n_before]
    assert (peak >= -truth.snippets[:, :, simulator.n_before].min(axis=1) - 15).mean() > 0.95
    sizes = truth.sizes_uv[np.arange(400), own]
    near = np.abs(way[:, 1]) < 3
    assert np.corrcoef(sizes[::2][near], sizes[1::2][near])[0, 1] > 0.9


def test_sources_lie_in_their_world(simulator: Simulator, rng: np.random.Generator) -> None:
    world = World()
    channels = rng.integers(0, len(simulator.around.channels), 2_000)
    found = draw_sources(rng, simulator.around, channels, world)
    places = found.xyz_um[:, :2] + simulator.around.contacts_um[channels]
    contacts = simulator.around.contacts_um
    assert (places >= contacts.min(axis=0) - world.margin_um - 1e-3).all()
    assert (places <= contacts.max(axis=0) + world.margin_um + 1e-3).all()
    assert np.abs(found.xyz_um[:, :2]).max() <= world.lateral_um
    assert world.z_um[0] <= found.xyz_um[:, 2].min() < found.xyz_um[:, 2].max() <= world.z_um[1]


@pytest.mark.parametrize("law", DECAYS)
def test_laws_fall_with_distance(law: str) -> None:
    far = np.array([[0.0, 10, 20, 40, 80]])
    sizes = DECAYS[law](far, np.array([[20.0]]), np.array([[2.0]]))
    assert (np.diff(sizes[0]) < 0).all()
    assert sizes.min() > 0


@pytest.mark.parametrize("band_hz", [None, (300.0, 6000.0)])
def test_waves_have_their_trough_where_it_is_told(
    band_hz: tuple[float, float] | None, rng: np.random.Generator
) -> None:
    bank = make_waves(rng, 30, 30_000.0, 30, 60, band_hz)
    at = bank.origin + 30 * FINE
    assert (bank.values.argmin(axis=1) == at).all()
    np.testing.assert_allclose(bank.values.min(axis=1), -1.0, atol=1e-5)
    rest = np.abs(bank.values.sum(axis=1)) / np.abs(bank.values).sum(axis=1)
    assert band_hz is None or rest.max() < 0.05

"""Networks: the reference's sizes, and what ours may not depend on."""

import numpy as np
import pytest
import torch

from spikeprint.core.spikes import Source
from spikeprint.localize.batches import Reader
from spikeprint.localize.fit import FittedLocalizer, make_reader, thaw
from spikeprint.localize.networks import RelativeXYZNet, SourceNet, TransformerSLN


@pytest.mark.parametrize(("network", "n"), [(RelativeXYZNet, 401_955), (TransformerSLN, 579_971)])
def test_reference_networks_have_the_published_size(network: type[torch.nn.Module], n: int) -> None:
    made = network().eval()
    assert sum(parameter.numel() for parameter in made.parameters()) == n
    assert made(torch.randn(3, 10, 90), torch.randn(3, 2)).shape == (3, 3)


@pytest.fixture(scope="module")
def trained(fitted: dict[str, FittedLocalizer]) -> SourceNet:
    return thaw(fitted["production"])


@pytest.fixture(scope="module")
def reader(source: Source, fitted: dict[str, FittedLocalizer]) -> Reader:
    return make_reader(source, fitted["production"].config["n_neighbours"])


@pytest.fixture(scope="module")
def snippets(source: Source, reader: Reader) -> tuple[np.ndarray, np.ndarray]:
    rows, found = next(source.read(reader.around, source.peaks))
    return found[:64], source.peaks.channels[rows][:64]


def ask(network: SourceNet, reader: Reader, snippets: np.ndarray, channels: np.ndarray) -> np.ndarray:
    batch = reader.read(network, snippets, channels)
    with torch.no_grad():
        said = network(batch.parts, batch.offsets, batch.seen, batch.own, batch.noise, batch.start)
    return said.xyz.numpy()


def test_moving_the_probe_moves_the_answer(
    trained: SourceNet, reader: Reader, source: Source, snippets: tuple[np.ndarray, np.ndarray]
) -> None:
    from dataclasses import replace

    moved = make_reader(replace(source, contacts_um=source.contacts_um + np.array([500.0, -300.0])), 12)
    one, other = ask(trained, reader, *snippets), ask(trained, moved, *snippets)
    np.testing.assert_allclose(one, other, atol=1e-2)


def test_gain_changes_nothing(trained: SourceNet, reader: Reader, snippets: tuple[np.ndarray, np.ndarray]) -> None:
    louder = Reader(reader.around, reader.noise_uv * 7, reader.n_before, reader.fs_hz)
    one, other = ask(trained, reader, *snippets), ask(trained, louder, snippets[0] * 7, snippets[1])
    np.testing.assert_allclose(one, other, atol=1e-2)


def test_mirrored_spikes_have_mirrored_places(
    trained: SourceNet, reader: Reader, snippets: tuple[np.ndarray, np.ndarray]
) -> None:
    from dataclasses import replace

    batch = reader.read(trained, *snippets)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    turned = replace(batch, offsets=batch.offsets * flip[:2], start=batch.start * flip)
    with torch.no_grad():
        one, other = (trained(b.parts, b.offsets, b.seen, b.own, b.noise, b.start).xyz for b in (batch, turned))
    away = (one * flip - other).abs().median(dim=0).values
    assert (away < torch.tensor([4.0, 4.0, 6.0])).all()


def test_contacts_that_are_not_seen_do_not_matter(
    trained: SourceNet, reader: Reader, snippets: tuple[np.ndarray, np.ndarray]
) -> None:
    batch = reader.read(trained, *snippets)
    seen = batch.seen.clone()
    hidden = (batch.own + 3) % seen.shape[1]
    seen[torch.arange(len(seen)), hidden] = False
    noisy = batch.parts.clone()
    noisy[torch.arange(len(seen)), hidden] = 1e4
    with torch.no_grad():
        one, other = (
            trained(p, batch.offsets, seen, batch.own, batch.noise, batch.start) for p in (batch.parts, noisy)
        )
    np.testing.assert_allclose(one.xyz, other.xyz, atol=1e-3)
    assert torch.isfinite(one.sizes).all()

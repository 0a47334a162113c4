"""What the production network learns from: neurons that are met twice, and the loss that asks for one error."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeprint.core.localize_params import LocalizeParams
from spikeprint.core.spikes import Source
from spikeprint.localize.batches import TruthBatch, TruthBatches
from spikeprint.localize.fit import SupervisedLoss, make_reader, make_simulator
from spikeprint.localize.networks import SourceNet, SourceShape
from spikeprint.localize.simulate import World


@pytest.fixture(scope="module")
def network(source: Source) -> SourceNet:
    """Untrained, it answers with the start it is given."""
    network = SourceNet(SourceShape(4, source.n_before + source.n_after, 16, 1))
    network.basis.copy_(torch.eye(source.n_before + source.n_after)[:, 28:32])
    return network


@pytest.fixture(scope="module")
def batches(source: Source, params: LocalizeParams, network: SourceNet) -> TruthBatches:
    reader = make_reader(source, 10)
    simulator = make_simulator(source, reader.around, np.random.default_rng(0), World())
    few = params.network.model_copy(update={"n_spikes": 1_000, "batch_size": 100})
    return TruthBatches(simulator, reader, network, few, seed=0, drift_um=20.0)


def test_an_epoch_is_its_own_and_can_be_drawn_again(batches: TruthBatches) -> None:
    found = []
    for epoch in (0, 1, 0):
        batches.epoch = epoch
        found.append(torch.cat([batch.xyz for batch in batches]))
    assert len(found[0]) == 1_000
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_spikes_of_a_neuron_are_mirrored_alike(batches: TruthBatches) -> None:
    batch = next(iter(batches))
    stays = batch.spikes.offsets[::2].sum(dim=1) == batch.spikes.offsets[1::2].sum(dim=1)
    still = stays.all(dim=1)  # the peak did not move to another contact
    assert still.sum() > 10
    assert torch.allclose(batch.xyz[::2, 0][still], batch.xyz[1::2, 0][still], atol=1e-4)


@pytest.mark.parametrize("evenness", [0.0, 0.5, 1.0])
def test_evenness_weights_spikes_of_large_error_and_leaves_the_expected_one_as_it_is(
    batches: TruthBatches, network: SourceNet, evenness: float
) -> None:
    batch, loss = next(iter(batches)), SupervisedLoss(0.0, evenness=evenness)
    pulls = []
    for more in (0.0, 2.0):
        doubtful = copy.deepcopy(network)
        with torch.no_grad():
            doubtful.answer.bias[3:6] = more
        exact = replace(batch.spikes, start=batch.xyz + float(np.exp(1.6 + more)))
        loss(doubtful, TruthBatch(exact, batch.xyz, batch.sizes, batch.log_alpha))["position"].backward()
        gradient = doubtful.answer.bias.grad
        assert gradient is not None
        assert torch.allclose(gradient[3:6], torch.zeros(3), atol=1e-5)  # an error as large as expected
        pulls.append(float(gradient[0]))
    assert pulls[1] / pulls[0] == pytest.approx(np.exp(2.0 * (evenness - 1)), rel=1e-3)


def test_one_error_for_both_spikes_costs_nothing(batches: TruthBatches, network: SourceNet) -> None:
    batch, loss = next(iter(batches)), SupervisedLoss(1.0, repeat_weight=2.0)

    def ask(error: torch.Tensor) -> dict[str, torch.Tensor]:
        started = replace(batch.spikes, start=batch.xyz + error)
        return loss(network, TruthBatch(started, batch.xyz, batch.sizes, batch.log_alpha))

    own = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 5
    same, turned = ask(own.repeat_interleave(2, 0)), ask(torch.stack([own, -own], dim=1).reshape(100, 3))
    assert float(same["repeat"]) < 1e-5
    assert float(turned["repeat"]) > 1
    assert float(turned["position"]) == pytest.approx(float(same["position"]), rel=1e-4)
    rest = {name: turned[name] for name in ("position", "reconstruction", "alpha")}
    total = rest["position"] + rest["reconstruction"] + 0.1 * rest["alpha"] + 2.0 * turned["repeat"]
    assert float(turned["total"]) == pytest.approx(float(total), rel=1e-5)

"""The network: members never meet, absent means nothing, production stays small."""

import pytest
import torch

from spikeprint.core.config import Params
from spikeprint.cvae.fit import make_shape
from spikeprint.cvae.networks import Conditions, CVAENetwork, NetworkShape, Standardise
from spikeprint.features.descriptors import N_DESCRIPTORS
from spikeprint.features.transforms import INPUT_LENGTHS


def make_network(**changes: object) -> CVAENetwork:
    values = {
        "lengths": {"waveform": 6, "isi": 5, "acg": 4},
        "n_members": 3,
        "n_latent": 2,
        "n_hidden": 8,
        "n_condition": 2,
        "condition_sizes": {"dataset": 2},
        "n_classes": 3,
        "class_in_encoder": False,
        "class_in_decoder": True,
        "use_fusion": True,
        "use_batch_norm": False,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "input_share": 1.0,
    }
    torch.manual_seed(0)
    return CVAENetwork(NetworkShape(**(values | changes))).eval()


def make_batch(network: CVAENetwork, n: int = 4) -> tuple[dict, torch.Tensor, dict]:
    n_members = network.shape.n_members
    inputs = {name: torch.randn(n_members, n, length) for name, length in network.shape.lengths.items()}
    codes = {name: torch.ones(n_members, n, dtype=torch.int64) for name in ("dataset", "cell_type")}
    return inputs, torch.ones(n_members, n, 3, dtype=torch.bool), codes


@pytest.mark.parametrize("use_batch_norm", [False, True])
@pytest.mark.parametrize("use_fusion", [False, True])
def test_no_member_listens_to_another(use_batch_norm: bool, use_fusion: bool) -> None:
    network = make_network(use_batch_norm=use_batch_norm, use_fusion=use_fusion).train()
    inputs, present, codes = make_batch(network)
    for x in inputs.values():
        x.requires_grad_()
    mean, _ = network.encode(inputs, present, codes)
    decoded = network.decode(mean, codes)
    (decoded["isi"][1].square().sum() + network.classify(mean)[1].square().sum()).backward()
    for x in inputs.values():
        assert not x.grad[[0, 2]].any()
        assert x.grad[1].any()


def test_what_a_missing_modality_holds_does_not_matter() -> None:
    network = make_network()
    inputs, present, codes = make_batch(network)
    present[:, :, 1] = False
    first, _ = network.encode(inputs, present, codes)
    second, _ = network.encode({**inputs, "isi": 100 * inputs["isi"]}, present, codes)
    torch.testing.assert_close(first, second)


def test_an_absent_condition_is_the_zero_vector_and_never_a_word() -> None:
    torch.manual_seed(0)
    table = Conditions({"dataset": 3}, 2, n_members=2)
    told = table({"dataset": torch.tensor([[0, 1, 3], [0, 2, 3]])}, torch.zeros(2, 3, 1))
    assert not told[:, 0].any()
    assert told[:, 1:].abs().min() > 0


def test_a_class_in_the_decoder_only_never_reaches_the_latent() -> None:
    network = make_network()
    inputs, present, codes = make_batch(network)
    other = {**codes, "cell_type": 2 * codes["cell_type"]}
    latent = network.encode(inputs, present, codes)[0]
    torch.testing.assert_close(latent, network.encode(inputs, present, other)[0])
    assert not torch.allclose(network.decode(latent, codes)["isi"], network.decode(latent, other)["isi"])


def test_members_see_different_shares_of_the_inputs() -> None:
    network = make_network(lengths={"waveform": 200}, n_members=4, input_share=0.5)
    seen = network.subspaces("waveform", torch.ones(4, 1, 200))[:, 0]
    assert seen.sum(dim=1).min() > 60
    assert seen.sum(dim=1).max() < 140
    assert len({tuple(row.tolist()) for row in seen}) == 4
    assert make_network().subspaces("isi", torch.ones(3, 1, 5)).all()


def test_standardising_is_undone() -> None:
    standardise = Standardise(3)
    x = torch.randn(200, 3) * torch.tensor([1.0, 5.0, 0.1]) + 2
    x[:, 1] = 7.0  # never varies
    standardise.fit(x)
    assert not standardise(x)[:, 1].any()
    torch.testing.assert_close(standardise.invert(standardise(x)), x, atol=1e-3, rtol=1e-3)


def test_production_has_at_most_half_a_million_parameters(root) -> None:
    params = Params.load(root / "params.yaml").ablation("production")
    lengths = {name: torch.zeros(1, n + N_DESCRIPTORS[name]).numpy() for name, n in INPUT_LENGTHS.items()}
    words = {"dataset": ["a", "b", "c", "d"], "technology": ["e", "f"]}
    network = CVAENetwork(make_shape(params, lengths, words, 12))
    assert sum(weight.numel() for weight in network.parameters()) <= 500_000

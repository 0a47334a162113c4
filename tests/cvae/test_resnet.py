"""The published network: exactly as many weights as published, any width, absent codes tell nothing."""

import pytest
import torch

from spikeprint.cvae.resnet import ReferenceNetwork, ReferenceShape, published_lengths

SMALL = ReferenceShape(base_width=8, n_latent=6)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def batch(n_units: int = 4, source: int = 1, cell_type: int = 2) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.rand(n_units, n, generator=generator) for name, n in published_lengths().items()}
    return inputs, {"source": torch.full((n_units,), source), "cell_type": torch.full((n_units,), cell_type)}


@pytest.fixture
def network() -> ReferenceNetwork:
    torch.manual_seed(0)
    return ReferenceNetwork(SMALL).eval()


def test_production_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        network = ReferenceNetwork(ReferenceShape())
    assert count(network) == 24_327_332
    assert [count(encoder) for encoder in network.encoders.values()] == [3_874_428] * 3


@pytest.mark.parametrize(
    ("shape", "millions", "digits"),
    [
        (ReferenceShape(lengths={"waveform": 50, "isi": 100}, n_latent=20), 16.16, 2),
        (ReferenceShape(base_width=16), 1.61, 2),
        (ReferenceShape(base_width=32), 6.18, 2),
        (ReferenceShape(base_width=128), 96.7, 1),
    ],
)
def test_other_published_sizes(shape: ReferenceShape, millions: float, digits: int) -> None:
    with torch.device("meta"):
        assert round(count(ReferenceNetwork(shape)) / 1e6, digits) == millions


def test_shapes_of_what_leaves(network: ReferenceNetwork) -> None:
    inputs, codes = batch()
    mean, logvar = network.encode(inputs, codes)
    assert mean.shape == logvar.shape == (4, 6)
    assert {name: x.shape for name, x in network.decode(mean, codes).items()} == {k: v.shape for k, v in inputs.items()}


@pytest.mark.parametrize("name", ["source", "cell_type"])
def test_an_absent_code_equals_a_zero_vector(network: ReferenceNetwork, name: str) -> None:
    latent = torch.randn(4, 6)
    codes = batch()[1]
    absent = codes | {name: torch.full((4,), -1)}
    without, told = network.decode(latent, absent)["isi"], network.decode(latent, codes | {name: torch.zeros(4).long()})
    assert not torch.allclose(without, told["isi"])  # 0 is a source or class like any other
    torch.nn.init.zeros_(getattr(network, name).weight)
    assert torch.equal(without, network.decode(latent, codes)["isi"])


@pytest.mark.parametrize("sees", [False, True])
def test_the_encoder_sees_the_class_only_if_told_to(sees: bool) -> None:
    network = ReferenceNetwork(ReferenceShape(base_width=8, class_in_encoder=sees)).eval()
    means = [network.encode(*batch(cell_type=cell_type))[0] for cell_type in (0, 3)]
    assert torch.equal(*means) != sees
    assert not torch.equal(means[0], network.encode(*batch(source=2, cell_type=0))[0])


@pytest.mark.parametrize("switch", ["use_fusion", "use_batch_norm"])
def test_switches_remove_layers(switch: str) -> None:
    shape = ReferenceShape(base_width=8, **{switch: False})
    assert count(ReferenceNetwork(shape)) < count(ReferenceNetwork(ReferenceShape(base_width=8)))
    network = ReferenceNetwork(shape)
    inputs, codes = batch()
    assert network.decode(network.encode(inputs, codes)[0], codes)["acg"].shape == (4, 100)

"""The folded encoder gives the numbers of the network that was trained, whatever its configuration."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeprint.cvae.folded import FoldedEncoder
from spikeprint.cvae.networks import CVAENetwork, NetworkShape

SHAPE = NetworkShape(
    lengths={"waveform": 12, "isi": 9, "acg": 7},
    n_members=3,
    n_latent=4,
    n_hidden=8,
    n_condition=2,
    condition_sizes={"dataset": 3, "technology": 2},
    n_classes=4,
    class_in_encoder=False,
    class_in_decoder=True,
    use_fusion=True,
    use_batch_norm=False,
    dropout=0.2,
    input_dropout=0.1,
    input_share=0.5,
)
CHANGES = {
    "production": {},
    "batch normalisation": {"use_batch_norm": True},
    "no fusion": {"use_fusion": False},
    "class told": {"class_in_encoder": True},
    "no conditions": {"condition_sizes": {}},
    "one member that sees everything": {"n_members": 1, "input_share": 1.0},
}


def trained(shape: NetworkShape) -> CVAENetwork:
    """A network none of whose parameters and statistics is at its start."""
    torch.manual_seed(0)
    network = CVAENetwork(shape).eval()
    with torch.no_grad():
        for x in (*network.parameters(), *network.buffers()):
            if x.is_floating_point() and x.ndim and not x.eq(x.round()).all():
                x.add_(0.1 * torch.randn_like(x))
        for name, x in (*network.named_parameters(), *network.named_buffers()):
            if name.endswith(("running_mean", "gain", "norm.bias", "centre")) or name.startswith("missing"):
                x.add_(0.3 * torch.randn_like(x))
            if name.endswith(("running_var", "scale")):
                x.mul_(0.5 + torch.rand_like(x))
        network.standardise["isi"].scale[0] = torch.inf  # the same in all training units
    return network


@pytest.mark.parametrize("words", ["all alike", "mixed"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_means_are_those_of_the_network(change: str, words: str) -> None:
    network = trained(replace(SHAPE, **CHANGES[change]))
    n = 17
    inputs = {name: torch.randn(n, length) for name, length in SHAPE.lengths.items()}
    present = torch.rand(n, 3) < 0.7
    sizes = {"dataset": 3, "technology": 2, "cell_type": 4}
    codes = {
        name: torch.randint(0, k + 1, (n,)) if words == "mixed" else torch.full((n,), k) for name, k in sizes.items()
    }
    with torch.inference_mode():
        seen = {name: network.for_members(x) for name, x in network.prepare(inputs, present).items()}
        told = {name: network.for_members(code) for name, code in codes.items()}
        expected = network.encode(seen, network.for_members(present), told)[0]
        found = FoldedEncoder(network)(inputs, present, codes)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-6, rtol=1e-5)

"""The folded model gives the numbers of the network and the distances that were fitted, whatever its configuration."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeprint.cvae.folded import SPAN, FoldedDistances, FoldedEncoder, Scaled
from spikeprint.cvae.networks import CVAENetwork, NetworkShape
from spikeprint.evaluate.decision import novelty_score, place_traces, trace_distance
from spikeprint.evaluate.novelty import fit_axes, fit_novelty, fit_places

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


def standardise(encoder: FoldedEncoder, inputs: dict[str, torch.Tensor], present: torch.Tensor) -> Scaled:
    for name, x in encoder.room(len(present)).items():
        x[:] = inputs[name].T
    return encoder.standardise(present.numpy())


@pytest.mark.parametrize(("words", "n"), [("all alike", 17), ("mixed", 17), ("mixed", SPAN + 5), ("all alike", 1)])
@pytest.mark.parametrize("change", CHANGES)
def test_the_means_are_those_of_the_network(change: str, words: str, n: int) -> None:
    network = trained(replace(SHAPE, **CHANGES[change]))
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
        encoder = FoldedEncoder(network)
        found = encoder(standardise(encoder, inputs, present), codes).transpose(1, 2)
    # among many units there are some with much the same in all hidden units, which normalisation blows up
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-6 if n < SPAN else 5e-5, rtol=1e-5)


def test_the_distances_are_those_that_the_limits_were_fitted_to() -> None:
    network, rng, n = trained(SHAPE), np.random.default_rng(3), 60
    codes, labelled = np.arange(n) % 3, np.ones(n, dtype=bool)
    inputs = {name: torch.randn(n, length) for name, length in SHAPE.lengths.items()}
    present = rng.random((n, 3)) < 0.7
    present[0] = False
    latent = rng.normal(size=(3, n, 4)).astype(np.float32)
    with torch.inference_mode():
        seen = {name: x.numpy() for name, x in network.prepare(inputs, torch.from_numpy(present)).items()}
    axes = fit_axes(seen, present, dict.fromkeys(seen, 5), labelled)
    axes.pop("acg")  # a modality that too few units had
    places = place_traces(seen, present, axes)
    shapes = fit_places(*places, codes)
    fits = [fit_novelty(z, codes) for z in latent]
    arrays = {f"novelty.{name}": np.stack([fitted[name] for fitted in fits]) for name in ("centres", "precision")}
    arrays |= {f"traces.axes.{name}": x for name, x in axes.items()} | {f"traces.{k}": x for k, x in shapes.items()}
    scaled = standardise(FoldedEncoder(network), inputs, torch.from_numpy(present))
    found = FoldedDistances(arrays)
    np.testing.assert_allclose(found.traces(scaled), trace_distance(*places, **shapes), rtol=1e-4, atol=1e-5)
    expected = np.mean([novelty_score(z, **fitted) for z, fitted in zip(latent, fits, strict=True)], axis=0)
    np.testing.assert_allclose(found.latents(torch.from_numpy(latent).mT), expected, rtol=1e-4, atol=1e-5)

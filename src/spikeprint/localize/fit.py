"""Training on simulated truth. Enters: a source and parameters. Leaves: a network as plain arrays, and its curves."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.localize_params import LocalizerParams
from ..core.spikes import Neighbourhoods, Peaks, Source
from ..training import Curve, Hardware, Schedule, train_module
from .batches import Reader, TruthBatch, TruthBatches, make_truth_batch
from .geometry import find_neighbourhoods
from .module import LossParts, SpikeModule, Watched
from .networks import SourceNet, SourceShape
from .simulate import Simulator, World
from .waves import make_waves

N_WAVES, N_NOISE, N_BASIS, N_WATCHED = 400, 4_000, 3_000, 4_096
"""Spike shapes, noise snippets, snippets behind the temporal components, simulated spikes that are watched."""
DRIFT_UM = 20.0
"""A neuron is met a second time that far along y, at most."""
THRESHOLD = 5.0
"""Detector of the simulated world, in noise levels: below that of a recording, whose noise differs by place."""


@dataclass(frozen=True)
class FittedLocalizer:
    """A trained network.

    Attributes
    ----------
    config : plain values: kind, shape of the network, neighbours
    arrays : weights by name; curves : of the training, empty in a loaded one
    """

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    curves: list[Curve] = field(default_factory=list)


def make_reader(source: Source, n_neighbours: int) -> Reader:
    """Return what turns the snippets of a source into batches."""
    around = find_neighbourhoods(source.contacts_um, n_neighbours)
    return Reader(around, source.noise_uv, source.n_before, source.peaks.fs_hz)


def make_simulator(source: Source, around: Neighbourhoods, rng: np.random.Generator, world: World) -> Simulator:
    """Return a simulator with the contacts, the filter and the noise of a recording.

    Noise is cut at random times: it holds the spikes of other neurons as often as the recording does.
    """
    length, peaks = source.n_before + source.n_after, source.peaks
    at = np.sort(rng.integers(length, max(peaks.n_samples - length, length + 1), N_NOISE))
    places = Peaks(
        at, rng.integers(0, len(source.contacts_um), N_NOISE), np.zeros(N_NOISE), peaks.fs_hz, peaks.n_samples
    )
    noise = np.concatenate([snippets for _, snippets in source.read(around, places)])
    bank = make_waves(rng, N_WAVES, peaks.fs_hz, source.n_before, source.n_after, source.band_hz)
    limits = THRESHOLD * source.noise_uv
    return Simulator(around, bank, peaks.fs_hz, source.n_before, places.channels, noise, limits, world)


def fit_localizer(
    source: Source, params: LocalizerParams, seed: int, world: World | None = None, store: Path | None = None
) -> FittedLocalizer:
    """Train the production network on simulated spikes of a recording's probe, noise and filter.

    Parameters
    ----------
    source : of its peaks only places to take temporal components from; their positions are not known to anyone
    world : ranges of the simulation; store : see ``train_module``
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    reader = make_reader(source, params.n_neighbours)
    simulator = make_simulator(source, reader.around, rng, world or World())
    shape = SourceShape(params.n_components, source.n_before + source.n_after, params.n_hidden, params.n_layers)
    network = SourceNet(shape)
    network.basis.copy_(torch.from_numpy(find_basis(source, simulator, params.n_components, rng)))
    drift_um = DRIFT_UM if params.repeat_weight else 0.0
    batches = TruthBatches(simulator, reader, network, params, seed, drift_um)
    others = simulator.draw(np.random.default_rng(seed + 1), N_WATCHED, drift_um=drift_um)
    watched = Watched([make_truth_batch(reader, network, others)])
    loss = SupervisedLoss(params.reconstruction_weight, params.repeat_weight, params.evenness)
    n_steps = params.epochs * len(batches)
    module = SpikeModule(network, loss, params.learning_rate, params.weight_decay, n_steps)
    schedule = Schedule(epochs=params.epochs, patience=params.epochs, checkpoint="last")
    curves = train_module(module, batches, watched, schedule, Hardware(device=params.device), store)
    return freeze(network, asdict(shape), params.n_neighbours, source, curves)


def freeze(
    network: SourceNet, shape: dict[str, int], n_neighbours: int, source: Source, curves: list[Curve]
) -> FittedLocalizer:
    """Return a network as plain values."""
    arrays = {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}
    window = {"n_before": source.n_before, "n_after": source.n_after, "fs_hz": source.peaks.fs_hz}
    return FittedLocalizer(
        {"kind": "production", "shape": shape, "n_neighbours": n_neighbours, **window}, arrays, curves
    )


def thaw(fitted: FittedLocalizer) -> SourceNet:
    """Return the network of plain values, ready to answer."""
    network = SourceNet(SourceShape(**fitted.config["shape"]))
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in fitted.arrays.items()})
    return network.eval()


def find_basis(source: Source, simulator: Simulator, n_components: int, rng: np.random.Generator) -> np.ndarray:
    """Return (T, n_components) temporal components of recorded and simulated spikes, half of each (SVD, no mean)."""
    rows = np.sort(rng.choice(len(source.peaks), min(N_BASIS, len(source.peaks)), replace=False))
    some = source.peaks.take(rows)
    recorded = np.concatenate([snippets for _, snippets in source.read(simulator.around, some)])
    simulated = simulator.draw(rng, len(recorded)).snippets
    length = recorded.shape[2]
    moments = np.zeros((length, length))
    for snippets in (recorded, simulated):
        flat = snippets.reshape(-1, length).astype(np.float64)
        moment = flat.T @ flat
        moments += moment / np.trace(moment)
    _, vectors = np.linalg.eigh(moments)
    return np.ascontiguousarray(vectors[:, ::-1][:, :n_components]).astype(np.float32)


@dataclass(frozen=True)
class SupervisedLoss:
    """Laplace likelihood of the position (the network tells its own error), amplitudes of contacts and source.

    With a ``repeat_weight`` every other spike is of the neuron before it: both errors in (x, y) should be the same.
    What tells neurons apart, and motion, is that places repeat; a little more bias buys much less spread.

    The likelihood alone learns least from spikes whose error it expects to be large, as beside the outer contacts; it
    is weighted with the expected error to the power ``evenness`` (beta-NLL, Seitzer et al. 2022); 1 = the plain error.
    """

    reconstruction_weight: float
    repeat_weight: float = 0.0
    evenness: float = 0.0

    def __call__(self, network: SourceNet, batch: TruthBatch) -> LossParts:
        """Return the parts of the loss of simulated spikes."""
        spikes = batch.spikes
        said = network(spikes.parts, spikes.offsets, spikes.seen, spikes.own, spikes.noise, spikes.start)
        error = said.xyz - batch.xyz
        away = error.abs()
        there = torch.isfinite(batch.sizes)
        wrong = (said.sizes - batch.sizes.nan_to_num()).abs() * there
        weight = torch.exp(self.evenness * said.log_sd.detach())
        parts = {
            "position": (weight * (away * torch.exp(-said.log_sd) + said.log_sd)).mean(),
            "reconstruction": wrong.sum() / there.sum(),
            "alpha": (said.log_alpha - batch.log_alpha).abs().mean(),
        }
        total = parts["position"] + self.reconstruction_weight * parts["reconstruction"] + 0.1 * parts["alpha"]
        if self.repeat_weight:
            plane = slice(0, 2)  # where motion and neighbours are told; held in z too, z was off by a quarter more
            apart, log_sd = (error[::2, plane] - error[1::2, plane]).abs(), said.log_sd[:, plane].detach()
            parts["repeat"] = (apart * torch.exp(-(log_sd[::2] + log_sd[1::2]) / 2)).mean()
            total = total + self.repeat_weight * parts["repeat"]
        return parts | {"error_um": away.mean().detach(), "total": total}


def iter_rows(n: int, size: int) -> Iterator[slice]:
    """Yield slices of ``size`` that cover n rows."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))

"""Spikes as a network takes them. Enters: snippets, simulated or recorded. Leaves: tensors in batches."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ..core.localize_params import LocalizerParams
from ..core.spikes import Neighbourhoods
from .monopole import localise_monopoles
from .networks import SourceNet
from .simulate import Simulator, Truth

DRAWN_BATCHES = 8
"""Batches that are simulated at a time."""


@dataclass(frozen=True)
class SpikeBatch:
    """n spikes, all lengths in µm from their peak contact, sizes in µV.

    Attributes
    ----------
    parts : (n, k, n_components); offsets : (n, k, 2); seen : (n, k) bool; own : (n,) int64; noise : (n,)
    start : (n, 3), a monopole fit
    """

    parts: Tensor
    offsets: Tensor
    seen: Tensor
    own: Tensor
    noise: Tensor
    start: Tensor

    def take(self, rows: Tensor | slice) -> "SpikeBatch":
        """Return some of the spikes."""
        return SpikeBatch(*(getattr(self, item.name)[rows] for item in fields(self)))

    def to(self, device: torch.device) -> "SpikeBatch":
        """Return the spikes on a device."""
        return SpikeBatch(*(getattr(self, item.name).to(device) for item in fields(self)))


@dataclass(frozen=True)
class TruthBatch:
    """Spikes with their truth: ``xyz`` (n, 3) µm from the peak contact, ``sizes`` (n, k) relative to the peak's,
    ``log_alpha`` (n,)."""

    spikes: SpikeBatch
    xyz: Tensor
    sizes: Tensor
    log_alpha: Tensor

    def __len__(self) -> int:
        return len(self.xyz)

    def to(self, device: torch.device) -> "TruthBatch":
        """Return the spikes on a device."""
        return TruthBatch(self.spikes.to(device), self.xyz.to(device), self.sizes.to(device), self.log_alpha.to(device))


@dataclass(frozen=True)
class Reader:
    """Turns snippets into what ``SourceNet`` takes.

    Attributes
    ----------
    around : neighbourhoods; noise_uv : (n_channels,); n_before, fs_hz : trough and rate of the snippets
    """

    around: Neighbourhoods
    noise_uv: np.ndarray
    n_before: int
    fs_hz: float

    def read(self, network: SourceNet, snippets: np.ndarray, channels: np.ndarray) -> SpikeBatch:
        """Compress snippets (n, k, T) of peak channels (n,), and fit their monopoles."""
        start = localise_monopoles(snippets, channels, self.around, self.n_before, self.fs_hz).xyz_um
        start[:, :2] -= self.around.contacts_um[channels]
        with torch.no_grad():
            parts = network.compress(torch.from_numpy(snippets))
        return self.join(parts, start, channels)

    def join(self, parts: Tensor, start: np.ndarray, channels: np.ndarray) -> SpikeBatch:
        """Add what the probe knows to compressed spikes (n, k, n_components) and starts (n, 3)."""
        return SpikeBatch(
            parts=parts,
            offsets=torch.from_numpy(self.around.offsets_um[channels]),
            seen=torch.from_numpy(self.around.is_there[channels]),
            own=torch.from_numpy(self.around.own[channels]),
            noise=torch.from_numpy(self.noise_uv[channels].astype(np.float32)),
            start=torch.from_numpy(start),
        )


@dataclass
class TruthBatches:
    """An epoch of simulated spikes, others in every ``epoch``.

    Mirrored along x and y at random, and ``hidden_channels`` of the contacts hidden from the network, never the peak's.
    With ``drift_um`` every other spike is of the neuron before it, elsewhere along y.
    """

    simulator: Simulator
    reader: Reader
    network: SourceNet
    params: LocalizerParams
    seed: int
    drift_um: float = 0.0
    epoch: int = 0

    def __len__(self) -> int:
        return max(self.params.n_spikes // self.params.batch_size, 1)

    def __iter__(self) -> Iterator[TruthBatch]:
        rng = np.random.default_rng([self.seed, self.epoch])
        n_left, size = len(self), self.params.batch_size
        while n_left > 0:
            n_batches = min(n_left, DRAWN_BATCHES)
            truth = self.simulator.draw(rng, n_batches * size, self.params.overlap, self.drift_um)
            whole = self.augment(make_truth_batch(self.reader, self.network, truth), rng)
            for i in range(n_batches):
                rows = slice(i * size, (i + 1) * size)
                yield TruthBatch(whole.spikes.take(rows), whole.xyz[rows], whole.sizes[rows], whole.log_alpha[rows])
            n_left -= n_batches

    def augment(self, batch: TruthBatch, rng: np.random.Generator) -> TruthBatch:
        """Mirror spikes and hide contacts."""
        n, k = batch.spikes.seen.shape
        same = 2 if self.drift_um else 1  # spikes of one neuron are mirrored alike
        flip = torch.from_numpy(rng.choice(np.array([-1, 1], dtype=np.float32), (n // same, 2)).repeat(same, 0))
        shown = torch.from_numpy(rng.random((n, k)) >= self.params.hidden_channels)
        shown[torch.arange(n), batch.spikes.own] = True
        whole = torch.cat([flip, torch.ones(n, 1)], dim=1)
        spikes = batch.spikes
        mirrored = SpikeBatch(
            spikes.parts, spikes.offsets * flip[:, None], spikes.seen & shown, spikes.own, spikes.noise,
            spikes.start * whole,
        )  # fmt: skip
        return TruthBatch(mirrored, batch.xyz * whole, batch.sizes, batch.log_alpha)


def make_truth_batch(reader: Reader, network: SourceNet, truth: Truth) -> TruthBatch:
    """Return simulated spikes as a network and its loss take them; sizes are NaN where there is no contact."""
    spikes = reader.read(network, truth.snippets, truth.channels)
    own = reader.around.own[truth.channels]
    peak = truth.sizes_uv[np.arange(len(own)), own]
    sizes = np.where(reader.around.is_there[truth.channels], truth.sizes_uv / peak[:, None], np.nan)
    distance = np.linalg.norm(truth.xyz_um, axis=1)
    return TruthBatch(
        spikes,
        torch.from_numpy(truth.xyz_um),
        torch.from_numpy(sizes.astype(np.float32)),
        torch.from_numpy(np.log(peak * distance).astype(np.float32)),
    )

"""Self-supervised training on one recording. Enters: a trained network, a source. Leaves: one that repeats better.

Rounds of DREDge (network frozen) and network epochs (motion frozen). An epoch tiles the recording with disjoint blocks
of successive bins at a random phase, so that it meets every spike once. The network stays in evaluation mode, and is
tethered on all three axes to where it started.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.errors import NotEnoughSpikes
from ..core.localize_params import JointParams, MotionParams
from ..core.spikes import Motion, Peaks, Positions, Source
from ..training import Curve, Hardware, Schedule, train_module
from .batches import Reader, SpikeBatch
from .fit import FittedLocalizer, freeze, iter_rows, make_reader, thaw
from .histograms import Grid, make_grids
from .losses import soft_histogram, spatial_entropy, tether, windowed_correlation
from .module import LossParts, SpikeModule, Watched
from .motion import estimate_motion
from .networks import SourceNet

LOGGER = logging.getLogger(__name__)
LEAST_VALID = 4
"""Blocks with fewer valid bins are left out."""
BATCH = 4_096


@dataclass(frozen=True)
class Compressed:
    """The spikes of a recording as the temporal components of their neighbourhoods: the cache of training.

    Attributes
    ----------
    parts : (n, k, n_components) float16 tensor; start : (n, 3) float32, monopole fits from the peak contact
    """

    parts: Tensor
    start: np.ndarray
    peaks: Peaks
    reader: Reader

    def batch(self, rows: np.ndarray | slice) -> SpikeBatch:
        """Return some spikes as a network takes them."""
        return self.reader.join(self.parts[rows].float(), self.start[rows], self.peaks.channels[rows])


@dataclass(frozen=True)
class Block:
    """Spikes of successive time bins.

    Attributes
    ----------
    spikes : the n spikes; bins : (n,) int64 from 0; moved : (n, 2) displacement along x and y; contacts : (n, 2) µm
    start : (n, 3) predictions before this training; is_valid : (n_bins,) bool
    """

    spikes: SpikeBatch
    bins: Tensor
    moved: Tensor
    contacts: Tensor
    start: Tensor
    is_valid: Tensor

    def to(self, device: torch.device) -> "Block":
        """Return the block on a device."""
        moved = {name: getattr(self, name).to(device) for name in self.__dataclass_fields__}
        return replace(self, **moved)


def compress(source: Source, network: SourceNet, n_neighbours: int) -> Compressed:
    """Read all snippets of a source once, chunk by chunk, and keep their temporal components."""
    reader = make_reader(source, n_neighbours)
    n, n_contacts = len(source.peaks), reader.around.channels.shape[1]
    # small pieces that stay, between large ones that go, would keep the heap from ever shrinking
    parts = torch.empty((n, n_contacts, network.basis.shape[1]), dtype=torch.float16)
    start = np.empty((n, 3), dtype=np.float32)
    for rows, snippets in source.read(reader.around, source.peaks):
        batch = reader.read(network, snippets, source.peaks.channels[rows])
        parts[rows], start[rows] = batch.parts, batch.start.numpy()
    return Compressed(parts, start, source.peaks, reader)


def predict(network: SourceNet, spikes: Compressed) -> Positions:
    """Return what a network says of all spikes, in the frame of the probe."""
    found = Answers(spikes.reader.around.contacts_um[spikes.peaks.channels])
    for rows in iter_rows(len(spikes.peaks), BATCH):
        found.fill(rows, network, spikes.batch(rows))
    return found.positions()


class Answers:
    """Room for what a network says of n spikes, filled batch by batch: all that stays of their snippets.

    Parameters
    ----------
    contacts_um : (n, 2), their peak contacts: positions are told in the frame of the probe
    """

    def __init__(self, contacts_um: np.ndarray) -> None:
        n = len(contacts_um)
        self._contacts_um = contacts_um
        self._xyz, self._scale = np.empty((n, 3), dtype=np.float32), np.empty((n, 3), dtype=np.float32)
        self._alpha = np.empty(n, dtype=np.float32)

    def fill(self, rows: slice, network: SourceNet, batch: SpikeBatch) -> None:
        """Ask a network about a batch, the spikes ``rows``."""
        with torch.no_grad():
            said = network(batch.parts, batch.offsets, batch.seen, batch.own, batch.noise, batch.start)
        self._xyz[rows, :2] = said.xyz[:, :2].numpy() + self._contacts_um[rows]
        self._xyz[rows, 2] = said.xyz[:, 2].abs().numpy()
        self._scale[rows], self._alpha[rows] = said.log_sd.exp().numpy(), said.log_alpha.exp().numpy()

    def positions(self) -> Positions:
        """Return the answers, once all rows are filled."""
        return Positions(self._xyz, self._alpha, self._scale)


def fit_joint(
    fitted: FittedLocalizer,
    source: Source,
    params: JointParams,
    motion: MotionParams,
    seed: int,
    store: Path | None = None,
) -> tuple[FittedLocalizer, list[Curve]]:
    """Go on training a network on the spikes of a recording, without any truth.

    ``outer`` = 1 is the fine-tuning on a frozen motion, more the iterative variant. ``store`` keeps the state of each
    round, see ``train_module``.

    Returns
    -------
    the network of the last round, and the curves of all rounds (epochs counted through)

    Raises
    ------
    NotEnoughSpikes
        The recording is too short for motion or for one block.
    """
    network = thaw(fitted)
    spikes = compress(source, network, fitted.config["n_neighbours"])
    start = predict(network, spikes)
    grid = make_grids(source.contacts_um)["soft4"]
    curves: list[Curve] = []
    for turn in range(params.outer):
        now = start if turn == 0 else predict(network, spikes)
        found = estimate_motion(source.recording, source.peaks, now, motion)
        blocks = Blocks(spikes, start, found, params, motion.bin_s, (seed, turn))
        blocks.check()
        module = SpikeModule(network, JointLoss(grid, params), params.learning_rate, 1e-5, keeps_evaluating=True)
        schedule = Schedule(params.epochs, params.epochs, "last", clip=params.clip)
        watched, folder = Watched([next(iter(blocks))]), None if store is None else store / f"round_{turn}"
        part = train_module(module, blocks, watched, schedule, Hardware(device="cpu"), folder)
        curves += [replace(point, epoch=point.epoch + turn * params.epochs) for point in part]
        LOGGER.info("  round %d of %d: %s", turn + 1, params.outer, _tell(part))
    return freeze(network, fitted.config["shape"], fitted.config["n_neighbours"], source, fitted.curves), curves


def _tell(curves: list[Curve]) -> str:
    last = {point.part: point.value for point in curves if point.split == "train"}
    return ", ".join(f"{name} {value:.3f}" for name, value in last.items())


@dataclass
class Blocks:
    """An epoch: disjoint blocks of bins in random order, at a phase of its own; ``seed`` and ``epoch`` decide both."""

    spikes: Compressed
    start: Positions
    motion: Motion
    params: JointParams
    bin_s: float
    seed: tuple[int, ...]
    epoch: int = 0

    def __post_init__(self) -> None:
        peaks = self.spikes.peaks
        bins = (peaks.times_s // self.bin_s).astype(np.int64)
        n_bins = int(np.ceil(peaks.duration_s / self.bin_s))
        self.edges = np.searchsorted(bins, np.arange(n_bins + 1))
        self.moved = np.zeros((len(peaks), 2), dtype=np.float32)
        depths = self.start.xyz_um[:, 1].astype(np.float64)
        self.moved[:, self.motion.axis] = self.motion.at(peaks.times_s, depths)

    def check(self) -> None:
        """Raise NotEnoughSpikes unless there is a block with enough valid bins."""
        valid = int((np.diff(self.edges) >= self.params.min_spikes).sum())
        if valid < LEAST_VALID:
            raise NotEnoughSpikes(
                f"joint training: {valid} bins of {self.bin_s:g} s hold {self.params.min_spikes} spikes, {LEAST_VALID} "
                "are needed; set localize.joint.outer: 0, or min_spikes lower"
            )

    def __iter__(self) -> Iterator[Block]:
        rng = np.random.default_rng([*self.seed, self.epoch])
        n_bins, size = len(self.edges) - 1, self.params.block_bins
        phase = int(rng.integers(0, size)) if n_bins > 2 * size else 0
        firsts = np.arange(phase - size if phase else 0, n_bins, size)
        for first in rng.permutation(firsts):
            block = self.make_block(max(int(first), 0), min(int(first) + size, n_bins), rng)
            if block.is_valid.sum() >= LEAST_VALID:
                yield block

    def make_block(self, first: int, last: int, rng: np.random.Generator) -> Block:
        """Return the spikes of bins ``first`` to ``last``, a random part of crowded ones."""
        rows, bins, most = [], [], self.params.max_spikes_per_bin
        for i in range(first, last):
            mine = np.arange(self.edges[i], self.edges[i + 1])
            if len(mine) > most:
                mine = np.sort(rng.choice(mine, most, replace=False))
            rows.append(mine)
            bins.append(np.full(len(mine), i - first))
        chosen = np.concatenate(rows)
        counts = np.array([len(mine) for mine in rows])
        peaks = self.spikes.peaks
        contacts = self.spikes.reader.around.contacts_um[peaks.channels[chosen]]
        start = self.start.xyz_um[chosen].copy()
        start[:, :2] -= contacts
        return Block(
            spikes=self.spikes.batch(chosen),
            bins=torch.from_numpy(np.concatenate(bins)),
            moved=torch.from_numpy(self.moved[chosen]),
            contacts=torch.from_numpy(contacts),
            start=torch.from_numpy(start),
            is_valid=torch.from_numpy(counts >= self.params.min_spikes),
        )


@dataclass(frozen=True)
class JointLoss:
    """Corrected positions should repeat (rho), not collapse (entropy), and stay where they were (tether)."""

    grid: Grid
    params: JointParams

    def __call__(self, network: SourceNet, block: Block) -> LossParts:
        """Return the parts of the loss of a block."""
        spikes = block.spikes
        said = network(spikes.parts, spikes.offsets, spikes.seen, spikes.own, spikes.noise, spikes.start)
        xy = said.xyz[:, :2] + block.contacts - block.moved
        histograms = soft_histogram(xy, block.bins, len(block.is_valid), self.grid)
        rho = windowed_correlation(histograms, block.is_valid, len(block.is_valid))
        entropy = spatial_entropy(histograms, block.is_valid)
        held = tether(said.xyz, block.start)
        params = self.params
        total = -params.rho_weight * rho - params.entropy_weight * entropy + params.tether_weight * held
        return {"rho": rho, "entropy": entropy, "tether_um2": held, "total": total}

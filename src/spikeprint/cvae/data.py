"""Units as tensors. Enters: canonical arrays and words about them. Leaves: batches, clean and corrupted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, distributed

from ..features.descriptors import N_DESCRIPTORS, describe
from ..features.transforms import INPUT_LENGTHS, normalise


@dataclass(frozen=True)
class Augmentation:
    """Strength of the training noise, on standardised inputs (standard deviation 1)."""

    probability: float
    noise: float
    scale: float


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "light": Augmentation(probability=1.0, noise=0.1, scale=0.0),
    "heavy": Augmentation(probability=0.7, noise=0.3, scale=0.3),
}
"""Name -> strength. The clean trace stays the target, so this is the noise of a denoising autoencoder."""


@dataclass(frozen=True)
class UnitTensors:
    """n units ready for the network.

    Attributes
    ----------
    inputs : modality -> (n, L) float32, trace and descriptors
    present : (n, n_modalities) bool
    codes : condition name, and ``cell_type``, -> (n,) int64; 0 = absent
    held : (n, n_members) bool, the member holds this unit back: it watches, and is never learnt from
    """

    inputs: dict[str, Tensor]
    present: Tensor
    codes: dict[str, Tensor]
    held: Tensor

    def __len__(self) -> int:
        return len(self.present)

    def take(self, rows: Tensor) -> "UnitTensors":
        """Return the units of the index (m,) int64."""
        return self._map(lambda x: x[rows])

    def to(self, device: torch.device) -> "UnitTensors":
        """Return the same units on ``device``."""
        return self._map(lambda x: x.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "UnitTensors":
        return UnitTensors(
            {name: function(x) for name, x in self.inputs.items()},
            function(self.present),
            {name: function(code) for name, code in self.codes.items()},
            function(self.held),
        )


def join_inputs(
    raw: Mapping[str, np.ndarray], use_descriptors: bool, room: Mapping[str, np.ndarray] | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return what the network sees of canonical modalities: traces, then their descriptors, and what is there.

    Shapes: {modality: (n, canonical length)} -> {modality: (n, L)} float32, (n, n_modalities) bool. ``room`` is memory
    for that, units last: {modality: (L, n)} float32.
    """
    n_units = len(next(iter(raw.values())))
    more = N_DESCRIPTORS if use_descriptors else dict.fromkeys(INPUT_LENGTHS, 0)
    if room is None:
        room = {name: np.empty((n + more[name], n_units), np.float32) for name, n in INPUT_LENGTHS.items()}
    inputs, present = normalise(raw, {name: room[name][:n] for name, n in INPUT_LENGTHS.items()})
    if use_descriptors:
        describe(inputs, {name: room[name][n:] for name, n in INPUT_LENGTHS.items()})
    return {name: x.T for name, x in room.items()}, present


def encode_words(words: np.ndarray, known: Sequence[str]) -> np.ndarray:
    """(n,) str -> (n,) int64: 1 + position in ``known``, 0 when not there."""
    names, inverse = np.unique(np.asarray(words, dtype=str), return_inverse=True)
    lookup = {word: i + 1 for i, word in enumerate(known)}
    return np.array([lookup.get(str(name), 0) for name in names], dtype=np.int64)[inverse]


class Batches:
    """Iterate over batches of whole tensors, already on the side of the network.

    Training gives a new seeded order in every epoch; otherwise the order is fixed. No batch holds a single unit (batch
    normalisation needs two): the last ones share their units evenly. Where several processes train together, each takes
    its share of every training batch.
    """

    def __init__(self, units: UnitTensors, batch_size: int, generator: torch.Generator | None = None) -> None:
        self.units = units
        self.n_batches = max(1, min(-(-len(units) // batch_size), len(units) // 2))
        self.generator = generator

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[UnitTensors]:
        n = len(self.units)
        order = torch.randperm(n, generator=self.generator) if self.generator else torch.arange(n)
        is_shared = self.generator is not None and distributed.is_available() and distributed.is_initialized()
        share = slice(distributed.get_rank(), None, distributed.get_world_size()) if is_shared else slice(None)
        for rows in torch.tensor_split(order, self.n_batches):
            yield self.units.take(rows[share])


def hide_class(units: UnitTensors) -> UnitTensors:
    """Return the units with their class absent."""
    return replace(units, codes=units.codes | {"cell_type": torch.zeros_like(units.codes["cell_type"])})


@dataclass(frozen=True)
class Corruption:
    """What training does to what the encoder sees, anew for each member; the originals stay the target."""

    strength: Augmentation | None
    modality_dropout: float
    condition_dropout: float
    class_dropout: float
    generator: torch.Generator

    def disturb(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{name: (E, B, L)} standardised -> the same with noise on some units"""
        if self.strength is None:
            return dict(inputs)
        found = {}
        for name, x in inputs.items():
            chosen = (self._uniform((*x.shape[:2], 1), x) < self.strength.probability).float()
            gain = 1 + chosen * self.strength.scale * (2 * self._uniform(chosen.shape, x) - 1)
            noise = torch.randn(x.shape, generator=self.generator, device=self.generator.device).to(x)
            found[name] = (x + chosen * self.strength.noise * noise) * gain
        return found

    def hide_modalities(self, present: Tensor) -> Tensor:
        """(E, B, n_modalities) bool -> the same with fewer, never the last modality of a unit hidden"""
        kept = present & (self._uniform(present.shape, present) >= self.modality_dropout)
        return torch.where(kept.any(dim=2, keepdim=True), kept, present)

    def hide_words(self, codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{name: (E, B) int64} -> the same, codes set to absent at random"""
        chance = {name: self.class_dropout if name == "cell_type" else self.condition_dropout for name in codes}
        return {name: code * (self._uniform(code.shape, code) >= chance[name]) for name, code in codes.items()}

    def blend(
        self, inputs: Mapping[str, Tensor], present: Tensor, may: Tensor, largest: float
    ) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
        """Mix each unit with another of the batch (mixup, Zhang et al. 2018), in the modalities that both have.

        Parameters
        ----------
        inputs, present : {name: (E, B, L)}, (E, B, n_modalities) bool, as the encoder would see them
        may : (E, B) bool, units that may be mixed; one whose partner may not, or shares no modality, stays as it is
        largest : share of the partner, drawn from 0 to this

        Returns
        -------
        inputs and present of the mixtures, the partner of each unit (B,) int64, its share (E, B)
        """
        partner = torch.randperm(present.shape[1], generator=self.generator, device=self.generator.device)
        partner = partner.to(present.device)
        both = present & present[:, partner]
        mixed = may & may[:, partner] & both.any(dim=2)
        share = largest * self._uniform(may.shape, may) * mixed
        rate = share[:, :, None]
        blended = {name: x + rate * (x[:, partner] - x) for name, x in inputs.items()}
        return blended, torch.where(mixed[:, :, None], both, present), partner, share

    def _uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return torch.rand(tuple(shape), generator=self.generator, device=self.generator.device).to(like.device)

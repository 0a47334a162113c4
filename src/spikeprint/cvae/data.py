"""Units as tensors. Enters: canonical arrays and words about them. Leaves: batches, clean and corrupted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..features.transforms import INPUT_LENGTHS, normalise


@dataclass(frozen=True)
class Augmentation:
    """Strength of the training noise, on normalised inputs."""

    probability: float
    noise: float
    scale: float
    shift: int


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "light": Augmentation(probability=0.5, noise=0.05, scale=0.1, shift=1),
    "heavy": Augmentation(probability=0.7, noise=0.1, scale=0.3, shift=2),
}
"""Name -> strength. Noise is relative to each modality's spread; shift is in samples of the waveform."""


@dataclass(frozen=True)
class UnitTensors:
    """n units ready for the network.

    Attributes
    ----------
    inputs : modality -> (n, L) float32; present : (n, n_modalities) bool
    codes : condition name, and ``cell_type``, -> (n,) int64; 0 = absent
    """

    inputs: dict[str, Tensor]
    present: Tensor
    codes: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.present)

    def take(self, rows: Tensor) -> "UnitTensors":
        """Return the units of the index (m,) int64."""
        return UnitTensors(
            {name: x[rows] for name, x in self.inputs.items()},
            self.present[rows],
            {name: code[rows] for name, code in self.codes.items()},
        )

    def to(self, device: torch.device) -> "UnitTensors":
        """Return the same units on ``device``."""
        return UnitTensors(
            {name: x.to(device) for name, x in self.inputs.items()},
            self.present.to(device),
            {name: code.to(device) for name, code in self.codes.items()},
        )


def make_tensors(
    raw: Mapping[str, np.ndarray],
    origin: Mapping[str, np.ndarray],
    labels: np.ndarray,
    vocabulary: Mapping[str, Sequence[str]],
    classes: Sequence[str],
) -> UnitTensors:
    """Normalise canonical modalities and code words; a word that is not in its vocabulary gets code 0 = absent.

    Shapes: raw (n, canonical length) each; origin and labels (n,) str.
    """
    inputs, present = normalise(raw)
    words = {name: (origin[name], known) for name, known in vocabulary.items()} | {"cell_type": (labels, classes)}
    return UnitTensors(
        {name: torch.from_numpy(x) for name, x in inputs.items()},
        torch.from_numpy(present),
        {name: torch.from_numpy(encode_words(values, known)) for name, (values, known) in words.items()},
    )


def encode_words(words: np.ndarray, known: Sequence[str]) -> np.ndarray:
    """(n,) str -> (n,) int64: 1 + position in ``known``, 0 when not there."""
    lookup = {word: i + 1 for i, word in enumerate(known)}
    return np.array([lookup.get(str(word), 0) for word in words], dtype=np.int64)


class Batches:
    """Iterate over pairs (as seen by the encoder, as they are) of whole-tensor batches.

    Training (``corrupt`` given) draws a new seeded order and new noise in every epoch. Otherwise the order is fixed and
    units are seen clean, their class absent, as units to be classified are met. No batch holds a single unit (batch
    normalisation needs two): the last ones share their units evenly.
    """

    def __init__(self, units: UnitTensors, batch_size: int, corrupt: "Corruption | None" = None) -> None:
        self.units = units
        self.n_batches = max(1, min(-(-len(units) // batch_size), len(units) // 2))
        self.corrupt = corrupt

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[UnitTensors, UnitTensors]]:
        n = len(self.units)
        order = torch.randperm(n, generator=self.corrupt.generator) if self.corrupt else torch.arange(n)
        for rows in torch.tensor_split(order, self.n_batches):
            units = self.units.take(rows)
            yield (self.corrupt(units) if self.corrupt else hide_class(units)), units


def hide_class(units: UnitTensors) -> UnitTensors:
    """Return the units with their class absent."""
    return replace(units, codes=units.codes | {"cell_type": torch.zeros_like(units.codes["cell_type"])})


@dataclass(frozen=True)
class Corruption:
    """What training does to the units that the encoder sees; the originals stay the target."""

    strength: Augmentation | None
    modality_dropout: float
    condition_dropout: float
    class_dropout: float
    generator: torch.Generator

    def __call__(self, units: UnitTensors) -> UnitTensors:
        """Return units with noise on their inputs and modalities, origin and class hidden at random."""
        codes = {
            name: self._hide(code, self.class_dropout if name == "cell_type" else self.condition_dropout)
            for name, code in units.codes.items()
        }
        kept = units.present & (self._uniform(units.present.shape) >= self.modality_dropout)
        present = torch.where(kept.any(dim=1, keepdim=True), kept, units.present)  # never the last modality of a unit
        inputs = self._disturb(units.inputs, self.strength) if self.strength else units.inputs
        return UnitTensors(inputs, present, codes)

    def _disturb(self, inputs: dict[str, Tensor], strength: Augmentation) -> dict[str, Tensor]:
        disturbed = {}
        n = len(inputs["waveform"])
        for name, x in inputs.items():
            noise = strength.noise * x.std() * torch.randn(x.shape, generator=self.generator)
            gain = 1 + strength.scale * (2 * self._uniform((n, 1)) - 1) * self._chosen(n)
            disturbed[name] = (x + noise * self._chosen(n)) * gain
        shift = torch.randint(-strength.shift, strength.shift + 1, (n, 1), generator=self.generator)
        positions = torch.arange(INPUT_LENGTHS["waveform"]) + shift * self._chosen(n).long()
        disturbed["waveform"] = disturbed["waveform"].gather(1, positions.clamp(0, INPUT_LENGTHS["waveform"] - 1))
        return disturbed

    def _hide(self, codes: Tensor, probability: float) -> Tensor:
        return codes * (self._uniform(codes.shape) >= probability)

    def _uniform(self, shape: Sequence[int]) -> Tensor:
        return torch.rand(tuple(shape), generator=self.generator)

    def _chosen(self, n: int) -> Tensor:
        return (self._uniform((n, 1)) < self.strength.probability).float() if self.strength else torch.zeros(n, 1)

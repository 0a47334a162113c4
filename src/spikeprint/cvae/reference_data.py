"""Batches as published. Enters: canonical raw modalities. Leaves: traces in [-1, 1], some of them disturbed.

Differs from HIPPIE in that an augmentation works on a whole batch, and never on one that validates. As there, the
disturbed traces are the target too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..features.transforms import stretch_rows

ABSENT = -1
"""Code of a source or class that is not known, or not told."""
SMALLEST_RANGE = 1e-8
WARP, SHIFT = 0.05, 0.05
CHANCES = {"noise": 0.5, "scale": 0.5, "warp": 0.3, "shift": 0.4, "smooth": 0.3}
"""Of each disturbance, for each modality of a unit that is augmented."""

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Inputs, name -> (B, L) float32, and codes, ``source`` and ``cell_type`` -> (B,) int64."""


@dataclass(frozen=True)
class Augmentation:
    """Noise on inputs in [-1, 1]; ``scale`` is a range, ``smoothing`` one of standard deviations in samples."""

    probability: float = 0.3
    noise: float = 0.03
    scale: tuple[float, float] = (0.9, 1.1)
    smoothing: tuple[float, float] = (0.5, 1.5)


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "light": Augmentation(),
    "heavy": Augmentation(0.7, 0.08, (0.7, 1.3), (0.5, 3.0)),
}
"""The published strengths by their names."""


def reference_inputs(raw: Mapping[str, np.ndarray], lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return what the published network sees: ISI as logarithm, each row between -1 and 1, then resampled.

    Parameters
    ----------
    raw : modality -> (n, any width) float; an absent key = missing for all
    lengths : modality -> samples

    Returns
    -------
    modality -> (n, length) float32. What is not finite counts as 0; a constant row, so also a missing one, is -1.
    """
    n_units = len(next(iter(raw.values())))
    inputs = {}
    for name, length in lengths.items():
        x = np.asarray(raw.get(name, np.zeros((n_units, length))), dtype=np.float32)
        x = np.where(np.isfinite(x), x, np.float32(0))
        x = np.log1p(x) if name == "isi" else x
        least = x.min(axis=1, keepdims=True)
        scale = np.float32(2) / (x.max(axis=1, keepdims=True) - least + np.float32(SMALLEST_RANGE))
        inputs[name] = stretch_rows((x - least) * scale - 1, length).astype(np.float32)
    return inputs


def encode_words(words: np.ndarray, known: Sequence[str] | np.ndarray) -> Tensor:
    """(n,) str -> (n,) int64, the position in ``known``, ``ABSENT`` when not there."""
    lookup = {str(word): i for i, word in enumerate(known)}
    return torch.tensor([lookup.get(str(word), ABSENT) for word in words], dtype=torch.int64)


@dataclass(frozen=True)
class Batches:
    """Some rows of the units in batches, none of a single unit, which batch normalisation cannot take.

    Attributes
    ----------
    inputs, codes : of all units; rows : (m,) int64, those to give
    augmentation : what disturbs a batch; shuffles : a new order in every epoch
    """

    inputs: dict[str, Tensor]
    codes: dict[str, Tensor]
    rows: np.ndarray
    batch_size: int
    augmentation: Augmentation | None = None
    shuffles: bool = False

    def __len__(self) -> int:
        return max(1, min(-(-len(self.rows) // self.batch_size), len(self.rows) // 2))

    def __iter__(self) -> Iterator[Batch]:
        rows = torch.from_numpy(self.rows)
        for some in torch.tensor_split(rows[torch.randperm(len(rows))] if self.shuffles else rows, len(self)):
            inputs = {name: x[some] for name, x in self.inputs.items()}
            codes = {name: code[some] for name, code in self.codes.items()}
            yield (augment(inputs, self.augmentation) if self.augmentation else inputs), codes


def augment(inputs: Mapping[str, Tensor], strength: Augmentation) -> dict[str, Tensor]:
    """Disturb some of the units, each modality on its own: noise, scale, time warp, shift, smoothing. (B, L) each"""
    n_units = _count(inputs)
    unit = _happens(n_units, strength.probability)
    disturbed = {}
    for name, x in inputs.items():
        now = {what: unit & _happens(n_units, chance) for what, chance in CHANCES.items()}
        x = torch.where(now["noise"], x + strength.noise * torch.randn_like(x), x)
        x = torch.where(now["scale"], x * _uniform(n_units, *strength.scale), x)
        x = torch.where(now["warp"], _warp(x), x)
        x = torch.where(now["shift"], x + _uniform(n_units, -SHIFT, SHIFT), x)
        disturbed[name] = torch.where(now["smooth"], _smooth(x, *strength.smoothing), x)
    return disturbed


def _count(inputs: Mapping[str, Tensor]) -> int:
    return len(next(iter(inputs.values())))


def _happens(n_units: int, chance: float) -> Tensor:
    return torch.rand(n_units, 1) < chance


def _uniform(n_units: int, least: float, most: float, n: int = 1) -> Tensor:
    return least + (most - least) * torch.rand(n_units, n)


def _warp(x: Tensor) -> Tensor:
    """Read each row at places moved by up to 5 % of its length, piecewise linear between equally spaced knots."""
    n_units, length = x.shape
    reach = int(WARP * length)
    if reach < 2:
        return x
    knots = _uniform(n_units, -reach, reach, max(2, length // 10)).unsqueeze(1)
    moved = torch.arange(length) + functional.interpolate(knots, length, mode="linear", align_corners=True).squeeze(1)
    place = moved.clamp(0, length - 1)
    left = place.floor().long().clamp_max(length - 2)
    return torch.lerp(x.gather(1, left), x.gather(1, left + 1), place - left)


def _smooth(x: Tensor, least: float, most: float) -> Tensor:
    """Gaussian of a standard deviation of each row's own, edges reflected."""
    sigma = _uniform(len(x), least, most)
    reach = math.ceil(4 * most)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    padded = torch.cat([x[:, :reach].flip(1), x, x[:, -reach:].flip(1)], dim=1)
    windows = padded.unfold(1, 2 * reach + 1, 1)
    return torch.einsum("blk,bk->bl", windows, kernel / kernel.sum(dim=1, keepdim=True))

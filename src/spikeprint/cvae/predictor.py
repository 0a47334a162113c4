"""The trained model as users meet it. Enters: canonical raw modalities. Leaves: embedding, label, probabilities.

This file and what it imports are copied into every bundle (see docs/architecture.md), so scoring, the command line and
the served model run the same code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..evaluate.readout import read_out
from ..features.transforms import INPUT_LENGTHS, normalise
from .networks import CVAENetwork, NetworkShape

BATCH = 8192
"""Units per forward pass: bounds the memory, costs no speed."""


@dataclass(frozen=True)
class Prediction:
    """Answers for n units.

    Attributes
    ----------
    embedding : (n_units, n_latent) float32, the latent mean
    labels : (n_units,) str, the most probable class
    confidence : (n_units,) float64, its probability
    probabilities : (n_units, n_classes) float64, in the order of ``Predictor.classes``
    """

    embedding: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray


class Predictor:
    """A network and its head.

    Parameters
    ----------
    config : ``shape`` (fields of ``NetworkShape``), ``vocabulary`` (condition name -> known categories, code 1
        upwards), ``head`` (``kind`` and ``classes``, or null without labels)
    arrays : ``network.*`` weights and ``head.*`` arrays
    """

    def __init__(self, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        head = config["head"]
        self.vocabulary: dict[str, list[str]] = config["vocabulary"]
        self.classes: tuple[str, ...] = tuple(head["classes"]) if head else ()
        self.head_kind: str | None = head["kind"] if head else None
        self.head = {k.removeprefix("head."): v for k, v in arrays.items() if k.startswith("head.")}
        self.network = CVAENetwork(NetworkShape(**config["shape"]))
        weights = {
            k.removeprefix("network."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("network.")
        }
        self.network.load_state_dict(weights, strict=True)
        self.network.eval()

    @property
    def n_latent(self) -> int:
        """Size of the embedding."""
        return self.network.shape.n_latent

    def embed(
        self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str | np.ndarray] | None = None
    ) -> np.ndarray:
        """Return the latent means. The class is always absent, so no label can enter.

        Parameters
        ----------
        inputs : ``waveform`` (n, 50), ``isi`` (n, 100), ``acg`` (n, 201), canonical and raw; an absent key or an
            all-NaN row is a missing modality
        origin : ``dataset``, ``technology``, ``species``: one word or (n,) words; unknown, empty or absent = neutral

        Returns
        -------
        (n, n_latent) float32
        """
        scaled, present = normalise(inputs)
        codes = self._codes(origin or {}, len(present))
        parts = [self._forward(scaled, present, codes, slice(i, i + BATCH)) for i in range(0, len(present), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, self.n_latent), dtype=np.float32)

    def predict(
        self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str | np.ndarray] | None = None
    ) -> Prediction:
        """Return embedding, label, confidence and probabilities; parameters as in ``embed``.

        Raises
        ------
        ValueError
            The model was trained without labels.
        """
        if self.head_kind is None:
            raise ValueError("this model was trained without labels: it embeds but cannot classify")
        embedding = self.embed(inputs, origin)
        probabilities = read_out(self.head_kind, self.head, embedding)
        best = probabilities.argmax(axis=1)
        return Prediction(
            embedding=embedding,
            labels=np.array(self.classes, dtype=str)[best],
            confidence=probabilities[np.arange(len(best)), best],
            probabilities=probabilities,
        )

    def _forward(self, inputs: dict[str, np.ndarray], present: np.ndarray, codes: dict, rows: slice) -> np.ndarray:
        with torch.inference_mode():
            mask = torch.from_numpy(present[rows])
            tensors = {name: torch.from_numpy(inputs[name][rows]) for name in INPUT_LENGTHS}
            mean, _ = self.network.encode(
                self.network.prepare(tensors, mask), mask, {name: code[rows] for name, code in codes.items()}
            )
            return mean.numpy()

    def _codes(self, origin: Mapping[str, str | np.ndarray], n_units: int) -> dict[str, torch.Tensor]:
        codes = {"cell_type": torch.zeros(n_units, dtype=torch.int64)}
        for name, known in self.vocabulary.items():
            words = np.broadcast_to(np.asarray(origin.get(name, ""), dtype=str), (n_units,))
            lookup = {word: i + 1 for i, word in enumerate(known)}
            codes[name] = torch.tensor([lookup.get(str(word), 0) for word in words], dtype=torch.int64)
        return codes

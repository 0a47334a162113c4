"""The trained model as users meet it. Enters: canonical raw modalities. Leaves: embedding, label, how sure it is.

This file and what it imports are copied into every bundle (see docs/architecture.md), so scoring, the command line and
the served model run the same code.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Semaphore
from typing import Any, cast

import numpy as np
import torch

from ..evaluate.decision import apply_calibration, join_novelty, prediction_sets
from ..evaluate.readout import read_out
from ..features.transforms import INPUT_LENGTHS
from .data import encode_words, join_inputs
from .folded import FoldedDistances, FoldedEncoder, Scaled
from .networks import CVAENetwork, NetworkShape, Standardise
from .products import multiply

BATCH = 5120
"""Units per forward pass at most: enough that calls cost little and threads seldom wait for each other."""

ALONE = 960
"""More units than this are two batches at least: for two threads."""


@dataclass(frozen=True)
class Prediction:
    """Answers for n units.

    Attributes
    ----------
    embedding : (n_units, n_latent) float32, the latent means of all members side by side
    labels : (n_units,) str, the most probable class
    confidence : (n_units,) float64, its probability
    probabilities : (n_units, n_classes) float64, in the order of ``Predictor.classes``; every class is as likely as
        any other before the unit is seen
    sets : (n_units, n_classes) bool, the classes that cannot be ruled out at the coverage chosen in training; none may
        fit. None where the head is not the network's own.
    novelty : (n_units,) float64, distance from all known types relative to its limit: above 1 is novel. None likewise.
    """

    embedding: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray
    sets: np.ndarray | None = None
    novelty: np.ndarray | None = None


class Predictor:
    """A network, its head and what assures its answers.

    Parameters
    ----------
    config : ``shape`` (fields of ``NetworkShape``), ``use_descriptors``, ``vocabulary`` (condition name -> known
        categories, code 1 upwards), ``classes`` of the network, ``head`` (``kind`` and ``classes``, or null)
    arrays : ``network.*`` weights, ``head.*``, ``calibration.*``, ``conformal.*``, ``novelty.*``, ``traces.*`` arrays
    """

    def __init__(self, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        head = config["head"]
        self.vocabulary: dict[str, list[str]] = config["vocabulary"]
        self.network_classes: tuple[str, ...] = tuple(config["classes"])
        self.classes: tuple[str, ...] = tuple(head["classes"]) if head else ()
        self.head_kind: str | None = head["kind"] if head else None
        self.use_descriptors: bool = config["use_descriptors"]
        self.arrays = {k: v for k, v in arrays.items() if not k.startswith("network.")}
        self.head = {k.removeprefix("head."): v for k, v in arrays.items() if k.startswith("head.")}
        self.axes = {k.removeprefix("traces.axes."): v for k, v in arrays.items() if k.startswith("traces.axes.")}
        self.network = CVAENetwork(NetworkShape(**config["shape"]))
        weights = {
            k.removeprefix("network."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("network.")
        }
        self.network.load_state_dict(weights, strict=True)
        self.network.eval()
        self.encoder = FoldedEncoder(self.network)
        self.distances = FoldedDistances(self.arrays) if "novelty.centres" in self.arrays else None

    @property
    def n_latent(self) -> int:
        """Size of the embedding."""
        return self.network.shape.n_latent * self.network.shape.n_members

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
        return self.flatten(self.encode(inputs, origin or {}))

    def predict(
        self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str | np.ndarray] | None = None
    ) -> Prediction:
        """Return embedding, label, confidence, probabilities, prediction set and novelty; parameters as in ``embed``.

        Raises
        ------
        ValueError
            The model was trained without labels.
        """
        if self.head_kind is None:
            raise ValueError("this model was trained without labels: it embeds but cannot classify")
        is_own = self.head_kind == "network"
        n_units, n_classes, names = _count(inputs), len(self.classes), np.array(self.classes, dtype=str)
        found = Prediction(
            embedding=np.empty((n_units, self.n_latent), np.float32),
            labels=np.empty(n_units, names.dtype),
            confidence=np.empty(n_units),
            probabilities=np.empty((n_units, n_classes)),
            sets=np.empty((n_units, n_classes), bool) if is_own else None,
            novelty=np.empty(n_units) if is_own else None,
        )

        def answer(rows: slice, latent: torch.Tensor, away: np.ndarray) -> None:
            torch.from_numpy(found.embedding[rows]).copy_(latent.flatten(0, 1).t())
            if found.sets is not None and found.novelty is not None:
                probabilities, found.sets[rows], found.novelty[rows] = self._assure(latent, away)
            else:
                probabilities = read_out(str(self.head_kind), self.head, found.embedding[rows])
            found.probabilities[rows] = probabilities
            best = probabilities.argmax(axis=1)
            found.labels[rows], found.confidence[rows] = names[best], probabilities[np.arange(len(best)), best]

        self._batches(inputs, origin or {}, answer)
        return found

    def assured(self, latent: np.ndarray, away: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the read-out trained with the latent says, and how sure that is.

        Parameters
        ----------
        latent, away : (E, n, D), (n,), from ``meet``

        Returns
        -------
        probabilities : (n, number of ``network_classes``) float64, the calibrated mean over members
        sets : (n, number of ``network_classes``) bool; novelty : (n,) float64, see ``Prediction``
        """
        latents = torch.from_numpy(latent).transpose(1, 2)
        probabilities, sets, novelty = _join([self._assure(latents[..., r], away[r]) for r in _rows(len(away))])
        return probabilities, sets, novelty

    def calibrated(self, latent: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities of the read-out: (E, n, D) -> (n, number of ``network_classes``)."""
        return self._calibrate(torch.from_numpy(latent).transpose(1, 2))

    @staticmethod
    def flatten(latent: np.ndarray) -> np.ndarray:
        """Lay the latents of the members side by side: (E, n, D) -> (n, E * D)."""
        n_members, n_units, n_latent = latent.shape
        return latent.transpose(1, 0, 2).reshape(n_units, n_members * n_latent)

    def members(self, embedding: np.ndarray) -> np.ndarray:
        """Undo the laying side by side: (n, n_latent) -> (E, n, D) float32."""
        shape = self.network.shape
        return np.ascontiguousarray(
            embedding.reshape(len(embedding), shape.n_members, shape.n_latent).transpose(1, 0, 2), dtype=np.float32
        )

    def decode(
        self,
        embedding: np.ndarray,
        origin: Mapping[str, str | np.ndarray] | None = None,
        cell_type: str = "",
        member: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the traces that latents stand for: the mean over members, in the model's normalised space.

        Parameters
        ----------
        embedding : (n, n_latent), e.g. from ``embed``
        origin : words as in ``embed``: swap one to ask what the unit would look like there
        cell_type : class told to the decoder, where it listens to one; empty = absent
        member : (n,) int64, the member that alone decodes a row; None = the mean over all

        Returns
        -------
        modality -> (n, ``INPUT_LENGTHS[modality]``) float32, as ``features.transforms.normalise`` scales them
        """
        found: dict[str, list[np.ndarray]] = {name: [] for name in INPUT_LENGTHS}
        codes = self._codes(origin or {}, len(embedding), cell_type)
        for start in range(0, max(len(embedding), 1), BATCH):
            rows = slice(start, start + BATCH)
            with torch.inference_mode():
                told = {name: self.network.for_members(code[rows]) for name, code in codes.items()}
                decoded = self.network.decode(torch.from_numpy(self.members(embedding[rows])), told)
                for name, length in INPUT_LENGTHS.items():
                    x = decoded[name]
                    x = x.mean(dim=0) if member is None else x[member[rows], torch.arange(x.shape[1])]
                    found[name].append(cast(Standardise, self.network.standardise[name]).invert(x)[:, :length].numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def encode(self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str | np.ndarray]) -> np.ndarray:
        """Return the latent means of each member (E, n, D) float32; parameters as in ``embed``."""
        return self.meet(inputs, origin)[0]

    def meet(
        self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str | np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return latent means (E, n, D) float32, and how far the traces themselves lie from known classes (n,) float64.

        Parameters as in ``embed``; the distance is 0 where the model knows no classes. See ``decision.trace_distance``.
        """
        n_units, shape = _count(inputs), self.network.shape
        latents, distances = np.empty((shape.n_members, n_units, shape.n_latent), np.float32), np.empty(n_units)

        def answer(rows: slice, latent: torch.Tensor, away: np.ndarray) -> None:
            latents[:, rows], distances[rows] = latent.mT.numpy(), away

        self._batches(inputs, origin, answer)
        return latents, distances

    def _batches(
        self,
        inputs: Mapping[str, np.ndarray],
        origin: Mapping[str, str | np.ndarray],
        answer: Callable[[slice, torch.Tensor, np.ndarray], None],
    ) -> None:
        """Give ``answer`` each batch of units: which they are, their latent means (E, D, B) and distances (B,)."""
        n_units = _count(inputs)
        codes = self._codes(origin, n_units)
        # descriptors are many short steps: threads all at them would wait for each other's Python, so half of them may
        turn = Semaphore(max(torch.get_num_threads() // 2, 1))

        @torch.inference_mode()
        def run(rows: slice) -> None:
            raw = {name: x[rows] for name, x in inputs.items()}
            with turn:
                _, present = join_inputs(raw, self.use_descriptors, self.encoder.room(_count(raw)))
            scaled = self.encoder.standardise(present)
            away = self._away(scaled)  # while the inputs are in the processor's cache
            answer(rows, self.encoder(scaled, {name: code[rows] for name, code in codes.items()}), away)

        if n_units:
            _on_threads(run, _rows(n_units))

    def _away(self, scaled: Scaled) -> np.ndarray:
        n_units = len(scaled.present)
        return self.distances.traces(scaled).double().numpy() if self.distances else np.zeros(n_units)

    @torch.inference_mode()
    def _assure(self, latent: torch.Tensor, away: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(E, D, B), (B,) -> probabilities (B, C), sets (B, C), novelty (B,)"""
        if self.distances is None:
            raise ValueError("this model has no measure of novelty: its bundle lacks novelty.centres")
        probabilities = self._calibrate(latent)
        novelty = join_novelty(self.distances.latents(latent).double().numpy(), away, self.arrays["novelty.limits"])
        return probabilities, prediction_sets(probabilities, self.arrays["conformal.thresholds"]), novelty

    @torch.inference_mode()
    def _calibrate(self, latent: torch.Tensor) -> np.ndarray:
        """(E, D, B) -> (B, C)"""
        head = self.network.class_head
        logits = torch.empty(latent.shape[0], head.weight.shape[2], latent.shape[2])
        multiply(head.weight.mT, latent, logits)
        answers = logits.add_(head.bias.mT).softmax(dim=1).mean(dim=0).double().numpy()
        scale, bias = float(self.arrays["calibration.scale"][0]), self.arrays["calibration.bias"]
        return apply_calibration(answers.T, scale, bias)

    def _codes(
        self, origin: Mapping[str, str | np.ndarray], n_units: int, cell_type: str = ""
    ) -> dict[str, torch.Tensor]:
        words = {name: (origin.get(name, ""), known) for name, known in self.vocabulary.items()}
        words["cell_type"] = (cell_type, list(self.network_classes))
        return {
            # one word for all units is looked up once
            name: torch.from_numpy(encode_words(np.atleast_1d(np.asarray(told, dtype=str)), known)).expand(n_units)
            for name, (told, known) in words.items()
        }


def _count(inputs: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(inputs.values())))


def _rows(n_units: int) -> list[slice]:
    """Which units go together: an even number of batches of much the same size, whatever the number of threads."""
    n_batches = 2 * -(-n_units // (2 * BATCH)) if n_units > ALONE else 1
    ends = [n_units * i // n_batches for i in range(n_batches + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def _join(batches: Sequence[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _on_threads(run: Callable[[slice], None], batches: Sequence[slice]) -> None:
    """Answer batch by batch, at once as many as torch may have threads, each on one: its own split small matrices."""
    n_threads = torch.get_num_threads()
    if min(n_threads, len(batches)) < 2:
        for rows in batches:
            run(rows)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            for done in [pool.submit(run, rows) for rows in batches]:
                done.result()
    finally:
        torch.set_num_threads(n_threads)

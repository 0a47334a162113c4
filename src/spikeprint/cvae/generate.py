"""What the model can make up. Enters: a predictor, canonical raw modalities, words. Leaves: traces.

Traces are in the normalised space of ``features.transforms.normalise``; ``as_canonical`` turns them into what the model
and the other verbs read. The members of the ensemble never share a weight: one unit has one place in each of their
latents, and the mean of what they decode is the answer. What is made up has to respect that (see ``sample``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from ..core.errors import ModelError, suggest
from ..evaluate.readout import read_out
from ..features.transforms import INPUT_LENGTHS, normalise
from .networks import Standardise
from .predictor import Predictor

Words = Mapping[str, str | np.ndarray]
"""Condition -> one word or (n,) words, as ``Predictor.embed`` takes them."""

Traces = dict[str, np.ndarray]
"""Modality -> (n, ``INPUT_LENGTHS[modality]``) float32."""


@dataclass(frozen=True)
class Sample:
    """Units that never were.

    Attributes
    ----------
    traces : modality -> (n, L) float32
    cell_type : (n,) str, the class around whose place the latent was drawn; ``""`` where the model knows no classes
    member : (n,) int64, the member that made it up
    """

    traces: Traces
    cell_type: np.ndarray
    member: np.ndarray


def impute(
    predictor: Predictor,
    inputs: Mapping[str, np.ndarray],
    origin: Words | None,
    modality: str,
    also_hidden: Collection[str] = (),
) -> np.ndarray:
    """Return what a modality should look like, judged by the others.

    Parameters
    ----------
    inputs, origin : as ``Predictor.embed`` takes them
    modality : the one to make up; it is hidden from the encoder, whether the unit has it or not
    also_hidden : further modalities that the encoder must not see

    Returns
    -------
    (n, L) float32; NaN for units of which nothing is left to judge by

    Raises
    ------
    ModelError
        An unknown modality.
    """
    hidden = {modality, *also_hidden}
    for name in hidden - set(INPUT_LENGTHS):
        raise ModelError(f"no modality '{name}'{suggest(name, INPUT_LENGTHS)}; known: {', '.join(INPUT_LENGTHS)}")
    n_units = len(next(iter(inputs.values())))
    kept = {name: x for name, x in inputs.items() if name not in hidden}
    found = np.full((n_units, INPUT_LENGTHS[modality]), np.nan, dtype=np.float32)
    has_rest = np.asarray(normalise(kept)[1].any(axis=1)) if kept else np.zeros(n_units, dtype=bool)
    if has_rest.any():
        told = take_words(origin, has_rest)
        embedding = predictor.embed({name: x[has_rest] for name, x in kept.items()}, told)
        found[has_rest] = predictor.decode(embedding, told)[modality]
    return found


def swap_origin(
    predictor: Predictor, inputs: Mapping[str, np.ndarray], origin: Words | None, target: Mapping[str, str]
) -> Traces:
    """Return what units would look like elsewhere: encoded with their own words, decoded with the target's.

    Parameters
    ----------
    inputs, origin : as ``Predictor.embed`` takes them
    target : condition -> word; conditions that are not named keep the unit's own

    Raises
    ------
    ModelError
        A condition that the model is not told, or a word that it does not know: neither could change anything.
    """
    for name, word in target.items():
        if name not in predictor.vocabulary:
            told = ", ".join(predictor.vocabulary) or "nothing"
            raise ModelError(
                f"the model is not told the {name} of a unit (it is told: {told}): no swap of it is possible"
            )
        known = predictor.vocabulary[name]
        if word not in known:
            raise ModelError(f"{name} '{word}' is new to the model{suggest(word, known)}; known: {', '.join(known)}")
    return predictor.decode(predictor.embed(inputs, origin), {**(origin or {}), **target})


def interpolate(
    predictor: Predictor,
    start: np.ndarray,
    end: np.ndarray,
    n_steps: int = 11,
    origin: Mapping[str, str] | None = None,
    cell_type: str = "",
) -> tuple[np.ndarray, Traces]:
    """Walk straight from one place of the embedding to another.

    Parameters
    ----------
    start, end : (d,) of the embedding, e.g. two units, or two ``class_centre``
    n_steps : places on the way, both ends included
    origin, cell_type : words told to the decoder at all of them

    Returns
    -------
    path : (n_steps, d) float32
    traces : modality -> (n_steps, L)
    """
    share = np.linspace(0, 1, n_steps)[:, None]
    path = ((1 - share) * start + share * end).astype(np.float32)
    return path, predictor.decode(path, origin, cell_type)


def sample(predictor: Predictor, n: int, seed: int, origin: Words | None = None, cell_type: str = "") -> Sample:
    """Make up units.

    Parameters
    ----------
    n : how many; ``origin`` is one word for all or (n,) words each
    cell_type : draw around this class and tell it to the decoder; empty = classes in turn, untold

    Raises
    ------
    ModelError
        A class that the model does not know.

    Notes
    -----
    Members have latents of their own: independent draws decoded together average to one mean trace, whatever is drawn.
    Each unit is therefore drawn and decoded by one member, members in turn. The draw is not from N(0, 1), which the
    latents of a network trained to tell classes apart do not follow, but from what was fitted to the training units for
    the measure of novelty (density estimation after training, Ghosh et al. 2020): the Gaussian around a class' centre.
    On real units that covers more of their variety than N(0, 1). A model without classes draws from N(0, 1).
    """
    shape, rng = predictor.network.shape, np.random.default_rng(seed)
    member = rng.permutation(n) % shape.n_members
    latent = rng.standard_normal((n, shape.n_latent))
    code = _draw_classes(predictor, n, rng, cell_type)
    if "novelty.centres" in predictor.arrays:
        # precision = L L', so L'^-1 z has its inverse as covariance
        root = np.linalg.cholesky(predictor.arrays["novelty.precision"][member, code]).transpose(0, 2, 1)
        latent = predictor.arrays["novelty.centres"][member, code] + np.linalg.solve(root, latent[:, :, None])[:, :, 0]
    embedding = np.zeros((n, shape.n_members, shape.n_latent), dtype=np.float32)
    embedding[np.arange(n), member] = latent
    traces = predictor.decode(embedding.reshape(n, -1), origin, cell_type, member)
    classes = np.array(predictor.network_classes or ("",))
    return Sample(traces, classes[code], member)


def class_centre(predictor: Predictor, cell_type: str) -> np.ndarray:
    """Return the place (d,) of a class in the embedding: its training units' mean in each member.

    Raises
    ------
    ModelError
        An unknown class, or a model without classes.
    """
    if "novelty.centres" not in predictor.arrays:
        raise ModelError("this model was trained without a read-out of classes: it does not know where they lie")
    centres = predictor.arrays["novelty.centres"][:, _class_code(predictor, cell_type)]
    return np.asarray(centres, dtype=np.float32).ravel()


def class_probabilities(predictor: Predictor, embedding: np.ndarray) -> np.ndarray:
    """Return the probabilities of ``Predictor.classes`` at places of the embedding. (n, d) -> (n, n_classes) float64"""
    if predictor.head_kind == "network":
        return predictor.calibrated(predictor.members(embedding))
    if predictor.head_kind is None:
        raise ModelError("this model was trained without labels: it cannot say what lies on the way")
    return read_out(predictor.head_kind, predictor.head, embedding)


def as_canonical(traces: Traces) -> Traces:
    """Turn traces into canonical modalities that ``normalise`` turns back into them, up to their scale.

    Joined bins are parted evenly, the ACG is unfolded, lag 0 holds 0. {modality: (n, L)} -> {modality: (n, canonical)}
    """
    isi, half = (np.repeat(np.maximum(traces[name], 0) ** 2, 2, axis=1) for name in ("isi", "acg"))
    acg = np.hstack([half[:, ::-1], np.zeros((len(half), 1), half.dtype), half])
    return {"waveform": traces["waveform"], "isi": isi, "acg": acg}


def training_mean(predictor: Predictor) -> Traces:
    """Return the mean trace of all training units, modality -> (L,): the least that imputation has to beat."""
    scales = predictor.network.standardise
    return {name: cast(Standardise, scales[name]).centre[:length].numpy() for name, length in INPUT_LENGTHS.items()}


def take_words(origin: Words | None, rows: np.ndarray) -> dict[str, str | np.ndarray]:
    """Return the words of some units: (n,) words are indexed, a single one stays."""
    return {name: word if isinstance(word, str) else word[rows] for name, word in (origin or {}).items()}


def _draw_classes(predictor: Predictor, n: int, rng: np.random.Generator, cell_type: str) -> np.ndarray:
    """(n,) int64, all of ``cell_type``, or every class equally often"""
    if cell_type:
        return np.full(n, _class_code(predictor, cell_type))
    return rng.permutation(n) % max(len(predictor.network_classes), 1)


def _class_code(predictor: Predictor, cell_type: str) -> int:
    known = predictor.network_classes
    if cell_type not in known:
        hint = suggest(cell_type, known)
        raise ModelError(f"no cell type '{cell_type}' in the model{hint}; known: {', '.join(known) or 'none'}")
    return known.index(cell_type)

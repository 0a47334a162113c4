"""How good made-up traces are. Enters: real and made-up traces. Leaves: numbers.

All in the normalised space of the model, on units that it never met. Every score stands beside what needs no model:
a mean trace, shuffled origins, reconstructions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance
from sklearn.neighbors import NearestNeighbors

COLUMNS = ["panel", "modality", "name", "kind", "position", "value"]
N_SHUFFLES = 200
N_NEAREST = 5
"""Neighbours that bound a real unit's surroundings."""


def score_imputation(truth: np.ndarray, imputed: np.ndarray, means: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Compare made-up with real traces.

    Parameters
    ----------
    truth, imputed : (n, L)
    means : name of a baseline -> (L,) or (n, L), e.g. the mean trace of the training units

    Returns
    -------
    ``n``; ``mse`` and ``wasserstein`` (between all values of all units), each alone and with ``_<baseline>`` for every
    baseline and for predicting ``zero``; ``explained`` = 1 - mse / the smallest mse of a baseline
    """
    tried = {"": imputed, **{f"_{name}": mean for name, mean in means.items()}, "_zero": np.zeros(truth.shape[1])}
    full = {name: np.broadcast_to(x, truth.shape) for name, x in tried.items()}
    errors = {f"mse{name}": float(np.square(x - truth).mean()) for name, x in full.items()}
    shapes = {f"wasserstein{name}": wasserstein_distance(x.ravel(), truth.ravel()) for name, x in full.items()}
    least = min(value for name, value in errors.items() if name != "mse")
    return {"n": len(truth), **errors, **shapes, "explained": 1 - errors["mse"] / max(least, 1e-12)}


def score_swap(
    own: np.ndarray, swapped: np.ndarray, source: np.ndarray, target: np.ndarray, seed: int
) -> dict[str, float]:
    """Ask whether decoding with another origin brings units nearer to the units found there.

    Parameters
    ----------
    own, swapped : (n, L) decoded with their own and with the target's words
    source, target : (n, L), (m, L) real traces here and there

    Returns
    -------
    before, after : squared distance of the mean of ``own`` and of ``swapped`` from the mean of ``target``
    gain : before - after; above 0 = the swap goes the right way
    chance : its mean when real units are shared out to source and target at random; p : share of such draws whose gain
        is at least as large

    Notes
    -----
    Both distances are to the same mean, so a target that is easy to match earns nothing, and gain(s, t) says nothing
    about gain(t, s).
    """
    rng, pool = np.random.default_rng(seed), np.concatenate([source, target])
    before, after = own.mean(axis=0), swapped.mean(axis=0)

    def gain(there: np.ndarray) -> float:
        return float(np.square(before - there).mean() - np.square(after - there).mean())

    found = gain(target.mean(axis=0))
    drawn = [gain(pool[rng.permutation(len(pool))[: len(target)]].mean(axis=0)) for _ in range(N_SHUFFLES)]
    there = target.mean(axis=0)
    return {
        "before": float(np.square(before - there).mean()),
        "after": float(np.square(after - there).mean()),
        "gain": found,
        "chance": float(np.mean(drawn)),
        "p": (1 + sum(other >= found for other in drawn)) / (1 + N_SHUFFLES),
    }


def score_path(path: np.ndarray) -> dict[str, Any]:
    """Describe traces on the way from one to another.

    Parameters
    ----------
    path : (n_steps, L), at least three

    Returns
    -------
    to_start, to_end : (n_steps,) mean squared distance from both ends
    monotone : share of steps that leave the start and near the end
    evenness : mean length of a step over that of the longest; 1 = all alike, near 0 = a jump
    """
    to_start, to_end = (np.square(path - path[i]).mean(axis=1) for i in (0, -1))
    steps = np.sqrt(np.square(np.diff(path, axis=0)).mean(axis=1))
    goes_on = (np.diff(to_start) > 0) & (np.diff(to_end) < 0)
    evenness = float(steps.mean() / max(steps.max(), 1e-12))
    return {"to_start": to_start, "to_end": to_end, "monotone": float(goes_on.mean()), "evenness": evenness}


def score_samples(real: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Compare a set of made-up units with as many real ones.

    Parameters
    ----------
    real, made : modality -> (n, L); give only modalities that all units have

    Returns
    -------
    wasserstein : modality -> distance between all values of all units
    two_sample : how often the nearest other unit is of the same kind, real or made up; 0.5 = not to be told apart, 1 =
        always (Lopez-Paz & Oquab 2017)
    coverage : share of real units with a made-up one among them, nearer than their fifth real neighbour (Naeem et al.
        2020)
    """
    scale = {name: max(float(x.std()), 1e-12) for name, x in real.items()}
    here, there = (np.hstack([x[name] / scale[name] for name in real]) for x in (real, made))
    both, kind = np.concatenate([here, there]), np.arange(len(here) + len(there)) < len(here)
    nearest = NearestNeighbors(n_neighbors=1).fit(both).kneighbors(return_distance=False)[:, 0]
    k = min(N_NEAREST, len(here) - 1)
    radius = NearestNeighbors(n_neighbors=k).fit(here).kneighbors()[0][:, -1]
    reach = NearestNeighbors(n_neighbors=1).fit(there).kneighbors(here)[0][:, 0]
    return {
        "wasserstein": {name: wasserstein_distance(made[name].ravel(), x.ravel()) for name, x in real.items()},
        "two_sample": float((kind == kind[nearest]).mean()),
        "coverage": float((reach <= radius).mean()),
    }


def long_rows(traces: Mapping[str, np.ndarray], panel: str = "", modality: str = "", name: str = "") -> pd.DataFrame:
    """Return traces, kind -> (L,), as a table of one value per row: what figures of made-up traces are drawn from.

    Columns ``panel, modality, name, kind, position, value``; values have five decimals.
    """
    frames = [
        pd.DataFrame({"kind": kind, "position": np.arange(len(x)), "value": np.round(x, 5)})
        for kind, x in traces.items()
    ]
    joined = pd.concat(frames) if frames else pd.DataFrame(columns=["kind", "position", "value"])
    return joined.assign(panel=panel, modality=modality, name=name)[COLUMNS]

"""What the stimulus was like. Enters: trials, a vector for each class. Leaves: how often the right vector is nearest.

A network regresses the vector (of pixels, of a network's layer, of a VAE's latents); the class whose vector is most
like the answer is the one that is told, so that classes which training never met can be told as well.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import PopulationError
from ..data import Population
from .kshot import Study, plan
from .models import make_decoder
from .scores import score_trials


def retrieve(
    population: Population,
    features: Mapping[Any, Any],
    models: str | Sequence[str] = ("linear", "lstm"),
    study: Study | None = None,
    unseen: int = 0,
    epochs: int | None = None,
) -> pd.DataFrame:
    """Regress the vector of each presentation's class, and look for it among those of all classes.

    Parameters
    ----------
    population : in trials
    features : class -> (n_features,) vector, for every class that was shown
    models : of ``networks.NETWORKS``; ``linear`` is a linear regression
    study : label, split, fractions, rates and seed; see ``kshot.Study``
    unseen : so many classes, drawn by the seed, are in no training presentation and in all of the test; 0 = none
    epochs : at most; None = as for classes

    Returns
    -------
    A row of ``validate.population.RETRIEVALS`` for each model: R2 of the features, top-1, top-5 and mean rank of the
    true class, of ``n_classes``, by the correlation of the vectors.

    Raises
    ------
    PopulationError
        A class without a vector, or vectors that differ in length.
    SettingError
        A model that is not known.
    """
    study = study or Study()
    decoders = {name: make_decoder(name, "features") for name in ([models] if isinstance(models, str) else models)}
    task = plan(population, Study(**{**vars(study), "models": ("features",), "shots": (0,), "repeats": 1}))[0]
    shown = population.segments[study.label]
    classes = np.unique(shown if study.keep_blank else shown[shown != -1])
    table = _stack(features, classes)
    train, val, test = task.train, task.val, task.test
    if unseen:
        train, val, test = _keep_out(task, np.random.default_rng(study.seed), unseen)
    mean, spread = table[task.codes[train]].mean(axis=0), table[task.codes[train]].std(axis=0)
    scaled = (table - mean) / np.where(spread > 0, spread, 1.0)
    truth = scaled[task.codes]
    held = (task.trials[val], truth[val]) if len(val) else None
    rows = []
    for name, decoder in decoders.items():
        if epochs is not None:
            decoder.epochs = decoder.fixed_epochs = epochs
        start = time.process_time()
        decoder.fit(task.trials[train], truth[train], table.shape[1], study.seed, held)
        spent = time.process_time() - start
        answer = decoder.predict(task.trials[test])
        found = score_trials(_correlate(answer, scaled), task.codes[test])
        error, baseline = ((truth[test] - answer) ** 2).sum(axis=0), (truth[test] ** 2).sum(axis=0)
        rows.append(
            {
                "session_id": population.session_id, "model": name, "seed": study.seed, "split": study.split,
                "unseen": unseen, "n_units": task.trials.shape[2], "n_bins": task.trials.shape[1],
                "n_classes": len(classes), "n_features": table.shape[1],
                "r2": float(np.mean(1 - error / np.where(baseline > 0, baseline, 1.0))),
                **{key: found[key] for key in ("top1", "top1_low", "top1_high", "top5", "chance", "mean_rank")},
                "n_train": len(train), "n_test": len(test), "fit_seconds": spent,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _stack(features: Mapping[Any, Any], classes: np.ndarray) -> np.ndarray:
    missing = [value for value in classes.tolist() if value not in features]
    if missing:
        raise PopulationError(f"features: no vector for {missing[:5]} ({len(missing)} of {len(classes)} classes)")
    vectors = [np.ravel(np.asarray(features[value], dtype=float)) for value in classes.tolist()]
    if len({len(vector) for vector in vectors}) > 1:
        raise PopulationError(
            f"features: vectors of lengths {sorted({len(vector) for vector in vectors})}; one is needed"
        )
    table = np.stack(vectors)
    if not np.isfinite(table).all():
        raise PopulationError("features: a vector with values that are missing or infinite")
    return table


def _keep_out(task: Any, rng: np.random.Generator, unseen: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not 0 < unseen <= task.n_classes - 2:
        raise PopulationError(f"features: unseen {unseen} of {task.n_classes} classes; two or more must be learnt from")
    out = np.isin(task.codes, rng.choice(task.n_classes, unseen, replace=False))
    every = np.concatenate([task.train, task.val, task.test])
    return task.train[~out[task.train]], task.val[~out[task.val]], np.sort(every[out[every]])


def _correlate(answers: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(n, n_classes) cosine of each answer with each class's vector, both about the mean of training."""

    def unit(rows: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(length > 0, length, 1.0)

    return unit(answers) @ unit(vectors).T

"""How well a model fits. Enters: a model, a recording, its labels. Leaves: InfoNCE, or bits above a collapsed one.

Goodness of fit knows how many negatives this evaluation had, so a collapsed embedding has 0 bits whatever the fit was.
"""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ..core.errors import PopulationError, SettingError
from .criterion import info_nce
from .fitting import BITS, Hybrid
from .labels import read_labels
from .looks import embed_rows
from .pools import make_pool
from .prepare import choose_mode, make_rules, read_sessions
from .sampling import Sampler
from .settings import hybrid_options

FULL, AUTO = 2048, 512
"""Pairs of one evaluation batch of a model that was fitted with ``batch_size=None``, and with ``auto``."""


def infonce_loss(
    model: Any,
    X: Any,
    *y: Any,
    session_id: int | None = None,
    num_batches: int = 500,
    correct_by_batchsize: bool = False,
    random_state: int | None = None,
) -> float:
    """Return the mean InfoNCE over fresh batches of one session.

    Parameters
    ----------
    X, *y : recording and labels, of the number, kind and width that the model was fitted on
    correct_by_batchsize : subtract the log of the number of negatives, the loss of a collapsed embedding

    Raises
    ------
    ValueError
        Several sessions at once, or other labels than those of the fit.
    """
    loss, log_n = evaluate_loss(model, X, y, session_id, num_batches, random_state)
    return loss - log_n if correct_by_batchsize else loss


def evaluate_loss(
    model: Any, X: Any, y: tuple, session_id: int | None, num_batches: int, random_state: int | None
) -> tuple[float, float]:
    """Return the mean loss, and the log of the number of negatives of this evaluation."""
    check_is_fitted(model, "model_")
    (population, *more), is_multi = read_sessions(X)
    if more or is_multi:
        raise PopulationError("one session at a time is scored; name it with session_id")
    number = model.check_session(session_id)
    if population.n_units != np.atleast_1d(model.n_features_in_)[number]:
        raise PopulationError(f"X has {population.n_units} units, session {number} of the model has others")
    (labels,) = read_labels(y, [population], False, dict(model.label_periods or {}))
    targets = model.label_spec_.apply(labels, population.valid)
    rules = make_rules(model, choose_mode(model, targets.kind, 1), model.offset_, model.label_spec_)
    pool = make_pool(population.segment_of_row, population.valid, targets, rules, model.label_spec_)
    batch = _batch_size(model)
    options = hybrid_options(model)
    hybrid = None if options is None else Hybrid(**options)
    encoder = model.model_.encoders[number].eval()
    rng = np.random.default_rng(random_state)
    sampler = Sampler((pool,), rules, batch, batch, "full")
    losses = []
    with torch.no_grad():
        x = model.input_transforms_[number].apply(population.counts).to(next(encoder.parameters()).device)
        flat = embed_rows(encoder, x, np.arange(len(x)))
        flat = flat if hybrid is None else hybrid.behaviour(flat)
        for _ in range(num_batches):
            (session,) = sampler.draw(rng)["sessions"]
            parts = (flat[session[name].to(flat.device)] for name in ("reference", "positive", "negative"))
            losses.append(info_nce(model.model_.criterion, *parts).total)
    return float(torch.stack(losses).mean()), float(np.log(batch))


def goodness_of_fit_score(
    model: Any,
    X: Any,
    *y: Any,
    session_id: int | None = None,
    num_batches: int = 500,
    random_state: int | None = None,
) -> float:
    """Return the goodness of fit in bits: 0 for a collapsed embedding, more is better."""
    loss, log_n = evaluate_loss(model, X, y, session_id, num_batches, random_state)
    return (log_n - loss) * BITS


def infonce_to_goodness_of_fit(
    infonce: Any, model: Any = None, batch_size: int | None = None, num_sessions: int | None = None
) -> Any:
    """Return bits from a loss in nats.

    Parameters
    ----------
    infonce : of ``infonce_loss``, a number or an array
    model : whose evaluation it was, of one session at a time; or
    batch_size, num_sessions : negatives of a batch, and sessions that share one

    Raises
    ------
    SettingError
        Neither a model nor a batch size, or both.
    """
    if (model is None) == (batch_size is None):
        raise SettingError("infonce_to_goodness_of_fit: pass the model, or the batch_size, that the loss is of")
    n = _batch_size(model) if batch_size is None else batch_size * (num_sessions or 1)
    return (np.log(n) - infonce) * BITS


def goodness_of_fit_history(model: Any) -> np.ndarray:
    """Return (n_steps,) bits of every training batch, by the number of negatives it had."""
    check_is_fitted(model, "history_")
    table = model.history_
    return ((table["log_negatives"] - table["align"] - table["uniform"]) * BITS).to_numpy()


def _batch_size(model: Any) -> int:
    return FULL if model.batch_size is None else AUTO if model.batch_size == "auto" else int(model.batch_size)

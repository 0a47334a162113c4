"""One fit, from sessions to what is remembered. Enters: an estimator, sessions. Leaves: the estimator, trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from .data import Population
from .fitting import BITS, History, Hybrid, Job
from .labels import LabelSpec, Targets, read_labels
from .looks import make_look
from .masking import check_masks, make_distortion
from .pools import Pool, Rules
from .prepare import choose_mode, make_pools, make_rules, make_sampler
from .seen import fingerprint
from .settings import Settings, find_device, find_optimizer, hybrid_options
from .smoothing import choose_reach
from .transform import embed_session

FUSED = {"adam": {"fused": True}}
"""One pass over the weights in place of one for each of them; the steps are the same."""


@dataclass
class Study:
    """What one call of ``fit`` works on.

    Attributes
    ----------
    populations, targets, xs : of each session: the recording, its labels, and what the encoder sees
    rules : how pairs are made
    train, held : pools of training and of held-out rows (None = nothing is held out)
    """

    populations: list[Population]
    targets: list[Targets]
    xs: list[torch.Tensor]
    rules: Rules
    train: tuple[Pool, ...]
    held: tuple[Pool, ...] | None


def make_study(
    model: Any, populations: list[Population], is_multi: bool, y: Sequence[Any], helds: Sequence[np.ndarray]
) -> Study:
    """Return the study of sessions and labels; a model without ``label_spec_`` learns it here.

    Raises
    ------
    SettingError, PopulationError
        Labels, settings and sessions that do not fit each other.
    """
    labels = read_labels(y, populations, is_multi, dict(model.label_periods or {}))
    valid = [population.valid for population in populations]
    if model.label_spec_ is None:
        model.label_spec_ = LabelSpec.fit(labels, model.label_scale, valid)
    spec: LabelSpec = model.label_spec_
    targets = [spec.apply(own, rows) for own, rows in zip(labels, valid, strict=True)]
    rules = make_rules(model, choose_mode(model, targets[0].kind, len(populations)), model.offset_, spec)
    pools, held = make_pools(populations, targets, rules, spec, helds)
    xs = [t.apply(p.counts) for t, p in zip(model.input_transforms_, populations, strict=True)]
    return Study(populations, targets, xs, rules, pools, held)


def run_study(model: Any, study: Study, n_steps: int, seed: int, listen: Callable[[int], None] | None) -> None:
    """Train the estimator's network on a study, and let it remember what happened."""
    from .steps import train  # brings Lightning, which takes a second to import

    device = find_device(model.device)
    model.smoothing_ = choose_reach(model.smoothing, study.rules)  # a callback may embed
    options = hybrid_options(model)
    hybrid = None if options is None else Hybrid(**options)
    random = torch.Generator().manual_seed(seed)
    job = Job(
        sampler=make_sampler(model, study.train, study.rules, list(model.model_.encoders), device),
        n_steps=n_steps,
        check_every=model.check_every,
        make_optimizer=lambda parameters: _make_optimizer(model, parameters),
        seed=seed,
        hybrid=hybrid,
        distort=make_distortion(check_masks(model.masking_kwargs), model.unit_dropout, random),
        look=make_look(study.held, study.train, study.xs, study.rules, hybrid, seed) if study.held else None,
        patience=model.patience,
        tolerance=model.tolerance if study.rules.mode == "time" else 0.0,
        averaging=model.averaging,
        on_step=listen,
        verbose=model.verbose,
    )
    history = train(model.model_, study.xs, job, device)
    model.model_.to(device)
    model.layout_ = job.sampler.layout
    _remember(model, history, study)


def _make_optimizer(model: Any, parameters: Any) -> torch.optim.Optimizer:
    """The optimiser of the settings; the default options are Adam's and no other's."""
    default = next(field.default for field in fields(Settings) if field.name == "optimizer_kwargs")
    is_adam = str(model.optimizer).lower() == "adam"
    options = {} if model.optimizer_kwargs == default and not is_adam else dict(model.optimizer_kwargs or ())
    fused = FUSED["adam"] if is_adam else {}
    return find_optimizer(model.optimizer)(parameters, lr=model.learning_rate, **options, **fused)


def _remember(model: Any, history: History, study: Study) -> None:
    """History, diagnosis, and which rows labels were learnt from."""
    table, kept = history.table, history.best_step
    model.n_iter_ = len(table)
    model.set_history(table)
    around = table.iloc[max(0, kept - model.check_every) : kept]
    in_training = float((around["log_negatives"] - around["align"] - around["uniform"]).mean()) * BITS
    look = table.iloc[kept - 1]
    model.diagnosis_ = {
        "held_out_bits": float(look["held_out_bits"]),
        "training_bits": in_training,
        "gap_bits": in_training - float(look["held_out_bits"]),
        "held_out_score": float(look["held_out_score"]),
        "kept_step": kept,
    }
    if study.targets[0].kind != "none":
        parts = [
            fingerprint(embed_session(model, number, population)[pool.references])
            for number, (population, pool) in enumerate(zip(study.populations, study.train, strict=True))
        ]
        model.seen_ = np.unique(np.concatenate([model.seen_, *parts]))

"""What a version must show before it gets an alias. Enters: evidence of two versions, limits. Leaves: verdicts.

One table, ``GATES``: what is looked at, and which field of the section ``gates`` of ``params.yaml`` limits it.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..core.config import Params
from ..core.errors import ModelError
from ..core.gate_params import GateParams
from ..evaluate.paired import compare_predictions
from .evidence import Evidence, MissingEvidence
from .latency import measure_latency
from .signatures import find_incompatible

Value = float | str | None


@dataclass(frozen=True)
class GateResult:
    """One condition of a promotion: what was found, what is needed, and whether it holds.

    ``why`` says more where there is more to say; ``waived`` is one that does not hold and was set aside by hand.
    """

    name: str
    found: Value
    needed: str
    passed: bool
    why: str = ""
    waived: bool = False

    def __str__(self) -> str:
        why = f" ({self.why})" if self.why else ""
        return f"{self.name}: {self.shown} found, {self.needed} needed{why}{', waived' if self.waived else ''}"

    @property
    def shown(self) -> str:
        """What was found, for people."""
        return f"{self.found:.3f}" if isinstance(self.found, float) else self.found or "nothing"


@dataclass(frozen=True)
class Trial:
    """A version that asks for an alias, the version in service (None = there is none), and what is asked."""

    challenger: Evidence
    champion: Evidence | None
    alias: str
    was_staged: bool
    params: Params

    @property
    def limits(self) -> GateParams:
        """The section ``gates``."""
        return self.params.gates


@dataclass(frozen=True)
class Finding:
    """What was found, more on it, and, where it is no number to compare with the limit, whether it is good."""

    value: float | str
    why: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Gate:
    """One row of the table: ``field`` of ``gates`` is the limit; ``rule`` how what is found compares with it."""

    field: str
    rule: Literal[">=", "<=", "is"]
    find: Callable[[Trial], Finding]
    needed: str = ""
    aliases: tuple[str, ...] = ("staging", "production")


def judge(trial: Trial, waived: frozenset[str] = frozenset()) -> list[GateResult]:
    """Return the verdict of every gate that is switched on and asked for this alias.

    A gate whose number is missing does not hold, and says which file and key it missed.

    Parameters
    ----------
    waived : names of gates that may fail
    """
    return [_judge(name, gate, trial, name in waived) for name, gate in GATES.items() if _is_asked(gate, trial)]


def _is_asked(gate: Gate, trial: Trial) -> bool:
    limit = getattr(trial.limits, gate.field, True)
    return trial.alias in gate.aliases and limit is not None and limit is not False


def _judge(name: str, gate: Gate, trial: Trial, may_fail: bool) -> GateResult:
    limit = getattr(trial.limits, gate.field, True)
    needed = (
        gate.needed.format(limit=limit, margin=trial.limits.incumbent_margin)
        if gate.needed
        else f"{gate.rule} {limit:g}"
    )
    try:
        found = gate.find(trial)
    except (MissingEvidence, ModelError) as error:
        return GateResult(name, None, needed, False, str(error), may_fail)
    holds = COMPARE[gate.rule](found.value, limit) if found.holds is None else found.holds
    return GateResult(name, found.value, needed, holds, found.why, may_fail and not holds)


COMPARE: dict[str, Callable[[Any, Any], bool]] = {">=": operator.ge, "<=": operator.le}


def _accuracy(trial: Trial) -> Finding:
    return Finding(float(trial.challenger.score(f"overall.{trial.challenger.head}.balanced_accuracy")))


def _lead(trial: Trial) -> Finding:
    found = trial.challenger
    control = float(found.score("overall.control.balanced_accuracy"))
    return Finding(float(found.score(f"overall.{found.head}.balanced_accuracy")) - control, f"control {control:.3f}")


def _leak(trial: Trial) -> Finding:
    control = trial.challenger.each("control.balanced_accuracy.mean")
    chance = {name: 1 / trial.challenger.n_classes(name) for name in control}
    return _extreme({name: control[name] - chance[name] for name in control}, max)


def _validation(trial: Trial) -> Finding:
    reports = trial.challenger.validation
    failed = [name for name, report in reports.items() if report.get("failures") != 0]
    if failed:
        return Finding("failures", f"{', '.join(failed)}: the schema is broken", False)
    if silent := [name for name, report in reports.items() if "expectations" not in report]:
        raise MissingEvidence(f"{trial.challenger.name}: metrics/validation/{silent[0]}.json has no 'expectations'")
    rows = [(name, row) for name, report in reports.items() for row in report["expectations"] if not row["success"]]
    missed = [f"{name} {row['expectation']} {row['column']}".strip() for name, row in rows]
    return Finding(float(len(missed)), "; ".join(missed[:3]))


def _worst(part: str, pick: Callable) -> Callable[[Trial], Finding]:
    """Look at the worst dataset; ``{head}`` in ``part`` is the read-out that answers."""
    return lambda trial: _extreme(trial.challenger.each(part.format(head=trial.challenger.head)), pick)


def _extreme(values: Mapping[str, float], pick: Callable) -> Finding:
    name = pick(values, key=values.__getitem__)
    return Finding(float(values[name]), name)


def _against_champion(trial: Trial) -> Finding:
    if trial.champion is None:
        return Finding("no incumbent", "", True)
    predictions = trial.challenger.predictions
    try:
        found = compare_predictions(trial.champion.predictions, predictions, trial.limits.n_resamples)
    except (MissingEvidence, ValueError) as error:
        reason = str(error).removeprefix(f"{trial.champion.name}: ")
        raise MissingEvidence(
            f"version {trial.champion.number} cannot be compared: {reason}; or set the gate aside: spikeprint promote "
            f"--to {trial.alias} --waive 'against the incumbent' --reason TEXT"
        ) from None
    worst, mean = found.worst, found.overall
    passes = worst.difference.low >= -trial.limits.incumbent_margin
    passes &= trial.limits.incumbent == "no_worse" or mean.low > 0
    why = f"version {trial.champion.number}; mean {mean}; {worst.name} {worst.difference}"
    return Finding(worst.difference.low, why, passes)


def _latency(n_units: int) -> Callable[[Trial], Finding]:
    return lambda trial: Finding(measure_latency(trial.challenger.predictor, n_units), "median, one thread, now")


def _size(trial: Trial) -> Finding:
    files = (path for path in trial.challenger.bundle.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return Finding(sum(path.stat().st_size for path in files) / 1e6)


def _compatible(trial: Trial) -> Finding:
    if trial.champion is None:
        return Finding("no incumbent", "", True)
    problems = find_incompatible(trial.champion.signature, trial.challenger.signature)
    lost = sorted(set(trial.champion.classes) - set(trial.challenger.classes))
    problems += [f"no longer answers {', '.join(lost)}"] if lost else []
    why = "; ".join(problems) or f"version {trial.champion.number}"
    return Finding("no" if problems else "yes", why, not problems)


def _lineage(trial: Trial) -> Finding:
    found, tags = trial.challenger.lineage, trial.challenger.run.data.tags
    gaps = [*found["gaps"], *(["no git commit"] if tags.get("git.commit", "unknown") == "unknown" else [])]
    gaps += [] if trial.challenger.environment.get("packages") else ["environment.json names no packages"]
    return Finding("incomplete" if gaps else "complete", "; ".join(gaps) or f"{len(found['raw'])} raw", not gaps)


def _clean(trial: Trial) -> Finding:
    commit = trial.challenger.run.data.tags.get("git.commit", "unknown")
    is_clean = commit != "unknown" and not commit.endswith("-dirty")
    return Finding("clean" if is_clean else "not committed", commit, is_clean)


def _staged(trial: Trial) -> Finding:
    return Finding("yes" if trial.was_staged else "no", "", trial.was_staged)


GATES: dict[str, Gate] = {
    "balanced accuracy": Gate("floor", ">=", _accuracy),
    "lead over shuffled labels": Gate("margin_over_control", ">=", _lead),
    "shuffled labels over chance": Gate("max_control_over_chance", "<=", _leak),
    "missed expectations": Gate("max_missed_expectations", "<=", _validation),
    "calibration error": Gate("max_calibration_error", "<=", _worst("{head}.calibration_error", max)),
    "coverage of prediction sets": Gate("min_coverage", ">=", _worst("sets.coverage", min)),
    "known types called novel": Gate("max_called_novel", "<=", _worst("sets.called_novel", max)),
    "against the incumbent": Gate("incumbent", "is", _against_champion, "{limit} (-{margin:g})"),
    "latency of 1 unit, ms": Gate("max_latency_1_ms", "<=", _latency(1)),
    "latency of 256 units, ms": Gate("max_latency_256_ms", "<=", _latency(256)),
    "bundle, MB": Gate("max_bundle_mb", "<=", _size),
    "compatible with the incumbent": Gate("compatible", "is", _compatible, "yes"),
    "lineage": Gate("lineage", "is", _lineage, "complete"),
    "commit": Gate("clean_commit", "is", _clean, "clean", ("production",)),
    "has held @staging": Gate("was_staged", "is", _staged, "yes", ("production",)),
}
"""Name -> gate, in the order in which they are looked at and printed."""


def numbers(results: list[GateResult]) -> list[dict[str, Any]]:
    """Return results as JSON values, short enough for a tag."""
    return [
        {"name": r.name, "found": round(r.found, 4) if isinstance(r.found, float) else r.found, "needed": r.needed}
        | {"passed": r.passed, **({"waived": True} if r.waived else {})}
        for r in results
    ]

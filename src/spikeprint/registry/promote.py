"""Promotion. Enters: a registered version and an alias. Leaves: verdicts of the gates, and an alias that was moved.

An alias (``staging``, ``production``) points to one version. A plan is made first, which takes seconds and changes
nothing; the move is then made by one process at a time, and only if the alias still points where the plan saw it.
"""

import json
import logging
import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient, MlflowException
from mlflow.entities.model_registry import ModelVersion

from ..core.config import Params
from ..core.errors import ConfigError, RegistryError, suggest
from .bundle import open_bundle
from .evidence import Evidence
from .gates import GATES, GateResult, Trial, judge, numbers
from .ledger import Move, add_to_ledger, find_previous, last_holder, read_moves, write_move
from .mutex import exclusive
from .tracking import connect, store_errors
from .versions import holder, newest_version, resolve_version
from .whence import user_name

LOGGER = logging.getLogger(__name__)

ALIASES = ("staging", "production")
"""In the order a version passes them."""

MAX_REASON = 1000

STAGED_TAG = "promoted.staging.at"
"""Version tag: it has held @staging."""


@dataclass(frozen=True)
class Plan:
    """A move that was looked at: ``previous`` is the version that holds the alias (``""`` = none).

    ``champion`` is the version that it was compared with: the one in production, else the holder of the alias.
    """

    name: str
    version: str
    alias: str
    previous: str
    champion: str
    gates: list[GateResult]
    kind: str = "promoted"
    reason: str = ""
    evidence: tuple[Evidence | None, Evidence | None] = field(default=(None, None), repr=False, compare=False)
    """Of the version and of the champion."""

    @property
    def refusals(self) -> list[GateResult]:
        """The gates that stand in the way: of a way back none does."""
        return [gate for gate in self.gates if not gate.passed and not gate.waived and self.kind == "promoted"]

    @property
    def is_allowed(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.refusals

    def refuse(self) -> None:
        """Raise RegistryError with the reasons, if there are any."""
        if not self.is_allowed:
            reasons = "; ".join(map(str, self.refusals))
            raise RegistryError(f"{self.name} version {self.version} refused for {self.alias}: {reasons}")


@dataclass(frozen=True)
class Wish:
    """What is asked: an alias; a version (None = what suits); a reason; names of gates that may fail; the way back."""

    alias: str
    version: str | None = None
    reason: str = ""
    waived: frozenset[str] = frozenset()
    back: bool = False

    def __post_init__(self) -> None:
        """Refuse words that are none of ours."""
        if self.alias not in ALIASES:
            raise ConfigError(f"promote: unknown stage '{self.alias}'; known: {', '.join(ALIASES)}")
        for gate in self.waived - GATES.keys():
            raise ConfigError(f"promote: no gate '{gate}'{suggest(gate, GATES)}; known: {', '.join(GATES)}")
        if self.waived and not self.reason:
            raise ConfigError("promote: a gate is set aside with a reason only; give --reason TEXT")
        if len(self.reason) > MAX_REASON:
            raise ConfigError(f"promote: the reason has {len(self.reason)} characters, at most {MAX_REASON} are kept")
        if self.back and self.version:
            raise ConfigError("promote: the way back leads to the version before; leave the version away")


def plan_move(root: Path, wish: Wish) -> Plan:
    """Look at the gates of a version for an alias; nothing changes.

    Without a version: for production the one that holds ``@staging``, for staging the newest, and back the one that
    held the alias before.

    Raises
    ------
    RegistryError
        Model, version or alias do not exist, or there is nothing to go back to.
    IncompatibleBundle
        The version to go back to does not open here.
    """
    root = Path(root).resolve()
    params = Params.load(root / "params.yaml")
    name = params.register_.model_name
    client = connect(root)
    with store_errors(f"registry, model {name}"):
        version = _choose(client, name, wish)
        plan = make_plan(client, version, params, wish)
        if wish.back:
            open_version(client, plan.version, name)
    return plan


def open_version(client: MlflowClient, number: str, name: str) -> None:
    """Raise IncompatibleBundle unless the version's bundle opens here: else it would not be served either."""
    open_bundle(Evidence(client, client.get_model_version(name, number)).bundle)


def promote(root: Path, to: str, version: str | None = None, dry_run: bool = False) -> Plan:
    """Plan a move and, unless ``dry_run``, carry it out; ``to`` may be spelled in any case."""
    plan = plan_move(root, Wish(to.lower(), version))
    if not dry_run:
        carry_out(root, plan)
    return plan


def make_plan(client: MlflowClient, version: ModelVersion, params: Params, wish: Wish) -> Plan:
    """Return the plan for a version that is known to exist."""
    name, number = str(version.name), str(version.version)
    previous = holder(client, name, wish.alias)
    served = holder(client, name, "production") or previous
    champion = Evidence(client, client.get_model_version(name, served)) if served not in ("", number) else None
    challenger = Evidence(client, version)
    was_staged = holder(client, name, "staging") == number or STAGED_TAG in version.tags
    gates = judge(Trial(challenger, champion, wish.alias, was_staged, params), wish.waived)
    kind = "rolled back" if wish.back else "promoted"
    parts = (challenger, champion)
    return Plan(
        name, number, wish.alias, previous, champion.number if champion else "", gates, kind, wish.reason, parts
    )


def carry_out(root: Path, plan: Plan) -> None:
    """Move the alias as planned, tag the version, write the history; nothing when the alias points there already.

    Raises
    ------
    RegistryError
        A gate refuses, or somebody has moved the alias or the champion since the plan was made.
    """
    root = Path(root).resolve()
    plan.refuse()
    client = connect(root)
    with store_errors(f"registry, model {plan.name}"), exclusive(client, plan.name, user_name()):
        move_alias(client, root, plan)


def move_alias(client: MlflowClient, root: Path, plan: Plan) -> None:
    """Do what ``carry_out`` does, for a caller that is alone already (``mutex.exclusive``)."""
    _check_unmoved(client, plan)
    model = client.get_registered_model(plan.name)
    if plan.previous != plan.version:
        moves = read_moves(model.tags, plan.name)
        place = len(moves) + 1
        if plan.previous and last_holder(moves, plan.alias) != plan.previous:
            client.set_registered_model_tag(plan.name, *write_move(_describe_found(client, plan), place))
            place += 1
        move = _describe(client.get_model_version(plan.name, plan.version), plan)
        stamp = {key: move[key] for key in ("at", "by", "previous", "reason")}
        for key, value in {**stamp, "gates": json.dumps(numbers(plan.gates))}.items():
            client.set_model_version_tag(plan.name, plan.version, f"promoted.{plan.alias}.{key}", value)
        client.set_registered_model_alias(plan.name, plan.alias, plan.version)
        now = holder(client, plan.name, plan.alias)
        if now != plan.version:
            raise RegistryError(
                f"{plan.name} @{plan.alias}: points to version {now} although {plan.version} was just set"
            )
        client.set_registered_model_tag(plan.name, *write_move(move, place))
        for number in filter(None, (plan.previous, plan.version)):
            mirror_stage(client, plan.name, number)
    add_to_ledger(root, read_moves(client.get_registered_model(plan.name).tags, plan.name))


def mirror_stage(client: MlflowClient, name: str, number: str) -> None:
    """Set the registry stage of a version to what its aliases say, where client and server still have stages.

    MLflow has deprecated them for aliases and warns at every call.
    """
    transition = getattr(client, "transition_model_version_stage", None)
    if transition is None:
        return
    held = {alias for alias in ALIASES if holder(client, name, alias) == number}
    stage = "Production" if "production" in held else "Staging" if "staging" in held else "Archived"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            transition(name, number, stage)
        except MlflowException as error:
            LOGGER.info("the store has no registry stages (%s); the alias counts", error.error_code)


def read_history(root: Path) -> list[Move]:
    """Return every move of an alias, oldest first: those that the store tells of."""
    params = Params.load(Path(root) / "params.yaml")
    name = params.register_.model_name
    client = connect(root)
    with store_errors(f"registry, model {name}"):
        newest_version(client, name)
        return read_moves(client.get_registered_model(name).tags, name)


def _choose(client: MlflowClient, name: str, wish: Wish) -> ModelVersion:
    if wish.version:
        return resolve_version(client, f"models:/{name}/{wish.version}")
    if not wish.back:
        if wish.alias == "staging":
            return newest_version(client, name)
        return resolve_version(client, f"models:/{name}@staging")
    newest_version(client, name)
    before = find_previous(read_moves(client.get_registered_model(name).tags, name), wish.alias)
    if not before:
        now = holder(client, name, wish.alias) or "no version"
        raise RegistryError(f"{name} @{wish.alias}: {now} holds it and none did before; there is nothing to go back to")
    return resolve_version(client, f"models:/{name}/{before}")


def _check_unmoved(client: MlflowClient, plan: Plan) -> None:
    """Compare with what the plan saw: its verdicts are about that incumbent, not another."""
    now = holder(client, plan.name, plan.alias)
    served = holder(client, plan.name, "production") or now
    if now != plan.previous:
        at = client.get_model_version(plan.name, now).tags if now else {}
        by = f" by {at.get(f'promoted.{plan.alias}.by', 'somebody')}"
        raise RegistryError(
            f"{plan.name} @{plan.alias}: moved from {plan.previous or 'no version'} to {now or 'no version'}{by} "
            "meanwhile; look at it, then promote again"
        )
    if plan.champion and served != plan.champion:
        raise RegistryError(
            f"{plan.name}: version {plan.champion}, compared with, is not in service any more ({served or 'none'} is); "
            "promote again"
        )


def _describe(version: ModelVersion, plan: Plan) -> Move:
    """One line of the history."""
    marks = {(True, False): "", (False, True): " waived", (False, False): " FAILED"}
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "by": user_name(),
        "kind": plan.kind,
        "model": plan.name,
        "version": plan.version,
        "alias": plan.alias,
        "previous": plan.previous,
        "reason": plan.reason,
        "bundle_sha256": version.tags.get("bundle_sha256", ""),
        "data_md5": version.tags.get("data_md5", ""),
        "git_commit": version.tags.get("git.commit", ""),
        "gates": "; ".join(f"{gate.name} {gate.shown}{marks[gate.passed, gate.waived]}" for gate in plan.gates),
    }


def _describe_found(client: MlflowClient, plan: Plan) -> Move:
    """One line for an alias that was moved by other means than ours, or before there was a history."""
    version = client.get_model_version(plan.name, plan.previous)
    found = replace(plan, version=plan.previous, previous="", kind="found", gates=[])
    return _describe(version, replace(found, reason="moved by other means than spikeprint promote"))

"""Registration and promotion. Enters: an evaluated ablation row. Leaves: a model version, gates, aliases, a ledger.

An alias (``staging``, ``production``) points to one version; every move of one is a line in the ledger.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from ..core.config import Params
from ..core.errors import ConfigError, RegistryError
from ..core.files import read_json
from ..core.types import MODALITIES
from .bundle import bundle_digest, open_bundle
from .ledger import append_move, describe_loss, read_moves
from .lock import DATA, FinishedRow, changed_params, dvc_md5, finished_row, flatten, read_lock
from .tracking import connect, find_run, store_errors, store_lock, sync, user_name
from .versions import create_version, find_version, holder, resolve_version

LOGGER = logging.getLogger(__name__)

ALIASES = ("staging", "production")
"""In the order a version passes them."""

STAGED_TAG = "promoted.staging.at"
"""Version tag: it has held @staging."""

EXAMPLE_LINES = 100


class NotRegistrable(RegistryError):
    """The pipeline ran as it should, but what it made cannot classify or has no scores."""


@dataclass(frozen=True)
class GateResult:
    """One condition of a promotion: what was found, what is needed at least, and the verdict."""

    name: str
    found: float | str | None
    needed: float | str
    passed: bool

    def __str__(self) -> str:
        found = f"{self.found:.3f}" if isinstance(self.found, float) else self.found or "nothing"
        return f"{self.name}: {found} found, {self.needed} needed"


@dataclass(frozen=True)
class Registration:
    """What ``register`` did: ``is_new`` version or the one of before, and whether it holds ``@staging`` now."""

    name: str
    version: str
    run_id: str
    is_new: bool
    is_staging: bool
    gates: list[GateResult]

    def describe(self) -> str:
        """Return one line for people."""
        state = "new" if self.is_new else "registered before"
        failed = [gate for gate in self.gates if not gate.passed]
        verdict = VERDICTS[self.is_staging, not failed]
        shown = failed if self.is_staging and failed else self.gates
        return f"{self.name} version {self.version} ({state}) {verdict}: {'; '.join(map(str, shown))}"


VERDICTS = {
    (True, True): "holds @staging",
    (True, False): "holds @staging from before, would not pass now",
    (False, True): "passes, but @staging was given to another version",
    (False, False): "refused for @staging",
}
"""(Holds ``@staging``, passes every gate of today) -> what to say."""


@dataclass(frozen=True)
class Promotion:
    """What ``promote`` did or, dry, would do; ``previous`` is the version that held the alias (``""`` = none)."""

    name: str
    version: str
    alias: str
    previous: str
    gates: list[GateResult]

    @property
    def is_allowed(self) -> bool:
        """Whether every gate is passed."""
        return all(gate.passed for gate in self.gates)


def register(root: Path) -> Registration:
    """Register the bundle of ``register.ablation`` as a model version; give it ``@staging`` when it passes the gates.

    The same bundle with the same scores is registered once. A version that fails a gate is kept, without an alias.
    A version gets ``@staging`` here the first time it passes; afterwards only ``promote`` moves it.

    Raises
    ------
    NotRegistrable
        The model was trained without labels or no dataset could be scored.
    RegistryError
        The row was not trained or evaluated, its files are not those of ``dvc.lock``, or ``params.yaml`` has changed.
    IncompatibleBundle
        The bundle is damaged.
    """
    root = Path(root).resolve()
    params = Params.load(root / "params.yaml")
    name, ablation = params.register_.model_name, params.register_.ablation
    row, scores = _candidate(root, ablation)
    folder = root / "models" / "cvae" / ablation
    identity = {
        "bundle_sha256": bundle_digest(folder),
        "metrics_md5": row.outs[f"reports/metrics/{ablation}.json"],
    }
    sync(root)
    client = connect(root)
    with store_errors(f"registry, model {name}"), store_lock(root):
        run = find_run(client, row.key)
        if run is None:
            raise RegistryError(f"{ablation}: its result files are not those of dvc.lock; run spikeprint run")
        version = find_version(client, name, identity)
        is_new = version is None
        if version is None:
            if not client.search_model_versions(f"name = '{name}'") and (loss := describe_loss(read_moves(root, name))):
                LOGGER.warning("%s: %s", name, loss)
            tags = {
                **identity,
                "data_md5": row.data_md5,
                "dvc.stage_md5": row.key,
                "git.commit": run.data.tags.get("git.commit", "unknown"),
                **{key: str(value) for key, value in scores.items()},
            }
            version = create_version(client, run, name, folder, _example(root, params), tags)
        gates = check_scores(scores, params)
        number = str(version.version)
        # once only: who has given @staging back to an older version keeps it there
        if all(gate.passed for gate in gates) and STAGED_TAG not in version.tags:
            _set_alias(client, root, Promotion(name, number, "staging", "", gates))
        is_staging = holder(client, name, "staging") == number
    return Registration(name, number, run.info.run_id, is_new, is_staging, gates)


def promote(root: Path, to: str, version: str | None = None, dry_run: bool = False) -> Promotion:
    """Move the alias ``to`` to a version that passes the gates.

    Parameters
    ----------
    root : the project
    to : ``staging`` or ``production``, any case
    version : default: the version that holds ``@staging``
    dry_run : only look

    Raises
    ------
    ConfigError
        ``to`` is no alias of ours.
    RegistryError
        The model or version does not exist, or a gate is not passed (unless ``dry_run``).
    """
    root = Path(root).resolve()
    alias = to.lower()
    if alias not in ALIASES:
        raise ConfigError(f"promote: unknown stage '{to}'; known: {', '.join(ALIASES)}")
    params = Params.load(root / "params.yaml")
    name = params.register_.model_name
    client = connect(root)
    with store_errors(f"registry, model {name}"), store_lock(root):
        chosen = resolve_version(client, f"models:/{name}@staging" if version is None else f"models:/{name}/{version}")
        scores = {key: float(value) for key, value in chosen.tags.items() if key.startswith("overall.")}
        gates = check_scores(scores, params)
        if alias == "production":
            gates.append(_check_staged(client, chosen))
        plan = Promotion(name, str(chosen.version), alias, holder(client, name, alias), gates)
        if not dry_run:
            if not plan.is_allowed:
                reasons = "; ".join(str(gate) for gate in gates if not gate.passed)
                raise RegistryError(f"{name} version {plan.version} refused for {alias}: {reasons}")
            _set_alias(client, root, plan)
    return plan


def check_scores(scores: Mapping[str, float], params: Params) -> list[GateResult]:
    """Compare overall scores with ``register.floor`` and ``register.margin_over_control``.

    Parameters
    ----------
    scores : ``overall.<head>.balanced_accuracy`` and ``overall.control.balanced_accuracy``; an absent score fails
    """
    found = scores.get(f"overall.{params.served_head}.balanced_accuracy")
    control = scores.get("overall.control.balanced_accuracy")
    lead = None if found is None or control is None else found - control
    needs = params.register_
    return [
        GateResult("balanced accuracy", found, needs.floor, found is not None and found >= needs.floor),
        GateResult(
            "lead over shuffled labels",
            lead,
            needs.margin_over_control,
            lead is not None and lead >= needs.margin_over_control,
        ),
    ]


def _candidate(root: Path, ablation: str) -> tuple[FinishedRow, dict[str, float]]:
    """Return the lock entries and overall scores of a row whose bundle is up to date, in the lock, and can classify."""
    row = finished_row(read_lock(root), ablation)
    if row is None or not row.is_evaluated:
        raise RegistryError(f"{ablation}: no finished evaluate@{ablation} in dvc.lock; run spikeprint run")
    if changed := changed_params(root, row):
        keys = ", ".join(changed)
        raise RegistryError(f"{ablation}: params.yaml has changed since it was trained ({keys}); run spikeprint run")
    bundle, metrics = f"models/cvae/{ablation}", f"reports/metrics/{ablation}.json"
    for path in (bundle, metrics):
        if (found := dvc_md5(root / path)) != row.outs.get(path):
            state = "is not the one in dvc.lock" if found else "is missing"
            raise RegistryError(f"{path}: {state}; run dvc pull or spikeprint run")
    if not open_bundle(root / bundle).classes:
        raise NotRegistrable(f"{bundle}: trained without labels, it cannot classify; give a dataset labels")
    leaves = flatten({"overall": read_json(root / metrics)["overall"]})
    scores = {key: float(value) for key, value in leaves.items() if value is not None}
    if not scores:
        raise NotRegistrable(
            f"{metrics}: no dataset could be scored; two classes with enough labelled units are needed"
        )
    return row, scores


def _example(root: Path, params: Params) -> dict[str, np.ndarray]:
    """Two of the first units of the first dataset, those with the most modalities; only the first lines are read."""
    folder = root / DATA / next(iter(params.datasets))
    units = {}
    for name, modality in MODALITIES.items():
        if not (folder / modality.file).is_file():
            raise RegistryError(f"{folder / modality.file}: missing; run dvc pull or spikeprint run")
        lines = pd.read_csv(folder / modality.file, nrows=EXAMPLE_LINES, skip_blank_lines=False)
        units[name] = lines[list(modality.columns)].to_numpy(np.float64)
    n_present = np.sum([np.isfinite(values).all(axis=1) for values in units.values()], axis=0)
    rows = np.argsort(-n_present, kind="stable")[:2]
    return {name: values[rows] for name, values in units.items()}


def _check_staged(client: MlflowClient, version: ModelVersion) -> GateResult:
    held = holder(client, version.name, "staging") == str(version.version) or STAGED_TAG in version.tags
    return GateResult("has held @staging", "yes" if held else "no", "yes", held)


def _set_alias(client: MlflowClient, root: Path, plan: Promotion) -> None:
    """Point the alias to the version, tag it, add a line to the ledger; nothing when it points there already."""
    previous = holder(client, plan.name, plan.alias)
    if previous == plan.version:
        return
    version = client.get_model_version(plan.name, plan.version)
    evidence = json.dumps([asdict(gate) for gate in plan.gates])
    stamp = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": user_name()}
    for key, value in {**stamp, "gates": evidence}.items():
        client.set_model_version_tag(plan.name, plan.version, f"promoted.{plan.alias}.{key}", value)
    client.set_registered_model_alias(plan.name, plan.alias, plan.version)
    line = {
        **stamp,
        "model": plan.name,
        "version": plan.version,
        "alias": plan.alias,
        "previous": previous,
        "bundle_sha256": version.tags.get("bundle_sha256", ""),
        "data_md5": version.tags.get("data_md5", ""),
        "git_commit": version.tags.get("git.commit", ""),
        "gates": "; ".join(str(gate) for gate in plan.gates),
    }
    append_move(root, line)

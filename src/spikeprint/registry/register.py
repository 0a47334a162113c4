"""Registration. Enters: an evaluated ablation row. Leaves: a model version, which becomes staging where it may."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from ..core.config import Params
from ..core.errors import RegistryError
from ..core.files import read_json
from ..core.types import MODALITIES
from .bundle import bundle_digest, open_bundle
from .gates import GateResult
from .ledger import describe_loss, read_ledger
from .lock import DATA, FinishedRow, changed_params, dvc_md5, finished_row, flatten, read_lock
from .mutex import exclusive
from .promote import STAGED_TAG, Wish, make_plan, move_alias
from .runs import find_run
from .tracking import connect, store_errors, sync
from .versions import create_version, find_version, holder
from .whence import user_name

LOGGER = logging.getLogger(__name__)

EXAMPLE_LINES = 100


class NotRegistrable(RegistryError):
    """The pipeline ran as it should, but what it made cannot classify or has no scores."""


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
        shown = "; ".join(map(str, failed)) or f"all {len(self.gates)} gates hold"
        return f"{self.name} version {self.version} ({state}) {VERDICTS[self.is_staging, not failed]}: {shown}"


VERDICTS = {
    (True, True): "holds @staging",
    (True, False): "holds @staging from before, would not pass now",
    (False, True): "passes, but @staging was given to another version",
    (False, False): "refused for @staging",
}
"""(Holds ``@staging``, passes every gate of today) -> what to say."""


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
    sync(root)
    client = connect(root)
    with store_errors(f"registry, model {name}"):
        run = find_run(client, row.key)
        if run is None:
            raise RegistryError(f"{ablation}: its result files are not those of dvc.lock; run spikeprint run")
        with exclusive(client, name, user_name()):
            version, is_new = _find_or_create(client, root, params, (run, row), scores)
            plan = make_plan(client, version, params, Wish("staging", reason="registered"))
            # once only: who has given @staging back to an older version keeps it there
            if plan.is_allowed and STAGED_TAG not in version.tags:
                move_alias(client, root, plan)
        is_staging = holder(client, name, "staging") == plan.version
    return Registration(name, plan.version, run.info.run_id, is_new, is_staging, plan.gates)


def _find_or_create(
    client: MlflowClient, root: Path, params: Params, made: tuple[Run, FinishedRow], scores: dict[str, float]
) -> tuple[ModelVersion, bool]:
    """Return the version of a run's bundle and scores, and whether it was made now."""
    run, row = made
    name = params.register_.model_name
    folder = root / "models" / "cvae" / row.ablation
    identity = {
        "bundle_sha256": bundle_digest(folder),
        "metrics_md5": row.outs[f"reports/metrics/{row.ablation}.json"],
    }
    if (version := find_version(client, name, identity)) is not None:
        return version, False
    if not client.search_model_versions(f"name = '{name}'") and (loss := describe_loss(read_ledger(root, name))):
        LOGGER.warning("%s: %s", name, loss)
    tags = {
        **identity,
        "data_md5": row.data_md5,
        "dvc.stage_md5": row.key,
        "git.commit": run.data.tags.get("git.commit", "unknown"),
        **{key: str(value) for key, value in scores.items()},
    }
    return create_version(client, run, name, folder, _example(root, params), tags), True


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

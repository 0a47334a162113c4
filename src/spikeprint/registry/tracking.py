"""MLflow runs from ``dvc.lock``. Enters: a project whose pipeline has run. Leaves: one run per finished ablation row.

DVC keeps the record, MLflow shows it: a run can be rebuilt at any time, so a result that came from DVC's run cache,
from a temporary experiment or from a colleague's commit appears like one computed here.
"""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.validation import MAX_PARAMS_TAGS_PER_BATCH
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from ..core.config import Params
from ..core.errors import RegistryError
from ..core.files import read_json
from . import provenance
from .claims import KEY_TAG, clone_id, close_run, fail_unfinished, find_runs, open_run
from .lock import DATA, Entry, FinishedRow, dvc_md5, finished_row, flatten, hashes, read_lock
from .remote import check_store, explain, team_access, use_credentials
from .whence import tell_environment, tell_origin, user_name

LOGGER = logging.getLogger(__name__)

EXPERIMENT = "spikeprint"

TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's pages open on runs and charts rather than on traces of language models."""

VALIDATION = "reports/metrics/validation"


@dataclass(frozen=True)
class SyncedRun:
    """A run that a sync has made; ``parent_id`` is ``""`` where ``chains`` made it."""

    ablation: str
    run_id: str
    parent_id: str


@dataclass(frozen=True)
class Origin:
    """What a row was made from: its datasets as MLflow shows them, and all that ``provenance.trace`` finds."""

    datasets: list[DatasetInput]
    lineage: dict[str, Any]


def connect(root: Path) -> MlflowClient:
    """Return a client of the project's tracking store and model registry, created on the first call.

    ``MLFLOW_TRACKING_URI`` wins; else the server of the team that the clone has joined; else ``<root>/mlflow.db`` with
    artifacts in ``<root>/mlruns``. Safe from several processes at once: MLflow itself fails when two of them create the
    same database. A server that does not answer is given up within seconds.

    Raises
    ------
    RegistryError
        The store cannot be opened.
    """
    root = Path(root).resolve()
    uri = tracking_uri(root)
    use_credentials(team_access(root))
    check_store(uri)
    with store_errors(f"tracking store {uri}"), store_lock(root):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if client.get_experiment_by_name(EXPERIMENT) is None:
            local = (root / "mlruns").as_uri() if uri.startswith("sqlite:") else None
            try:
                client.create_experiment(EXPERIMENT, artifact_location=local, tags=TRAINING_VIEW)
            except MlflowException as error:  # another clone has just made it
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
    return client


def tracking_uri(root: Path) -> str:
    """Return where the tracking store of a project is, see ``connect``."""
    if access := team_access(root):
        return access.tracking_uri
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(root).resolve() / 'mlflow.db'}"


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn errors of MLflow, its database and its server into a RegistryError of one line that starts with ``what``."""
    try:
        yield
    except (MlflowException, RequestException) as error:
        raise RegistryError(f"{what}: {explain(str(error))}") from None
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())  # orig: the database's own words
        raise RegistryError(
            f"{what}: the database cannot be used ({reason}); restore it, or move it away: "
            "spikeprint run makes a new one and its runs again, aliases must be promoted again"
        ) from None


@contextmanager
def store_lock(root: Path) -> Iterator[None]:
    """Let one process at a time look something up in the store and add it when absent. Not re-entrant."""
    with open(Path(root) / ".mlflow.lock", "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sync(root: Path) -> list[SyncedRun]:
    """Log every finished ablation row that the store does not hold yet.

    The runs of one data state share a parent run; inside ``mlflow run`` the project's own run is the parent. A run that
    a sync of this clone left open is completed, or marked failed when nobody needs it any more. Rows whose result files
    are not those in ``dvc.lock`` are skipped with a warning.

    Returns
    -------
    The new runs, in the order of ``params.yaml``; empty when there was nothing new

    Raises
    ------
    RegistryError
        No ``dvc.lock``, or the store cannot be used.
    """
    root = Path(root).resolve()
    params = Params.load(root / "params.yaml")
    stages = read_lock(root)
    client = connect(root)
    # `mlflow run` sets this; left in place, the next run that MLflow starts would continue the project's run.
    project_run = os.environ.pop("MLFLOW_RUN_ID", None)
    new: list[SyncedRun] = []
    with store_errors("tracking store"), store_lock(root):
        for name in params.ablations:
            row = finished_row(stages, name)
            if row and find_run(client, row.key) is None and _is_as_recorded(root, row):
                parent_id = project_run or _pipeline_run(client, row.data_md5)
                origin = Origin(_dataset_inputs(root, row, stages), provenance.trace(root, row, stages))
                new += _log_run(client, root, row, params, origin, parent_id)
        fail_unfinished(client, clone_id(root))
        for parent_id in {run.parent_id for run in new}:
            _log_report(client, root, stages.get("report", {}), parent_id)
    return new


def find_run(client: MlflowClient, key: str) -> Run | None:
    """Return the complete run of the lock entries with this key, whatever its experiment, or None."""
    return next(iter(find_runs(client, {KEY_TAG: key})), None)


def _is_as_recorded(root: Path, row: FinishedRow) -> bool:
    """Compare the result files with their MD5 in the lock; say what is wrong with the first that differs."""
    for path, md5 in _results(row.outs).items():
        if (found := dvc_md5(root / path)) != md5:
            state = f"has MD5 {found}, dvc.lock records {md5}" if found else "is missing"
            LOGGER.warning("%s not logged: %s %s; run the pipeline again (spikeprint run)", row.ablation, path, state)
            return False
    return True


def _results(outs: Mapping[str, str]) -> dict[str, str]:
    """The outputs that are small files for people: metrics and tables behind plots."""
    return {path: md5 for path, md5 in outs.items() if path.startswith("reports/")}


def _validation(root: Path, row: FinishedRow) -> list[str]:
    """The validation reports that the row was trained after, if they are still those; none otherwise."""
    if dvc_md5(root / VALIDATION) != row.deps.get(VALIDATION):
        LOGGER.warning("%s: %s is not what it was trained after; its run has no validation", row.ablation, VALIDATION)
        return []
    return [f"{VALIDATION}/{name}.json" for name in row.params.get("datasets", {})]


def _pipeline_run(client: MlflowClient, data_md5: str) -> str:
    """Return the id of the parent run of a data state, made when absent."""
    if parents := find_runs(client, {"spikeprint.pipeline": data_md5}):
        return parents[0].info.run_id
    (experiment,) = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    tags = {"spikeprint.pipeline": data_md5, "mlflow.user": user_name()}
    run = client.create_run(experiment.experiment_id, run_name=f"pipeline-{data_md5[:8]}", tags=tags)
    client.set_terminated(run.info.run_id)
    first = find_runs(client, {"spikeprint.pipeline": data_md5})[0].info.run_id
    if first != run.info.run_id:  # two clones made one at the same time
        client.delete_run(run.info.run_id)
    return first


def _log_run(
    client: MlflowClient, root: Path, row: FinishedRow, params: Params, origin: Origin, parent_id: str
) -> list[SyncedRun]:
    """Log a row; the run, or nothing when a colleague has logged the same row meanwhile.

    What a sync that was cut short has logged is logged again, with the same time stamps: it is there once.
    """
    experiment_id = client.get_run(parent_id).info.experiment_id
    values = _recorded_params(params, row)
    tags = {
        "mlflow.parentRunId": parent_id,
        "mlflow.note.content": values["description"],
        **tell_origin(root),
        "spikeprint.ablation": row.ablation,
        **{f"dvc.dep.{path}": md5 for path, md5 in row.deps.items()},
        **{f"dvc.out.{path}": md5 for path, md5 in row.outs.items()},
        **{f"dvc.raw.{path}": one["md5"] for path, one in origin.lineage["raw"].items()},
    }
    logged = [Param(key, json.dumps(v) if isinstance(v, list) else str(v)) for key, v in flatten(values).items()]
    run = open_run(client, experiment_id, row.key, row.ablation, clone_id(root))
    run_id, now = run.info.run_id, run.info.start_time
    client.log_batch(run_id, _metrics(root, row, now), logged)
    listed = [RunTag(*tag) for tag in tags.items()]
    for start in range(0, len(listed), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, tags=listed[start : start + MAX_PARAMS_TAGS_PER_BATCH])
    client.log_inputs(run_id, origin.datasets)
    for path in [*_results(row.outs), *_validation(root, row)]:
        client.log_artifact(run_id, str(root / path), Path(path).parent.relative_to("reports").as_posix())
    client.log_dict(run_id, tell_environment(), "environment.json")
    client.log_dict(run_id, origin.lineage, provenance.FILE)
    return [SyncedRun(row.ablation, run_id, parent_id)] if close_run(client, run_id, row.key) else []


def _recorded_params(params: Params, row: FinishedRow) -> dict[str, Any]:
    """Seed, model and evaluation parameters of a row as they were when it ran: ``params.yaml`` may have moved on."""
    now = params.model_dump(by_alias=True)
    base = row.params.get("model", now["model"])
    overrides = row.params.get(f"ablations.{row.ablation}", now["ablations"][row.ablation])
    preset = row.params.get("presets", now["presets"]).get(overrides.get("preset"), {})
    rest = {key: row.params.get(key, now[key]) for key in ("seed", "evaluate")}
    return {"description": "", **base, **preset, **overrides, **rest}


def _metrics(root: Path, row: FinishedRow, now: int) -> list[Metric]:
    """Scores, when evaluated, and the losses of the final network, one point per epoch and part; one time stamp."""
    scores = f"reports/metrics/{row.ablation}.json"
    losses = f"reports/plots/losses/{row.ablation}.csv"
    metrics = []
    if scores in row.outs:
        leaves = flatten(read_json(root / scores)).items()
        numbers = [(re.sub(r"[^\w.-]", "_", key), value) for key, value in leaves if isinstance(value, (int, float))]
        metrics += [Metric(key, float(value), now, 0) for key, value in numbers]
    if losses in row.outs:
        table = pd.read_csv(root / losses)
        final = table[table["model"] == "final"]
        points = zip(final["split"] + "/" + final["part"], final["value"], final["epoch"], strict=True)
        metrics += [Metric(key, float(value), now, int(epoch)) for key, value, epoch in points]
    return metrics


def _dataset_inputs(root: Path, row: FinishedRow, stages: Mapping[str, Entry]) -> list[DatasetInput]:
    """The canonical datasets with DVC's MD5 as digest, unless the data changed since the row was trained."""
    names = list(row.params.get("datasets", {}))
    if any((root / DATA / name).is_dir() for name in names) and dvc_md5(root / DATA) != row.data_md5:
        LOGGER.warning("%s: %s is not what it was trained on; its run names no datasets", row.ablation, DATA)
        return []
    md5s = {name: hashes(stages.get(f"features@{name}", {}), "outs").get(f"{DATA}/{name}") for name in names}
    tags = [InputTag("mlflow.data.context", "training")]
    return [
        DatasetInput(Dataset(name, md5, "local", json.dumps({"uri": f"{DATA}/{name}"})), tags)
        for name, md5 in md5s.items()
        if md5
    ]


def _log_report(client: MlflowClient, root: Path, report: Entry, parent_id: str) -> None:
    """Add summary and figures, as far as they are those in the lock, to the parent run."""
    for path, md5 in hashes(report, "outs").items():
        if dvc_md5(root / path) == md5:
            log = client.log_artifacts if (root / path).is_dir() else client.log_artifact
            target = Path(path).name if (root / path).is_dir() else None
            log(parent_id, str(root / path), target)

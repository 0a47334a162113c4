"""MLflow runs from ``dvc.lock``. Enters: a project whose pipeline has run. Leaves: one run per finished row.

DVC keeps the record, MLflow shows it: a run can be rebuilt at any time, so a result that came from DVC's run cache,
from a temporary experiment or from a colleague's commit appears like one computed here.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from ..core.config import Params
from ..core.errors import RegistryError
from ..core.files import read_json
from . import provenance
from .chains import log_chains
from .claims import clone_id, fail_unfinished, find_runs
from .lock import DATA, Entry, FinishedRow, dvc_md5, finished_row, hashes, read_lock
from .remote import check_store, explain, team_access, tracking_uri, use_credentials
from .runs import Point, Record, SyncedRun, list_numbers, list_results, log_row, needs_run
from .whence import tell_environment, user_name

LOGGER = logging.getLogger(__name__)

EXPERIMENT = "spikeprint"

TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's pages open on runs and charts rather than on traces of language models."""

VALIDATION = "reports/metrics/validation"


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
    """Log every finished ablation row, and row of ``chains``, that the store does not hold yet.

    The runs of ablations on one data state share a parent run; inside ``mlflow run`` the project's own run is the
    parent. A run that a sync of this clone left open is completed, or marked failed when nobody needs it any more. Rows
    whose result files are not those in ``dvc.lock`` are skipped with a warning.

    Returns
    -------
    The new runs: ablations in the order of ``params.yaml``, then the others; empty when there was nothing new

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
            if row and needs_run(client, root, row):
                parent_id = project_run or _pipeline_run(client, row.data_md5)
                origin = Origin(_dataset_inputs(root, row, stages), provenance.trace(root, row, stages))
                new += _log_run(client, root, row, params, origin, parent_id)
        others = log_chains(client, root, stages, _experiment_id(client))
        fail_unfinished(client, clone_id(root))
        for parent_id in {run.parent_id for run in new}:
            _log_report(client, root, stages.get("report", {}), parent_id)
    return [*new, *others]


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
    tags = {"spikeprint.pipeline": data_md5, "mlflow.user": user_name()}
    run = client.create_run(_experiment_id(client), run_name=f"pipeline-{data_md5[:8]}", tags=tags)
    client.set_terminated(run.info.run_id)
    first = find_runs(client, {"spikeprint.pipeline": data_md5})[0].info.run_id
    if first != run.info.run_id:  # two clones made one at the same time
        client.delete_run(run.info.run_id)
    return first


def _experiment_id(client: MlflowClient) -> str:
    (experiment,) = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    return experiment.experiment_id


def _log_run(
    client: MlflowClient, root: Path, row: FinishedRow, params: Params, origin: Origin, parent_id: str
) -> list[SyncedRun]:
    """Log a row; the run, or nothing when a colleague has logged the same row meanwhile."""
    values = _recorded_params(params, row)
    tags = {
        "mlflow.parentRunId": parent_id,
        "mlflow.note.content": values["description"],
        "spikeprint.ablation": row.ablation,
        **{f"dvc.raw.{path}": one["md5"] for path, one in origin.lineage["raw"].items()},
    }
    texts = {"environment.json": tell_environment(), provenance.FILE: origin.lineage}
    files = [*list_results(row), *_validation(root, row)]
    record = Record(row.ablation, values, tags, _points(root, row), files, origin.datasets, texts)
    run_id = log_row(client, root, client.get_run(parent_id).info.experiment_id, row, record)
    return [SyncedRun(row.ablation, run_id, parent_id)] if run_id else []


def _recorded_params(params: Params, row: FinishedRow) -> dict[str, Any]:
    """Seed, model and evaluation parameters of a row as they were when it ran: ``params.yaml`` may have moved on."""
    now = params.model_dump(by_alias=True)
    base = row.params.get("model", now["model"])
    overrides = row.params.get(f"ablations.{row.ablation}", now["ablations"][row.ablation])
    preset = row.params.get("presets", now["presets"]).get(overrides.get("preset"), {})
    rest = {key: row.params.get(key, now[key]) for key in ("seed", "evaluate")}
    return {"description": "", **base, **preset, **overrides, **rest}


def _points(root: Path, row: FinishedRow) -> list[Point]:
    """Scores, when evaluated, and the losses of the final network, one point per epoch and part."""
    scores = f"reports/metrics/{row.ablation}.json"
    losses = f"reports/plots/losses/{row.ablation}.csv"
    points = list_numbers(read_json(root / scores)) if scores in row.outs else []
    if losses in row.outs:
        table = pd.read_csv(root / losses)
        final = table[table["model"] == "final"]
        curves = zip(final["split"] + "/" + final["part"], final["value"], final["epoch"], strict=True)
        points += [(key, float(value), int(epoch)) for key, value, epoch in curves]
    return points


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

"""Questions about where models come from. Enters: a version, a bundle, an answer, or a raw file. Leaves: what is known.

Forward: from anything that a version said to commit, data, parameters, environment, scores. Backward: from a raw file
to every run and version that saw it, whatever has become of the file since.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from ..core.config import Params
from ..core.errors import ConfigError, DataError, RegistryError
from ..core.files import read_json
from .bundle import bundle_digest
from .claims import KEY_TAG
from .evidence import Evidence, MissingEvidence
from .ledger import read_moves
from .lock import dvc_md5
from .provenance import FILE
from .tracking import connect, store_errors
from .versions import find_version, resolve_version

RAW_TAG = "dvc.raw."
VERSION_KEYS, DATA_KEYS = ("model_version",), ("data_md5", "data_hash")
"""Under which names a served model's answer holds its version and the hash of the data that it was trained on."""


def find_evidence(root: Path, what: str) -> Evidence:
    """Return the evidence of the version that ``what`` stands for.

    Parameters
    ----------
    what : ``models:/name@alias``, ``models:/name/3``, ``3``, a bundle's folder, or a JSON file with answers of the
        served model

    Raises
    ------
    RegistryError
        There is no such version; for answers also: the data are not those that the version was trained on.
    """
    root = Path(root).resolve()
    name = Params.load(root / "params.yaml").register_.model_name
    client = connect(root)
    with store_errors(f"model '{what}'"):
        return Evidence(client, _find_version(client, name, what))


def _find_version(client: MlflowClient, name: str, what: str) -> ModelVersion:
    if what.startswith("models:/"):
        return resolve_version(client, what)
    path = Path(what)
    if path.is_dir():
        digest = bundle_digest(path)
        found = find_version(client, name, {"bundle_sha256": digest})
        if found is None:
            raise RegistryError(
                f"{path}: no version of '{name}' has this bundle ({digest[:12]}); run spikeprint register"
            )
        return found
    if path.is_file():
        number, data = read_answer(path)
        version = resolve_version(client, number if number.startswith("models:/") else f"models:/{name}/{number}")
        trained_on = version.tags.get("data_md5", "")
        if data and data != trained_on:
            raise RegistryError(
                f"{path}: says version {number} and data {data}, but that version was trained on {trained_on}; it "
                "is of another registry"
            )
        return version
    if what.isdecimal():
        return resolve_version(client, f"models:/{name}/{what}")
    raise ConfigError(
        f"'{what}': no version, bundle folder, JSON or raw file; give models:/{name}@production, a number, or a path"
    )


def read_answer(path: Path) -> tuple[str, str]:
    """Return the version and the data's MD5 (``""`` = not told) that an answer of the served model holds.

    Raises
    ------
    DataError
        It is not JSON, or tells no version, or several.
    """
    told = {
        (str(_first(record, VERSION_KEYS)), str(_first(record, DATA_KEYS) or ""))
        for record in _records(read_json(path))
        if _first(record, VERSION_KEYS) is not None
    }
    if len(told) != 1:
        found = ", ".join(sorted(number for number, _ in told)) or "none"
        raise DataError(f"{path}: one '{VERSION_KEYS[0]}' is needed, found {found}; give an answer of one served model")
    return told.pop()


def _records(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _records(inner)


def _first(record: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((record[key] for key in keys if key in record), None)


def describe(root: Path, evidence: Evidence) -> dict[str, Any]:
    """Return all that is known of a version as JSON values; ``gaps`` says what is not.

    ``raw``, ``data`` and ``code`` hold the MD5 that DVC gave every input; ``params``, ``environment``, ``metrics`` and
    ``validation`` are as they were when its run was logged; ``history`` lists when it held which alias.
    """
    version, gaps = evidence.version, list[str]()
    with store_errors(f"model '{evidence.name}'"):
        tags = evidence.run.data.tags
        commit = tags.get("git.commit", "unknown")
        inputs = _known(lambda: evidence.lineage, gaps) or {}
        model = evidence.client.get_registered_model(version.name)
        gaps += inputs.get("gaps", [])
        if commit == "unknown":
            gaps.append("no git commit: it was not trained in a repository")
        return {
            "model": version.name,
            "version": evidence.number,
            "aliases": sorted(alias for alias, number in model.aliases.items() if str(number) == evidence.number),
            "registered_at_ms": version.creation_timestamp,
            "bundle_sha256": version.tags.get("bundle_sha256", ""),
            "run_id": evidence.run.info.run_id,
            "by": tags.get("mlflow.user", ""),
            "ablation": evidence.ablation,
            "commit": commit.removesuffix("-dirty"),
            "is_dirty": commit.endswith("-dirty"),
            "raw": inputs.get("raw", {}),
            "data": inputs.get("data", {}),
            "code": inputs.get("code", {}),
            "params": evidence.run.data.params,
            "environment": _known(lambda: evidence.environment, gaps),
            "metrics": _known(lambda: evidence.metrics, gaps),
            "validation": _known(lambda: evidence.validation, gaps),
            "history": [m for m in read_moves(model.tags, version.name) if m["version"] == evidence.number],
            "gaps": gaps,
        }


def _known(get: Callable[[], Any], gaps: list[str]) -> Any:
    """What ``get`` returns, or None and one gap more."""
    try:
        return get()
    except MissingEvidence as error:
        gaps.append(str(error))
        return None


def find_users(root: Path, path: Path) -> list[dict[str, Any]]:
    """Return every run, and its versions, that saw a raw file or folder, newest first.

    A run saw it when the raw data that it came from lay there, or had the content that lies there now.

    Returns
    -------
    Rows with ``run_id, ablation, versions`` (number -> aliases), ``logged_at_ms, path, md5`` (then), ``state``:
    ``same`` content as now, ``changed`` since, ``gone`` now, or ``unknown`` (the list of files was not kept)

    Raises
    ------
    ConfigError
        The path lies outside the project.
    """
    root = Path(root).resolve()
    asked = Path(path).absolute()
    if not asked.is_relative_to(root):
        raise ConfigError(f"{path}: outside the project {root}; give a path below data/raw")
    wanted, now = asked.relative_to(root).as_posix(), dvc_md5(asked)
    client = connect(root)
    with store_errors("tracking store"):
        versions = _versions_by_run(client)
        rows = [row for run in _runs(client) for row in _uses(client, run, wanted, now)]
    rows.sort(key=lambda row: -row["logged_at_ms"])
    return [row | {"versions": versions.get(row["run_id"], {})} for row in rows]


def _uses(client: MlflowClient, run: Run, wanted: str, now: str) -> Iterator[dict[str, Any]]:
    """How one run used a path: exactly it, something below it, or a folder that holds it."""
    raw = {k.removeprefix(RAW_TAG): md5 for k, md5 in run.data.tags.items() if k.startswith(RAW_TAG)}
    for path, md5 in raw.items():
        then = md5
        if wanted.startswith(f"{path}/"):
            files = _files(client, run, path)
            then = "" if files is None else files.get(wanted.removeprefix(f"{path}/"), "absent")
        elif not (path == wanted or path.startswith(f"{wanted}/") or (now and md5 == now)):
            continue
        if then == "absent":
            continue
        same = then == now or path.startswith(f"{wanted}/")  # a folder above is not compared as a whole
        state = "unknown" if not then else "gone" if not now else "same" if same else "changed"
        yield {
            "run_id": run.info.run_id,
            "ablation": run.data.tags.get("spikeprint.ablation", ""),
            "logged_at_ms": run.info.start_time,
            "commit": run.data.tags.get("git.commit", "unknown"),
            "path": path,
            "md5": then or md5,
            "state": state,
        }


def _files(client: MlflowClient, run: Run, path: str) -> dict[str, str] | None:
    """The files that a raw folder had when a run was logged, None where that was not kept."""
    if FILE not in {file.path for file in client.list_artifacts(run.info.run_id)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return read_json(Path(client.download_artifacts(run.info.run_id, FILE, folder)))["raw"][path]["files"]


def _runs(client: MlflowClient) -> Iterator[Run]:
    """Every complete run, page by page."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    token: str | None = None
    while True:
        page = client.search_runs(experiments, f"tags.`{KEY_TAG}` != ''", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _versions_by_run(client: MlflowClient) -> dict[str, dict[str, list[str]]]:
    """Run -> version -> its aliases, as ``name/number``."""
    found: dict[str, dict[str, list[str]]] = {}
    token: str | None = None
    while True:
        page = client.search_model_versions(page_token=token)
        for version in page:
            aliases = client.get_registered_model(version.name).aliases
            held = sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))
            found.setdefault(str(version.run_id), {})[f"{version.name}/{version.version}"] = held
        token = page.token
        if not token:
            return found

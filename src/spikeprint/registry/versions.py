"""Versions in the model registry. Enters: a bundle and its run, or a ``models:/`` address. Leaves: versions, folders.

Everything goes through the client: MLflow's active run and tracking address, which are global, stay as they are.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path

import mlflow
import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModelOutput, Run
from mlflow.entities.model_registry import ModelVersion

from ..core.errors import RegistryError
from ..core.files import write_json
from . import serving
from .remote import tracking_uri
from .supervisor import Target
from .tracking import connect, store_errors

REQUIREMENTS = ("torch", "numpy", "pandas", "safetensors", "mlflow")
"""All that a served version needs."""

IDENTITY = ("bundle_sha256", "metrics_md5")
"""Tags that make a version the same as another."""


def create_version(
    client: MlflowClient, run: Run, name: str, bundle: Path, example: dict[str, np.ndarray], tags: dict[str, str]
) -> ModelVersion:
    """Save a bundle as a pyfunc model of ``run`` and register it as a new version of ``name``.

    Parameters
    ----------
    bundle : folder; its ``folds.safetensors`` stays behind, serving does not need it
    example : modality -> (n_units, length) float64, shown with the model
    tags : of the version; when a colleague has registered the same bundle with the same scores meanwhile, that version
        is returned and none added
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy, saved = Path(temporary) / "bundle", Path(temporary) / "model"
        shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("folds.safetensors", "__pycache__"))
        mlflow.pyfunc.save_model(
            saved,
            python_model=str(Path(serving.__file__)),
            artifacts={"bundle": str(copy)},
            signature=serving.SIGNATURE,
            input_example=example,
            # local versions (2.13.0+cpu) cannot be installed from an index
            pip_requirements=[f"{package}=={installed(package).partition('+')[0]}" for package in REQUIREMENTS],
        )
        model = client.create_logged_model(run.info.experiment_id, name="model", source_run_id=run.info.run_id)
        client.log_model_artifacts(model.model_id, str(saved))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
    if not client.search_registered_models(f"name = '{name}'"):
        try:
            client.create_registered_model(name, description="Cell type and embedding of a unit (spikeprint)")
        except MlflowException as error:  # another clone has just made it
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    with _as_default_store(client.tracking_uri):
        made = client.create_model_version(
            name, f"models:/{model.model_id}", run.info.run_id, tags, model_id=model.model_id
        )
    # the store counts versions, so of two that were made at once everybody takes the same for the first
    identity = {key: tags[key] for key in IDENTITY if key in tags}
    same = [
        version for version in _list_versions(client, name) if identity and identity.items() <= version.tags.items()
    ]
    if same and int(same[0].version) < int(made.version):
        client.delete_model_version(name, made.version)
        return same[0]
    _log_identity(client, made)
    return made


def _log_identity(client: MlflowClient, version: ModelVersion) -> None:
    """Tell the model its number, which it gets last of all, so that every answer names it."""
    with tempfile.TemporaryDirectory() as temporary:
        identity = {"model_version": str(version.version), "data_hash": version.tags.get("data_md5", "")}
        write_json(Path(temporary) / "artifacts" / serving.IDENTITY, identity)
        client.log_model_artifacts(str(version.source).removeprefix("models:/"), temporary)


def find_version(client: MlflowClient, name: str, tags: Mapping[str, str]) -> ModelVersion | None:
    """Return the newest version of ``name`` that carries all ``tags``, or None."""
    for version in reversed(_list_versions(client, name)):
        if tags.items() <= version.tags.items():
            return version
    return None


def newest_version(client: MlflowClient, name: str) -> ModelVersion:
    """Return the version of ``name`` with the largest number.

    Raises
    ------
    RegistryError
        Nothing is registered under the name.
    """
    found = client.search_model_versions(f"name = '{name}'", order_by=["version_number DESC"], max_results=1)
    if not found:
        raise RegistryError(f"model '{name}': nothing registered under this name; run spikeprint register")
    return client.get_model_version(name, str(found[0].version))


def resolve_version(client: MlflowClient, uri: str) -> ModelVersion:
    """Return the version behind ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.

    Raises
    ------
    RegistryError
        Model, alias or version does not exist; the message names those that do.
    """
    sign = "@" if "@" in uri else "/"
    name, _, wanted = uri.removeprefix("models:/").rpartition(sign)
    if not (uri.startswith("models:/") and name and wanted):
        raise RegistryError(f"model '{uri}': models:/<name>@<alias> or models:/<name>/<version> is needed")
    versions = {str(version.version): version for version in client.search_model_versions(f"name = '{name}'")}
    if not versions:
        raise RegistryError(f"model '{name}': nothing registered under this name; run spikeprint register")
    aliases = {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}
    number = aliases.get(wanted, "") if sign == "@" else wanted
    if number not in versions:
        known = ", ".join([*sorted(versions, key=int), *(f"@{alias} = {n}" for alias, n in sorted(aliases.items()))])
        if sign == "@":
            hint = f"spikeprint promote --to {wanted} puts one there"
            raise RegistryError(f"model '{name}': no version behind @{wanted}; there are {known}; {hint}")
        raise RegistryError(f"model '{name}': no version {wanted}; there are {known}")
    return client.get_model_version(name, number)


def holder(client: MlflowClient, name: str, alias: str) -> str:
    """Return the version that an alias points to, ``""`` when none."""
    return str(client.get_registered_model(name).aliases.get(alias, ""))


def fetch_bundle(root: Path, uri: str) -> Path:
    """Return the bundle folder of a registered version, downloaded when the store is remote.

    Raises
    ------
    RegistryError
        The version does not exist or its files are gone.
    """
    return fetch_model(root, uri, "/artifacts/bundle")


def fetch_model(root: Path, uri: str, part: str = "") -> Path:
    """Return the folder of a registered version as MLflow keeps it, or a ``part`` of it; like ``fetch_bundle``."""
    client = connect(root)
    with store_errors(f"model '{uri}'"):
        version = resolve_version(client, uri)
        location = client.get_logged_model(str(version.source).removeprefix("models:/")).artifact_location
        return Path(mlflow.artifacts.download_artifacts(f"{location}{part}", tracking_uri=tracking_uri(root)))


class Follower:
    """Finds the version behind an address again and again, as promotions move it.

    Parameters
    ----------
    root : the project
    uri : ``models:/<name>@<alias>`` or ``models:/<name>/<version>``
    """

    def __init__(self, root: Path, uri: str) -> None:
        self.root, self.uri = root, uri
        self.found = ""

    def resolve(self) -> ModelVersion:
        """Return the version of now.

        Raises
        ------
        RegistryError
            There is none, or the store does not answer.
        """
        with store_errors(f"model '{self.uri}'"):
            return resolve_version(connect(self.root), self.uri)

    def find(self) -> Target | None:
        """Return the version of now when it is another than the last time, else None. Raises like ``resolve``."""
        version = self.resolve()
        number = str(version.version)
        if number == self.found:
            return None
        card = {
            "model": version.name,
            "model_version": number,
            "data_hash": version.tags.get("data_md5", ""),
            "bundle_sha256": version.tags.get("bundle_sha256", ""),
            "mlflow": installed("mlflow"),
        }
        folder = fetch_model(self.root, f"models:/{version.name}/{number}")
        self.found = number
        return Target(folder, card)


def _list_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a model, oldest first."""
    found = client.search_model_versions(f"name = '{name}'")
    return sorted(found, key=lambda version: int(version.version))


@contextmanager
def _as_default_store(uri: str) -> Iterator[None]:
    """Point MLflow's global address at ``uri``: registering looks its model up there, whatever the client's own is."""
    before = mlflow.get_tracking_uri() if mlflow.tracking.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None forgets it

"""What is known of a registered version. Enters: a version. Leaves: its scores, predictions, bundle, signature.

Everything comes from the store, so a version that a colleague registered is judged like one's own. What is not there is
named with the file and the key that are missing.
"""

import io
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.models
import pandas as pd
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature

from ..core.errors import RegistryError
from ..core.files import read_json
from . import provenance
from .bundle import open_bundle
from .lock import flatten

PREDICTIONS = ["dataset", "unit_id", "cell_type", "fold", "predicted", "confidence", "model"]


class MissingEvidence(RegistryError):
    """A gate's number is not there; the message names the version, the file and the key."""


@dataclass(frozen=True)
class Evidence:
    """All that a store holds of one version; each part is fetched when asked for, once."""

    client: MlflowClient
    version: ModelVersion

    @property
    def number(self) -> str:
        """The version's number, as text."""
        return str(self.version.version)

    @cached_property
    def run(self) -> Run:
        """The run that the version belongs to."""
        if not self.version.run_id:
            raise MissingEvidence(f"{self.name}: belongs to no run; register it with spikeprint register")
        return self.client.get_run(self.version.run_id)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.version.name} version {self.number}"

    @cached_property
    def ablation(self) -> str:
        """The row of ``ablations`` that it is."""
        return self.run.data.tags.get("spikeprint.ablation", "")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of ``reports/metrics/<ablation>.json``."""
        return self._json(f"metrics/{self.ablation}.json")

    @cached_property
    def validation(self) -> dict[str, Any]:
        """Dataset -> content of its validation report, as it was when the model was trained."""
        files = self.client.list_artifacts(self.run.info.run_id, "metrics/validation")
        if not files:
            raise MissingEvidence(f"{self.name}: its run has no metrics/validation/; spikeprint run logs a new one")
        return {Path(file.path).stem: self._json(file.path) for file in files}

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """What ``provenance.trace`` found when its run was logged."""
        return self._json(provenance.FILE)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Python, platform and packages of the process that logged its run."""
        return self._json("environment.json")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions: ``dataset, unit_id, cell_type, fold, predicted, confidence``, a row per unit."""
        path = f"plots/predictions/{self.ablation}.csv"
        texts = dict.fromkeys(["dataset", "unit_id", "cell_type", "predicted", "model", "prediction_set"], str)
        table = pd.read_csv(
            io.StringIO(self._text(path)), dtype=texts, keep_default_na=False, na_values={"confidence": [""]}
        )
        if absent := [column for column in PREDICTIONS if column not in table]:
            raise MissingEvidence(
                f"{self.name}: {path} has no column '{absent[0]}', of an older spikeprint; versions of now have it"
            )
        return table[table["model"] == "out_of_fold"].reset_index(drop=True)

    @cached_property
    def head(self) -> str:
        """The read-out that answers."""
        return str(self.score("head"))

    def facts(self) -> dict[str, str]:
        """Return a few lines for people on where the version comes from."""
        tags = self.version.tags
        return {
            "row": self.ablation,
            "commit": self.run.data.tags.get("git.commit", "unknown"),
            "data": tags.get("data_md5", ""),
            "bundle": tags.get("bundle_sha256", "")[:12],
            "run": self.run.info.run_id,
        }

    def score(self, key: str) -> Any:
        """Return one value of the metrics by its dotted key.

        Raises
        ------
        MissingEvidence
            There is none.
        """
        value = flatten(self.metrics).get(key)
        if value is None:
            raise MissingEvidence(f"{self.name}: metrics/{self.ablation}.json has no '{key}'")
        return value

    def each(self, key: str) -> dict[str, float]:
        """Return one value per scored dataset; ``key`` is the part below ``datasets.<name>.``."""
        names = self.metrics.get("datasets", {})
        if not names:
            raise MissingEvidence(f"{self.name}: metrics/{self.ablation}.json has no scored dataset under 'datasets'")
        return {name: float(self.score(f"datasets.{name}.{key}")) for name in names}

    def n_classes(self, dataset: str) -> int:
        """How many cell types of a dataset were scored."""
        classes = self.metrics["datasets"][dataset].get("classes")
        if not classes:
            raise MissingEvidence(f"{self.name}: metrics/{self.ablation}.json has no 'datasets.{dataset}.classes'")
        return len(classes)

    @cached_property
    def bundle(self) -> Path:
        """The served bundle, downloaded where the store is remote."""
        return self._fetch("artifacts/bundle")

    @cached_property
    def predictor(self) -> Any:
        """The bundle's predictor, opened as serving does.

        Raises
        ------
        IncompatibleBundle
            It is of another schema version, damaged, or does not load here.
        """
        return open_bundle(self.bundle)

    @cached_property
    def classes(self) -> list[str]:
        """The cell types that it can answer."""
        card = read_json(self.bundle / "bundle.json")  # of any schema version
        try:
            return list(card["model"]["head"]["classes"])
        except (KeyError, TypeError):
            raise MissingEvidence(f"{self.name}: bundle.json has no 'model.head.classes'") from None

    @cached_property
    def signature(self) -> ModelSignature:
        """What the served model accepts and answers."""
        info = mlflow.models.Model.load(str(self._fetch("MLmodel")))
        if info.signature is None:
            raise MissingEvidence(f"{self.name}: MLmodel has no 'signature'")
        return info.signature

    def _fetch(self, path: str) -> Path:
        """A file or folder of the logged model, downloaded where the store is remote."""
        model = str(self.version.source).removeprefix("models:/")
        where = f"{self.client.get_logged_model(model).artifact_location}/{path}"
        try:
            return Path(mlflow.artifacts.download_artifacts(where, tracking_uri=self.client.tracking_uri))
        except (OSError, MlflowException) as error:
            reason = " ".join(str(error).split())
            raise RegistryError(f"{self.name}: its files cannot be fetched from {where} ({reason})") from None

    def _json(self, path: str) -> Any:
        return json.loads(self._text(path))

    def _text(self, path: str) -> str:
        """Content of a file of the run."""
        run_id = self.run.info.run_id
        listed = self.client.list_artifacts(run_id, str(Path(path).parent) if "/" in path else None)
        if path not in {file.path for file in listed}:
            raise MissingEvidence(f"{self.name}: its run {run_id} has no file {path}; spikeprint run logs a new one")
        with tempfile.TemporaryDirectory() as folder:
            found = self.client.download_artifacts(run_id, path, folder)
            return Path(found).read_text(encoding="utf-8")

"""Ask a served model. Enters: canonical raw modalities. Leaves: the same answers as the model's own predictor."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..core.errors import ModelError, RegistryError
from ..core.types import MODALITIES
from ..cvae.predictor import Prediction

BATCH = 256
"""Units per request: large enough to hide the round trip, small enough for any server's limit."""

TIMEOUT_S = 60.0

ORIGIN = ("dataset", "technology", "representation")
"""What a server can be told about where units come from: ``serving.ORIGIN``, without MLflow. That file runs alone."""


class RemotePredictor:
    """Stands in for a ``Predictor`` whose model is served by ``spikeprint serve`` or ``mlflow models serve``.

    Parameters
    ----------
    url : address of the server, e.g. ``http://127.0.0.1:5001``

    Attributes
    ----------
    vocabulary : condition -> words that the served model knows; empty where the server does not tell, as MLflow's own
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        probe = {name: np.ones((1, modality.length)) for name, modality in MODALITIES.items()}
        self.vocabulary: dict[str, list[str]] = {}
        (answer,) = self._ask(probe, {})
        self.classes = tuple(answer["probabilities"])
        self.n_latent = len(answer["embedding"])
        self.vocabulary = self._fetch_vocabulary()

    def predict(self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str]) -> Prediction:
        """Return what ``Predictor.predict`` does, of the same parameters.

        Words of ``origin`` that are not in the vocabulary are left out, i.e. neutral, as they are to a ``Predictor``;
        where the server does not tell its vocabulary they are sent as given, and it refuses those it does not know.

        Raises
        ------
        RegistryError
            No server answers at the address.
        ModelError
            The server refuses the units or their origin; the message is the server's reason.
        """
        answers = [answer for batch in _batches(inputs) for answer in self._ask(batch, origin)]
        is_assured = bool(answers) and "novelty" in answers[0]
        sets = [[name in a["prediction_set"] for name in self.classes] for a in answers] if is_assured else None
        return Prediction(
            embedding=np.array([a["embedding"] for a in answers], np.float32).reshape(-1, self.n_latent),
            labels=np.array([a["label"] for a in answers], dtype=str),
            confidence=np.array([a["confidence"] for a in answers], dtype=float),
            probabilities=np.array(
                [[a["probabilities"][c] for c in self.classes] for a in answers], dtype=float
            ).reshape(-1, len(self.classes)),
            sets=np.array(sets, dtype=bool) if is_assured else None,
            novelty=np.array([a["novelty"] for a in answers], dtype=float) if is_assured else None,
        )

    def embed(self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str]) -> np.ndarray:
        """Return the latent means (n, n_latent) float32."""
        return self.predict(inputs, origin).embedding

    def _fetch_vocabulary(self) -> dict[str, list[str]]:
        try:
            with urllib.request.urlopen(f"{self.url}/version", timeout=TIMEOUT_S) as response:
                told = json.load(response)
        except (urllib.error.URLError, TimeoutError, ValueError):  # MLflow's own tells its version, in plain text
            return {}
        words = told.get("vocabulary", {}) if isinstance(told, dict) else {}
        return {name: list(words[name]) for name in ORIGIN if name in words}

    def _ask(self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str]) -> list[dict[str, Any]]:
        values = {
            name: [[None] * len(row) if np.isnan(row).all() else row.tolist() for row in x]
            for name, x in inputs.items()
        }
        told = {name: origin.get(name, "") for name in ORIGIN}
        told = {name: word if word in self.vocabulary.get(name, [word]) else "" for name, word in told.items()}
        body = json.dumps({"inputs": values, "params": told}).encode()
        request = urllib.request.Request(f"{self.url}/invocations", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return json.load(response)["predictions"]
        except urllib.error.HTTPError as error:
            raise ModelError(f"{self.url}: refused with {error.code}: {_reason(error.read())}") from None
        except (urllib.error.URLError, TimeoutError, json.JSONDecodeError, KeyError) as error:
            why = getattr(error, "reason", error)
            raise RegistryError(f"{self.url}: no served model answers there ({why}); see spikeprint serve") from None


def _batches(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    n_units = len(next(iter(inputs.values())))
    for start in range(0, n_units, BATCH):
        yield {name: np.asarray(x[start : start + BATCH], dtype=np.float64) for name, x in inputs.items()}


def _reason(body: bytes) -> str:
    """MLflow puts our sentence at the end of its message."""
    text = body.decode("utf-8", "replace")
    try:
        text = json.loads(text)["message"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return text[:200]
    return " ".join(text.rsplit("Error: ", 1)[-1].split())

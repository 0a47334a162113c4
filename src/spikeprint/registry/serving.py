"""The served model, as MLflow runs it. Enters: canonical raw modalities of units. Leaves: labels and embeddings.

MLflow stores a copy of this file with every model version (models-from-code) and runs it without spikeprint: it needs
mlflow, numpy, pandas, torch and what the bundle beside it holds.
"""

import json
import runpy
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

LENGTHS = {"waveform": 50, "isi": 100, "acg": 201}
"""Modality -> canonical number of values."""

LOWEST = {"waveform": -np.inf, "isi": 0.0, "acg": 0.0}
"""Modality -> least possible value: histograms count."""

ORIGIN = ("dataset", "technology", "representation")
"""Optional parameters of a request; empty = the model's neutral condition, a word it does not know is refused."""

LARGEST = 1e30
"""Larger numbers overflow in the network's single precision; no amplitude or count comes near."""

IDENTITY = "identity.json"
"""Beside the bundle: ``model_version`` and ``data_hash``, which every answer repeats; absent before registration."""

SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype("float64"), (-1, length), name) for name, length in LENGTHS.items()]),
    params=ParamSchema([ParamSpec(name, "string", "") for name in ORIGIN]),
)
"""float64 because JSON numbers arrive so; the first dimension counts units."""


class UnitModel(PythonModel):
    """Scores units with the predictor of the bundle ``context.artifacts["bundle"]``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the bundle with its own loader. One thread: small matrices are slower on several."""
        import torch  # here: who registers a version needs none

        torch.set_num_threads(1)
        bundle = Path(context.artifacts["bundle"])
        self.predictor = runpy.run_path(str(bundle / "loader.py"))["load_predictor"](bundle)
        # the very function the predictor calls: what it would treat as missing is what is refused here
        join_inputs = sys.modules[type(self.predictor).__module__].join_inputs
        self.normalise = partial(join_inputs, use_descriptors=False)
        identity = bundle.parent / IDENTITY
        told = json.loads(identity.read_text(encoding="utf-8")) if identity.is_file() else {}
        self.identity = {name: str(told.get(name, "")) for name in ("model_version", "data_hash")}

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify and embed units.

        Parameters
        ----------
        model_input : table with one array per cell, or a mapping of arrays (n_units, length), with the keys of
            ``LENGTHS``; a row of NaN is a missing modality
        params : see ``ORIGIN``

        Returns
        -------
        One row per unit: ``label``, ``confidence``, ``probabilities`` (class -> probability), ``embedding`` (array); of
        a model that knows them ``prediction_set`` (list of classes), ``novelty`` and ``is_novel`` (novelty above 1 =
        unlike all known types); ``model_version`` and ``data_hash`` (DVC's MD5 of the training data), empty where the
        model was never registered

        Raises
        ------
        MlflowException
            A row or word that cannot be used; becomes HTTP 400 with the reason at the end of the message.
        """
        inputs = {name: stack_rows(name, model_input[name]) for name in LENGTHS}
        columns = self.answer(inputs, {name: (params or {}).get(name, "") for name in ORIGIN})
        return pd.DataFrame(columns)

    def answer(self, inputs: Mapping[str, np.ndarray], origin: Mapping[str, str]) -> dict[str, list[Any]]:
        """Return the columns of ``predict`` for arrays (n_units, length) float64 and a word for each of ``ORIGIN``."""
        if problem := find_unknown(origin, self.predictor.vocabulary) or find_problem(inputs, self.normalise):
            raise MlflowException.invalid_parameter_value(problem)
        answer = self.predictor.predict(inputs, origin)
        classes = self.predictor.classes
        columns: dict[str, list[Any]] = {
            "label": answer.labels.tolist(),
            "confidence": answer.confidence.tolist(),
            "probabilities": [dict(zip(classes, row, strict=True)) for row in answer.probabilities.tolist()],
            "embedding": list(answer.embedding),
        }
        if answer.sets is not None and answer.novelty is not None:
            columns["prediction_set"] = [list(compress(classes, row)) for row in answer.sets.tolist()]
            columns |= {"novelty": answer.novelty.tolist(), "is_novel": (answer.novelty > 1).tolist()}
        return columns | {name: [word] * len(answer.labels) for name, word in self.identity.items()}


def stack_rows(name: str, rows: Any) -> np.ndarray:
    """Return the rows of one modality as (n_units, length) float64.

    Parameters
    ----------
    name : key of ``LENGTHS``
    rows : (n_units, length) numbers, or a column with one array per cell

    Raises
    ------
    MlflowException
        They are not that many numbers.
    """
    if not len(rows):
        return np.empty((0, LENGTHS[name]))
    try:
        values = rows if isinstance(rows, np.ndarray) and rows.ndim == 2 else np.stack([*rows])
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 2 or values.shape[1] != LENGTHS[name]:
        raise MlflowException.invalid_parameter_value(f"{name}: {LENGTHS[name]} numbers per unit are needed")
    return values


def find_unknown(origin: Mapping[str, str], vocabulary: Mapping[str, list[str]]) -> str | None:
    """Say in one line which word about the units' origin the model was not trained with, or return None.

    Parameters
    ----------
    origin : what of ``ORIGIN`` is told, ``""`` = neutral
    vocabulary : condition -> known words; what the model is not told about has no entry and makes no difference
    """
    for name, word in origin.items():
        if word and word not in (known := vocabulary.get(name, [word])):
            return f"unknown {name} '{word}'; known: {', '.join(known)}; leave it empty for the neutral condition"
    return None


def find_problem(
    inputs: Mapping[str, np.ndarray],
    normalise: Callable[[Mapping[str, np.ndarray]], tuple[dict[str, np.ndarray], np.ndarray]],
) -> str | None:
    """Say in one line why units cannot be scored, or return None.

    Parameters
    ----------
    inputs : modality name -> (n_units, length) float64
    normalise : the model's own; its second result, (n_units, n_modalities) bool, marks what carries information
    """
    n_units = {name: len(values) for name, values in inputs.items()}
    if not any(n_units.values()):
        return "no units given; at least one row is needed"
    if len(set(n_units.values())) > 1:
        return f"every input needs one row per unit, found {n_units}"
    for name, values in inputs.items():
        empty = np.isnan(values)
        faults = {
            "are partly NaN; a missing modality is NaN throughout": empty.any(axis=1) & ~empty.all(axis=1),
            f"hold infinite values or values beyond {LARGEST:.0e}": (np.abs(values) > LARGEST).any(axis=1),
            "hold negative values; a histogram counts from 0": (values < LOWEST[name]).any(axis=1),
        }
        for reason, rows in faults.items():
            if rows.any():
                return f"{name}: rows {_first(rows)} {reason}"
    _, present = normalise(inputs)
    nothing = present.sum(axis=1) == 0
    return f"rows {_first(nothing)} have no modality with content; at least one is needed" if nothing.any() else None


def _first(mask: np.ndarray) -> str:
    rows = np.flatnonzero(mask).tolist()
    return f"{rows[:5]}" + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


set_model(UnitModel())

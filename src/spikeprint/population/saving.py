"""An estimator in one file. Enters: a ``PopulationEmbedder``. Leaves: tensors and JSON (safetensors); and back."""

import ast
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import cebra
import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..core.errors import ModelError
from ..core.files import atomic_path
from .criterion import build_criterion
from .encoders import build_encoders
from .fitting import Network
from .labels import LabelSpec
from .prepare import InputTransform
from .settings import Settings

VERSION = 1
CARD = "spikeprint.population"
PLAIN = ("num_sessions_", "n_features_in_", "bin_widths_", "diagnosis_", "n_iter_", "layout_", "smoothing_")

EARLIER = {"smoothing_": 1}
"""What files say that were written before the attribute was there."""


def save_embedder(model: Any, path: Path) -> Path:
    """Write the estimator, fitted or not, and return ``path``."""
    # as Python writes it: JSON would make lists of tuples, which mean something else to masks
    settings = repr({field.name: _plain(getattr(model, field.name)) for field in fields(Settings)})
    card: dict[str, Any] = {"version": VERSION, "cebra": cebra.__version__, "settings": settings}
    tensors: dict[str, torch.Tensor] = {}
    if hasattr(model, "model_"):
        spec: LabelSpec = model.label_spec_
        card["fitted"] = {
            **{name: getattr(model, name) for name in PLAIN},
            "labels": {
                "kinds": spec.kinds,
                "widths": spec.widths,
                "periods": spec.periods,
                "classes": spec.classes.tolist(),
            },
            "transforms": [transform.kind for transform in model.input_transforms_],
        }
        tensors = {f"weights.{name}": value.detach().cpu().clone() for name, value in model.model_.state_dict().items()}
        tensors |= {f"history.{name}": torch.from_numpy(v.to_numpy(float).copy()) for name, v in model.history_.items()}
        tensors |= {
            "seen": torch.from_numpy(model.seen_),
            "scale": torch.from_numpy(np.asarray(spec.scale, dtype=float)),
        }
        for number, transform in enumerate(model.input_transforms_):
            for key in ("mean", "scale"):
                values = getattr(transform, key)
                if values is not None:
                    tensors[f"transform.{number}.{key}"] = torch.from_numpy(values)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={CARD: json.dumps(card)})
    return path


def load_embedder(cls: type, path: Path) -> Any:
    """Read an estimator.

    Raises
    ------
    ModelError
        The file is missing, damaged, of another kind or version.
    SettingError
        Its architecture is not registered.
    """
    try:
        with safe_open(path, "pt") as file:
            card = json.loads((file.metadata() or {}).get(CARD, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except FileNotFoundError:
        raise ModelError(f"{path}: missing; a file that PopulationEmbedder.save wrote is needed") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(
            f"{path}: not a saved PopulationEmbedder ({' '.join(str(error).split())[:150]}); what cebra saves is a "
            "pickle and is not read, fit again"
        ) from None
    if card is None:
        raise ModelError(f"{path}: safetensors, but not of a PopulationEmbedder")
    if card["version"] != VERSION:
        raise ModelError(f"{path}: version {card['version']} of the file; this code reads {VERSION}")
    model = cls(**ast.literal_eval(card["settings"]))
    if "fitted" in card:
        _restore(model, {**EARLIER, **card["fitted"]}, tensors)
    return model


def _restore(model: Any, fitted: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    units = fitted["n_features_in_"]
    n_units, is_multi = (units, True) if isinstance(units, list) else ([units], False)
    encoders = build_encoders(model, n_units, 0)
    criterion = build_criterion(model.distance, model.temperature_mode, model.temperature, model.min_temperature)
    network = Network(encoders, criterion)
    network.load_state_dict(_below(tensors, "weights."))
    model.begin(network.eval(), n_units, is_multi)
    for name in PLAIN:
        setattr(model, name, fitted[name])
    labels = fitted["labels"]
    kinds, widths, periods = (tuple(labels[name]) for name in ("kinds", "widths", "periods"))
    model.label_spec_ = LabelSpec(kinds, widths, periods, tensors["scale"].numpy(), np.array(labels["classes"]))
    model.input_transforms_ = [
        InputTransform(kind, **{key: value.numpy() for key, value in _below(tensors, f"transform.{number}.").items()})
        for number, kind in enumerate(fitted["transforms"])
    ]
    model.seen_ = tensors["seen"].numpy()
    table = pd.DataFrame({name: values.numpy() for name, values in _below(tensors, "history.").items()})
    model.set_history(table.sort_index(axis=1).astype({"step": int}))


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    """The value without NumPy's types, inside containers too."""
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value

"""The encoders of a model. Enters: settings, numbers of units. Leaves: one per session, trunks shared if asked."""

import copy
from typing import Any

from torch import nn

from ..core.errors import PopulationError
from .networks import build_encoder, find_input_modules
from .settings import Settings


def build_encoders(settings: Settings, n_units: list[int], seed: int) -> list[nn.Module]:
    """Return fresh encoders; with ``shared_trunk`` all but the layers that see units are the same."""
    shape = (settings.num_hidden_units, settings.output_dimension)
    encoders = [build_encoder(settings.model_architecture, n, *shape, seed + i) for i, n in enumerate(n_units)]
    if settings.shared_trunk:
        own = find_input_modules(settings.model_architecture, *shape)
        for encoder in encoders[1:]:
            _share(encoders[0], encoder, own)
    return encoders


def _share(source: nn.Module, target: nn.Module, own: set[str]) -> None:
    """Let every layer of ``target`` but those in ``own`` use the weights of ``source``."""
    layers = dict(source.named_modules())
    for name, module in target.named_modules():
        if name not in own:
            for key in module._parameters:
                module._parameters[key] = layers[name]._parameters[key]


def adapt_encoders(model: Any, n_units: int, session_id: int | None, seed: int) -> list[nn.Module]:
    """Return one encoder with a new input layer and the other layers of a fitted model, frozen.

    Raises
    ------
    PopulationError
        Several sessions with trunks of their own, and none named.
    """
    if model.num_sessions_ is not None and session_id is None and not model.shared_trunk:
        raise PopulationError(
            f"adapt: the model has {model.num_sessions_} sessions with layers of their own; name one with session_id"
        )
    trained = model.model_.encoders[model.check_session(session_id if session_id is not None else 0)]
    shape = (model.num_hidden_units, model.output_dimension)
    encoder = build_encoder(model.model_architecture, n_units, *shape, seed)
    own = find_input_modules(model.model_architecture, *shape)
    layers = dict(trained.named_modules())
    for name, module in encoder.named_modules():
        if name not in own:
            for key, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[key] = copy.deepcopy(layers[name]._parameters[key]).requires_grad_(False).cpu()
    return [encoder]

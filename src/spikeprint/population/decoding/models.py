"""The table of decoders. Enters: a name. Leaves: one with ``fit(trials, codes, n_classes, seed, val), predict_proba``.

All take trials (n, bins, units): counts, or an embedding.
"""

from collections.abc import Callable
from typing import Any

from ...core.errors import SettingError, suggest


def _classical(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from . import classical

        return getattr(classical, name)(**options)

    return make


def _network(name: str) -> Callable[[], Any]:
    def make() -> Any:
        from .trained import NetworkDecoder

        return NetworkDecoder(name)

    return make


MODELS: dict[str, Callable[[], Any]] = {
    "poisson_nb": _classical("PoissonBayes"),
    "knn": _classical("Neighbours"),
    "lda": _classical("ShrunkLDA"),
    "logreg": _classical("Logistic"),
    "l1": _classical("Logistic", l1=True),
    "knn_embed": _classical("EmbeddingNeighbours"),
    "attention_mlp": _network("attention_mlp"),
    "lstm": _network("lstm"),
    "transformer": _network("transformer"),
    "transformer_lstm": _network("transformer_lstm"),
    "st_gat": _network("st_gat"),
}
"""Name -> a fresh decoder. ``poisson_nb`` is the one that every other must beat."""


def make_decoder(name: str, task: str = "classify") -> Any:
    """Return a fresh decoder.

    Parameters
    ----------
    task : of ``tasks.TASKS``; all but ``classify`` are for networks (``networks.NETWORKS``), which then answer by
        ``predict``

    Raises
    ------
    SettingError
        No such model or task.
    """
    if task != "classify":
        from .networks import NETWORKS
        from .trained import NetworkDecoder

        if name not in NETWORKS:
            raise SettingError(
                f"model '{name}' for {task}: unknown{suggest(name, NETWORKS)}; known: {', '.join(NETWORKS)}"
            )
        return NetworkDecoder(name, task=task)
    if name not in MODELS:
        raise SettingError(f"model '{name}': unknown{suggest(name, MODELS)}; known: {', '.join(MODELS)}")
    return MODELS[name]()

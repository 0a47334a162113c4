"""cebra's names for what is here. Enters: a script written for cebra. Leaves: the same script, run by this package.

``from spikeprint.population import cebra`` in place of ``import cebra`` and of imports below it. What is not replaced
(``cebra.data.TensorDataset``, ``cebra.solver``, ...) is the package's own.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import cebra as theirs
import cebra.data.helper
import cebra.grid_search
import cebra.integrations.deeplabcut
import cebra.integrations.matplotlib
import cebra.integrations.sklearn.decoder
import cebra.integrations.sklearn.metrics
import numpy as np

from ..core.errors import PopulationError
from ..io.population.files import load_data, load_deeplabcut
from . import alignment, consistency, networks, plots, readout, scores, search
from .embedder import PopulationEmbedder as CEBRA  # the name that scripts use


class OrthogonalProcrustesAlignment(theirs.data.helper.OrthogonalProcrustesAlignment):
    """cebra's alignment of one embedding to another, by a k-d tree; all rows are used, ``subsample`` is not needed."""

    def fit(
        self, ref_data: Any, data: Any, ref_label: Any = None, label: Any = None
    ) -> "OrthogonalProcrustesAlignment":
        """Find the turn of ``data`` (n, d) onto ``ref_data`` (m, d); without labels row numbers are labels.

        Raises
        ------
        PopulationError
            One of the labels only, or lengths that do not fit.
        """
        base, part = (np.asarray(values, dtype=float) for values in (ref_data, data))
        base, part = (values.reshape(len(values), -1) for values in (base, part))
        if ref_label is None and label is None and len(base) == len(part):
            ref_label, label = np.arange(len(base)), np.arange(len(part))
        if ref_label is None or label is None:
            raise PopulationError("alignment: missing labels; pass those of both, or embeddings of as many rows")
        known, asked = (np.asarray(values, dtype=float).reshape(len(values), -1) for values in (ref_label, label))
        if (len(known), len(asked)) != (len(base), len(part)) or base.shape[1] != part.shape[1]:
            raise PopulationError(
                f"alignment: {base.shape} with {len(known)} labels, {part.shape} with {len(asked)}; a label for each "
                "row and the same number of features are needed"
            )
        self._transform = alignment.find_rotation(part, alignment.mean_of_nearest(base, known, asked, self.top_k))
        return self


def ensemble_embeddings(
    embeddings: Sequence[Any], labels: Sequence[Any] | None = None, post_norm: bool = False, n_jobs: int = 0
) -> np.ndarray:
    """Return the mean of aligned embeddings, see ``alignment.ensemble``; one process is fast enough for any number."""
    return alignment.ensemble(embeddings, labels, post_norm)


class _Overlay(ModuleType):
    """A module of cebra with some names of ours over its own."""

    def __init__(self, module: Any, **ours: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self._module = module
        self.__dict__.update(ours)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


KNNDecoder, L1LinearRegressor = readout.KNNDecoder, readout.L1LinearRegressor
_METRICS = {
    "infonce_loss": scores.infonce_loss,
    "goodness_of_fit_score": scores.goodness_of_fit_score,
    "goodness_of_fit_history": scores.goodness_of_fit_history,
    "infonce_to_goodness_of_fit": scores.infonce_to_goodness_of_fit,
    "consistency_score": consistency.consistency_score,
}
_PLOTS = {
    name: getattr(plots, name)
    for name in (
        "plot_embedding", "plot_embedding_interactive", "plot_loss", "plot_temperature", "plot_consistency",
        "plot_overview", "compare_models",
    )
}  # fmt: skip
_DECODERS = {"KNNDecoder": KNNDecoder, "L1LinearRegressor": L1LinearRegressor}

data = _Overlay(
    theirs.data,
    helper=_Overlay(
        theirs.data.helper,
        OrthogonalProcrustesAlignment=OrthogonalProcrustesAlignment,
        ensemble_embeddings=ensemble_embeddings,
    ),
)
models = _Overlay(theirs.models, register=networks.register_model, get_options=networks.model_options)
grid_search = _Overlay(theirs.grid_search, GridSearch=search.GridSearch)
sklearn = _Overlay(
    theirs.integrations.sklearn,
    cebra=_Overlay(theirs.integrations.sklearn.cebra, CEBRA=CEBRA),
    metrics=_Overlay(theirs.integrations.sklearn.metrics, **_METRICS),
    decoder=_Overlay(theirs.integrations.sklearn.decoder, **_DECODERS),
)
integrations = _Overlay(
    theirs.integrations,
    sklearn=sklearn,
    matplotlib=_Overlay(theirs.integrations.matplotlib, **_PLOTS),
    deeplabcut=_Overlay(theirs.integrations.deeplabcut, load_deeplabcut=load_deeplabcut),
)
globals().update(_PLOTS)

__all__ = ["CEBRA", *_DECODERS, *_PLOTS, "data", "grid_search", "load_data", "load_deeplabcut", "models", "sklearn"]


def __getattr__(name: str) -> Any:
    return getattr(theirs, name)

"""Recorded populations: contrastive embeddings and stimulus decoding on one data model.

Builds on the ``cebra`` package (Apache-2.0): its encoders, criteria and registry are used as they are.
"""

from typing import Any

_HOME = {
    "Population": "data",
    "PopulationEmbedder": "embedder",
    "KNNDecoder": "readout",
    "L1LinearRegressor": "readout",
    "CVDecoder": "readout",
    "GridSearch": "search",
    "infonce_loss": "scores",
    "goodness_of_fit_score": "scores",
    "goodness_of_fit_history": "scores",
    "infonce_to_goodness_of_fit": "scores",
    "consistency_score": "consistency",
    "align": "alignment",
    "ensemble": "alignment",
    "dimensionality": "dimension",
    "decode_score": "unseen",
    "shuffle_control": "control",
    "read_nwb": "binning",
    "bin_spikes": "binning",
    "bin_session": "binning",
    "bin_trials": "binning",
    "split_population": "splits",
    "forecast": "decoding.forecast",
    "retrieve": "decoding.retrieval",
    "decode_by_units": "decoding.sizes",
    "correlate_units": "correlations",
    "read_population": "folder",
    "write_population": "folder",
    "register_model": "networks",
    "model_options": "networks",
}
_PLOTS = (
    "plot_embedding", "plot_embedding_interactive", "plot_loss", "plot_temperature", "plot_consistency",
    "plot_overview", "plot_fit", "compare_models",
)  # fmt: skip
_HOME |= dict.fromkeys(_PLOTS, "plots")
_FILES = ("load_data", "load_deeplabcut")
__all__ = sorted([*_HOME, *_FILES])


def __getattr__(name: str) -> Any:
    import importlib

    if name in _FILES:
        return getattr(importlib.import_module("..io.population.files", __name__), name)
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)

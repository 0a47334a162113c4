"""Plots of models and embeddings. Enters: fitted models, embeddings, scores. Leaves: axes of matplotlib.

The plots are cebra's; a colour map is used for labels in time too, models are compared on the axes given.
"""

from collections.abc import Sequence
from typing import Any

import cebra
import numpy as np
from cebra.integrations import matplotlib as theirs

from ..core.errors import PopulationError
from .embedder import PopulationEmbedder

SMOOTHED = 50
"""The smooth curve of the loss is a mean over this part of the steps."""

plot_loss = theirs.plot_loss
plot_temperature = theirs.plot_temperature
plot_consistency = theirs.plot_consistency
plot_overview = theirs.plot_overview


def plot_fit(model: PopulationEmbedder, embedding: Any, labels: Any = "time", title: str = "Embedding") -> Any:
    """Return a figure of a fitted model: its loss in training and on held-out rows, its temperature, its embedding.

    Parameters
    ----------
    embedding : (n, d) of any recording; labels : as in ``plot_embedding``
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.3])
    losses, temperatures = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    table = model.history_
    losses.plot(table["step"], table["loss"], color="magenta", alpha=0.3, linewidth=0.6)
    smooth = table["loss"].rolling(max(1, len(table) // SMOOTHED), center=True, min_periods=1).mean()
    losses.plot(table["step"], smooth, color="magenta", label="in training")
    held = table.dropna(subset=["held_out_loss"])
    losses.plot(held["step"], held["held_out_loss"], "o--", color="black", markersize=3, label="held out")
    losses.set(ylabel="InfoNCE, nats")
    losses.legend()
    temperatures.plot(table["step"], table["temperature"], color="dodgerblue")
    temperatures.set(xlabel="step", ylabel="temperature")
    is_flat = np.asarray(embedding).shape[1] == 2
    axes = figure.add_subplot(grid[:, 1], projection=None if is_flat else "3d")
    plot_embedding(embedding, labels, "variance", ax=axes, title=title, markersize=2, alpha=0.6, cmap="viridis")
    return figure


def plot_embedding(embedding: Any, embedding_labels: Any = "grey", idx_order: Any = None, **options: Any) -> Any:
    """Plot an embedding in two or three dimensions and return the axes.

    Parameters
    ----------
    embedding : (n, d)
    embedding_labels : a colour, ``time``, or (n,) values; text is coloured by class
    idx_order : two or three dimensions, or ``variance``: the three that vary most
    options : of ``cebra.plot_embedding``, e.g. ``ax, cmap, markersize, alpha, title``
    """
    values = np.asarray(embedding)
    if isinstance(embedding_labels, str) and embedding_labels == "time":
        embedding_labels = np.arange(len(values))
    embedding_labels = _as_colours(embedding_labels)
    if isinstance(idx_order, str):
        if idx_order != "variance":
            raise PopulationError(f"idx_order = '{idx_order}': dimensions, or 'variance'")
        idx_order = tuple(np.argsort(-np.nanvar(values, axis=0))[: min(3, values.shape[1])].tolist())
    return theirs.plot_embedding(values, embedding_labels=embedding_labels, idx_order=idx_order, **options)


def plot_embedding_interactive(embedding: Any, **options: Any) -> Any:
    """Plot an embedding with plotly; see ``cebra.plot_embedding_interactive``.

    Raises
    ------
    PopulationError
        plotly is not installed.
    """
    if not cebra.is_plotly_available:
        raise PopulationError("an interactive plot needs plotly; pip install plotly")
    if "embedding_labels" in options:
        options["embedding_labels"] = _as_colours(options["embedding_labels"])
    return cebra.plot_embedding_interactive(np.asarray(embedding), **options)


def _as_colours(labels: Any) -> Any:
    """Text and bool as the number of their class; a colour and numbers as they are."""
    if isinstance(labels, str) or np.asarray(labels).dtype.kind not in "OUSb":
        return labels
    return np.unique(np.asarray(labels).astype(str), return_inverse=True)[1]


def compare_models(
    models: list[PopulationEmbedder], labels: Sequence[Any] | None = None, ax: Any = None, cmap: str = "cebra",
    **options: Any,
) -> Any:  # fmt: skip
    """Plot the losses of several models on one pair of axes and return them.

    Raises
    ------
    PopulationError
        No list of models, or labels of another number.
    """
    if not isinstance(models, list) or not all(hasattr(model, "state_dict_") for model in models):
        raise PopulationError("compare_models needs a list of fitted models")
    if labels is not None and len(labels) != len(models):
        raise PopulationError(f"compare_models: {len(models)} models, {len(labels)} labels; one for each")
    import matplotlib

    colours = matplotlib.colormaps[cmap](np.linspace(0, 1, len(models)))
    for number, model in enumerate(models):
        colour = options.get("color", colours[number])
        rest = {name: value for name, value in options.items() if name != "color"}
        ax = plot_loss(model, label=None if labels is None else labels[number], ax=ax, color=colour, **rest)
    return ax

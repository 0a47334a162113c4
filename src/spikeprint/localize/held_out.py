"""How well does a source explain contacts it was not fitted to? Enters: spikes. Leaves: an error that needs no truth.

A fifth of the contacts, never the peak's, is hidden; what is said of their size is compared with what they saw.
"""

import numpy as np
import torch

from ..core.spikes import Neighbourhoods, Source
from .batches import Reader
from .fit import FittedLocalizer, make_reader, thaw
from .kernels import fit_monopoles
from .monopole import REACH_UM

HIDDEN = 0.2
N_SPIKES = 2_000
_WINDOW_MS = 0.3


def score_held_out(source: Source, fitted: FittedLocalizer, seed: int = 0) -> dict[str, float]:
    """Return ``held_out_error`` of a production network, and ``held_out_error_monopole``, relative to the peak contact.

    Means of |said - seen| / seen at the peak contact, over hidden contacts; noise alone keeps both above 0.
    """
    rng = np.random.default_rng(seed)
    reader = make_reader(source, fitted.config["n_neighbours"])
    n = len(source.peaks)
    some = source.peaks.take(np.sort(rng.choice(n, min(N_SPIKES, n), replace=False)))
    snippets = np.concatenate([part for _, part in source.read(reader.around, some)])
    channels, around = some.channels, reader.around
    own = around.own[channels]
    hidden = (rng.random((len(channels), around.channels.shape[1])) < HIDDEN) & around.is_there[channels]
    hidden[np.arange(len(own)), own] = False
    seen = _trough(snippets, source.n_before, source.peaks.fs_hz)
    seen = seen / seen[np.arange(len(own)), own][:, None]
    network_says = _ask(fitted, reader, snippets, channels, hidden)
    monopole_says = _fit_visible(np.where(hidden | ~around.is_there[channels], 0.0, seen), around, channels, own)
    return {
        "held_out_error": float(np.abs(network_says - seen)[hidden].mean()),
        "held_out_error_monopole": float(np.abs(monopole_says - seen)[hidden].mean()),
    }


def _trough(snippets: np.ndarray, n_before: int, fs_hz: float) -> np.ndarray:
    """(n, k) depth of the trough within 0.3 ms of the peak's."""
    reach = round(_WINDOW_MS * fs_hz / 1000)
    return -snippets[:, :, max(n_before - reach, 0) : n_before + reach + 1].min(axis=2).astype(np.float64)


def _ask(
    fitted: FittedLocalizer, reader: Reader, snippets: np.ndarray, channels: np.ndarray, hidden: np.ndarray
) -> np.ndarray:
    """(n, k) relative sizes that a network tells from the contacts that are not hidden."""
    network = thaw(fitted)
    # the monopole that the network starts from must not have seen them either
    spikes = reader.read(network, np.where(hidden[:, :, None], 0.0, snippets).astype(np.float32), channels)
    with torch.no_grad():
        seen = spikes.seen & ~torch.from_numpy(hidden)
        said = network(spikes.parts, spikes.offsets, seen, spikes.own, spikes.noise, spikes.start)
    return said.sizes.numpy()


def _fit_visible(sizes: np.ndarray, around: Neighbourhoods, channels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(n, k) relative sizes of monopoles fitted to sizes above 0."""
    offsets = around.offsets_um[channels].astype(np.float64)
    start = np.tile([0.0, 0.0, 20.0], (len(sizes), 1))
    found, alpha = np.empty((len(sizes), 3)), np.empty(len(sizes))
    fit_monopoles(np.maximum(sizes, 0.0), offsets, start, REACH_UM, found, alpha)
    away = offsets - found[:, None, :2]
    return alpha[:, None] / np.sqrt((away**2).sum(axis=2) + found[:, 2:] ** 2)

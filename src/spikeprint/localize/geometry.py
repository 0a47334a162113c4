"""Contacts around a channel. Enters: contact positions of any probe. Leaves: the neighbourhood of each channel."""

import numpy as np

from ..core.errors import DataError
from ..core.spikes import Neighbourhoods

MIN_CHANNELS = 3
"""Fewer contacts do not tell two coordinates and a size."""


def find_neighbourhoods(contacts_um: np.ndarray, n_neighbours: int) -> Neighbourhoods:
    """Return the nearest contacts of each channel, itself included, ordered by y, then x.

    Equal distances are ordered by y, x and index, so every machine finds the same.

    Parameters
    ----------
    contacts_um : (n_channels, 2) float, where the channels are
    n_neighbours : contacts of a neighbourhood; a probe with fewer leaves the rest empty

    Raises
    ------
    DataError
        Fewer than three channels, positions that are not numbers, or contacts at one place.
    """
    contacts = np.asarray(contacts_um, dtype=np.float64)
    n_channels = len(contacts)
    if contacts.ndim != 2 or contacts.shape[1] != 2 or not np.isfinite(contacts).all():
        raise DataError(f"probe: contact positions {contacts.shape}; finite (n_channels, 2) in µm are needed")
    if n_channels < MIN_CHANNELS:
        raise DataError(f"probe: {n_channels} channels; at least {MIN_CHANNELS} are needed to localise a spike")
    if len(np.unique(contacts, axis=0)) < n_channels:
        raise DataError(f"probe: {n_channels} channels at {len(np.unique(contacts, axis=0))} places; check the probe")
    squared = np.square(contacts[:, None] - contacts[None]).sum(axis=2).round(6)
    k = min(n_neighbours, n_channels)
    channels = np.full((n_channels, n_neighbours), -1, dtype=np.int64)
    for channel in range(n_channels):
        nearest = np.lexsort((contacts[:, 0], contacts[:, 1], squared[channel]))[:k]
        channels[channel, :k] = nearest[np.lexsort((contacts[nearest, 0], contacts[nearest, 1]))]
    there = channels >= 0
    where = contacts[channels]
    offsets = np.where(there[:, :, None], where - contacts[:, None], 0.0)
    anchors = where[:, :k].mean(axis=1)
    return Neighbourhoods(channels, offsets.astype(np.float32), anchors.astype(np.float32), contacts.astype(np.float32))

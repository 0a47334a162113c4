"""Which hybrid spikes collide. Enters: hybrid and sorted spikes. Leaves: samples to the nearest on shared contacts."""

import numpy as np

from ..core.hybrid_plan import NO_COLLISION
from ..io.hybrid.sortings import Trains


def find_lags(
    segment: np.ndarray, sample: np.ndarray, channels: np.ndarray, trains: Trains, footprint: np.ndarray
) -> np.ndarray:
    """Return the signed lag of each spike of one hybrid unit to the nearest spike of a unit that shares a contact.

    Parameters
    ----------
    segment, sample : (n,) of the hybrid unit
    channels : (m,) its contacts
    footprint : (n_units, n_channels) bool, contacts of the sorted units

    Returns
    -------
    (n,) int32, sorted spike minus hybrid spike; ``NO_COLLISION`` where there is none
    """
    near = np.flatnonzero(footprint[:, channels].any(axis=1))
    lags = np.full(len(sample), NO_COLLISION, dtype=np.int32)
    if not len(near):
        return lags
    spikes = np.concatenate([trains.of_unit(int(unit)) for unit in near])
    for number in np.unique(segment):
        others = np.sort(trains.sample[spikes[trains.segment[spikes] == number]])
        mine = segment == number
        if not len(others):
            continue
        at = np.searchsorted(others, sample[mine])
        candidates = np.stack([others[np.maximum(at - 1, 0)], others[np.minimum(at, len(others) - 1)]])
        distance = candidates - sample[mine]
        best = np.abs(distance).argmin(axis=0)
        lags[mine] = np.clip(distance[best, np.arange(len(best))], -NO_COLLISION, NO_COLLISION - 1)
    return lags

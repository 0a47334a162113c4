"""The clock of all counts. Enters: spike times of any source. Leaves: int64 microseconds ("ticks").

1 ms is then exactly 1000 ticks whatever the sampling rate, and all that follows is integer arithmetic, identical on
every platform.
"""

import numpy as np

from ..core.types import MODALITIES

TICKS_PER_S = 1_000_000
TICKS_PER_MS = 1_000
N_ISI_BINS = MODALITIES["isi"].length
N_LAGS = MODALITIES["acg"].length // 2
WINDOW_TICKS = N_LAGS * TICKS_PER_MS + TICKS_PER_MS // 2
"""Pairs of spikes as far apart as this, or farther, are in no bin of a correlogram."""


def to_ticks(times: np.ndarray, rate_hz: float) -> np.ndarray:
    """Convert finite times in samples of ``rate_hz`` (1.0 for seconds) to int64 µs: ``round(1e6 * t / rate)``.

    >>> to_ticks(np.array([0, 1, 2, 30]), 30_000.0).tolist()
    [0, 33, 67, 1000]
    """
    return np.rint(TICKS_PER_S * np.asarray(times, dtype=np.float64) / rate_hz).astype(np.int64)

"""How fast a predictor answers. Enters: an opened bundle. Leaves: milliseconds, measured now in this process."""

import time
from typing import Any

import numpy as np
import torch

from ..core.types import MODALITIES

REPEATS = {1: 30, 256: 9}
"""Units per call -> how many timed calls; their median bears a neighbour's load on the machine."""


def measure_latency(predictor: Any, n_units: int, seed: int = 0) -> float:
    """Return the median wall time of one call with ``n_units`` made-up units, ms, on one thread as the server has.

    Parameters
    ----------
    predictor : of ``open_bundle``
    n_units : a key of ``REPEATS``
    """
    rng = np.random.default_rng(seed)
    units = {
        name: rng.poisson(5, (n_units, modality.length)).astype(np.float64) for name, modality in MODALITIES.items()
    }
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predictor.predict(units, {})
        times = []
        for _ in range(REPEATS[n_units]):
            started = time.perf_counter()
            predictor.predict(units, {})
            times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(n_threads)
    return float(np.median(times) * 1000)

"""A small recording."""

import numpy as np
import pytest

from spikeprint.synth.populations import Simulated, make_track


@pytest.fixture(scope="session")
def track() -> Simulated:
    """1,200 rows of 20 units."""
    return make_track(1200, 20, seed=0)


@pytest.fixture(scope="session")
def position(track: Simulated) -> np.ndarray:
    """(1200,) position of the animal."""
    return track.latent[:, 0].copy()


@pytest.fixture(scope="session")
def side(track: Simulated) -> np.ndarray:
    """(1200,) direction of the animal, 0 or 1."""
    return (track.latent[:, 1] > 0).astype(int)

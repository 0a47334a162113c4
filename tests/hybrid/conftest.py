"""The small recording and its plan, made once."""

import pytest

from hybrid_data import Toy, make_toy

NEAR = {"radius_um": 45.0}
"""Footprints small enough that the small probe has room for them elsewhere."""


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Three neurons on 24 contacts, 12 s."""
    return make_toy(tmp_path_factory.mktemp("toy") / "recording")

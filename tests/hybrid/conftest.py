"""The small recording and its plan, made once."""

import pytest

from hybrid_data import Toy, make_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Three neurons on 24 contacts, 12 s."""
    return make_toy(tmp_path_factory.mktemp("toy") / "recording")

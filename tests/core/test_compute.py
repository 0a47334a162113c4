"""Independent tasks: the same results in order, in this process or in others."""

import math
import os

import pytest

from spikeprint.core.compute import count_workers, map_tasks
from spikeprint.core.errors import ConfigError


@pytest.mark.parametrize("n_workers", [1, 2])
def test_results_come_in_the_order_of_the_items(n_workers: int) -> None:
    assert list(map_tasks(math.factorial, [5, 3, 4], n_workers, "math")) == [120, 6, 24]


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="not defined for negative"):
        list(map_tasks(math.factorial, [3, -1], 2, "math"))


def test_the_environment_decides_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEPRINT_WORKERS", "3")
    assert count_workers() == 3
    monkeypatch.delenv("SPIKEPRINT_WORKERS")
    assert 1 <= count_workers() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("value", ["0", "two", "-1", ""])
def test_a_bad_number_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEPRINT_WORKERS", value)
    with pytest.raises(ConfigError, match="a whole number above 0 is needed"):
        count_workers()

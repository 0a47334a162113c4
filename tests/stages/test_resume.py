"""A training that is cut short goes on where it was."""

from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.config import ModelParams
from spikeprint.core.resume import forget
from spikeprint.cvae.fit import fit_cvae
from spikeprint.cvae.units import Units
from spikeprint.stages._resume import train_once


@pytest.fixture
def short(model_params: ModelParams) -> ModelParams:
    return model_params.model_copy(update={"epochs": 1, "n_members": 2})


def refuse(units: Units, params: ModelParams, seed: int) -> None:
    raise AssertionError("trained again")


def test_a_finished_network_is_not_trained_again(tmp_path: Path, units: Units, short: ModelParams) -> None:
    first = train_once(tmp_path / "store", units, short, 0, fit_cvae)
    again = train_once(tmp_path / "store", units, short, 0, refuse)
    assert again.config == first.config
    assert again.curves == first.curves
    assert all(np.array_equal(again.arrays[k], first.arrays[k]) for k in first.arrays)


@pytest.mark.parametrize("change", ["seed", "labels", "params"])
def test_anything_that_decides_it_makes_another(change: str, tmp_path: Path, units: Units, short: ModelParams) -> None:
    train_once(tmp_path / "store", units, short, 0, fit_cvae)
    other = units.labels.copy()
    other[3] = ""
    changed = {
        "seed": (units, short, 1),
        "labels": (Units(units.raw, units.origin, other), short, 0),
        "params": (units, short.model_copy(update={"beta": 0.5}), 0),
    }[change]
    with pytest.raises(AssertionError, match="trained again"):
        train_once(tmp_path / "store", *changed, refuse)


def test_it_is_forgotten_when_the_outputs_are_written(tmp_path: Path, units: Units, short: ModelParams) -> None:
    train_once(tmp_path / "store", units, short, 0, fit_cvae)
    forget(tmp_path / "store")
    assert not (tmp_path / "store").exists()

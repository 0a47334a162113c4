"""The stage asks the network that never met a unit, and compares like with like."""

from dataclasses import replace

import numpy as np
import pytest

from spikeprint.core.config import ModelParams
from spikeprint.cvae.fit import fit_cvae
from spikeprint.cvae.generate import impute
from spikeprint.cvae.predictor import Predictor
from spikeprint.cvae.units import Units
from spikeprint.features.transforms import normalise
from spikeprint.stages._units import StudyUnits
from spikeprint.stages.generate import (
    Made,
    _shared_groups,
    make_up,
    score_interpolation,
    score_modalities,
    score_sampling,
    score_swaps,
)

TINY = {"n_members": 4, "n_hidden": 16, "epochs": 15}


@pytest.fixture(scope="module")
def study(units: Units) -> StudyUnits:
    folds = np.where(units.labels == "", -1, np.arange(len(units)) % 2)
    everyone = np.ones(len(units), dtype=bool)
    return StudyUnits(units, folds, everyone, everyone, np.arange(len(units)).astype(str))


@pytest.fixture(scope="module")
def networks(study: StudyUnits, model_params: ModelParams) -> dict[int, Predictor]:
    params = model_params.model_copy(update=TINY)
    return {fold: fit_cvae(study.units.take(study.folds != fold), params, fold).predictor() for fold in (0, 1)}


@pytest.fixture(scope="module")
def made(networks: dict[int, Predictor], study: StudyUnits) -> Made:
    return make_up(networks, study, seed=0)


def test_each_unit_is_met_by_the_network_of_its_fold(
    made: Made, networks: dict[int, Predictor], study: StudyUnits
) -> None:
    order = np.concatenate([np.flatnonzero(study.folds == fold) for fold in (0, 1)])
    np.testing.assert_array_equal(made.units.labels, study.units.labels[order])
    whole = {fold: impute(network, study.units.raw, study.units.origin, "acg") for fold, network in networks.items()}
    expected = [whole[study.folds[row]][row] for row in order]
    np.testing.assert_allclose(made.imputed["acg"], expected, rtol=1e-4, atol=1e-5)


def test_means_are_those_of_training_units(made: Made, study: StudyUnits) -> None:
    truth, present = normalise(study.units.raw)
    taught = (study.folds != 0) & present[:, 1]
    np.testing.assert_allclose(made.mean["isi"][0], truth["isi"][taught].mean(axis=0), rtol=1e-5)
    left = taught & (study.units.origin["dataset"] == "left")
    assert made.units.origin["dataset"][0] == "left"
    np.testing.assert_allclose(made.dataset_mean["isi"][0], truth["isi"][left].mean(axis=0), rtol=1e-5)


def test_imputation_is_scored_where_it_was_measured(made: Made) -> None:
    scores, frames = score_modalities(made)
    assert list(scores) == ["left", "right"]
    n_acg = sum(score["acg"]["n"] for score in scores.values())
    assert n_acg == int((made.present[:, 2] & (made.present.sum(axis=1) > 1)).sum())
    assert all(score["isi"]["explained"] > 0 for score in scores.values())
    assert {kind for frame in frames for kind in frame["kind"]} == {"real", "imputed"}


def test_swaps_are_scored_both_ways(made: Made, networks: dict[int, Predictor]) -> None:
    scores, _ = score_swaps(made, networks[0].vocabulary, 0)
    assert list(scores) == ["left -> right", "right -> left"]
    assert {score["n_groups"] for by in scores.values() for score in by.values()} == {3}
    assert score_swaps(made, {}, 0) == ({}, [])


def test_groups_are_the_shared_cell_types() -> None:
    labels = np.array(["PV"] * 12 + ["SOM"] * 8)
    here = np.arange(20) % 2 == 0
    (group,) = _shared_groups(labels, here, ~here)
    assert set(labels[group]) == {"PV"}
    (group,) = _shared_groups(np.full(20, ""), here, ~here)
    assert group.all()
    assert _shared_groups(labels, np.arange(20) < 3, np.arange(20) >= 3) == []


def test_samples_are_compared_over_what_most_units_have(made: Made) -> None:
    scores, _ = score_sampling(made)
    assert scores["modalities"] == ["waveform", "isi", "acg"]
    assert 0 <= scores["called_as_drawn"] <= 1
    without = replace(made, present=made.present & [True, True, False])
    assert score_sampling(without)[0]["modalities"] == ["waveform", "isi"]


def test_a_model_without_classes_has_no_way(networks: dict[int, Predictor], units: Units) -> None:
    assert score_interpolation(networks[0], units) == ({}, [])  # the fold networks have no head

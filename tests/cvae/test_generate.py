"""Made-up traces: what they depend on, what they must not depend on, and that they resemble the real ones."""

import numpy as np
import pytest

from spikeprint.core.config import ModelParams
from spikeprint.core.errors import ModelError
from spikeprint.cvae.fit import add_head, fit_cvae
from spikeprint.cvae.generate import (
    as_canonical,
    class_centre,
    class_probabilities,
    impute,
    interpolate,
    sample,
    swap_origin,
    take_words,
    training_mean,
)
from spikeprint.cvae.predictor import Predictor
from spikeprint.cvae.units import Units
from spikeprint.features.transforms import INPUT_LENGTHS, normalise

TINY = {"n_members": 4, "n_hidden": 16, "epochs": 20}
NEUTRAL: dict[str, str] = {}


@pytest.fixture(scope="module")
def tested(units: Units) -> np.ndarray:
    """One unit in four, which the model never meets."""
    return np.arange(len(units)) % 4 == 1


@pytest.fixture(scope="module")
def predictor(units: Units, tested: np.ndarray, model_params: ModelParams) -> Predictor:
    taught, params = units.take(~tested), model_params.model_copy(update=TINY)
    return add_head(fit_cvae(taught, params, 0), taught, params.head, 0).predictor()


@pytest.fixture(scope="module")
def unlabelled(units: Units, model_params: ModelParams) -> Predictor:
    blind = Units(units.raw, units.origin, np.full(len(units), ""))
    params = model_params.model_copy(update=TINY | {"classification_weight": 0.0, "epochs": 2, "head": "knn"})
    return fit_cvae(blind, params, 0).predictor()


@pytest.mark.parametrize("modality", INPUT_LENGTHS)
def test_imputed_traces_beat_the_training_mean(
    predictor: Predictor, units: Units, tested: np.ndarray, modality: str
) -> None:
    truth, present = normalise(units.raw)
    rows = tested & present.all(axis=1)
    chosen = units.take(rows)
    made = impute(predictor, chosen.raw, chosen.origin, modality)
    error = np.square(made - truth[modality][rows]).mean()
    assert error < 0.9 * np.square(training_mean(predictor)[modality] - truth[modality][rows]).mean()


def test_what_is_hidden_makes_no_difference(predictor: Predictor, units: Units) -> None:
    other = {**units.raw, "isi": np.roll(units.raw["isi"], 1, axis=0), "acg": np.roll(units.raw["acg"], 1, axis=0)}
    one, two = (impute(predictor, raw, units.origin, "isi", ["acg"]) for raw in (units.raw, other))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, impute(predictor, units.raw, units.origin, "isi"), equal_nan=True)


def test_nothing_to_judge_by_is_nan(predictor: Predictor, units: Units) -> None:
    made = impute(predictor, units.raw, units.origin, "isi", ["acg"])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(made).any(axis=1)), [5])  # the one without a waveform
    assert np.isnan(impute(predictor, {"isi": units.raw["isi"]}, NEUTRAL, "isi")).all()


def test_an_unknown_modality_is_named(predictor: Predictor, units: Units) -> None:
    with pytest.raises(ModelError, match="no modality 'waveforms'; did you mean 'waveform'"):
        impute(predictor, units.raw, units.origin, "waveforms")


def test_a_swap_changes_the_decoder_only(predictor: Predictor, units: Units) -> None:
    left = units.take(units.origin["dataset"] == "left")
    home = {"dataset": "left", "technology": "neuropixels"}
    own = predictor.decode(predictor.embed(left.raw, left.origin), left.origin)
    for name, x in swap_origin(predictor, left.raw, left.origin, home).items():
        np.testing.assert_array_equal(x, own[name])
    away = {"dataset": "right", "technology": "tetrode"}
    swapped = swap_origin(predictor, left.raw, left.origin, away)
    expected = predictor.decode(predictor.embed(left.raw, left.origin), away)
    for name, x in swapped.items():
        np.testing.assert_array_equal(x, expected[name])
    assert not np.allclose(swapped["isi"], own["isi"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"dataset": "rihgt"}, "did you mean 'right'.*known: left, right"),
        ({"species": "rat"}, "not told the species.*dataset, technology"),
    ],
)
def test_a_swap_without_effect_is_refused(
    predictor: Predictor, units: Units, target: dict[str, str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        swap_origin(predictor, units.raw, units.origin, target)


def test_a_way_runs_from_class_to_class(predictor: Predictor) -> None:
    start, end = class_centre(predictor, "PV"), class_centre(predictor, "pyramidal")
    path, traces = interpolate(predictor, start, end, n_steps=5)
    np.testing.assert_allclose(path[[0, 2, 4]], [start, (start + end) / 2, end], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traces["acg"][-1], predictor.decode(end[None])["acg"][0], rtol=1e-4, atol=1e-5)
    p = class_probabilities(predictor, path)
    assert [predictor.classes[i] for i in p[[0, -1]].argmax(axis=1)] == ["PV", "pyramidal"]


def test_centres_are_near_their_units(predictor: Predictor, units: Units, tested: np.ndarray) -> None:
    taught = units.take(~tested & (units.labels == "PV"))
    mean = predictor.embed(taught.raw, taught.origin).mean(axis=0)
    distances = {name: np.linalg.norm(class_centre(predictor, name) - mean) for name in predictor.classes}
    assert min(distances, key=lambda name: distances[name]) == "PV"


def test_samples_are_decoded_by_the_member_that_drew_them(predictor: Predictor) -> None:
    made = sample(predictor, 40, seed=3)
    assert sorted(np.bincount(made.member)) == [10, 10, 10, 10]
    embedding = np.zeros((40, 4, predictor.network.shape.n_latent), dtype=np.float32)
    alone = predictor.decode(embedding.reshape(40, -1), member=made.member)
    each = [predictor.decode(embedding.reshape(40, -1), member=np.full(40, m)) for m in range(4)]
    for row, m in enumerate(made.member):
        np.testing.assert_allclose(alone["isi"][row], each[m]["isi"][row], rtol=1e-5, atol=1e-6)
    assert not np.allclose(each[0]["isi"], each[1]["isi"])


def test_samples_are_classified_as_what_they_were_drawn(predictor: Predictor) -> None:
    made = sample(predictor, 90, seed=0)
    assert dict(zip(*np.unique(made.cell_type, return_counts=True), strict=True)) == {
        "PV": 30,
        "SOM": 30,
        "pyramidal": 30,
    }
    # three classes; what is decoded is smooth, and the descriptors of noise are not used to that
    assert (predictor.predict(as_canonical(made.traces)).labels == made.cell_type).mean() > 0.5
    assert set(sample(predictor, 5, 0, cell_type="SOM").cell_type) == {"SOM"}


def test_the_seed_decides_the_samples(predictor: Predictor) -> None:
    one, same, other = (sample(predictor, 10, seed, {"dataset": "left"}).traces["isi"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_samples_are_as_varied_as_reconstructions(predictor: Predictor, units: Units) -> None:
    decoded = predictor.decode(predictor.embed(units.raw, units.origin), units.origin)
    made = sample(predictor, len(units), 0, units.origin).traces
    for name in INPUT_LENGTHS:
        assert 0.4 < made[name].std(axis=0).mean() / decoded[name].std(axis=0).mean() < 2.5


def test_a_model_without_classes_samples_but_knows_no_way(unlabelled: Predictor) -> None:
    made = sample(unlabelled, 6, 0)
    assert set(made.cell_type) == {""}
    assert np.isfinite(made.traces["waveform"]).all()
    with pytest.raises(ModelError, match="without a read-out"):
        class_centre(unlabelled, "PV")
    with pytest.raises(ModelError, match="without labels"):
        class_probabilities(unlabelled, np.zeros((2, unlabelled.n_latent)))
    with pytest.raises(ModelError, match="known: none"):
        sample(unlabelled, 6, 0, cell_type="PV")


def test_an_unknown_class_gets_the_nearest(predictor: Predictor) -> None:
    with pytest.raises(ModelError, match="did you mean 'pyramidal'"):
        sample(predictor, 3, 0, cell_type="pyramidl")


def test_canonical_traces_come_back(units: Units) -> None:
    truth, present = normalise(units.raw)
    again, kept = normalise(as_canonical(truth))
    np.testing.assert_array_equal(kept, present)
    for name, x in truth.items():
        np.testing.assert_allclose(again[name], x, atol=1e-5)


def test_words_of_some_units() -> None:
    found = take_words({"dataset": np.array(["a", "b", "c"]), "species": "rat"}, np.array([True, False, True]))
    assert found["species"] == "rat"
    assert list(found["dataset"]) == ["a", "c"]
    assert take_words(None, np.array([True])) == {}

"""The trained model as users meet it: any subset of modalities, unknown origins, units alone or together."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
import torch

from spikeprint.core.config import ModelParams
from spikeprint.cvae.fit import add_head, fit_cvae
from spikeprint.cvae.predictor import ALONE, BATCH, Predictor, _rows
from spikeprint.cvae.units import Units
from spikeprint.features.transforms import normalise

SIZES = (1, 40, 700, 3, 64)


@pytest.fixture(scope="module")
def predictor(units: Units, model_params: ModelParams) -> Predictor:
    return add_head(fit_cvae(units, model_params, seed=0), units, "network", seed=0).predictor()


def test_a_unit_is_answered_alike_alone_and_in_company(predictor: Predictor, units: Units) -> None:
    together = predictor.predict(units.raw, units.origin)
    alone = predictor.predict({k: v[7:8] for k, v in units.raw.items()}, {k: v[7] for k, v in units.origin.items()})
    np.testing.assert_allclose(alone.embedding[0], together.embedding[7], atol=1e-5)
    assert alone.labels[0] == together.labels[7]


def test_many_units_are_answered_on_all_threads_and_each_as_alone(predictor: Predictor, units: Units) -> None:
    many = {name: np.resize(x, (2 * BATCH + 3, x.shape[1])) for name, x in units.raw.items()}
    n_threads = torch.get_num_threads()
    try:
        answers = []
        for n in (1, 3):
            torch.set_num_threads(n)
            answers.append(predictor.predict(many))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(n_threads)
    for name in ("embedding", "probabilities", "novelty", "labels"):
        np.testing.assert_array_equal(*(getattr(answer, name) for answer in answers))
    few = predictor.predict({name: x[-3:] for name, x in many.items()})
    np.testing.assert_allclose(few.embedding, answers[0].embedding[-3:], atol=1e-5)
    np.testing.assert_allclose(few.novelty, answers[0].novelty[-3:], rtol=1e-4)


def test_threads_that_ask_one_model_at_once_do_not_meet(predictor: Predictor, units: Units) -> None:
    parts = [{name: np.resize(x[i:], (n, x.shape[1])) for name, x in units.raw.items()} for i, n in enumerate(SIZES)]
    alone = [predictor.predict(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(predictor.predict, 5 * parts))
    for found, expected in zip(together, 5 * alone, strict=True):
        np.testing.assert_array_equal(found.embedding, expected.embedding)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        np.testing.assert_array_equal(found.novelty, expected.novelty)


def test_answers_stay_when_others_are_asked_for(predictor: Predictor, units: Units) -> None:
    latent = predictor.encode(units.raw, units.origin)
    kept = latent.copy()
    predictor.encode({name: x[::-1] for name, x in units.raw.items()}, {})
    np.testing.assert_array_equal(latent, kept)


@pytest.mark.parametrize("n", [0, 1, ALONE, ALONE + 1, 2 * BATCH, 2 * BATCH + 1, 50_000])
def test_batches_hold_every_unit_once_and_share_alike(n: int) -> None:
    batches = _rows(n)
    assert [i for rows in batches for i in range(rows.start, rows.stop)] == list(range(n))
    sizes = [rows.stop - rows.start for rows in batches]
    assert max(sizes) <= BATCH
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == 1 or len(sizes) % 2 == 0


def test_an_absent_modality_equals_a_row_of_nan(predictor: Predictor, units: Units) -> None:
    absent = {k: v for k, v in units.raw.items() if k != "acg"}
    nan = absent | {"acg": np.full_like(units.raw["acg"], np.nan)}
    np.testing.assert_array_equal(predictor.embed(absent), predictor.embed(nan))


def test_missing_is_not_the_same_as_zero_information(predictor: Predictor, units: Units) -> None:
    without = predictor.embed({"waveform": units.raw["waveform"]})
    assert not np.allclose(without, predictor.embed(units.raw))


def test_gain_and_recording_length_do_not_matter(predictor: Predictor, units: Units) -> None:
    scaled = {k: v * factor for (k, v), factor in zip(units.raw.items(), (3.0, 0.01, 7.0), strict=True)}
    np.testing.assert_allclose(predictor.embed(scaled), predictor.embed(units.raw), atol=1e-4)


def test_an_unknown_origin_is_the_neutral_one(predictor: Predictor, units: Units) -> None:
    unknown = predictor.embed(units.raw, {"dataset": "never seen", "technology": ""})
    np.testing.assert_array_equal(unknown, predictor.embed(units.raw))
    assert not np.allclose(unknown, predictor.embed(units.raw, units.origin))


def test_probabilities_follow_the_classes(predictor: Predictor, units: Units) -> None:
    found = predictor.predict(units.raw, units.origin)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert predictor.classes == ("PV", "SOM", "pyramidal")
    assert [predictor.classes[i] for i in found.probabilities.argmax(axis=1)] == list(found.labels)
    np.testing.assert_allclose(found.confidence, found.probabilities.max(axis=1))


def test_no_units_give_no_answers(predictor: Predictor) -> None:
    assert predictor.embed({"waveform": np.zeros((0, 50))}).shape == (0, predictor.n_latent)


def test_sets_hold_the_class_and_strangers_are_novel(predictor: Predictor, units: Units) -> None:
    known = units.labels != ""
    found = predictor.predict(units.raw, units.origin)
    own = np.searchsorted(predictor.classes, units.labels[known])
    assert found.sets[np.flatnonzero(known), own].mean() > 0.85
    assert (found.novelty[known] > 1).mean() < 0.2
    rng = np.random.default_rng(0)
    strange = {"waveform": rng.normal(size=(50, 50)), "isi": rng.poisson(3, (50, 100)).astype(float)}
    assert np.median(predictor.predict(strange).novelty) > 2 * np.median(found.novelty)


def test_decoding_gives_the_units_back(predictor: Predictor, units: Units) -> None:
    inputs, present = normalise(units.raw)
    decoded = predictor.decode(predictor.embed(units.raw, units.origin), units.origin)
    for i, (name, x) in enumerate(inputs.items()):
        rows = present[:, i]
        assert decoded[name].shape == x.shape
        error = np.square(decoded[name] - x)[rows].mean()
        assert error < 0.5 * np.square(x[rows] - x[rows].mean(axis=0)).mean(), name


def test_members_undo_flatten(predictor: Predictor, units: Units) -> None:
    latent = predictor.encode(units.raw, units.origin)
    np.testing.assert_array_equal(predictor.members(predictor.flatten(latent)), latent)


def test_a_model_without_labels_says_so(predictor: Predictor, units: Units) -> None:
    arrays = {f"network.{k}": v.numpy() for k, v in predictor.network.state_dict().items()}
    config = {
        "shape": asdict(predictor.network.shape),
        "vocabulary": predictor.vocabulary,
        "classes": predictor.network_classes,
        "use_descriptors": True,
        "head": None,
    }
    with pytest.raises(ValueError, match="trained without labels"):
        Predictor(config, arrays).predict(units.raw)

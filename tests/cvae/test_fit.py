"""Training: it learns, repeats for a seed, never sees withheld labels, and stops loudly."""

from dataclasses import replace

import numpy as np
import pytest

from spikeprint.core.config import ModelParams, Params
from spikeprint.core.errors import ModelError
from spikeprint.cvae.fit import FittedCVAE, add_head, fit_cvae
from spikeprint.cvae.units import Units
from spikeprint.evaluate.metrics import balanced_accuracy


@pytest.fixture(scope="module")
def fitted(units: Units, model_params: ModelParams) -> FittedCVAE:
    return add_head(fit_cvae(units.take(np.arange(180) >= 60), model_params, seed=0), units, "logistic", seed=0)


def test_every_loss_part_falls(fitted: FittedCVAE) -> None:
    for part in ("waveform", "isi", "acg", "classification", "total"):
        curve = [p.value for p in fitted.curves if p.part == part and p.split == "train"]
        assert np.mean(curve[-3:]) < 0.8 * curve[0], part


def test_units_that_were_not_in_training_are_classified(units: Units, model_params: ModelParams) -> None:
    train = units.take(np.arange(180) >= 60)
    model = add_head(fit_cvae(train, model_params, seed=0), train, "logistic", seed=0).predictor()
    test = units.take((np.arange(180) < 60) & (units.labels != ""))
    assert balanced_accuracy(test.labels, model.predict(test.raw, test.origin).labels) > 0.8


def test_the_same_seed_gives_the_same_weights(units: Units, model_params: ModelParams) -> None:
    short = model_params.model_copy(update={"epochs": 3})
    first, second = (fit_cvae(units, short, seed=5).arrays for _ in range(2))
    assert all(np.array_equal(first[k], second[k]) for k in first)
    other = fit_cvae(units, short, seed=6).arrays
    assert not np.array_equal(first["network.mu.weight"], other["network.mu.weight"])


def test_without_labels_the_model_embeds_and_has_no_head(units: Units, model_params: ModelParams) -> None:
    blind = replace(units, labels=np.full(len(units), ""))
    fitted = add_head(fit_cvae(blind, model_params.model_copy(update={"epochs": 2}), seed=1), blind, "knn", seed=0)
    assert fitted.config["head"] is None
    assert fitted.predictor().embed(units.raw).shape == (180, model_params.n_latent)


@pytest.mark.parametrize("name", ["production", "baseline", "with_source", "full_architecture"])
def test_every_ablation_row_trains(name: str, root, units: Units) -> None:
    row = Params.load(root / "params.yaml").ablation(name).model_copy(update={"epochs": 2, "n_hidden": 16})
    fitted = add_head(fit_cvae(units, row, seed=0), units, "knn", seed=0)
    prediction = fitted.predictor().predict(units.raw, units.origin)
    assert prediction.embedding.shape == (180, row.n_latent)
    assert np.isfinite(prediction.embedding).all()


def test_too_few_units_are_refused(units: Units, model_params: ModelParams) -> None:
    with pytest.raises(ModelError, match="3 units found, at least 8 needed"):
        fit_cvae(units.take(np.arange(3)), model_params, seed=0)


def test_units_without_any_modality_are_refused(units: Units, model_params: ModelParams) -> None:
    empty = replace(units, raw={k: np.full_like(v, np.nan) for k, v in units.raw.items()})
    with pytest.raises(ModelError, match="0 units with any modality"):
        fit_cvae(empty, model_params, seed=0)


def test_a_model_of_mixed_representations_is_told_which(units: Units, model_params: ModelParams) -> None:
    words = np.where(units.origin["dataset"] == "left", "1ms", "legacy right")
    mixed = replace(units, origin={**units.origin, "representation": words})
    short = model_params.model_copy(update={"epochs": 1, "conditions": []})
    assert fit_cvae(mixed, short, seed=0).config["vocabulary"] == {"representation": ["1ms", "legacy right"]}
    assert fit_cvae(units, short, seed=0).config["vocabulary"] == {}
    with_dataset = short.model_copy(update={"conditions": ["dataset"]})
    assert list(fit_cvae(mixed, with_dataset, seed=0).config["vocabulary"]) == ["dataset"]

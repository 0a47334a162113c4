"""Training: it learns, repeats for a seed, never sees withheld labels, and stops loudly."""

from dataclasses import replace

import numpy as np
import pytest

from spikeprint.core.config import ModelParams, Params
from spikeprint.core.errors import ModelError
from spikeprint.cvae.fit import FittedCVAE, add_head, assign_held, fit_cvae
from spikeprint.cvae.units import Units
from spikeprint.evaluate.metrics import balanced_accuracy

TRAIN = np.arange(180) >= 60


@pytest.fixture(scope="module")
def fitted(units: Units, model_params: ModelParams) -> FittedCVAE:
    return add_head(fit_cvae(units.take(TRAIN), model_params, seed=0), units.take(TRAIN), "network", seed=0)


def test_every_loss_part_falls(fitted: FittedCVAE) -> None:
    for part in ("waveform", "isi", "acg", "classification", "total"):
        curve = [p.value for p in fitted.curves if p.part == part and p.split == "train"]
        assert np.mean(curve[-3:]) < 0.8 * curve[0], part


@pytest.mark.parametrize("kind", ["network", "logistic", "knn"])
def test_units_that_were_not_in_training_are_classified(kind: str, fitted: FittedCVAE, units: Units) -> None:
    model = add_head(fitted, units.take(TRAIN), kind, seed=0).predictor()
    test = units.take(~TRAIN & (units.labels != ""))
    assert balanced_accuracy(test.labels, model.predict(test.raw, test.origin).labels) > 0.8


def test_the_same_seed_gives_the_same_weights(units: Units, model_params: ModelParams) -> None:
    short = model_params.model_copy(update={"epochs": 3})
    first, second = (fit_cvae(units, short, seed=5).arrays for _ in range(2))
    assert all(np.array_equal(first[k], second[k]) for k in first)
    other = fit_cvae(units, short, seed=6).arrays
    assert not np.array_equal(first["network.mu.weight"], other["network.mu.weight"])


def test_members_differ_and_none_listens_to_another(units: Units, model_params: ModelParams) -> None:
    short = model_params.model_copy(update={"epochs": 2})
    weight = fit_cvae(units, short, seed=5).arrays["network.mu.weight"]
    assert len(np.unique(weight[:, 0, 0])) == short.n_members


def test_without_labels_the_model_embeds_and_has_no_head(units: Units, model_params: ModelParams) -> None:
    blind = replace(units, labels=np.full(len(units), ""))
    fitted = add_head(fit_cvae(blind, model_params.model_copy(update={"epochs": 2}), seed=1), blind, "network", seed=0)
    assert fitted.config["head"] is None
    assert fitted.predictor().embed(units.raw).shape == (180, model_params.n_latent * model_params.n_members)


@pytest.mark.parametrize("optimiser", ["adamw", "schedulefree"])
@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_every_optimiser_and_checkpoint_learns(
    optimiser: str, checkpoint: str, units: Units, model_params: ModelParams
) -> None:
    used = model_params.model_copy(update={"optimiser": optimiser, "checkpoint": checkpoint, "epochs": 12})
    fitted = add_head(fit_cvae(units, used, seed=0), units, "network", seed=0)
    known = units.take(units.labels != "")
    assert balanced_accuracy(known.labels, fitted.predictor().predict(known.raw, known.origin).labels) > 0.7


def test_mixed_precision_trains(units: Units, model_params: ModelParams) -> None:
    used = model_params.model_copy(update={"precision": "bf16-mixed", "epochs": 2, "device": "cpu"})
    fitted = fit_cvae(units, used, seed=0)
    assert fitted.arrays["network.mu.weight"].dtype == np.float32
    assert np.isfinite(fitted.predictor().embed(units.raw)).all()


def test_phases_run_one_after_another(units: Units, model_params: ModelParams) -> None:
    used = model_params.model_copy(update={"pretrain_epochs": 3, "finetune_epochs": 2, "epochs": 4})
    curves = fit_cvae(units, used, seed=0).curves
    classified = {p.epoch for p in curves if p.part == "classification" and p.split == "train"}
    assert {p.epoch for p in curves if p.split == "train"} == set(range(9))
    assert classified == {5, 6, 7, 8}


def test_training_may_start_from_another_dataset(units: Units, model_params: ModelParams) -> None:
    left = units.take(units.origin["dataset"] == "left")
    right = units.take(units.origin["dataset"] == "right")
    long, short = model_params, model_params.model_copy(update={"epochs": 1, "learning_rate": 1e-6})
    start = fit_cvae(left, long, seed=0)
    warm, cold = fit_cvae(right, short, seed=1, start=start), fit_cvae(right, short, seed=1)
    warm_first, cold_first = (
        next(p.value for p in f.curves if p.part == "waveform" and p.split == "train") for f in (warm, cold)
    )
    assert warm_first < 0.85 * cold_first


def test_a_row_of_every_kind_trains(root, units: Units) -> None:
    params = Params.load(root / "params.yaml")
    short = {"epochs": 1, "pretrain_epochs": 1, "finetune_epochs": 1, "n_hidden": 8, "n_latent": 3}
    for name in (*params.presets, *params.ablations):
        row = params.ablation(name).model_copy(update={**short, "n_members": min(params.ablation(name).n_members, 2)})
        fitted = add_head(fit_cvae(units, row, seed=0), units, row.head, seed=0)
        prediction = fitted.predictor().predict(units.raw, units.origin)
        assert prediction.embedding.shape == (180, row.n_latent * row.n_members), name
        assert np.isfinite(prediction.probabilities).all(), name


def test_every_unit_is_held_back_as_often_as_any_other() -> None:
    labels = np.repeat(["a", "b", "c"], [40, 30, 5])
    held = assign_held(labels, np.arange(75), n_members=10, validation_frac=0.2, seed=3)
    np.testing.assert_array_equal(held.sum(axis=1), 2)
    for label in "abc":
        share = held[labels == label].mean(axis=0)
        assert share.min() >= 0.19
        assert share.max() <= 0.25


def test_too_few_units_are_refused(units: Units, model_params: ModelParams) -> None:
    with pytest.raises(ModelError, match="3 units found, at least 8 needed"):
        fit_cvae(units.take(np.arange(3)), model_params, seed=0)


def test_units_without_any_modality_are_refused(units: Units, model_params: ModelParams) -> None:
    empty = replace(units, raw={k: np.full_like(v, np.nan) for k, v in units.raw.items()})
    with pytest.raises(ModelError, match="0 units with any modality"):
        fit_cvae(empty, model_params, seed=0)


def test_a_condition_that_tells_the_class_is_refused(units: Units, model_params: ModelParams) -> None:
    layer = np.where(units.labels == "PV", "L4", "L5")
    leaky = replace(units, origin={**units.origin, "region": layer})
    told = model_params.model_copy(update={"conditions": ["region"], "epochs": 1})
    with pytest.raises(ModelError, match="condition 'region' and the cell type of dataset 'left' determine each other"):
        fit_cvae(leaky, told, seed=0)


def test_a_model_of_mixed_representations_is_told_which(units: Units, model_params: ModelParams) -> None:
    words = np.where(units.origin["dataset"] == "left", "1ms", "legacy right")
    mixed = replace(units, origin={**units.origin, "representation": words})
    short = model_params.model_copy(update={"epochs": 1, "conditions": []})
    assert fit_cvae(mixed, short, seed=0).config["vocabulary"] == {"representation": ["1ms", "legacy right"]}
    assert fit_cvae(units, short, seed=0).config["vocabulary"] == {}
    with_dataset = short.model_copy(update={"conditions": ["dataset"]})
    assert list(fit_cvae(mixed, with_dataset, seed=0).config["vocabulary"]) == ["dataset"]

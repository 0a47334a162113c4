"""Training of the reference: it learns in three phases, repeats for a seed, never sees what is withheld."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeprint.core.config import Params
from spikeprint.core.errors import ModelError
from spikeprint.cvae.reference import FittedReference, ReferenceModule, fit_reference, list_phases, make_shape
from spikeprint.cvae.resnet import ReferenceNetwork, ReferenceShape, published_lengths
from spikeprint.cvae.units import Units

PUBLISHED = Params.load(Path(__file__).resolve().parents[2] / "params.yaml").reference
TOY = PUBLISHED.model_copy(
    update={
        "modalities": ["waveform", "isi"],
        "base_width": 8,
        "n_latent": 6,
        "pretrain_epochs": 2,
        "finetune_epochs": 1,
        "epochs": 1,
        "batch_size": 32,
        "device": "cpu",
    }
)
BRIEF = TOY.model_copy(update={"modalities": ["isi"], "pretrain_epochs": 1, "batch_size": 64})
"""One modality, one step a phase."""


@pytest.fixture(scope="module")
def few(units: Units) -> Units:
    return units.take(np.arange(40))


@pytest.fixture(scope="module")
def brief(few: Units) -> FittedReference:
    return fit_reference(few, BRIEF, seed=0)


def embed(fitted: FittedReference, units: Units) -> np.ndarray:
    return fitted.embed(units.raw, units.origin["dataset"])


def test_the_shipped_section_is_the_published_model() -> None:
    shape = make_shape(PUBLISHED, n_sources=4, n_classes=5)
    assert shape == ReferenceShape()
    with torch.device("meta"):
        network = ReferenceNetwork(shape)
    assert sum(parameter.numel() for parameter in network.parameters()) == 24_327_332
    phases = list_phases(PUBLISHED)
    assert [(p.name, p.epochs, p.learning_rate, p.labelled_only, p.tells_class, p.augments) for p in phases] == [
        ("pretrain", 100, 1e-3, False, False, True),
        ("finetune", 20, 1e-4, True, False, True),
        ("supervised", 10, 1e-4, True, True, False),
    ]


def test_phases_and_modalities_can_be_left_out() -> None:
    few = PUBLISHED.model_copy(update={"pretrain_epochs": 0, "augmentation": "heavy", "modalities": ["acg", "isi"]})
    assert [(phase.name, phase.augments) for phase in list_phases(few)] == [("finetune", True), ("supervised", True)]
    assert make_shape(few, 1, 2).lengths == {"isi": 100, "acg": 100}


def test_the_loss_falls_through_the_phases(units: Units) -> None:
    curves = fit_reference(units.take(np.arange(120)), TOY, seed=0).curves
    assert list(curves) == ["pretrain", "finetune", "supervised"]
    for part in ("waveform", "isi", "total"):
        fall = [c.value for phase in curves.values() for c in phase if (c.part, c.split) == (part, "train")]
        assert len(fall) == 4
        assert fall[-1] < 0.8 * fall[0], part


def test_units_are_embedded_one_by_one(units: Units, few: Units, brief: FittedReference) -> None:
    assert brief.sources == ("left",)
    assert brief.classes == ("PV", "SOM", "pyramidal")
    embedding = embed(brief, units)
    assert embedding.shape == (180, 6)
    assert np.isfinite(embedding).all()
    np.testing.assert_allclose(embedding[:40], embed(brief, few), atol=1e-5)
    unknown = brief.embed(units.raw, np.full(180, "never seen"))
    np.testing.assert_allclose(embedding[110:], unknown[110:], atol=1e-5)  # 'right' was not in training either
    assert not np.allclose(embedding[:110], unknown[:110])
    assert embed(brief, units.take(np.arange(0))).shape == (0, 6)


def test_the_same_seed_gives_the_same_embedding(few: Units, brief: FittedReference) -> None:
    np.testing.assert_array_equal(embed(brief, few), embed(fit_reference(few, BRIEF, seed=0), few))
    assert not np.allclose(embed(brief, few), embed(fit_reference(few, BRIEF, seed=1), few))


def test_units_to_be_classified_enter_only_if_given_and_without_labels(
    units: Units, few: Units, brief: FittedReference
) -> None:
    test = units.take(np.arange(100, 140))
    renamed = replace(test, labels=np.full(40, "another"))
    given, blind = (fit_reference(few, BRIEF, 0, which) for which in (test, renamed))
    assert blind.classes == brief.classes
    assert blind.sources == ("left", "right")
    np.testing.assert_array_equal(embed(given, units), embed(blind, units))
    assert not np.allclose(embed(given, few), embed(brief, few))


def test_batch_normalisation_learns_in_every_phase(few: Units) -> None:
    """A phase ends in evaluation mode, from which the next has to be woken."""
    first = BRIEF.model_copy(update={"finetune_epochs": 0, "epochs": 0})
    frozen = BRIEF.model_copy(update={"epochs": 0, "finetune_learning_rate": 0.0})
    before, after = (fit_reference(few, params, seed=0).network.encoders["isi"][1] for params in (first, frozen))
    assert torch.equal(before.weight, after.weight)
    assert int(after.num_batches_tracked) == 2 * int(before.num_batches_tracked)


def test_the_objective_is_the_published_one() -> None:
    torch.manual_seed(0)
    module = ReferenceModule(ReferenceNetwork(ReferenceShape(base_width=8)).eval(), TOY, 1e-3)
    inputs = {name: torch.rand(5, n) for name, n in published_lengths().items()}
    codes = {"source": torch.zeros(5).long(), "cell_type": torch.arange(5)}
    parts = module.loss_parts(inputs, codes)
    mean, logvar = module.network.encode(inputs, codes)
    posterior = torch.distributions.Normal(mean, (logvar / 2).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1).mean()
    assert parts["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
    rest = sum(parts[name] for name in published_lengths())
    assert parts["total"].item() == pytest.approx((rest + kl).item(), rel=1e-5)  # consistency has no weight yet
    assert parts["consistency"] > 0


def test_too_few_labelled_units_are_refused(few: Units) -> None:
    unlabelled = replace(few, labels=np.where(np.arange(40) < 6, few.labels, ""))
    with pytest.raises(ModelError, match=r"reference, finetune: 5 units found, at least 8 needed"):
        fit_reference(unlabelled, BRIEF, seed=0)

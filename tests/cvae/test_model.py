"""The objective: held-back units teach nothing, what is missing costs nothing, parts are what they say."""

import numpy as np
import pytest
import torch

from spikeprint.core.model_params import ModelParams
from spikeprint.cvae.data import UnitTensors
from spikeprint.cvae.model import CVAE
from spikeprint.cvae.networks import CVAENetwork, NetworkShape

N = 12


def make_module(params: ModelParams, **changes: object) -> CVAE:
    shape = NetworkShape(
        lengths={"waveform": 6, "isi": 5, "acg": 4},
        n_members=2,
        n_latent=3,
        n_hidden=8,
        n_condition=2,
        condition_sizes={},
        n_classes=3,
        class_in_encoder=False,
        class_in_decoder=True,
        use_fusion=True,
        use_batch_norm=False,
        dropout=0.0,
        input_dropout=0.0,
        input_share=1.0,
    )
    torch.manual_seed(0)
    return CVAE(CVAENetwork(shape), params.model_copy(update=changes), torch.zeros(3), seed=0, n_steps=1)


def make_units(labels: list[int], held: list[int] | None = None) -> UnitTensors:
    """Twelve units; member 0 holds back those in ``held``, member 1 none."""
    generator = torch.Generator().manual_seed(1)
    inputs = {k: torch.randn(N, n, generator=generator) for k, n in {"waveform": 6, "isi": 5, "acg": 4}.items()}
    kept = torch.zeros(N, 2, dtype=torch.bool)
    kept[held or [], 0] = True
    return UnitTensors(inputs, torch.ones(N, 3, dtype=torch.bool), {"cell_type": torch.tensor(labels)}, kept)


def gradients(module: CVAE, units: UnitTensors) -> torch.Tensor:
    module.zero_grad()
    module.generator.manual_seed(0)
    module.loss_parts(units, training=True)["total"].backward()
    return module.network.encoders["isi"][0].weight.grad.clone()


LABELS = [1, 2, 3] * 4


def test_the_label_of_a_held_back_unit_teaches_that_member_nothing(model_params: ModelParams) -> None:
    module = make_module(model_params, contrastive_weight=0.5, consistency_weight=0.2)
    other = LABELS.copy()
    other[4] = 3
    first = gradients(module, make_units(LABELS, held=[4]))
    second = gradients(module, make_units(other, held=[4]))
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_the_traces_of_a_held_back_unit_teach_that_member_nothing(model_params: ModelParams) -> None:
    module, units = make_module(model_params), make_units(LABELS, held=[4])
    first = gradients(module, units)
    units.inputs["isi"][4] += 3
    second = gradients(module, units)
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_watching_looks_at_held_back_units_only(model_params: ModelParams) -> None:
    module, units = make_module(model_params), make_units(LABELS, held=[4])
    units.held[:, 1] = units.held[:, 0]
    before = module.loss_parts(units, training=False)["waveform"].item()
    units.inputs["waveform"][5] += 3
    assert module.loss_parts(units, training=False)["waveform"].item() == before
    units.inputs["waveform"][4] += 3
    assert module.loss_parts(units, training=False)["waveform"].item() != before


def test_a_missing_modality_is_neither_seen_nor_scored(model_params: ModelParams) -> None:
    module, units = make_module(model_params), make_units(LABELS)
    units.present[:, 1] = False
    module.generator.manual_seed(0)
    parts = module.loss_parts(units, training=True)
    assert parts["isi"].item() == 0
    units.inputs["isi"][:] = 1e3
    module.generator.manual_seed(0)
    torch.testing.assert_close(module.loss_parts(units, training=True)["total"], parts["total"])


@pytest.mark.parametrize("stranger", ["held back", "without a label", "without a shared modality"])
def test_a_mixture_takes_nothing_from_a_unit_that_must_not_teach(stranger: str, model_params: ModelParams) -> None:
    module = make_module(model_params, mixing=0.5, reconstruction_weight=0.0, beta=0.0, modality_dropout=0.0)
    labels = LABELS.copy()
    labels[4] = 0 if stranger == "without a label" else labels[4]
    units = make_units(labels, held=[4] if stranger == "held back" else None)
    if stranger == "without a shared modality":
        units.present[:, 1:] = False
        units.present[4] = torch.tensor([False, False, True])
    weight = module.network.encoders["waveform"][0].weight

    def learnt() -> torch.Tensor:
        module.zero_grad()
        module.generator.manual_seed(0)
        module.loss_parts(units, training=True)["total"].backward()
        return weight.grad[0].clone()

    first = learnt()
    units.inputs["waveform"][4] += 3
    torch.testing.assert_close(learnt(), first)
    units.inputs["waveform"][5] += 3
    assert not torch.allclose(learnt(), first)


def test_a_mixture_is_as_much_of_a_class_as_it_holds_of_its_unit(model_params: ModelParams) -> None:
    module = make_module(model_params)
    ones = torch.ones(2, N, 3, dtype=torch.bool)
    inputs = {name: module.network.for_members(x) for name, x in make_units(LABELS).inputs.items()}
    mixed, present, partner, share = module.corrupt.blend(inputs, ones, ones[:, :, 0], 0.5)
    assert present.all()
    assert sorted(partner.tolist()) == list(range(N))
    assert 0 <= share.min() < share.max() <= 0.5
    for name, x in inputs.items():
        torch.testing.assert_close(mixed[name], x * (1 - share[:, :, None]) + x[:, partner] * share[:, :, None])


@pytest.mark.parametrize("free_bits", [0.0, 0.5])
def test_free_bits_are_the_least_that_each_dimension_costs(free_bits: float, model_params: ModelParams) -> None:
    module = make_module(model_params, free_bits=free_bits)
    with torch.no_grad():
        for head in (module.network.mu, module.network.logvar):
            head.weight.zero_()  # a collapsed latent: mean 0, variance 1
    parts = module.loss_parts(make_units(LABELS), training=True)
    assert parts["kl"].item() == pytest.approx(2 * 3 * free_bits, abs=1e-5)


def test_unlabelled_units_are_reconstructed_and_not_classified(model_params: ModelParams) -> None:
    module = make_module(model_params)
    parts = module.loss_parts(make_units([0] * N), training=True)
    assert parts["classification"].item() == 0
    assert parts["waveform"].item() > 0


def test_the_contrast_is_that_of_its_formula(model_params: ModelParams) -> None:
    module = make_module(model_params, contrastive_weight=1.0, augmentation="none", modality_dropout=0.0)
    units = make_units(LABELS)
    found = module.loss_parts(units, training=True)["contrastive"].item()
    inputs = {
        name: module.network.for_members(x) for name, x in module.network.prepare(units.inputs, units.present).items()
    }
    present = module.network.for_members(units.present)
    mean = (
        module.network.encode(inputs, present, {"cell_type": torch.zeros(2, N, dtype=torch.int64)})[0].detach().numpy()
    )
    total = 0.0
    for z in mean / np.linalg.norm(mean, axis=2, keepdims=True):
        for i in range(N):
            others = [j for j in range(N) if j != i]
            log_sum = np.log(sum(np.exp(z[i] @ z[j] / module.params.contrastive_temperature) for j in others))
            same = [j for j in others if LABELS[j] == LABELS[i]]
            total += np.mean([log_sum - z[i] @ z[j] / module.params.contrastive_temperature for j in same]) / N
    assert found == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("n_steps", [*range(1, 25), 1000])
def test_the_schedule_takes_any_number_of_steps(n_steps: int, model_params: ModelParams) -> None:
    module = make_module(model_params)
    module.n_steps = n_steps
    (optimiser,), (plan,) = module.configure_optimizers()
    cycle = plan["scheduler"]
    rates = []
    for _ in range(n_steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if len(rates) < n_steps:
            cycle.step()
    assert np.isfinite(rates).all()
    assert 0 <= min(rates) <= max(rates) <= model_params.learning_rate * (1 + 1e-9)

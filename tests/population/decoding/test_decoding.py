"""Decoding of images: every model beats chance, tables keep their schema, test presentations stay the same."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from spikeprint.core.errors import PopulationError, SchemaError, SettingError
from spikeprint.population.binning import bin_trials
from spikeprint.population.data import Population
from spikeprint.population.decoding.kshot import Study, compare_models, plan, run_kshot, summarise
from spikeprint.population.decoding.models import MODELS, make_decoder
from spikeprint.population.decoding.networks import link_units
from spikeprint.population.decoding.scores import permutation_p, score_trials
from spikeprint.synth.populations import make_images
from spikeprint.validate.population import RESULTS, check_table


@pytest.fixture(scope="module")
def images() -> Population:
    return bin_trials(make_images(n_images=4, n_repeats=16, n_units=16, seed=2), 5)


def brief(name: str) -> Any:
    """A decoder that trains in seconds."""
    decoder = make_decoder(name)
    if hasattr(decoder, "epochs"):
        decoder.epochs = 60 if name == "st_gat" else 20
    if hasattr(decoder, "settings"):
        decoder.settings["max_iterations"] = 100
    return decoder


@pytest.mark.parametrize("name", MODELS)
def test_every_model_tells_images_apart_and_repeats_itself(name: str, images: Population) -> None:
    (task,) = plan(images, Study(models=(name,), shots=(0,), repeats=1))
    train, val = (task.trials[task.train], task.codes[task.train]), (task.trials[task.val], task.codes[task.val])
    found = brief(name).fit(*train, 4, 0, val).predict_proba(task.trials[task.test])
    assert found.shape == (len(task.test), 4)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == task.codes[task.test]).mean() > 0.45
    assert np.array_equal(brief(name).fit(*train, 4, 0, val).predict_proba(task.trials[task.test]), found)


def test_the_table_keeps_its_schema_and_its_test_presentations(images: Population) -> None:
    other = Population(**{**vars_of(images), "session_id": "second"})
    study = Study(models=("poisson_nb", "knn"), shots=(1, 3, 0), repeats=2)
    result = run_kshot([images, other], study)
    table = check_table(result.table, RESULTS, "kshot")
    assert len(table) == 2 * 2 * (2 * 2 + 1)
    assert table.groupby("session_id")["n_test"].nunique().tolist() == [1, 1]
    assert table["n_train"].tolist()[:4] == [4, 4, 12, 12]
    means = summarise(table).set_index(["session_id", "model", "k"])["top1"]
    assert means["images", "poisson_nb", 0] > means["images", "poisson_nb", 1]
    paired = compare_models(table, "poisson_nb", "knn", 0)
    assert paired["n_sessions"] == 2
    tasks = plan(images, study)
    assert not set(tasks[0].test) & set(np.concatenate([task.train for task in tasks]))


def vars_of(population: Population) -> dict:
    return {name: getattr(population, name) for name in Population.__dataclass_fields__}


def test_an_accuracy_in_percent_and_a_double_row_are_refused(images: Population) -> None:
    table = run_kshot([images], Study(models=("poisson_nb",), shots=(0,), repeats=1)).table
    with pytest.raises(SchemaError, match=r"top1: row 1: found 92\.69"):
        check_table(table.assign(top1=92.69), RESULTS, "kshot")
    with pytest.raises(SchemaError, match="kshot"):
        check_table(pd.concat([table, table], ignore_index=True), RESULTS, "kshot")


def test_what_cannot_be_decoded_is_told(images: Population) -> None:
    with pytest.raises(SettingError, match="did you mean 'lstm'"):
        make_decoder("lstmm")
    with pytest.raises(PopulationError, match="segments have no 'gabor'"):
        plan(images, Study(label="gabor"))
    with pytest.raises(PopulationError, match="k = 50 needs 50"):
        plan(images, Study(shots=(50,)))
    with pytest.raises(PopulationError, match="1 class"):
        plan(images.select("frame == 2"), Study())


def test_scores_know_ranks_ties_and_intervals() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.8, 0.1]])
    scores = score_trials(probabilities, np.array([0, 1, 2, 1]))
    assert scores["top1"] == 0.5
    assert scores["mean_rank"] == pytest.approx((1 + 2.5 + 2 + 1) / 4)
    assert scores["top1_low"] <= 0.5 <= scores["top1_high"]
    codes = np.tile(np.arange(3), 30)
    assert permutation_p(codes, codes, np.arange(90) // 30, n=200) < 0.02
    assert permutation_p(np.zeros(90, dtype=int), codes, np.arange(90) // 30, n=200) == 1


def test_the_graph_links_units_that_respond_alike_both_ways() -> None:
    torch.manual_seed(0)
    shared = torch.randn(50, 1, 1)
    trials = torch.cat([shared + 0.1 * torch.randn(50, 4, 12), torch.randn(50, 4, 12)], dim=2)
    links = link_units(trials)
    assert links.diagonal().all()
    assert torch.equal(links, links.T)
    assert links[:12, :12].float().mean() > 0.9

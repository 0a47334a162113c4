"""Scores, consistency, decoders, plots, search: cebra's answers where it is right, better ones where it is not."""

from pathlib import Path

import cebra
import numpy as np
import pandas as pd
import pytest
import torch

from population_models import QUICK, quick
from spikeprint.population import (
    CVDecoder,
    GridSearch,
    KNNDecoder,
    L1LinearRegressor,
    compare_models,
    consistency_score,
    decode_score,
    goodness_of_fit_history,
    goodness_of_fit_score,
    infonce_loss,
    infonce_to_goodness_of_fit,
    plot_consistency,
    plot_embedding,
    plot_loss,
    plot_overview,
    plot_temperature,
)  # fmt: skip
from spikeprint.population.consistency import symmetric_scores
from spikeprint.synth.populations import Simulated


def test_a_collapsed_model_of_two_sessions_scores_nothing(track: Simulated, position: np.ndarray) -> None:
    model = quick(max_iterations=2).fit([track.counts, track.counts], [position, position])
    for parameter in model.model_.encoders[0].parameters():
        torch.nn.init.zeros_(parameter)
    bits = goodness_of_fit_score(model, track.counts, position, session_id=0, num_batches=20)
    assert bits == pytest.approx(0, abs=1e-5)


def test_scores_agree_with_each_other_and_refuse_other_labels(track: Simulated, position: np.ndarray) -> None:
    model = quick(max_iterations=60).fit(track.counts, position)
    loss = infonce_loss(model, track.counts, position, random_state=0, num_batches=50)
    corrected = infonce_loss(
        model, track.counts, position.astype(np.float32), random_state=0, num_batches=50, correct_by_batchsize=True
    )
    assert loss - corrected == pytest.approx(np.log(64))
    assert model.score(track.counts, position) == pytest.approx(-corrected / np.log(2), abs=0.1)
    assert goodness_of_fit_history(model)[-10:].mean() > goodness_of_fit_history(model)[:10].mean()
    with pytest.raises(ValueError, match="found continuous of 2; the model was fitted on continuous of 1"):
        infonce_loss(model, track.counts, np.stack([position, position], axis=1))
    with pytest.raises(ValueError, match="one session at a time"):
        infonce_loss(model, [track.counts], [position])


def test_consistency_of_runs_is_that_of_cebra() -> None:
    rng = np.random.default_rng(0)
    runs = [rng.normal(size=(100, 3)) for _ in range(3)]
    ours, theirs = (
        consistency_score(runs, between="runs"),
        cebra.sklearn.metrics.consistency_score(runs, between="runs"),
    )
    assert np.allclose(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])
    both = symmetric_scores(*ours[:2])
    matrix = np.zeros((3, 3))
    matrix[tuple(ours[1].T)] = ours[0]
    assert np.allclose(both, ((matrix + matrix.T) / 2)[tuple(ours[1].T)])


def test_consistency_of_datasets_takes_classes_gaps_and_several_runs() -> None:
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 1, 600)
    base = np.stack([np.cos(3 * label), np.sin(3 * label)], axis=1)
    turned = [base @ np.linalg.qr(rng.normal(size=(2, 2)))[0] + rng.normal(0, 0.05, base.shape) for _ in range(4)]
    scores, pairs, ids = consistency_score(
        turned, between="datasets", labels=[label] * 4, dataset_ids=["a", "a", "b", "b"], num_discretization_bins=20
    )
    assert (len(scores), len(pairs), ids.tolist()) == (2, 2, ["a", "b"])
    assert scores.min() > 0.95
    assert plot_consistency(scores, pairs=pairs, datasets=ids) is not None
    classes = (label * 4).astype(int)
    by_class = consistency_score(turned[:2], between="datasets", labels=[classes, np.where(classes == 3, 2, classes)])
    assert by_class[0].min() > 0.9
    both = np.stack([label, label**2], axis=1)
    assert (
        consistency_score(turned[:2], between="datasets", labels=[both] * 2, num_discretization_bins=15)[0].min() > 0.9
    )


def test_consistency_on_other_rows_knows_that_noise_has_none() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(60, 20)) for _ in range(2)]
    assert consistency_score(noise, between="runs")[0].min() > 0.2
    assert consistency_score(noise, between="runs", cv=True)[0].max() < 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"embeddings": [np.ones((5, 2))], "between": "runs"}, "two or more"),
        ({}, "must be said"),
        ({"between": "days"}, "must be said"),
        ({"between": "runs", "labels": [1, 2]}, "takes no labels"),
        ({"between": "datasets"}, "found|none labels|labels; one for each"),
    ],
)
def test_bad_requests_of_consistency_are_told(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        consistency_score(**{"embeddings": [np.ones((5, 2)), np.ones((5, 2))], **options})


def test_classes_are_scored_by_accuracy() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, 400)
    embedding = np.eye(4)[classes] + rng.normal(0, 0.6, (400, 4))
    for decoder in (KNNDecoder(), L1LinearRegressor(alpha=0.1)):
        decoder.fit(embedding[:300], classes[:300])
        predicted = decoder.predict(embedding[300:])
        assert decoder.score(embedding[300:], classes[300:]) == (predicted == classes[300:]).mean() > 0.5
    smooth = embedding @ np.arange(4.0)
    assert KNNDecoder().fit(embedding[:300], smooth[:300]).score(embedding[300:], smooth[300:]) > 0.5


def test_a_cross_validated_decoder_knows_circles_and_refuses_rows_it_has_seen(
    track: Simulated, position: np.ndarray
) -> None:
    model = quick(max_iterations=60).fit(track.counts[:900], position[:900])
    embedding = model.transform(track.counts)
    decoder = CVDecoder(embedder=model).fit(embedding[:900], position[:900])
    assert "n_neighbors" in decoder.best_params_
    with pytest.raises(ValueError, match="was fitted on the labels"):
        decoder.score(embedding[:800], position[:800])
    assert decoder.score(embedding[:800], position[:800], allow_seen=True) > decoder.score(
        embedding[900:], position[900:]
    )
    angle = np.linspace(0, 20, 600) % (2 * np.pi)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert CVDecoder(period=2 * np.pi).fit(circle[::2], angle[::2]).median_error(circle, angle) < 0.1


def test_plots_return_their_axes(track: Simulated, position: np.ndarray) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    model = quick().fit(track.counts, position)
    embedding = model.transform(track.counts)
    axes = plot_embedding(embedding, embedding_labels="time", cmap="magma", idx_order="variance")
    assert axes.collections[0].get_cmap().name == "magma"
    for plot in (plot_loss, plot_temperature):
        assert len(plot(model).lines[0].get_ydata()) == 30
    _, mine = plt.subplots()
    assert compare_models([model, model], labels=["a", "b"], ax=mine) is mine
    assert len(mine.lines) == 2
    assert len(plot_overview(model, track.counts)[1]) == 3
    with pytest.raises(ValueError, match="2 models, 1 labels"):
        compare_models([model, model], labels=["a"])
    plt.close("all")


def test_a_grid_is_compared_by_bits_over_seeds_and_comes_back(tmp_path: Path, track: Simulated) -> None:
    shared = {name: value for name, value in QUICK.items() if name != "random_state"}
    params = {**shared, "time_offsets": [1, 5], "max_iterations": 10}
    models, combinations = GridSearch().generate_models(params)
    assert combinations == [{"time_offsets": 1}, {"time_offsets": 5}]
    assert models["time_offsets_5"].time_offsets == 5
    grid = GridSearch().fit_models({"a_b": track.counts}, params, tmp_path / "grid", seeds=(0, 1))
    table = grid.get_df_results()
    assert table[["time_offsets", "seed"]].to_numpy().tolist() == [[1, 0], [1, 1], [5, 0], [5, 1]]
    assert table["name"].iloc[1] == "time_offsets_1_seed_1_a_b"
    best = table.groupby("time_offsets")["held_out_bits"].mean().idxmax()
    model, name = grid.get_best_model(dataset_name="a_b")
    assert (model.time_offsets, name) == (best, f"time_offsets_{best}_seed_0_a_b")
    pd.testing.assert_frame_equal(GridSearch().get_df_results(models_dir=tmp_path / "grid"), table)
    assert GridSearch().get_best_model(models_dir=tmp_path / "grid")[1] == name
    back, varied = GridSearch.load(tmp_path / "grid")
    assert (list(back), varied) == (table["name"].tolist(), [{"time_offsets": v} for v in (1, 1, 5, 5)])
    assert len(grid.plot_loss_comparison(dataset_name="a_b").lines) == 4
    with pytest.raises(ValueError, match="no dataset 'c'"):
        grid.get_best_model(dataset_name="c")
    with pytest.raises(ValueError, match="nothing was fitted yet"):
        GridSearch().get_df_results()


def test_a_grid_in_two_processes_is_the_same(track: Simulated) -> None:
    shared = {name: value for name, value in QUICK.items() if name != "random_state"}
    params = {**shared, "time_offsets": [1, 5], "max_iterations": 3}
    alone, apart = (GridSearch().fit_models({"a": track.counts}, params, n_workers=n) for n in (1, 2))
    pd.testing.assert_frame_equal(alone.results_, apart.results_, rtol=1e-3)
    here, there = (grid.models_[1].transform(track.counts) for grid in (alone, apart))
    np.testing.assert_allclose(here, there, atol=1e-5)


def test_text_and_bool_are_classes_of_a_decoder_and_of_a_plot() -> None:
    import matplotlib

    matplotlib.use("Agg")
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 300)
    embedding = np.eye(3)[classes] + rng.normal(0, 0.2, (300, 3))
    embedding[::50] = np.nan  # rows between segments
    finite = np.isfinite(embedding).all(axis=1)
    for labels in (classes > 0, np.array(["left", "right", "rest"])[classes]):
        for decoder in (KNNDecoder(), L1LinearRegressor(alpha=0.1)):
            decoder.fit(embedding[finite], labels[finite])
            assert decoder.score(embedding[finite], labels[finite]) > 0.9
        assert CVDecoder().fit(embedding, labels).score(embedding, labels) > 0.9
        assert plot_embedding(embedding, embedding_labels=labels) is not None
    with pytest.raises(ValueError, match="same number of samples"):
        KNNDecoder().fit(embedding[finite], (classes > 0)[:-1])


def test_bits_of_a_loss_that_is_known(track: Simulated, position: np.ndarray) -> None:
    model = quick(max_iterations=20).fit(track.counts, position)
    loss = infonce_loss(model, track.counts, position, num_batches=20, random_state=0)
    bits = goodness_of_fit_score(model, track.counts, position, num_batches=20, random_state=0)
    assert infonce_to_goodness_of_fit(loss, model) == pytest.approx(bits)
    assert infonce_to_goodness_of_fit(np.log(128), batch_size=64, num_sessions=2) == pytest.approx(0)
    with pytest.raises(ValueError, match="the model, or the batch_size"):
        infonce_to_goodness_of_fit(loss)
    assert model.num_sessions is None


def test_every_block_is_decoded_from_the_others(track: Simulated, position: np.ndarray, side: np.ndarray) -> None:
    model = quick().fit(track.counts, position)
    embedding, angle = model.transform(track.counts), np.arange(550.0) * 0.37 % 6
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    table = decode_score(
        circle, angle, n_splits=3, decoder=CVDecoder(embedder=quick(output_dimension=2).fit(track.counts))
    )
    assert table["block"].tolist() == [0, 1, 2]
    assert (table["score"] > table["chance"] + 0.3).all()
    assert (table["error"] < table["chance_error"]).all()
    assert table["n_test"].sum() == 550
    classes = decode_score(embedding, np.where(side == 1, "out", "back"), valid=position > 0.1, n_splits=2)
    assert set(classes["measure"]) == {"accuracy"}
    with pytest.raises(ValueError, match="was fitted on the labels"):
        decode_score(embedding, position, decoder=CVDecoder(embedder=model))
    assert len(decode_score(embedding, position, decoder=CVDecoder(embedder=model), allow_seen=True)) == 5
    for arguments, said in (((embedding, position[1:]), "1199 labels"), ((embedding, position, 1), "2 blocks")):
        with pytest.raises(ValueError, match=said):
            decode_score(*arguments)
    with pytest.raises(ValueError, match="block 0 has 15 usable rows"):
        decode_score(embedding[:75], position[:75])


def test_rows_without_a_label_or_an_embedding_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 1, 400)
    embedding = np.stack([np.cos(3 * label), np.sin(3 * label)], axis=1)
    gaps, partly = embedding.copy(), np.where(label < 0.2, np.nan, label)
    gaps[::40] = np.nan
    assert consistency_score([gaps, embedding], between="runs")[0].min() > 0.99
    scores = consistency_score(
        [gaps, embedding], between="datasets", labels=[partly, label], num_discretization_bins=20
    )[0]
    assert scores.min() > 0.95

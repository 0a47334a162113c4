"""The steps of cebra's usage page (https://cebra.ai/docs/usage.html), its import changed and nothing else."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection

from spikeprint.population import cebra
from spikeprint.population.cebra import CEBRA

matplotlib.use("Agg")

STEPS = 5
"""In place of the thousands of the page."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page makes and reads."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("usage")
    arrays = {"neural": rng.normal(0, 1, (100, 3)), "new_neural": rng.normal(0, 1, (100, 4))}
    np.savez(folder / "neural_data", **arrays)
    columns = {f"continuous{i}": rng.normal(0, 1, 100) for i in (1, 2, 3)}
    pd.DataFrame({**columns, "discrete": rng.integers(0, 10, 100)}).to_csv(folder / "behavior.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, np.ndarray]:
    """What the page calls ``neural_data, new_neural_data, continuous_label, discrete_label``."""
    neural_data = cebra.load_data(file=folder / "neural_data.npz", key="neural")
    new_neural_data = cebra.load_data(file=folder / "neural_data.npz", key="new_neural")
    columns = ["continuous1", "continuous2", "continuous3"]
    continuous_label = cebra.load_data(file=folder / "behavior.csv", columns=columns)
    discrete_label = cebra.load_data(file=folder / "behavior.csv", columns=["discrete"]).flatten()
    assert (continuous_label.shape, discrete_label.dtype.kind) == ((100, 3), "i")
    return {"neural": neural_data, "new": new_neural_data, "continuous": continuous_label, "discrete": discrete_label}


def make(**settings: Any) -> CEBRA:
    """The model of the page."""
    return CEBRA(
        model_architecture="offset10-model", batch_size=512, learning_rate=3e-4, temperature=1.12,
        max_iterations=STEPS, max_adapt_iterations=STEPS, conditional="time_delta", output_dimension=3,
        distance="cosine", device="cuda_if_available", verbose=True, time_offsets=10,
    ).set_params(**settings)  # fmt: skip


def test_architectures_and_their_names() -> None:
    assert len(cebra.models.get_options("offset*", limit=4)) == 4
    assert "offset10-model" in cebra.models.get_options()
    assert "offset10-model" in CEBRA.supported_model_architectures()


def test_models_in_time_of_behaviour_and_of_both(data: dict[str, np.ndarray]) -> None:
    neural_data, continuous, discrete = data["neural"], data["continuous"], data["discrete"]
    assert make(conditional="time").fit(neural_data).transform(neural_data).shape == (100, 3)
    for labels in ((continuous,), (discrete,), (continuous, discrete), (continuous[:, 0], continuous[:, 1])):
        assert make().fit(neural_data, *labels).transform(neural_data).shape == (100, 3)
    hybrid = make(hybrid=True, output_dimension=4).fit(neural_data, continuous)
    assert hybrid.transform(neural_data, batch_size=30).shape == (100, 4)
    auto = make(temperature_mode="auto", min_temperature=0.1).fit(neural_data, continuous)
    assert len(auto.state_dict_["log"]["temperature"]) == STEPS
    masked = make(masking_kwargs={"RandomNeuronMask": [0.3], "TimeBlockMask": (0.035, 10)})
    assert masked.fit(neural_data, continuous).transform(neural_data).shape == (100, 3)


def test_going_on_adapting_and_files(data: dict[str, np.ndarray], tmp_path: Path) -> None:
    model = make(conditional="time")
    model.partial_fit(data["neural"])
    model.partial_fit(data["neural"])
    before = model.transform(data["neural"])
    path = tmp_path / "cebra.pt"
    model.save(path)
    loaded = cebra.CEBRA.load(path)
    assert np.array_equal(loaded.transform(data["neural"]), before)
    loaded.fit(data["new"], adapt=True)
    assert loaded.transform(data["new"]).shape == (100, 3)
    heard = []
    model.fit(data["neural"], callback=lambda num_steps, solver: heard.append(num_steps), callback_frequency=2)
    assert heard == [2, 4]


def test_several_sessions_and_their_consistency(data: dict[str, np.ndarray]) -> None:
    sessions, labels = [data["neural"], data["new"]], [data["continuous"], data["continuous"][::-1].copy()]
    model = make().fit(sessions, labels)
    assert model.num_sessions == 2
    embeddings = [model.transform(session, session_id=i) for i, session in enumerate(sessions)]
    scores, pairs, subjects = cebra.sklearn.metrics.consistency_score(
        embeddings=embeddings, labels=[label[:, 0] for label in labels], dataset_ids=["achilles", "buddy"],
        between="datasets", num_discretization_bins=10,
    )  # fmt: skip
    assert cebra.plot_consistency(scores, pairs, subjects, vmin=0, vmax=100, title="Between animals") is not None
    scores, pairs, runs = cebra.sklearn.metrics.consistency_score(embeddings=embeddings, between="runs")
    assert cebra.plot_consistency(scores, pairs=pairs, datasets=runs) is not None
    joint = cebra.data.helper.ensemble_embeddings(embeddings, n_jobs=2, post_norm=True)
    assert np.allclose(np.linalg.norm(joint, axis=1), 1)
    aligned = cebra.data.helper.OrthogonalProcrustesAlignment(top_k=10, subsample=700).fit_transform(
        ref_data=embeddings[0], data=embeddings[1], ref_label=labels[0][:, :1], label=labels[1][:, :1]
    )
    assert aligned.shape == embeddings[1].shape


def test_scores_plots_and_decoders(data: dict[str, np.ndarray]) -> None:
    neural, continuous, discrete = data["neural"], data["continuous"], data["discrete"]
    model = make(max_iterations=2 * STEPS).fit(neural, continuous, discrete)
    embedding = model.transform(neural)
    loss = cebra.sklearn.metrics.infonce_loss(model, neural, continuous, discrete, num_batches=3)
    assert np.isfinite(cebra.sklearn.metrics.infonce_to_goodness_of_fit(loss, model))
    assert np.isfinite(cebra.sklearn.metrics.goodness_of_fit_score(model, neural, continuous, discrete, num_batches=3))
    assert len(cebra.sklearn.metrics.goodness_of_fit_history(model)) == 2 * STEPS
    for labels in ("time", "grey", continuous[:, 0], discrete):
        ax = cebra.plot_embedding(embedding=embedding, embedding_labels=labels, markersize=2, alpha=0.5, dpi=50)
        assert len(ax.collections) == 1
    assert cebra.plot_embedding(embedding, embedding_labels="time", idx_order=(1, 0), title="two").name == "rectilinear"
    assert cebra.plot_loss(model, color="k").lines
    assert cebra.plot_temperature(model).lines
    assert len(cebra.compare_models([model, model], labels=["one", "two"], cmap="viridis").lines) == 2
    assert cebra.plot_embedding_interactive(embedding, embedding_labels=continuous[:, 0]).data
    split = sklearn.model_selection.train_test_split(embedding, continuous, discrete, test_size=0.3, random_state=0)
    for decoder in (cebra.KNNDecoder(n_neighbors=10, metric="cosine"), cebra.L1LinearRegressor(alpha=0.1)):
        for train, test in ((split[2], split[3]), (split[2][:, 0], split[3][:, 0]), (split[4], split[5])):
            decoder.fit(split[0], train)
            assert decoder.predict(split[1]).shape == test.shape
            assert decoder.score(split[1], test) <= 1


def test_a_grid_of_models(data: dict[str, np.ndarray], tmp_path: Path) -> None:
    params = dict(
        output_dimension=[3, 16], learning_rate=[0.001], time_offsets=5, max_iterations=STEPS,
        temperature_mode="auto", verbose=False,
    )  # fmt: skip
    datasets = {
        "dataset1": data["neural"],
        "dataset2": (data["neural"], data["continuous"]),
        "dataset3": (data["new"], data["continuous"], data["discrete"]),
    }
    folder = tmp_path / "saved_models"
    search = cebra.grid_search.GridSearch()
    search.fit_models(datasets, params=params, models_dir=folder)
    df_results = search.get_df_results(models_dir=folder)
    assert len(df_results) == 6
    best_model, best_model_name = search.get_best_model(dataset_name="dataset2", models_dir=folder)
    assert best_model_name.endswith("dataset2")
    assert best_model.transform(data["neural"]).shape == (100, best_model.output_dimension)
    models, parameter_grid = cebra.grid_search.GridSearch().load(dir=folder)
    assert len(models) == len(parameter_grid) == 6
    assert len(search.plot_loss_comparison(models_dir=folder).lines) == 6


def test_what_is_not_replaced_is_the_package_itself() -> None:
    import cebra as theirs

    assert cebra.data.TensorDataset is theirs.data.TensorDataset
    assert cebra.data.helper.get_loader_options is theirs.data.helper.get_loader_options
    assert cebra.__version__ == theirs.__version__
    with pytest.raises(ValueError, match="missing labels"):
        cebra.data.helper.OrthogonalProcrustesAlignment().fit(np.ones((9, 2)), np.ones((8, 2)))
    with pytest.raises(ValueError, match="a label for each row"):
        cebra.data.helper.OrthogonalProcrustesAlignment().fit(np.ones((9, 2)), np.ones((8, 2)), np.ones(8), np.ones(8))

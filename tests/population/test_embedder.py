"""The estimator: cebra's surface, and what it does better."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cebra import CEBRA
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from population_models import quick
from spikeprint.core.errors import ModelError
from spikeprint.population import Population, PopulationEmbedder, model_options, register_model
from spikeprint.population.masking import auto_dropout
from spikeprint.population.prepare import hold_out
from spikeprint.population.settings import Settings
from spikeprint.synth.populations import Simulated


def test_every_parameter_of_cebra_is_there_in_its_order_with_its_default() -> None:
    theirs = CEBRA().get_params()
    ours = PopulationEmbedder().get_params()
    differ = {name for name in theirs if theirs[name] != ours.get(name, "absent")}
    assert differ == set()
    import inspect

    order = [name for name in inspect.signature(CEBRA).parameters if name in ours]
    mine = [field.name for field in fields(Settings)]
    assert mine[: len(order)] == order or set(mine[: len(order)]) == set(order)


MODES = {
    "time": ({"conditional": "time"}, ()),
    "continuous": ({}, ("position",)),
    "delta": ({"conditional": "delta", "delta": 0.1}, ("position",)),
    "discrete": ({}, ("side",)),
    "mixed": ({}, ("side", "position")),
    "hybrid": ({"hybrid": True}, ("position",)),
    "hybrid, discrete": ({"hybrid": {"behavior_dims": 2, "weight": 0.5}}, ("side",)),
    "learnt temperature": ({"temperature_mode": "auto"}, ("position",)),
    "euclidean": ({"distance": "euclidean", "model_architecture": "offset10-model-mse"}, ("position",)),
    "euclidean, learnt temperature": (
        {"distance": "euclidean", "model_architecture": "offset10-model-mse", "temperature_mode": "auto"},
        ("position",),
    ),
    "all rows": ({"batch_size": None, "num_negatives": 50}, ("side", "position")),
    "several offsets": ({"conditional": "time", "time_offsets": (1, 3, 7)}, ()),
    "masks": ({"masking_kwargs": (("RandomNeuronMask", [0.1, 0.3]), ("TimeBlockMask", (0.2, 2)))}, ("position",)),
    "one row": ({"model_architecture": "offset1-model"}, ("position",)),
    "subsampling": ({"model_architecture": "offset20-model-4x-subsample"}, ("position",)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_fits_transforms_and_repeats_itself(
    mode: str, track: Simulated, position: np.ndarray, side: np.ndarray
) -> None:
    settings, names = MODES[mode]
    labels = [{"position": position, "side": side}[name] for name in names]
    state = torch.get_rng_state()
    first = quick(**settings).fit(track.counts, *labels)
    assert torch.equal(torch.get_rng_state(), state)  # nothing global is touched
    embedding = first.transform(track.counts)
    assert embedding.shape == (1200, 4)
    assert np.isfinite(embedding).all()
    if first.distance == "cosine":
        assert np.allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
    assert np.array_equal(embedding, quick(**settings).fit(track.counts, *labels).transform(track.counts))
    assert len(first.history_) == 30
    assert first.history_["held_out_bits"].notna().sum() == 3
    if first.hybrid:
        assert (first.history_["loss_time"] > 0).all()


def test_another_seed_gives_other_weights(track: Simulated) -> None:
    first, second = (quick(random_state=seed).fit(track.counts).transform(track.counts) for seed in (0, 1))
    assert np.abs(first - second).max() > 0.1


def test_a_trained_model_knows_the_label_and_shuffled_rows_teach_it_nothing(
    track: Simulated, position: np.ndarray
) -> None:
    from spikeprint.population import shuffle_control

    model = quick(max_iterations=90, check_every=30)
    table = shuffle_control(model, track.counts, position)
    data, shuffled = table["held_out_score"]
    assert data - shuffled > 0.15
    assert table["held_out_bits"].iloc[1] < 0.3 < table["held_out_bits"].iloc[0]
    done = model.fit(track.counts, position).diagnosis_
    pd.testing.assert_frame_equal(shuffle_control(model, track.counts, position, diagnosis=done), table)


def test_bool_and_text_labels_are_classes(track: Simulated, side: np.ndarray) -> None:
    embeddings = [
        quick().fit(track.counts, label).transform(track.counts)
        for label in (side, side.astype(bool), np.where(side, "out", "back"), side * 7 - 3)
    ]
    assert np.array_equal(embeddings[0], embeddings[1])
    assert np.array_equal(embeddings[0], embeddings[3])
    assert embeddings[2].shape == embeddings[0].shape


def test_the_unit_of_a_label_does_not_matter(track: Simulated, position: np.ndarray) -> None:
    both = np.stack([position, track.latent[:, 1]], axis=1)
    metres = quick(label_scale="std").fit(track.counts, both).transform(track.counts)
    mixed = quick(label_scale="std").fit(track.counts, both * [1024.0, 1.0]).transform(track.counts)
    assert np.array_equal(metres, mixed)


def test_a_named_circular_label_of_a_population(track: Simulated, position: np.ndarray) -> None:
    population = Population.from_arrays(track.counts, segments=[600, 600]).with_label("angle", position * 6, period=6.0)
    by_name = quick().fit(population, "angle").transform(population)
    by_array = quick(label_periods={0: 6.0}).fit(track.counts, position * 6, segments=[600, 600])
    assert np.array_equal(by_name, by_array.transform(population))


def test_what_people_pass_besides_arrays_of_counts(track: Simulated, side: np.ndarray) -> None:
    from sklearn.pipeline import make_pipeline

    signed = track.counts.astype(np.int16) - 2  # whole numbers that are no counts
    assert np.isfinite(quick(max_iterations=3).fit(signed).transform(signed)).all()
    mixed = pd.DataFrame(track.counts).astype(object)
    assert make_pipeline(quick(max_iterations=3)).fit(mixed).transform(mixed).shape == (1200, 4)
    assert (
        quick(max_iterations=3).fit(torch.from_numpy(track.counts.astype(float)), torch.from_numpy(side)).n_iter_ == 3
    )
    assert quick(max_iterations=3).fit([track.counts] * 2, [side] * 2).num_sessions == 2


def test_what_is_missing_where_nothing_is_valid_does_no_harm(track: Simulated, position: np.ndarray) -> None:
    signal = track.counts.astype(float)
    signal[100:110] = np.nan
    valid = np.isfinite(signal).all(axis=1)
    for sampling in ("full", "block", "iid"):
        model = quick(sampling=sampling).fit(Population.from_arrays(signal, {"p": position}, valid=valid), "p")
        assert np.isfinite(model.history_["loss"]).all()
        assert np.isfinite(model.transform(Population.from_arrays(signal, valid=valid))[valid]).all()
    with pytest.raises(ValueError, match="pass valid=False there"):
        quick().fit(Population.from_arrays(signal))


# Transform -----------------------------------------------------------------------------------------------------------


def test_padding_batches_and_segments_change_no_value(track: Simulated) -> None:
    model = quick().fit(track.counts)
    whole = model.transform(track.counts)
    for batch_size in (1, 100, 5000):
        assert np.array_equal(model.transform(track.counts, batch_size=batch_size), whole)
    unpadded = clone(model).set_params(pad_before_transform=False).fit(track.counts).transform(track.counts)
    assert unpadded.shape == (1200 - 4, 4)
    assert np.array_equal(unpadded, whole[2:-2])
    parts = model.transform(Population.from_arrays(track.counts, segments=[700, 500]))
    assert np.allclose(parts[2:698], whole[2:698], atol=1e-6)
    assert not np.allclose(parts[698:702], whole[698:702], atol=1e-6)
    assert np.array_equal(parts[:700], model.transform(track.counts[:700]))


def test_a_row_is_the_pass_of_its_window(track: Simulated) -> None:
    model = quick(model_architecture="offset10-model").fit(track.counts)
    x = torch.sqrt(torch.from_numpy(track.counts.astype(np.float32)))
    embedding = model.transform(track.counts)
    with torch.no_grad():
        for row in (5, 77, 1190):
            (alone,) = model.model_.encoders[0](x[row - 5 : row + 5].T[None])
            assert np.allclose(alone.numpy(), embedding[row], atol=1e-6)


# Going on ------------------------------------------------------------------------------------------------------------


def test_partial_fit_goes_on_with_the_data_it_is_given(track: Simulated) -> None:
    model = quick(max_iterations=40).fit(track.counts)
    before = {name: value.clone() for name, value in model.model_.state_dict().items()}
    model.set_params(max_iterations=1).partial_fit(track.counts)
    moved = max(float((value - before[name]).abs().max()) for name, value in model.model_.state_dict().items())
    assert 0 < moved < 2 * model.learning_rate
    other = track.counts[:, ::-1].copy()
    loss = lambda: -model.score(other)  # noqa: E731
    start = loss()
    model.set_params(max_iterations=60).partial_fit(other)
    assert loss() < start
    with pytest.raises(ValueError, match=r"X has \[19\] units"):
        model.partial_fit(track.counts[:, 1:])


@pytest.mark.parametrize("architecture", ["offset5-model", "offset1-model", "offset4-model-2x-subsample"])
def test_adapt_trains_the_layers_that_see_units_and_no_other(architecture: str, track: Simulated) -> None:
    model = quick(model_architecture=architecture, max_adapt_iterations=10).fit(track.counts)
    before = {name: value.clone() for name, value in model.model_.encoders[0].named_parameters()}
    model.fit(track.counts[:, :13], adapt=True)
    assert model.n_features_in_ == 13
    changed = {
        n
        for n, v in model.model_.encoders[0].named_parameters()
        if v.shape != before[n].shape or not v.equal(before[n])
    }
    from spikeprint.population.networks import find_input_modules

    own = find_input_modules(architecture, 8, 4)
    assert changed == {name for name in before if name.rpartition(".")[0] in own}
    assert changed != set(before)


def test_several_sessions_share_a_space(track: Simulated, position: np.ndarray) -> None:
    left, right = track.counts[:, :9], track.counts[:700, 9:]
    model = quick().fit([left, right], [position, position[:700]])
    assert (model.num_sessions_, model.n_features_in_) == (2, [9, 11])
    assert model.transform(left, session_id=0).shape == (1200, 4)
    with pytest.raises(ValueError, match="name one with session_id"):
        model.transform(left)
    with pytest.raises(ValueError, match="session_id = 2"):
        model.transform(left, session_id=2)
    first, second = quick().fit_transform([left, right], [position, position[:700]])
    assert (len(first), len(second)) == (1200, 700)
    with pytest.raises(ValueError, match="layers of their own"):
        model.fit(track.counts, adapt=True)
    model.set_params(max_adapt_iterations=5).fit(track.counts, position, adapt=True, session_id=1)
    assert model.transform(track.counts).shape == (1200, 4)


def test_mixed_labels_and_hybrids_of_several_sessions(track: Simulated, position: np.ndarray, side: np.ndarray) -> None:
    X, y = [track.counts, track.counts[:700]], ([position, position[:700]], [side, side[:700]])
    for settings in ({}, {"hybrid": True}, {"batch_size": None, "num_negatives": 40, "max_iterations": 3}):
        assert len(quick(**settings).fit(X, *y).model_.encoders) == 2


def test_sessions_without_labels_share_a_trunk(track: Simulated) -> None:
    model = quick(shared_trunk=True).fit([track.counts, track.counts[:, :5]])
    a, b = (dict(encoder.named_parameters()) for encoder in model.model_.encoders)
    shared = [name for name in a if a[name] is b[name]]
    assert len(shared) == len(a) - 2
    assert quick(within_session=True).fit([track.counts, track.counts[:, :5]]).num_sessions_ == 2


def test_callbacks_come_at_their_steps(track: Simulated) -> None:
    heard: list[int] = []
    quick().fit(track.counts, callback=lambda step, model: heard.append(step), callback_frequency=7)
    assert heard == [7, 14, 21, 28]


def test_the_best_look_is_kept(track: Simulated, position: np.ndarray) -> None:
    model = quick(max_iterations=100).fit(track.counts, position)
    looks = model.history_.dropna(subset=["held_out_score"]).set_index("step")["held_out_score"]
    means = looks.rolling(3, min_periods=1).mean()
    assert model.diagnosis_["kept_step"] == means.idxmax()


def test_held_out_rows_are_spread_or_whole_segments(track: Simulated) -> None:
    tiled = Population.from_arrays(np.tile(track.counts, (6, 1)))
    held = hold_out(tiled, 0.1)
    assert held.sum() == 720
    assert held.reshape(4, -1).sum(axis=1).min() >= 150  # in every quarter of the recording
    trials = Population.from_arrays(track.counts, segments=[30] * 40)
    share = hold_out(trials, 0.1).reshape(40, 30).mean(axis=1)
    assert sorted(share) == [0] * 36 + [1] * 4
    assert not hold_out(trials, 0).any()


def test_the_mean_of_the_weights_is_kept_and_training_goes_on_from_its_own(track: Simulated) -> None:
    settings = {"max_iterations": 40, "check_every": 10, "patience": None, "random_state": 3}
    last, mean = (quick(**settings, averaging=share).fit(track.counts) for share in (0, 0.9))
    # what is looked at does not change the steps
    assert np.allclose(last.history_["loss"], mean.history_["loss"], atol=1e-6)
    assert not np.allclose(last.transform(track.counts), mean.transform(track.counts), atol=1e-3)
    unwatched = quick(**settings, averaging=0.9, validation_fraction=0).fit(track.counts)
    assert not np.allclose(
        unwatched.transform(track.counts),
        quick(**settings, averaging=0, validation_fraction=0).fit(track.counts).transform(track.counts),
        atol=1e-3,
    )


def test_more_units_are_hidden_of_more() -> None:
    assert [round(auto_dropout(n), 2) for n in (30, 60, 120, 1000)] == [0.2, 0.33, 0.5, 0.5]


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"input_transform": "zscore", "temperature_mode": "auto"}])
def test_a_saved_model_answers_the_same(settings: dict, tmp_path: Path, track: Simulated, side: np.ndarray) -> None:
    model = quick(**settings).fit(track.counts, np.where(side, "out", "back"))
    back = PopulationEmbedder.load(model.save(tmp_path / "model"))
    assert np.array_equal(back.transform(track.counts), model.transform(track.counts))
    assert back.get_params() == model.get_params()
    assert back.score(track.counts, np.where(side, "out", "back")) == model.score(
        track.counts, np.where(side, "out", "back")
    )
    assert back.share_seen(model.transform(track.counts)[:500]) > 0.99


def test_an_unfitted_model_can_be_saved_and_a_strange_file_is_refused(tmp_path: Path) -> None:
    back = PopulationEmbedder.load(quick(time_offsets=(1, 2)).save(tmp_path / "model"))
    assert back.time_offsets == (1, 2)
    (tmp_path / "other").write_bytes(b"no model")
    for name in ("other", "absent"):
        with pytest.raises(ModelError, match=name):
            PopulationEmbedder.load(tmp_path / name)


# Architectures -------------------------------------------------------------------------------------------------------


def test_any_receptive_field_by_name(track: Simulated) -> None:
    assert quick(model_architecture="offset7-model").fit(track.counts).offset_ == (3, 4)
    assert "offset10-model" in model_options("offset10*")
    assert PopulationEmbedder.supported_model_architectures("offset5-*") == ["offset5-model"]


def test_repeated_layers_have_weights_of_their_own() -> None:
    from spikeprint.population.networks import build_encoder

    n = sum(isinstance(m, torch.nn.Linear) for m in build_encoder("offset1-model-mse-v2-4layers", 5, 8, 3, 0).modules())
    assert n == 7


def test_a_custom_model_is_tested_before_it_is_registered() -> None:
    import cebra.data
    from cebra.models.model import ConvolutionalModelMixin, _OffsetModel

    def make(right: int) -> type:
        class Mine(_OffsetModel, ConvolutionalModelMixin):
            def __init__(self, num_neurons: int, num_units: int, num_output: int, normalize: bool = True) -> None:
                super().__init__(
                    torch.nn.Conv1d(num_neurons, num_units, 3), torch.nn.GELU(),
                    torch.nn.Conv1d(num_units, num_output, 2),
                    num_input=num_neurons, num_output=num_output, normalize=normalize,
                )  # fmt: skip

            def get_offset(self) -> object:
                return cebra.data.Offset(2, right)

        return Mine

    with pytest.raises(ValueError, match=r"offset \(2, 3\)"):
        register_model("spikeprint-test-wrong")(make(3))
    register_model("spikeprint-test-right", override=True)(make(2))
    assert quick(model_architecture="spikeprint-test-right").fit(np.ones((60, 3))).offset_ == (2, 2)
    with pytest.raises(ValueError, match="already registered"):
        register_model("spikeprint-test-right")(make(2))


# Errors --------------------------------------------------------------------------------------------------------------

COUNTS = np.random.default_rng(0).poisson(1.0, (80, 4))
LABEL = np.linspace(0, 1, 80)
CLASSES = np.arange(80) % 2

DATA = {
    "one dimension": (COUNTS[:, 0], (), "Reshape your data"),
    "trials": (COUNTS.reshape(8, 10, 4), (), r"trials x rows x units as Population.from_arrays"),
    "empty": (COUNTS[:0], (), "both at least 1"),
    "not a number": (np.where(COUNTS == 1, np.nan, 1.0), (), "NaN or infinite"),
    "too short": (COUNTS[:4], (), "has 4 rows, the model sees 5"),
    "text": (COUNTS.astype(str), (), "numbers are needed"),
    "label missing": (COUNTS, (np.where(LABEL > 0.5, np.nan, 1.0),), "missing or infinite"),
    "label too short": (COUNTS, (LABEL[:-1],), "X has 80 rows"),
    "two discrete": (COUNTS, (CLASSES, CLASSES), "two discrete labels"),
    "wide discrete": (COUNTS, (np.stack([CLASSES, CLASSES], axis=1),), "one column is needed"),
    "no name": (COUNTS, ("speed",), "no label 'speed'"),
    "sessions without labels": ([COUNTS, COUNTS], (), "aligns nothing"),
    "other number of sessions": ([COUNTS, COUNTS], ([LABEL],), "for each of 2 sessions"),
    "other rows in a session": ([COUNTS, COUNTS[:60]], ([LABEL, LABEL],), "X has 60 rows"),
    "a class missing": ([COUNTS, COUNTS], ([CLASSES, CLASSES * 0],), "session '1' has no usable row of class"),
}


@pytest.mark.parametrize("case", DATA)
def test_bad_data_is_told(case: str) -> None:
    X, y, said = DATA[case]
    with pytest.raises(ValueError, match=said):
        quick(max_iterations=2).fit(X, *y)


def test_a_sparse_matrix_is_told() -> None:
    from scipy.sparse import csr_matrix

    with pytest.raises(ValueError, match="sparse"):
        quick().fit(csr_matrix(COUNTS))


SETTINGS = {
    "architecture": ({"model_architecture": "offset10-modell"}, (), "near: offset10-model"),
    "distance": ({"distance": "cosin"}, (), "did you mean 'cosine'"),
    "conditional": ({"conditional": "delay"}, (), "allowed: None, time, time_delta"),
    "device": ({"device": "tpu"}, (), "allowed: cuda_if_available"),
    "optimizer": ({"optimizer": "adm"}, (), "did you mean 'adam'"),
    "iterations": ({"max_iterations": 0}, (), "1 or more"),
    "batch": ({"batch_size": 0}, (), "1 or more"),
    "temperature": ({"temperature": 0}, (), "above 0"),
    "learnt temperature": ({"temperature_mode": "auto", "temperature": 0.05}, (), "not above min_temperature"),
    "one dimension": ({"output_dimension": 1}, (), "only the values -1 and 1"),
    "delta": ({"conditional": "delta"}, (LABEL,), "needs delta"),
    "hybrid": ({"hybrid": True}, (), "needs a label"),
    "hybrid dimensions": ({"hybrid": True, "output_dimension": 3}, (LABEL,), "must exceed"),
    "time_delta": ({"conditional": "time_delta"}, (), "needs a continuous label"),
    "offset": ({"time_offsets": 80}, (), "shorter than the recording"),
    "no offset": ({"time_offsets": 0}, (), "whole numbers of 1 or more"),
    "mask": ({"masking_kwargs": {"Mask": 0.2}}, (), "known: RandomNeuronMask"),
    "mask ratio": ({"masking_kwargs": {"RandomNeuronMask": 1.5}}, (), "between 0 and 1"),
    "layout": ({"sampling": "block", "model_architecture": "offset1-model"}, (), "needs a convolutional model"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_bad_settings_are_told(case: str) -> None:
    settings, y, said = SETTINGS[case]
    with pytest.raises(ValueError, match=said):
        quick(**settings).fit(COUNTS, *y)


def test_a_conditional_that_would_drop_labels_of_sessions_is_told() -> None:
    with pytest.raises(ValueError, match="would not use the labels"):
        quick(conditional="time").fit([COUNTS, COUNTS], [LABEL, LABEL])


def test_an_unfitted_model_and_other_units_are_told() -> None:
    for call in ("transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(quick(), call)(COUNTS)
    model = quick(max_iterations=2, validation_fraction=0).fit(COUNTS)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.transform(COUNTS[:, :3])
    with pytest.raises(ValueError, match="callback_frequency without"):
        model.fit(COUNTS, callback_frequency=3)

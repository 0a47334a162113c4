"""The other tasks of the networks: counts of the next bin, features of the stimulus."""

import numpy as np
import pytest

from spikeprint.core.errors import PopulationError, SettingError
from spikeprint.population import Population, bin_trials, forecast, retrieve
from spikeprint.population.decoding.forecast import bits_per_spike, split_windows
from spikeprint.population.decoding.kshot import Study
from spikeprint.population.decoding.models import make_decoder
from spikeprint.population.decoding.networks import NETWORKS
from spikeprint.synth.populations import make_images, make_track
from spikeprint.validate.population import FORECASTS, RETRIEVALS, check_table

N_CLASSES = 12


@pytest.fixture(scope="module")
def track() -> Population:
    return Population.from_arrays(make_track(2400, 20, seed=0).counts)


@pytest.fixture(scope="module")
def described() -> tuple[Population, dict[int, np.ndarray]]:
    """Images whose features drive the units, so that those of an image that was never shown can be told."""
    rng = np.random.default_rng(0)
    features = {frame: rng.normal(size=3) for frame in range(N_CLASSES)}
    frames = rng.permutation(np.repeat(np.arange(N_CLASSES), 25))
    drive = np.stack([features[frame] for frame in frames]) @ rng.normal(0, 0.5, (3, 30))
    counts = rng.poisson(np.exp(drive)[:, None, :].repeat(4, axis=1)).astype(np.uint16)
    population = Population.from_arrays(counts.reshape(-1, 30), segments=[4] * len(frames))
    segments = population.segments.assign(frame=frames)
    return Population(**{**vars_of(population), "segments": segments}), features


def vars_of(population: Population) -> dict:
    return {name: getattr(population, name) for name in Population.__dataclass_fields__}


def test_the_last_bins_tell_about_the_next_where_there_is_something_to_tell(track: Population) -> None:
    table = check_table(forecast(track, ("linear", "lstm"), history=5, epochs=12), FORECASTS, "forecast")
    assert table["bits_per_spike"].min() > 0.1
    assert table["share_better"].min() > 0.6
    # what is there at all: the rates behind the counts, against their mean
    simulated, (train, _, test) = make_track(2400, 20, seed=0), split_windows(track, 5, (0.7, 0.1, 0.2))
    best, _ = bits_per_spike(simulated.rates[test.rows], test.targets, train.targets.mean(axis=0))
    assert table["bits_per_spike"].max() < best
    mixed = np.random.default_rng(0).permutation(track.counts)
    noise = forecast(Population.from_arrays(mixed), ("linear",), history=5, epochs=12)
    assert -0.03 < noise["bits_per_spike"].iloc[0] < 0.01


def test_no_bin_of_the_test_lies_before_or_in_training(track: Population) -> None:
    trials = Population.from_arrays(track.counts, segments=[30] * 80)
    seen: set[int] = set()
    for part in split_windows(trials, 6, (0.6, 0.2, 0.2)):
        bins = set((part.rows[:, None] + np.arange(-6, 1)).ravel().tolist())
        assert not bins & seen
        seen |= bins
        assert ((part.rows % 30) >= 6).all()  # nor in another segment
        assert np.array_equal(part.trials[0], track.counts[part.rows[0] - 6 : part.rows[0]])


def test_bits_per_spike_are_those_of_the_likelihood() -> None:
    counts = np.array([[2, 0], [0, 0]])
    bits, of_unit = bits_per_spike(np.array([[2.0, 1.0], [0.5, 1.0]]), counts, np.array([1.0, 1.0]))
    assert bits == pytest.approx((2 * np.log(2) - 2.5 + 2) / (2 * np.log(2)))
    assert np.isnan(of_unit[1])
    assert bits_per_spike(np.ones((2, 2)), counts, np.ones(2))[0] == 0


def test_features_find_their_image(described: tuple[Population, dict[int, np.ndarray]]) -> None:
    population, features = described
    table = check_table(retrieve(population, features, ("linear", "lstm"), epochs=50), RETRIEVALS, "features")
    assert table["top1"].min() > 0.5
    assert table["r2"].min() > 0.5
    assert table["chance"].iloc[0] == pytest.approx(1 / N_CLASSES)
    others = {frame: features[(frame * 5 + 3) % N_CLASSES] for frame in features}
    unseen = retrieve(population, features, ("linear",), unseen=3, epochs=50).iloc[0]
    assert unseen["mean_rank"] < 4  # of twelve, by chance 6.5; no classifier can name what it has not met
    assert unseen["n_test"] == 3 * 25
    wrong = retrieve(population, others, ("linear",), unseen=3, epochs=50).iloc[0]
    assert wrong["mean_rank"] > 5


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_serves_every_task_and_repeats_itself(name: str, track: Population) -> None:
    counts = np.asarray(track.counts[:480]).reshape(80, 6, 20)
    for task, target in (("forecast", counts[:, -1]), ("features", np.random.default_rng(0).normal(size=(80, 3)))):
        answers = []
        for _ in range(2):
            decoder = make_decoder(name, task)
            decoder.fixed_epochs = 2
            answers.append(decoder.fit(counts[:, :5], target, target.shape[1], 0).predict(counts[:, :5]))
        assert answers[0].shape == target.shape
        assert np.array_equal(*answers)
        assert task != "forecast" or (answers[0] > 0).all()


def test_what_cannot_be_asked_is_told(track: Population, described: tuple[Population, dict[int, np.ndarray]]) -> None:
    population, features = described
    with pytest.raises(SettingError, match="did you mean 'lstm'"):
        forecast(track, ("lsmt",))
    with pytest.raises(SettingError, match="task 'forcast': unknown; did you mean 'forecast'"):
        make_decoder("lstm", "forcast")
    with pytest.raises(PopulationError, match="counts are foretold"):
        forecast(Population.from_arrays(track.counts.astype(float)))
    with pytest.raises(PopulationError, match="valid bins of their segment"):
        forecast(Population.from_arrays(track.counts, segments=[8] * 300), history=8)
    with pytest.raises(PopulationError, match="no spike in"):
        forecast(np.zeros((300, 3), dtype=int), "linear")
    with pytest.raises(PopulationError, match="three shares"):
        forecast(track, fractions=(0.5, 0.5, 0.5))
    silent = np.concatenate([track.counts[:600], np.zeros((600, 1), dtype=np.uint16)], axis=1)
    assert np.isfinite(forecast(silent, "linear", history=2, epochs=2)["bits_per_spike"]).all()
    with pytest.raises(PopulationError, match="history 0"):
        forecast(track, history=0)
    with pytest.raises(PopulationError, match=r"no vector for \[11\] \(1 of 12 classes\)"):
        retrieve(population, {frame: features[frame] for frame in range(11)})
    with pytest.raises(PopulationError, match=r"lengths \[2, 3\]"):
        retrieve(population, {**features, 0: np.ones(2)})
    with pytest.raises(PopulationError, match="unseen 11 of 12"):
        retrieve(population, features, unseen=11)
    blanks = bin_trials(make_images(3, 10, 8, seed=1), 4)
    assert retrieve(blanks, {0: [1, 0], 1: [0, 1], 2: [1, 1]}, ("linear",), Study(), epochs=3)["n_classes"].iloc[0] == 3

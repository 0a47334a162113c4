"""Counting spikes in presentations, cleaning and splitting: nothing counted twice, nothing split in half."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import PopulationError
from spikeprint.core.sessions import Series, SpikeSession
from spikeprint.population.binning import Window, bin_presentations, bin_session, bin_trials, bin_trials_with_report
from spikeprint.population.cleaning import select_by_quality, select_by_rate, take_units
from spikeprint.population.data import Population
from spikeprint.population.splits import assign_parts, draw_shots, split_population
from spikeprint.synth.populations import make_images


@pytest.fixture(scope="module")
def session() -> SpikeSession:
    return make_images(n_images=4, n_repeats=12, n_units=10, seed=1)


def test_both_ways_of_counting_agree_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 20, n)) for n in (0, 300, 500)]
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    spikes = np.concatenate(trains)
    onsets = np.sort(rng.uniform(1, 15, 12))
    for width in (0.1, 3.0):  # apart, and overlapping
        counts = bin_presentations(spikes, offsets, onsets, width, 5)
        edges = onsets[:, None] + np.arange(6) * width / 5
        for unit, train in enumerate(trains):
            expected = ((train >= edges[:, :-1, None]) & (train < edges[:, 1:, None])).sum(axis=2)
            assert np.array_equal(counts[:, :, unit], expected)


def test_a_spike_on_an_edge_counts_once_in_the_later_bin() -> None:
    onsets = np.array([0.1, 1.1])
    edges = (onsets[:, None] + np.arange(11) * (0.25 / 10)).ravel()
    counts = bin_presentations(np.sort(edges), np.array([0, len(edges)]), onsets, 0.25, 10)
    assert (counts == 1).all()  # the last edge of each lies outside


def test_trials_hold_all_spikes_of_their_windows(session: SpikeSession) -> None:
    population, steps = bin_trials_with_report(session, Window(5))
    shown = session.presentations
    assert shown is not None
    assert [step.after for step in steps] == [60, 59]  # one lies in the invalid time
    kept = shown.drop(index=3)
    inside = sum(((session.spike_times_s >= a) & (session.spike_times_s < a + 0.25)).sum() for a in kept["start_time"])
    assert abs(int(population.counts.sum()) - inside) <= 2  # rounding of onset + 0.25
    assert population.tensor().shape == (59, 5, 10)
    assert population.segments["frame"].tolist() == kept["frame"].tolist()


def shown(session: SpikeSession, **columns: object) -> SpikeSession:
    return replace(session, presentations=session.presentations.assign(**columns))  # type: ignore[union-attr]


def test_bad_presentations_are_told(session: SpikeSession) -> None:
    table = session.presentations
    assert table is not None
    with pytest.raises(PopulationError, match="presentations 0 and 1 overlap"):
        bin_trials(shown(session, stop_time=table["stop_time"] + 0.2))
    with pytest.raises(PopulationError, match="outside the recording"):
        bin_trials(replace(session, t_stop=5.0))
    with pytest.raises(PopulationError, match="no presentations"):
        bin_trials(replace(session, presentations=None))
    everything = pd.DataFrame({"start": [0.0], "stop": [1e6], "tags": [["all_probes"]]})
    with pytest.raises(PopulationError, match=r"no presentations left .*invalid times: 60 -> 0"):
        bin_trials(replace(session, invalid=everything))


def test_what_an_invalid_time_takes_away(session: SpikeSession) -> None:
    def invalid(*tags: str) -> SpikeSession:
        return replace(session, invalid=pd.DataFrame({"start": [2.0], "stop": [4.0], "tags": [list(tags)]}))

    assert len(bin_trials(invalid("optotagging")).segments) == 60
    assert len(bin_trials(invalid("probeA")).segments) == 52
    population, _ = bin_trials_with_report(invalid("probeA"), Window(5), probe_invalid="drop_units")
    assert (len(population.segments), population.n_units) == (60, 5)
    assert set(population.units["probe"]) == {"probeB"}


def test_presentations_of_another_length_are_dropped(session: SpikeSession) -> None:
    table = session.presentations
    assert table is not None
    stops = table["stop_time"].to_numpy().copy()
    stops[10] -= 0.05
    assert 10 not in bin_trials(shown(session, stop_time=stops)).segments["segment_id"].tolist()


def test_units_by_quality_and_by_rate(session: SpikeSession) -> None:
    units = session.units.assign(quality=["good"] * 9 + ["noise"])
    keep, steps = select_by_quality(units, {"amplitude_cutoff": 0.05, "presence_ratio": None})
    assert keep.tolist() == ((units["amplitude_cutoff"] <= 0.05) & (units["quality"] == "good")).tolist()
    assert steps[-1].after == keep.sum()
    population = bin_trials(take_units(session, keep))
    silent = replace(population, counts=np.where(np.arange(population.n_units) == 0, 0, population.counts))
    assert not select_by_rate(silent, (0.0, 100.0))[0][0]
    with pytest.raises(PopulationError, match="no unit of 10 is left"):
        take_units(session, np.zeros(10, dtype=bool))


def test_a_continuous_recording_knows_its_gaps_and_labels(session: SpikeSession) -> None:
    times = np.arange(0, 10, 0.1)
    angle = Series(times, np.mod(times * 3, 2 * np.pi), 2 * np.pi)
    kind = Series(times, (times > 5).astype(int))
    population = bin_session(replace(session, series={"angle": angle, "kind": kind}), 0.05)
    centres = (np.arange(population.n_rows) + 0.5) * 0.05
    found = population.labels["angle"]
    inside = centres < 9.9
    gap = np.abs(np.exp(1j * found[inside]) - np.exp(3j * centres[inside]))
    assert gap.max() < 1e-6  # no jump where the angle starts anew
    assert not population.valid[~inside].any()
    assert not population.valid[(centres > 2.76) & (centres < 2.84)].any()
    assert population.labels["kind"].dtype.kind == "i"


def test_empty_sessions_and_trains_that_do_not_fit_are_refused(session: SpikeSession) -> None:
    with pytest.raises(PopulationError, match="an empty session"):
        replace(session, units=session.units.iloc[:0])
    with pytest.raises(PopulationError, match=r"10 units and .* but 9 trains"):
        replace(session, offsets=session.offsets[:-1])
    with pytest.raises(PopulationError, match="ascending"):
        replace(session, spike_times_s=session.spike_times_s[::-1].copy())


# Splits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["blocked", "time", "stratified"])
def test_no_presentation_is_in_two_parts_and_every_class_is_tested(kind: str, session: SpikeSession) -> None:
    population = bin_trials(session, 5)
    parts = split_population(population, kind, (0.6, 0.1, 0.3), seed=2)
    ids = [set(part.segments["segment_id"]) for part in parts.values()]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 59
    assert set(parts["test"].segments["frame"]) == set(population.segments["frame"])
    if kind == "time":
        assert max(parts["train"].segments["t_stop"]) <= min(parts["test"].segments["t_start"]) + 1e-9


def test_a_gap_drops_presentations_at_borders(session: SpikeSession) -> None:
    population = bin_trials(session, 5)
    part = assign_parts(population, "time", (0.6, 0.1, 0.3), 0.5, 0, "frame")
    assert (part == -1).sum() == 8  # two on either side of two borders
    assert not (np.diff(part[part >= 0]) < 0).any()


def test_a_class_that_training_lacks_is_named(session: SpikeSession) -> None:
    population = bin_trials(session, 5)
    frames = population.segments["frame"].to_numpy().copy()
    frames[-1] = 77
    rare = replace(population, segments=population.segments.assign(frame=frames))
    with pytest.raises(PopulationError, match="part 'train' has no presentation of class 77"):
        split_population(rare, "time", fractions=(0.6, 0.1, 0.3))
    with pytest.raises(PopulationError, match="unknown; known: blocked"):
        split_population(rare, "random")


def test_shots_are_nested_and_a_class_with_too_few_is_named() -> None:
    classes = np.repeat(np.arange(4), 6)
    shots = draw_shots(classes, np.arange(24), (1, 3, 5, None), seed=3)
    for small, large in ((1, 3), (3, 5), (5, None)):
        assert set(shots[small]) < set(shots[large])
    assert np.bincount(classes[shots[3]]).tolist() == [3] * 4
    with pytest.raises(PopulationError, match="class 2 has 5 training presentations, k = 6"):
        draw_shots(classes, np.delete(np.arange(24), 12), (6,), seed=0)


def test_a_population_is_made_of_arrays_of_any_kind() -> None:
    assert Population.from_arrays([[1.5, 2.0], [0.5, 1.0]]).n_units == 2

"""Scores: spikes found, missed, merged and doubled, against counting by hand and against SpikeInterface."""

from typing import Any

import numpy as np
import pytest

from hybrid_data import Toy
from spikeprint.core.hybrid_params import ChannelParams
from spikeprint.core.hybrid_plan import Plan
from spikeprint.hybrid.events import Window
from spikeprint.hybrid.inject import Injector
from spikeprint.hybrid.matching import match
from spikeprint.hybrid.score import fit_logistic, score
from spikeprint.hybrid.templates import compare_templates, measure_templates
from spikeprint.hybrid.views import to_spikeinterface
from spikeprint.io.hybrid.sortings import Trains
from spikeprint.io.hybrid.source import RawSource, from_recording


@pytest.fixture(scope="module")
def plan(toy: Toy) -> Plan:
    return toy.plan(units=["1", "2", "3"], channels=ChannelParams(radius_um=30.0))[0]


def true_trains(plan: Plan) -> list[np.ndarray]:
    return [plan.spikes["sample"][plan.spikes["unit"] == k] for k in range(len(plan.units))]


def make_trains(**units: np.ndarray) -> Trains:
    lengths = [len(train) for train in units.values()]
    sample = np.concatenate(list(units.values())).astype(np.int64)
    return Trains(np.array(list(units)), np.zeros(len(sample), dtype=np.int64), sample, np.cumsum([0, *lengths]))


def as_recording(source: RawSource) -> Any:
    """The traces as SpikeInterface holds them."""
    from spikeinterface.core import NumpyRecording

    recording = NumpyRecording([source.read(0, 0, source.counts[0])], source.sampling_frequency_hz)
    recording.set_dummy_probe_from_locations(source.probe.positions_um)
    return recording


@pytest.fixture(scope="module")
def found(plan: Plan) -> Trains:
    """Unit a: the first with a tenth missing and jitter; b: half of the second; m: second half and other spikes."""
    rng = np.random.default_rng(0)
    one, two, _ = true_trains(plan)
    a = np.sort(one[rng.permutation(len(one))[: int(0.9 * len(one))]] + 3)
    extra = np.sort(rng.integers(0, 240_000, 40))
    return make_trains(b=two[::2], a=a, m=np.sort(np.concatenate([two[1::2], extra])))


def test_each_spike_is_used_once() -> None:
    found = match([np.array([10, 12, 50])], [np.array([11, 49, 51])], 4)
    assert found.counts.tolist() == [[2]]
    assert match([np.array([10])], [np.array([15])], 4).counts.tolist() == [[0]]


def test_units_are_assigned_and_counted(plan: Plan, found: Trains) -> None:
    one, two, three = true_trains(plan)
    told = score(plan, found)
    first = told.units.iloc[0]
    assert (first["sorted_unit"], first["n_found"]) == ("a", int(0.9 * len(one)))
    assert first["recall"] == first["accuracy"] == pytest.approx(0.9, abs=0.005)
    assert (first["precision"], first["contaminating_spikes"]) == (1.0, 0)
    second = told.units.iloc[1]
    assert second["sorted_unit"] == "b"
    assert second["recall"] == pytest.approx(0.5, abs=0.01)
    third = told.units.iloc[2]
    assert (third["sorted_unit"], third["accuracy"]) == ("", 0.0)
    assert told.summary["n_assigned"] == 2
    assert told.summary["n_well_detected"] == 1
    assert told.summary["n_redundant"] == 1  # m holds the other half of the second
    table = told.confusion
    assert list(table.index) == ["hybrid 0", "hybrid 1", "hybrid 2", "unmatched"]
    assert list(table.columns[:2]) == ["a", "b"]
    assert table.columns[-1] == "missed"
    assert table.loc["hybrid 0", "missed"] <= len(one) - int(0.9 * len(one))
    assert table.loc["hybrid 2", "missed"] == pytest.approx(len(three), abs=12)  # some collide with other spikes
    assert table.loc["unmatched", "m"] > 20
    assert told.lags["n_spikes"].sum() == len(plan.spikes)
    hits = (told.lags["recall"].fillna(0) * told.lags["n_spikes"]).sum()
    assert hits == pytest.approx(told.units["n_found"].sum())
    assert len(two) > 0


def test_spikeinterface_says_the_same(plan: Plan, found: Trains) -> None:
    from spikeinterface import NumpySorting
    from spikeinterface.comparison import compare_sorter_to_ground_truth

    rate_hz = plan.source.sampling_frequency_hz
    true = NumpySorting.from_unit_dict({k: train for k, train in enumerate(true_trains(plan))}, rate_hz)
    other = NumpySorting.from_unit_dict(
        {str(name): found.sample[found.of_unit(k)] for k, name in enumerate(found.unit_ids)}, rate_hz
    )
    compared = compare_sorter_to_ground_truth(true, other, delta_time=0.4, match_score=0.5, exhaustive_gt=False)
    ours = score(plan, found).units
    theirs = compared.get_performance()
    np.testing.assert_allclose(ours["recall"].iloc[:2], theirs["recall"].iloc[:2].astype(float), atol=0.01)
    np.testing.assert_allclose(ours["accuracy"], theirs["accuracy"].astype(float), atol=0.01)
    np.testing.assert_allclose(ours["precision"].iloc[:2], theirs["precision"].iloc[:2].astype(float), atol=0.01)
    assert [str(unit) for unit in compared.hungarian_match_12] == ["a", "b", ""]


def test_a_perfect_sorting_scores_one_and_an_empty_one_zero(plan: Plan) -> None:
    trains = {f"u{k}": train for k, train in enumerate(true_trains(plan))}
    assert score(plan, make_trains(**trains)).summary["accuracy"] == 1.0
    nothing = Trains(np.empty(0, dtype=str), np.empty(0, int), np.empty(0, int), np.array([0]))
    told = score(plan, nothing)
    assert (told.summary["accuracy"], told.summary["n_assigned"]) == (0.0, 0)
    assert told.confusion.columns.tolist() == ["missed"]


def test_the_logistic_fit_finds_its_parameters() -> None:
    rng = np.random.default_rng(0)
    x, n = np.linspace(0, 20, 60), np.full(60, 500)
    k = rng.binomial(n, 1 / (1 + np.exp(-(x - 8) * 0.6)))
    fit = fit_logistic(x, k, n)
    assert fit["half"] == pytest.approx(8, abs=0.3)
    assert fit["slope"] == pytest.approx(0.6, rel=0.1)
    assert np.isnan(fit_logistic(np.ones(3), np.ones(3), np.ones(3))["slope"])
    assert np.isfinite(fit_logistic(np.arange(4.0), np.full(4, 10), np.full(4, 10))["slope"])  # all found


def test_templates_are_compared_over_shifts() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(0, 1, (3, 40, 5))
    first[:, :8] = first[:, -8:] = 0
    second = np.stack([2 * np.roll(first[1], 4, axis=0), -first[0]])
    alike = compare_templates(first, second)
    assert alike[1, 0] == pytest.approx(1, abs=1e-9)
    assert compare_templates(first, second, max_shift=0)[1, 0] < 0.5
    one_by_one = np.corrcoef(first[2].ravel(), second[1].ravel())[0, 1]
    assert compare_templates(first, second, max_shift=0)[2, 1] == pytest.approx(one_by_one)
    assert compare_templates(first, second, "cosine")[0, 1] < 1
    distance = compare_templates(first, np.roll(first, -3, axis=1), "frobenius")
    np.testing.assert_allclose(distance.diagonal(), 0, atol=1e-6)
    assert distance[0, 1] == pytest.approx(np.sqrt(2), rel=0.3)


def test_measured_templates_are_those_injected(toy: Toy) -> None:
    plan, source = toy.plan(channels=ChannelParams(radius_um=30.0), mode="mean")
    trains = make_trains(**{f"u{k}": train for k, train in enumerate(true_trains(plan))})

    changed, _ = to_spikeinterface(plan, as_recording(source))
    window = Window(plan.before, plan.n_samples)
    hybrid = from_recording(changed, source.path)
    measured = measure_templates(hybrid, trains, list(range(len(plan.units))), window, 0)
    alike = compare_templates(plan.templates(), measured)
    assert (alike.diagonal() > 0.9).all()


def test_the_lazy_recording_has_the_bytes_of_apply(toy: Toy) -> None:
    plan, source = toy.plan(channels=ChannelParams(radius_um=30.0))
    whole = source.read(0, 0, source.counts[0])
    recording = as_recording(source)
    changed, sorting = to_spikeinterface(plan, recording)
    expected = whole.copy()
    Injector(plan).add(expected, 0, 0)
    np.testing.assert_array_equal(changed.get_traces(start_frame=1000, end_frame=9000), expected[1000:9000])
    np.testing.assert_array_equal(
        changed.get_traces(start_frame=5, end_frame=900, channel_ids=changed.channel_ids[3:5]), expected[5:900, 3:5]
    )
    np.testing.assert_array_equal(recording.get_traces(), whole)
    assert [sorting.get_unit_spike_train(k).tolist() for k in sorting.unit_ids] == [
        t.tolist() for t in true_trains(plan)
    ]
    half = recording.select_channels(recording.channel_ids[::-1][: len(recording.channel_ids)][1:])
    fewer, _ = to_spikeinterface(plan, half) if 23 not in plan.channels else (changed, None)
    kept = [
        int(np.flatnonzero((source.probe.positions_um == xy).all(axis=1))[0]) for xy in fewer.get_channel_locations()
    ]
    np.testing.assert_array_equal(fewer.get_traces(end_frame=3000), expected[:3000, kept])

"""Plans: reproducible, with the intervals, sizes and places that were asked for."""

import hashlib

import numpy as np
import pytest

from hybrid_data import Toy
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.hybrid_params import AmplitudeParams, ChannelParams, DriftParams, RelocateParams, TimesParams
from spikeprint.core.hybrid_plan import NO_COLLISION, Plan
from spikeprint.core.spikes import Motion
from spikeprint.hybrid.inject import Injector
from spikeprint.hybrid.make import make_plan
from spikeprint.hybrid.matching import match

SMALL = {"channels": ChannelParams(radius_um=45.0)}


def intervals(plan: Plan) -> np.ndarray:
    """All intervals within units, ms."""
    found = []
    for unit in plan.units:
        mine = plan.spikes[plan.spikes["unit"] == unit.unit_id]
        found += [np.diff(mine["sample"][mine["segment"] == k]) for k in np.unique(mine["segment"])]
    return np.concatenate(found) / plan.source.sampling_frequency_hz * 1000


def test_same_seed_same_plan_other_seed_other_plan(toy: Toy) -> None:
    first, second, other = (toy.plan(seed=seed, **SMALL)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.spikes, second.spikes)
    np.testing.assert_array_equal(first.waveforms, second.waveforms)
    assert first.units == second.units
    assert len(first.units) == 2
    assert first.spikes["sample"].tolist() != other.spikes["sample"].tolist()


def test_draws_do_not_depend_on_the_machine(toy: Toy) -> None:
    plan, _ = toy.plan(seed=1, **SMALL)
    columns = [plan.spikes[name].astype(np.int64).tobytes() for name in ("segment", "sample", "unit", "bank")]
    assert hashlib.md5(b"".join(columns), usedforsecurity=False).hexdigest() == GOLDEN


GOLDEN = "8e30738fe3b227a04a65a77756631555"
"""Of the plan that NumPy's PCG64 gives; whole numbers only, so no rounding takes part."""


@pytest.mark.parametrize(
    "times",
    [
        TimesParams(mode="renewal", rate_hz=40.0),
        TimesParams(mode="renewal", rate_hz=100.0, shape=3.0, refractory_ms=4.0),
        TimesParams(mode="renewal", rate_hz=20.0, burst={"probability": 0.4, "interval_ms": 3.5}),
        TimesParams(mode="jitter"),
        TimesParams(mode="jitter", jitter_ms=20.0, refractory_ms=5.0),
    ],
)
def test_no_interval_is_below_the_refractory_period(times: TimesParams, toy: Toy) -> None:
    plan, _ = toy.plan(times=times, **SMALL)
    assert intervals(plan).min() >= times.refractory_ms
    if times.rate_hz:
        for unit in plan.units:
            assert unit.rate_hz == pytest.approx(times.rate_hz, rel=0.15)
    if times.mode == "jitter":
        for unit in plan.units:
            mine = plan.spikes["sample"][plan.spikes["unit"] == unit.unit_id]
            own = toy.trains[unit.source_unit]
            distance = np.abs(mine[:, None] - own[None]).min(axis=1) / plan.source.sampling_frequency_hz * 1000
            assert distance.min() >= times.guard_ms - 0.06  # troughs are found to the sample
            assert len(mine) > 0.5 * len(own)


@pytest.mark.parametrize(("mode", "wanted", "field"), [("target_snr", 9.0, "snr"), ("target_uv", 80.0, "amplitude_uv")])
def test_sizes_are_those_requested(mode: str, wanted: float, field: str, toy: Toy) -> None:
    plan, source = toy.plan(amplitude=AmplitudeParams(mode=mode, low=wanted, high=wanted), **SMALL)
    gain_uv = source.gains_uv[0]
    noise_bits = 10.0  # of the simulation
    templates = plan.templates()
    for unit in plan.units:
        assert getattr(unit, field) == pytest.approx(wanted, rel=1e-3)
        size = float(np.abs(templates[unit.unit_id]).max())
        assert (size * gain_uv if field == "amplitude_uv" else size / noise_bits) == pytest.approx(wanted, rel=0.05)
        assert int(np.ptp(templates[unit.unit_id], axis=0).argmax()) == unit.peak_channel
    assert gain_uv == 0.5


def test_a_shift_takes_contacts_onto_contacts(toy: Toy) -> None:
    plan, source = toy.plan(relocate=RelocateParams(min_um=40, max_um=150), **SMALL)
    positions = source.probe.positions_um
    still, _ = toy.plan(relocate=RelocateParams(mode="none"), **SMALL)
    for unit, old in zip(plan.units, still.units, strict=True):
        shift = np.array([unit.shift_x_um, unit.shift_y_um])
        assert 40 <= np.linalg.norm(shift) <= 150
        np.testing.assert_allclose(positions[unit.peak_channel] - positions[old.peak_channel], shift)
        a, b = plan.templates()[unit.unit_id], still.templates()[old.unit_id]
        np.testing.assert_allclose(np.ptp(a, axis=0).max(), np.ptp(b, axis=0).max(), rtol=0.03)


def test_waveforms_begin_and_end_at_zero_and_vary(toy: Toy) -> None:
    plan, _ = toy.plan(**SMALL)
    assert (plan.waveforms[:, [0, -1]] == 0).all()
    assert len(plan.waveforms) == 2 * 64
    assert np.abs(np.diff(plan.waveforms[:64], axis=0)).max() > 1
    mean, _ = toy.plan(mode="mean", **SMALL)
    assert len(mean.waveforms) == 2


def test_units_by_name_and_unknown_ones(toy: Toy) -> None:
    plan, _ = toy.plan(units=[3, "1"], **SMALL)
    assert [unit.source_unit for unit in plan.units] == ["3", "1"]
    with pytest.raises(ConfigError, match=r"no unit '4'; there are 3, the nearest: 3, 2, 1"):
        toy.plan(units=[4])


def test_a_unit_without_enough_events_or_place_is_told(toy: Toy) -> None:
    with pytest.raises(DataError, match=r"no unit can be made a hybrid of \(1: 3 events of \d+ differences; rank 6"):
        toy.plan(units=[1], max_events=3, **SMALL)
    with pytest.raises(DataError, match=r"no place for it: .* none of them 2000 to inf µm long"):
        toy.plan(units=[1], relocate=RelocateParams(min_um=2000), **SMALL)
    plan, _ = toy.plan(units=[1], relocate=RelocateParams(min_um=2000), allow_dropped=True, **SMALL)
    assert (len(plan.units), len(plan.spikes)) == (0, 0)
    assert "no place" in plan.dropped["1"]


def test_a_unit_of_noise_has_no_footprint(toy: Toy) -> None:
    source, trains, params = toy.open(units=["1"], **SMALL)
    rng = np.random.default_rng(0)
    noise = np.sort(rng.integers(100, source.counts[0] - 100, 30))
    silent = type(trains)(np.array(["1"]), np.zeros(30, dtype=np.int64), noise, np.array([0, 30]))
    params = params.model_copy(update={"channels": ChannelParams(min_snr=30.0)})
    with pytest.raises(DataError, match=r"1: no compact footprint: channel \d+.* standard errors"):
        make_plan(source, silent, params)


def test_given_times_are_taken_and_checked(toy: Toy) -> None:
    source, trains, params = toy.open(units=["1"], times=TimesParams(mode="given", file="x"), **SMALL)
    plan = make_plan(source, trains, params, given={"1": np.array([900, 500, 900])})
    assert plan.spikes["sample"].tolist() == [500, 900]
    with pytest.raises(DataError, match=r"the spike given at sample 5 of traces0\.bin crosses its end"):
        make_plan(source, trains, params, given={"1": np.array([5, 500])})
    with pytest.raises(DataError, match=r"times\.file has no row of unit 1"):
        make_plan(source, trains, params, given={"2": np.array([500])})


def test_drift_moves_spikes_along_the_probe(toy: Toy) -> None:
    motion = Motion(np.array([[0.0], [30.0]]), np.array([0.0, 12.0]), np.array([0.0]))
    source, trains, params = toy.open(units=["1"], drift=DriftParams(file="x", step_um=5.0), mode="mean", **SMALL)
    plan = make_plan(source, trains, params, motion)
    spikes = plan.spikes
    assert set(spikes["displacement"]) == set(range(7))
    assert (np.diff(spikes["displacement"]) >= 0).all()
    positions = source.probe.positions_um
    centres = []
    for row in (spikes["bank"][0], spikes["bank"][-1]):
        used = plan.channels[row] >= 0
        size = np.ptp(plan.waveforms[row][:, used], axis=0) ** 2
        centres.append(float((positions[plan.channels[row][used], 1] * size).sum() / size.sum()))
    assert centres[1] - centres[0] == pytest.approx(30.0, abs=8.0)


def test_interpolated_units_keep_their_size(toy: Toy) -> None:
    plan, _ = toy.plan(relocate=RelocateParams(mode="interpolate", min_um=40), **SMALL)
    still, _ = toy.plan(relocate=RelocateParams(mode="none"), **SMALL)
    assert len(plan.units) == 2
    for unit, old in zip(plan.units, still.units, strict=True):
        assert unit.shift_y_um % 20 != 0
        assert 0.6 < unit.amplitude_uv / old.amplitude_uv < 1.2


def test_compat_follows_the_reference(toy: Toy) -> None:
    plan, source = toy.plan(compat=True, times=TimesParams(mode="jitter"), relocate=RelocateParams(min_um=0), **SMALL)
    own = toy.trains[plan.units[0].source_unit]
    mine = plan.spikes["sample"][plan.spikes["unit"] == 0]
    assert abs(len(mine) - len(own)) < 5
    distance = np.abs(mine[:, None] - own[None]).min(axis=1)
    assert np.median(distance) >= 10  # about half the interval of 1 ms and the jitter
    assert intervals(plan).min() < 2.0  # the reference does not check them
    assert (plan.waveforms[:, [0, -1]] == 0).all()
    assert source.n_channels == 24


def test_collisions_are_those_of_units_on_shared_contacts(toy: Toy) -> None:
    plan, source = toy.plan(**SMALL)
    lag = plan.spikes["collision_lag"]
    assert (lag != NO_COLLISION).any()
    real = np.sort(np.concatenate(list(toy.trains.values())))
    for spike in plan.spikes[lag != NO_COLLISION][:50]:
        assert np.abs(real - (int(spike["sample"]) + int(spike["collision_lag"]))).min() <= 2
    assert source.counts[0] > 0


def test_short_traces_and_times_that_miss_the_trough(toy: Toy) -> None:
    with pytest.raises(DataError, match=r"240000 samples, shorter than a window of"):
        toy.plan(window_ms=(6000.0, 9000.0))
    source, trains, params = toy.open(units=["1"], **SMALL)
    late = type(trains)(trains.unit_ids, trains.segment, trains.sample + 9, trains.offsets)
    plan = make_plan(source, late, params)
    assert plan.notes == ("the extremum of the mean lies -9 samples from the spike times (median over units)",)
    assert plan.units[0].peak_channel >= 0


def test_a_matched_filter_finds_the_spikes(toy: Toy) -> None:
    """No sorter: the known template of a hybrid, over the noise, finds at least 95 % of its spikes at SNR 8."""
    rng = np.random.default_rng(3)
    amplitude = AmplitudeParams(mode="target_snr", low=8.0, high=8.0)
    plan, source = toy.plan(units=["1", "3"], mode="mean", amplitude=amplitude, **SMALL)
    traces = np.rint(rng.normal(0, 10, (source.counts[0], source.n_channels))).astype(np.int16)
    Injector(plan).add(traces, 0, 0)
    for unit, template in zip(plan.units, plan.templates(), strict=True):
        used = np.flatnonzero(np.abs(template).max(axis=0) > 0)
        output = sum(np.convolve(traces[:, k].astype(float), template[::-1, k], "same") for k in used)
        threshold = 0.5 * float((template**2).sum())
        centre = output[1:-1]
        peaks = np.flatnonzero((centre > threshold) & (centre >= output[:-2]) & (centre > output[2:])) + 1
        times = peaks - plan.n_samples // 2 + plan.before
        true = plan.spikes["sample"][plan.spikes["unit"] == unit.unit_id]
        found = match([true], [times], 8)
        assert found.counts[0, 0] / len(true) >= 0.95
        assert found.counts[0, 0] / len(times) >= 0.9

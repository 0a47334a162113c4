"""The parts of a plan, each against something simpler."""

import numpy as np
import pytest

from hybrid_data import make_positions, spike_shape
from spikeprint.core.errors import ConfigError, DataError, NotEnoughSpikes
from spikeprint.core.hybrid_params import ChannelParams, RelocateParams, TimesParams
from spikeprint.core.hybrid_plan import NO_COLLISION
from spikeprint.hybrid import compat
from spikeprint.hybrid.choose import Quality, choose_units, measure_contamination, measure_presence
from spikeprint.hybrid.collisions import find_lags
from spikeprint.hybrid.drift import carry_along, measure_shift
from spikeprint.hybrid.events import detrend
from spikeprint.hybrid.relocate import displace, find_lattice, krige, relocate
from spikeprint.hybrid.times import draw_jitter, draw_renewal
from spikeprint.hybrid.waveforms import fit_low_rank, pick_channels, taper
from spikeprint.io.hybrid.probes import make_emouse, make_neuropixels3a
from spikeprint.io.hybrid.sortings import Trains


def make_windows(n_events: int, n_samples: int, m: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    parts = rng.normal(0, 1, (3, n_samples, m))
    return np.einsum("ek,ksm->esm", rng.normal(0, 1, (n_events, 3)), parts) + rng.normal(
        0, 0.1, (n_events, n_samples, m)
    )


@pytest.mark.parametrize(("n_events", "n_samples", "m"), [(30, 20, 4), (300, 12, 3)])
def test_low_rank_is_the_truncated_svd_of_differences(n_events: int, n_samples: int, m: int) -> None:
    windows = detrend(make_windows(n_events, n_samples, m))
    left, size, right = np.linalg.svd(np.diff(windows, axis=1).reshape(n_events, -1), full_matrices=False)
    low = (left[:, :4] * size[:4]) @ right[:4]
    expected = np.concatenate(
        [np.zeros((n_events, 1, m)), np.cumsum(low.reshape(n_events, n_samples - 1, m), axis=1)], axis=1
    )
    found = fit_low_rank(windows, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found[:, -1], 0, atol=1e-5)
    with pytest.raises(NotEnoughSpikes, match="rank 400 needs as many of both"):
        fit_low_rank(windows, 400)


def test_detrended_windows_begin_and_end_at_zero() -> None:
    windows = make_windows(5, 30, 3) + np.linspace(0, 50, 30)[None, :, None]
    ends = detrend(windows)[:, [0, -1]]
    np.testing.assert_allclose(ends, 0, atol=1e-12)
    assert (taper(windows.astype(np.float32), 0.2)[:, [0, -1]] == 0).all()
    np.testing.assert_array_equal(taper(windows.astype(np.float32), 0.2)[:, 15], windows.astype(np.float32)[:, 15])


def test_the_footprint_is_compact_and_out_of_the_noise() -> None:
    rng = np.random.default_rng(1)
    positions = make_positions(40)
    size = 100 * np.exp(-np.linalg.norm(positions - positions[20], axis=1) / 30)
    windows = detrend(spike_shape()[None, :, None] * size + rng.normal(0, 5, (200, 60, 40)))
    kept = pick_channels(windows, np.arange(40), positions, ChannelParams(radius_um=60, max_channels=9))
    assert kept[0] == 20
    assert len(kept) == 9
    assert np.linalg.norm(positions[kept] - positions[20], axis=1).max() <= 60


def test_the_lattice_is_searched_completely() -> None:
    positions = make_neuropixels3a().positions_um
    channels = np.array([100, 101, 102, 103, 104])
    shifts, targets = find_lattice(channels, positions, 100)
    np.testing.assert_allclose(
        positions[targets] - positions[channels][None], np.broadcast_to(shifts[:, None], (len(shifts), 5, 2))
    )
    slow = 0
    for contact in np.flatnonzero(np.isfinite(positions).all(axis=1)):
        moved = positions[channels] + positions[contact] - positions[100]
        slow += all((np.linalg.norm(positions - place, axis=1) <= 0.5).any() for place in moved)
    assert len(shifts) == slow > 50
    reference = {36, 75, 112, 151, 188, 227, 264, 303, 340, 379, 384}
    assert not reference & set(targets.ravel().tolist())


def test_far_places_are_likelier_by_rank() -> None:
    positions = make_positions(200)
    rank = RelocateParams(weights="rank", min_um=20)
    even = RelocateParams(min_um=20)
    mean = [
        np.mean(
            [abs(relocate(np.array([4]), positions, p, 50, np.random.default_rng(k)).shift_um[1]) for k in range(200)]
        )
        for p in (rank, even)
    ]
    assert mean[0] > 1.2 * mean[1]


def test_channels_shift_by_their_order() -> None:
    positions = make_positions(24)
    positions[3] = np.nan
    params = RelocateParams(mode="channel_shift", channel_shift=4)
    move = relocate(np.array([10, 11, 12]), positions, params, 50, np.random.default_rng(0))
    assert move.channels.tolist() == [14, 15, 16]
    assert move.shift_um.tolist() == [0.0, 40.0]
    down = relocate(np.array([21, 22, 23]), positions, params, 50, np.random.default_rng(0))
    assert down.channels.tolist() == [17, 18, 19]
    with pytest.raises(DataError, match="leave the probe or change their distances 4 channels up and down"):
        relocate(np.array([0, 1, 2, 23]), positions, params, 50, np.random.default_rng(0))


@pytest.mark.parametrize(("shift", "largest"), [(3.5, 0.03), (10.0, 0.06)])
def test_kriging_predicts_decaying_sources(shift: float, largest: float) -> None:
    positions = make_positions(40)
    rng = np.random.default_rng(2)
    inner = np.flatnonzero((positions[:, 1] > 120) & (positions[:, 1] < 260))
    errors = []
    for _ in range(30):
        place = np.array([rng.uniform(0, 20), rng.uniform(150, 230)])

        def decay(at: np.ndarray, place: np.ndarray = place) -> np.ndarray:
            return np.exp(-np.sqrt(((at - place) ** 2).sum(axis=1) + 20**2) / 30)

        true = decay(positions[inner] - [0, shift])
        errors.append(
            np.abs(decay(positions) @ krige(positions, positions[inner] - [0, shift]) - true).max() / true.max()
        )
    assert np.median(errors) < largest
    np.testing.assert_allclose(krige(positions, positions[:5])[:, :5].diagonal(), 1, atol=5e-3)


def test_a_displacement_far_outside_is_refused() -> None:
    with pytest.raises(DataError, match="no contact within 50 µm of the new place"):
        displace(np.array([4, 5]), make_positions(24), np.array([0.0, 900.0]), 50.0)


def test_drift_makes_only_what_is_used() -> None:
    bank = np.random.default_rng(0).normal(0, 1, (4, 10, 3)).astype(np.float32)
    steps = np.array([0, 0, 2, 2, 0], dtype=np.int32)
    placed = carry_along(bank, np.array([1, 1, 1, 3, 2]), np.array([8, 9, 10]), make_positions(24), 60, steps, 5.0)
    assert len(placed.waveforms) == 4
    first = placed.waveforms[placed.row[0]]
    columns = {int(c): k for k, c in enumerate(placed.channels[placed.row[0]]) if c >= 0}
    np.testing.assert_array_equal(first[:, [columns[8], columns[9], columns[10]]], bank[1])


def test_motion_of_a_unit_is_noticed() -> None:
    positions = make_positions(24)
    moving = []
    for k in range(90):
        place = np.array([0.0, 80.0 + 40.0 * k / 90])
        moving.append(spike_shape()[:, None] * 200 * np.exp(-np.linalg.norm(positions - place, axis=1) / 25))
    windows = np.stack(moving)
    assert measure_shift(windows, positions[:, 1]) == pytest.approx(27, abs=6)
    assert abs(measure_shift(windows[[40] * 90], positions[:, 1])) < 1e-9


def test_renewal_trains_have_their_rate_and_no_short_interval() -> None:
    rng = np.random.default_rng(0)
    params = TimesParams(mode="renewal", refractory_ms=3)
    segment, sample = draw_renewal(params, 50.0, [(100, 600_000), (0, 300_000)], 30_000.0, rng)
    assert set(segment) == {0, 1}
    for number, (start, stop) in enumerate([(100, 600_000), (0, 300_000)]):
        mine = sample[segment == number]
        assert start <= mine.min() < mine.max() < stop
        assert np.diff(mine).min() >= 90
    assert len(sample) == pytest.approx(50 * 30, rel=0.1)
    with pytest.raises(ConfigError, match="500 Hz with a refractory period of 3 ms leaves no interval"):
        draw_renewal(params, 500.0, [(0, 1000)], 30_000.0, rng)


def test_jitter_gives_up_where_there_is_no_room() -> None:
    own = np.arange(100, 3000, 35)  # 1.17 ms apart: nowhere 1 ms from all of them
    params = TimesParams(mode="jitter", jitter_ms=0.3)
    _, sample, n_dropped = draw_jitter(
        params, np.zeros(len(own), int), own, [(0, 3200)], 30_000.0, np.random.default_rng(0)
    )
    assert n_dropped + len(sample) == len(own)
    assert n_dropped > 0.9 * len(own)


def test_choice_takes_good_units_spread_over_depth() -> None:
    good = {k: Quality(5 + k % 7, 500, 0.0, 1.0, 0.9, 10.0 * k, float(k % 5)) for k in range(40)}
    bad = {40: Quality(50, 100, 0.0, 1.0, 0.9, 0, 9), 41: Quality(50, 500, 0.5, 1.0, 0.9, 0, 9)}
    bad |= {42: Quality(50, 500, 0.0, 0.5, 0.9, 0, 9), 43: Quality(50, 500, 0.0, 1.0, 0.3, 0, 9)}
    chosen = choose_units(good | bad, 9)
    assert len(chosen) == 9
    assert max(chosen) < 40
    depths = [good[unit].depth_um for unit in chosen]
    assert sum(d < 135 for d in depths) == sum(135 <= d < 265 for d in depths) == sum(d >= 265 for d in depths) == 3
    assert [quality.fails()[0].split()[0] for quality in bad.values()] == [
        "100",
        "contamination",
        "presence",
        "consistency",
    ]


def test_contamination_and_presence() -> None:
    rng = np.random.default_rng(0)
    poisson = np.sort(rng.uniform(0, 600, 6000))
    assert measure_contamination(poisson, 600.0) == pytest.approx(0.5, rel=0.3)  # a Poisson train, against itself
    assert measure_contamination(np.arange(0, 600, 0.1), 600.0) == 0
    assert measure_presence(np.arange(0, 300, 0.1), 600.0) == pytest.approx(0.5)


def test_collision_lags_are_signed_and_by_contact() -> None:
    trains = Trains(np.array(["a", "b"]), np.array([0, 0, 1, 0]), np.array([100, 500, 90, 130]), np.array([0, 3, 4]))
    footprint = np.zeros((2, 6), dtype=bool)
    footprint[0, 2], footprint[1, 5] = True, True
    segment, sample = np.array([0, 0, 1, 1]), np.array([110, 520, 80, 4000])
    assert find_lags(segment, sample, np.array([1, 2]), trains, footprint).tolist() == [-10, -20, 10, -3910]
    assert find_lags(segment, sample, np.array([5]), trains, footprint).tolist() == [
        20,
        -390,
        NO_COLLISION,
        NO_COLLISION,
    ]
    assert (find_lags(segment, sample, np.array([0]), trains, footprint) == NO_COLLISION).all()


def test_compat_jitter_and_triangle_are_the_references() -> None:
    rng = np.random.default_rng(0)
    moved = compat.jitter(np.zeros(10_000, dtype=np.int64), 30, 50.0, rng)
    assert (moved > 0).sum() == 5000
    assert moved[moved > 0].min() >= 30
    assert moved[moved <= 0].max() <= -30
    segment, sample = compat.draw_times(np.empty(0, int), np.empty(0, int), [(40, 30_000)], (10.0, 30_000.0, 0.0), rng)
    assert sample.tolist() == list(range(40, 30_000, 3000))
    assert set(segment) == {0}
    events = compat.make_events(detrend(make_windows(40, 21, 3)), 3)
    low = fit_low_rank(detrend(make_windows(40, 21, 3)), 3)
    peak = np.abs(low[7]).max(axis=1).argmax()
    np.testing.assert_allclose(events[7, peak], low[7, peak], rtol=1e-5)
    np.testing.assert_allclose(events[7, peak // 2], low[7, peak // 2] * (peak // 2) / peak, rtol=1e-4, atol=1e-6)


def test_built_in_probes() -> None:
    neuropixels, mouse = make_neuropixels3a().positions_um, make_emouse().positions_um
    assert neuropixels.shape == (385, 2)
    assert np.isnan(neuropixels).any(axis=1).sum() == 11
    assert neuropixels[[0, 1, 2, 3, 4]].tolist() == [[43, 20], [11, 20], [59, 40], [27, 40], [43, 60]]
    assert np.isnan(mouse[[32, 33]]).all()
    assert mouse[7].tolist() == [20.0, 140.0]
    assert mouse[5].tolist() == [0.0, 480.0]
    assert len({tuple(place) for place in mouse[:32].tolist()}) == 32

"""Motion: one look-up, the right sign in depth and across, loud where it cannot be told."""

from typing import Any

import numpy as np
import pytest

from spikeprint.core.errors import DataError, NotEnoughSpikes
from spikeprint.core.production import LOCALIZATION
from spikeprint.core.spikes import GroundTruth, Motion, Peaks, Positions
from spikeprint.localize.motion import (
    correct_positions,
    correct_recording,
    estimate_motion,
    estimate_motions,
)
from spikeprint.localize.score import score_motion

RIGID = LOCALIZATION.motion
N_UNITS, DURATION_S = 30, 20.0


def simulate(shift: np.ndarray, contacts: np.ndarray, seed: int = 0) -> tuple[Peaks, Positions, GroundTruth]:
    """Spikes of resting neurons that jump by ``shift`` (2,) halfway, located with an error of 2 µm."""
    rng = np.random.default_rng(seed)
    n = 6_000
    places = np.column_stack([rng.uniform(-5, 25, N_UNITS), rng.uniform(60, 560, N_UNITS), rng.uniform(8, 35, N_UNITS)])
    samples = np.sort(rng.integers(0, int(DURATION_S * 30_000), n))
    unit = rng.integers(0, N_UNITS, n)
    way = np.zeros((int(DURATION_S * 5), 2))
    way[len(way) // 2 :] = shift
    truth = GroundTruth(samples, unit, places, np.repeat(way[:, None], N_UNITS, axis=1), 5.0)
    xyz = places[unit].copy()
    xyz[:, :2] += truth.moved_um(unit, samples / 30_000) + rng.normal(0, 2, (n, 2))
    nearest = np.linalg.norm(contacts[None] - xyz[:, None, :2], axis=2).argmin(axis=1)
    peaks = Peaks(samples, nearest, -rng.uniform(60, 200, N_UNITS)[unit], 30_000.0, int(DURATION_S * 30_000))
    return peaks, Positions(xyz.astype(np.float32)), truth


@pytest.fixture(scope="module")
def still() -> Any:
    """A recording without traces to speak of: DREDge looks at its rate, duration and contacts only."""
    import probeinterface
    from spikeinterface.generation import NoiseGeneratorRecording

    recording = NoiseGeneratorRecording(32, 30_000.0, [DURATION_S])
    probe = probeinterface.Probe(ndim=2, si_units="um")
    row = np.arange(32)
    probe.set_contacts(np.column_stack([20.0 * (row % 2), 20.0 * row]), shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(row)
    recording.set_probe(probe)
    return recording


@pytest.mark.parametrize("axis", [0, 1], ids=["x", "y"])
def test_a_shift_of_8_um_is_found_as_8_and_removed(still: Any, axis: int) -> None:
    shift = np.array([8.0, 0.0]) if axis == 0 else np.array([0.0, 8.0])
    peaks, positions, truth = simulate(shift, still.get_channel_locations())
    motions = estimate_motions(still, peaks, positions, RIGID.model_copy(update={"lateral": axis == 0}))
    motion = motions[-1]
    assert motion.axis == axis
    late, early = motion.displacement_um[motion.times_s > 11].mean(), motion.displacement_um[motion.times_s < 9].mean()
    assert late - early == pytest.approx(8.0, abs=1.5)
    corrected = correct_positions(positions, peaks.times_s, motions)
    rest = corrected.xyz_um[:, axis] - truth.locations_um[truth.units, axis]
    half = peaks.times_s > DURATION_S / 2
    assert abs(rest[half].mean() - rest[~half].mean()) < 1.5


def test_fast_motion_is_not_smoothed_away_unless_spikes_are_few(still: Any) -> None:
    n, period_s = int(DURATION_S * 5), 10.0
    share = np.arange(n) / 5 / period_s % 1
    way = np.column_stack([np.zeros(n), 40 * np.abs(share - 0.5)])
    peaks, positions, truth = simulate(np.zeros(2), still.get_channel_locations())
    moved = np.repeat(way[:, None], N_UNITS, axis=1)
    truth = GroundTruth(truth.samples, truth.units, truth.locations_um, moved, 5.0)
    xyz = positions.xyz_um.copy()
    xyz[:, :2] += truth.moved_um(truth.units, peaks.times_s)
    moving = Positions(xyz)

    def error(smooth_s: float, step: int) -> float:
        some, rows = peaks.take(np.arange(0, len(peaks), step)), slice(None, None, step)
        params = RIGID.model_copy(update={"smooth_s": smooth_s})
        return score_motion(estimate_motion(still, some, Positions(moving.xyz_um[rows]), params), truth)["drift_mae_um"]

    assert error(RIGID.smooth_s, 1) < 0.6 * error(1.0, 1)
    assert error(RIGID.smooth_s, 4) == error(1.0, 4)


def test_true_motion_takes_true_positions_back_to_rest(truth: GroundTruth) -> None:
    times = truth.samples / 30_000
    moving = truth.locations_um[truth.units].copy()
    moving[:, :2] += truth.moved_um(truth.units, times)
    edges = np.arange(len(truth.displacement_um)) / truth.displacement_hz
    motion = Motion(truth.displacement_um[:, :1, 1], edges, np.zeros(1))
    corrected = correct_positions(Positions(moving.astype(np.float32)), np.floor(times * 5) / 5, [motion])
    np.testing.assert_allclose(corrected.xyz_um, truth.locations_um[truth.units], atol=1e-3)


def test_the_look_up_is_the_librarys(rng: np.random.Generator) -> None:
    from spikeinterface.core.motion import Motion as Library

    mine = Motion(rng.normal(0, 5, (12, 4)), np.arange(12) + 0.5, np.array([0.0, 100, 250, 300]))
    times, depths = rng.uniform(-3, 15, 500), rng.uniform(-50, 350, 500)
    library = Library(mine.displacement_um, mine.times_s, mine.depths_um)
    expected = library.get_displacement_at_time_and_depth(times, depths)
    np.testing.assert_allclose(mine.at(times, depths), expected, atol=1e-4)


def test_scores_of_motion_ignore_its_offset(truth: GroundTruth) -> None:
    times, depths = np.arange(16) + 0.5, np.array([200.0, 400.0])
    exact = truth.motion(times, depths, 1.0)
    assert np.ptp(exact) > 15
    found = score_motion(Motion(exact + 3.0, times, depths), truth)
    assert found["drift_mae_um"] < 1e-9
    assert score_motion(Motion(np.zeros_like(exact), times, depths), truth)["drift_mae_um"] > 3


def test_too_short_a_recording_says_so(still: Any) -> None:
    peaks, positions, _ = simulate(np.zeros(2), still.get_channel_locations())
    with pytest.raises(NotEnoughSpikes, match=r"20\.0 s give 2 bins of 10 s.*at least 5 are needed"):
        estimate_motion(still, peaks, positions, RIGID.model_copy(update={"bin_s": 10.0}))


def test_traces_are_moved_along_the_shank_only(recording: Any) -> None:
    from spikeinterface.preprocessing import scale_to_uV

    flat = Motion(np.zeros((3, 1)), np.array([1.0, 2, 3]), np.array([100.0]))
    moved = correct_recording(scale_to_uV(recording), flat)
    np.testing.assert_allclose(moved.get_traces(0, 100, 400), recording.get_traces(0, 100, 400) * 0.195, atol=20)
    assert moved.get_num_channels() == recording.get_num_channels()
    with pytest.raises(DataError, match="along y only"):
        correct_recording(recording, Motion(np.zeros((3, 1)), np.array([1.0, 2, 3]), np.array([100.0]), axis=0))

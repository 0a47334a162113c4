"""Scores: truth itself is without error, and each kind of error shows where it should."""

import numpy as np
import pytest

from spikeprint.core.errors import NotEnoughSpikes
from spikeprint.core.spikes import GroundTruth, Peaks, Positions
from spikeprint.localize.score import Matches, match_peaks, score_positions, score_purity, score_tissue

N_UNITS, N = 8, 4_000
CONTACTS = np.array([[0.0, 20.0 * i] for i in range(20)])


@pytest.fixture
def world(rng: np.random.Generator) -> tuple[Peaks, GroundTruth, Matches]:
    places = np.column_stack([rng.uniform(-10, 10, N_UNITS), 40 + 40.0 * np.arange(N_UNITS), np.full(N_UNITS, 20.0)])
    samples = np.sort(rng.choice(3_000_000, N, replace=False))
    units = rng.integers(0, N_UNITS, N)
    way = np.zeros((501, N_UNITS, 2))
    way[:, :, 1] = 10 * np.sin(np.arange(501) / 50)[:, None]
    truth = GroundTruth(samples, units, places, way, 5.0)
    moved = places[units, :2] + truth.moved_um(units, samples / 30_000)
    channels = np.linalg.norm(CONTACTS[None] - moved[:, None], axis=2).argmin(axis=1)
    shifted = np.maximum.accumulate(samples + rng.integers(-5, 6, N))
    peaks = Peaks(shifted, channels, np.full(N, -80.0), 30_000.0, 3_000_000)
    return peaks, truth, match_peaks(peaks, CONTACTS, truth)


def test_peaks_find_their_spikes(world: tuple[Peaks, GroundTruth, Matches]) -> None:
    _, truth, matches = world
    assert matches.detected > 0.98
    assert (matches.units == truth.units).mean() > 0.98


def test_truth_has_no_error(world: tuple[Peaks, GroundTruth, Matches]) -> None:
    _, truth, matches = world
    found = score_positions(Positions(matches.xyz_um.astype(np.float32)), matches)
    assert max(found.values()) < 1e-3
    rest = Positions((truth.locations_um[matches.units] + [0, 7.0, 0]).astype(np.float32))
    assert max(score_tissue(rest, matches, truth).values()) < 1e-3
    assert score_purity(rest, matches)["purity"] == 1.0


def test_bias_and_spread_are_told_apart(world: tuple[Peaks, GroundTruth, Matches], rng: np.random.Generator) -> None:
    _, _, matches = world
    shifted = matches.xyz_um + np.array([3.0, 4.0, 1.0])
    biased = score_positions(Positions(shifted.astype(np.float32)), matches)
    assert biased["bias_um"] == pytest.approx(5.0, abs=1e-3)
    assert biased["spread_um"] == pytest.approx(0.0, abs=1e-3)
    assert [biased["median_um"], biased["p90_um"]] == pytest.approx([5.0, 5.0], abs=1e-3)
    assert biased["mae_z_um"] == pytest.approx(1.0, abs=1e-3)
    noisy = matches.xyz_um + rng.normal(0, 4, matches.xyz_um.shape)
    spread = score_positions(Positions(noisy.astype(np.float32)), matches)
    assert spread["bias_um"] < 1.0
    assert spread["spread_um"] == pytest.approx(4 * np.sqrt(2 * np.log(2)), rel=0.1)


def test_positions_without_units_are_impure(
    world: tuple[Peaks, GroundTruth, Matches], rng: np.random.Generator
) -> None:
    _, _, matches = world
    anywhere = Positions(rng.uniform(0, 300, matches.xyz_um.shape).astype(np.float32))
    assert score_purity(anywhere, matches)["purity"] == pytest.approx(1 / N_UNITS, abs=0.03)


def test_the_truth_of_another_recording_says_so(world: tuple[Peaks, GroundTruth, Matches]) -> None:
    peaks, truth, _ = world
    far = GroundTruth(truth.samples, truth.units, truth.locations_um + 5_000, truth.displacement_um, 5.0)
    matches = match_peaks(peaks, CONTACTS, far)
    with pytest.raises(NotEnoughSpikes, match="is it the truth of this recording"):
        score_positions(Positions(np.zeros((N, 3), dtype=np.float32)), matches)

"""The joint phase: it repeats better, stays near where it started, and meets every spike once."""

import numpy as np
import pytest

from spikeprint.core.errors import NotEnoughSpikes
from spikeprint.core.localize_params import LocalizeParams
from spikeprint.core.spikes import Motion, Source
from spikeprint.localize.assess import assess
from spikeprint.localize.fit import FittedLocalizer, thaw
from spikeprint.localize.held_out import score_held_out
from spikeprint.localize.joint import Blocks, Compressed, compress, fit_joint, predict
from spikeprint.localize.motion import estimate_motion
from spikeprint.localize.predict import locate_by_source_net


@pytest.fixture(scope="module")
def spikes(source: Source, fitted: dict[str, FittedLocalizer]) -> Compressed:
    return compress(source, thaw(fitted["production"]), fitted["production"].config["n_neighbours"])


def test_the_cache_gives_what_the_traces_give(
    source: Source, fitted: dict[str, FittedLocalizer], spikes: Compressed
) -> None:
    cached = predict(thaw(fitted["production"]), spikes)
    fresh = locate_by_source_net(source, fitted["production"])
    assert np.median(np.abs(cached.xyz_um - fresh.xyz_um)) < 0.05
    assert spikes.parts.nbytes == len(source.peaks) * 12 * 8 * 2


def test_an_epoch_meets_every_spike_once(spikes: Compressed, params: LocalizeParams, source: Source) -> None:
    start = predict_start(spikes)
    still = Motion(np.zeros((2, 1)), np.array([0.0, 1.0]), np.zeros(1))
    blocks = Blocks(spikes, start, still, params.joint, 1.0, (0,))
    for _ in range(2):
        met = [block for block in blocks]
        assert sum(len(block.bins) for block in met) >= 0.7 * len(source.peaks)
        assert sum(len(block.bins) for block in met) <= len(source.peaks)
    few = Blocks(spikes, start, still, params.joint.model_copy(update={"min_spikes": 10_000}), 1.0, (0,))
    with pytest.raises(NotEnoughSpikes, match=r"hold 10000 spikes.*joint.outer: 0"):
        few.check()


def predict_start(spikes: Compressed):
    from spikeprint.core.spikes import Positions

    xyz = spikes.start.copy()
    xyz[:, :2] += spikes.reader.around.contacts_um[spikes.peaks.channels]
    return Positions(xyz)


def test_joint_training_raises_rho_and_stays_near(
    source: Source, fitted: dict[str, FittedLocalizer], params: LocalizeParams, spikes: Compressed
) -> None:
    twice = params.joint.model_copy(update={"outer": 2, "learning_rate": 3e-4})
    later, curves = fit_joint(fitted["production"], source, twice, params.motion, seed=0)
    assert [point.epoch for point in curves if point.part == "rho" and point.split == "train"] == [0, 1, 2, 3]
    one, other = (predict(thaw(each), spikes) for each in (fitted["production"], later))
    assert 0.01 < np.abs(one.xyz_um - other.xyz_um).mean() < 3.0
    motion = estimate_motion(source.recording, source.peaks, one, params.motion)
    before, after = (assess(source, each, [motion])["rho_soft4"] for each in (one, other))
    assert after > before


def test_held_out_contacts_are_explained(source: Source, fitted: dict[str, FittedLocalizer]) -> None:
    found = score_held_out(source, fitted["production"])
    assert 0 < found["held_out_error"] < found["held_out_error_monopole"] + 0.05
    assert found["held_out_error"] < 0.3

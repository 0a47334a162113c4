"""Means of neighbouring rows: never across a border, never of rows that do not count."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from population_models import quick
from spikeprint.core.errors import SettingError
from spikeprint.population import Population, PopulationEmbedder
from spikeprint.population.pools import Rules
from spikeprint.population.saving import CARD
from spikeprint.population.segments import make_segments
from spikeprint.population.smoothing import choose_reach, smooth_rows
from spikeprint.synth.populations import Simulated

ALL = np.ones(9, dtype=bool)


def test_weights_fall_to_nothing_at_the_reach() -> None:
    spike = np.zeros((9, 1), dtype=np.float32)
    spike[4] = 1
    seen = smooth_rows(spike, make_segments([9]), ALL, 3, keeps_length=False)[:, 0]
    assert seen == pytest.approx(np.array([0, 0, 1, 2, 3, 2, 1, 0, 0]) / 9)
    assert smooth_rows(spike, make_segments([9]), ALL, 1, keeps_length=False) is spike


def test_a_constant_stays_and_segments_and_invalid_rows_do_not_mix() -> None:
    rows = np.repeat([[1.0, 0.0], [0.0, 1.0]], [4, 5], axis=0).astype(np.float32)
    apart = smooth_rows(rows, make_segments([4, 5]), ALL, 4, keeps_length=False)
    assert apart == pytest.approx(rows)
    rows[6] = 50
    valid = np.arange(9) != 6
    kept = smooth_rows(rows, make_segments([4, 5]), valid, 4, keeps_length=False)
    assert kept[4:] == pytest.approx(np.repeat([[0.0, 1.0]], 5, axis=0))
    alone = smooth_rows(rows, make_segments([9]), np.zeros(9, dtype=bool), 4, keeps_length=False)
    assert np.array_equal(alone, rows)


def test_rows_of_no_segment_stay_missing_and_spoil_no_other() -> None:
    rows = np.ones((9, 2), dtype=np.float32)
    rows[4] = np.nan
    table = make_segments([4, 1, 4]).drop(index=1)
    seen = smooth_rows(rows, table, ALL, 5, keeps_length=True)
    assert np.isnan(seen[4]).all()
    assert np.delete(seen, 4, axis=0) == pytest.approx(np.ones((8, 2)))


def test_directions_are_averaged_and_lengths_kept() -> None:
    angle = np.radians([0.0, 40.0, 20.0])
    rows = (np.stack([np.cos(angle), np.sin(angle)], axis=1) * [[1], [1], [3]]).astype(np.float32)
    seen = smooth_rows(rows, make_segments([3]), ALL[:3], 2, keeps_length=True)
    assert np.linalg.norm(seen, axis=1) == pytest.approx([1, 1, 3])
    assert np.degrees(np.arctan2(*seen[0, ::-1])) == pytest.approx(40 / 3, abs=0.5)


@pytest.mark.parametrize(
    ("mode", "offsets", "has_pair", "reach"),
    [
        ("time", (3, 7), False, 3),
        ("time_delta", (10,), False, 10),
        ("mixed", (4,), False, 4),
        ("delta", (10,), False, 1),
        ("discrete", (10,), False, 1),
        ("discrete", (10,), True, 10),
    ],
)
def test_auto_is_the_least_offset_of_the_pairs(mode: str, offsets: tuple, has_pair: bool, reach: int) -> None:
    rules = Rules(mode, offsets, (1, 1), has_time_pair=has_pair)
    assert choose_reach("auto", rules) == reach
    assert choose_reach(2, rules) == 2


def test_transform_smooths_within_segments(track: Simulated) -> None:
    halves = Population.from_arrays(track.counts, segments=[700, 500])
    plain, smooth = (quick(time_offsets=5, smoothing=how).fit(track.counts) for how in (1, "auto"))
    assert (plain.smoothing_, smooth.smoothing_) == (1, 5)
    table = halves.segments
    expected = smooth_rows(plain.transform(halves), table, halves.valid, 5, keeps_length=True)
    assert smooth.transform(halves) == pytest.approx(expected, abs=1e-5)
    steps = [np.linalg.norm(np.diff(m.transform(track.counts), axis=0), axis=1).mean() for m in (plain, smooth)]
    assert steps[1] < 0.7 * steps[0]


def test_a_callback_may_embed(track: Simulated) -> None:
    seen: list[np.ndarray] = []
    model = quick(time_offsets=5, averaging=0, validation_fraction=0)
    model.fit(
        track.counts, callback=lambda _, fitted: seen.append(fitted.transform(track.counts)), callback_frequency=5
    )
    assert np.array_equal(seen[-1], model.transform(track.counts))


def test_a_saved_model_smooths_alike_and_one_from_before_not(track: Simulated, tmp_path: Path) -> None:
    model = quick(time_offsets=5).fit(track.counts)
    back = PopulationEmbedder.load(model.save(tmp_path / "model"))
    assert np.array_equal(back.transform(track.counts), model.transform(track.counts))
    with safe_open(tmp_path / "model", "pt") as file:
        card = json.loads(file.metadata()[CARD])
    del card["fitted"]["smoothing_"]
    save_file(load_file(tmp_path / "model"), tmp_path / "before", metadata={CARD: json.dumps(card)})
    assert PopulationEmbedder.load(tmp_path / "before").smoothing_ == 1


@pytest.mark.parametrize("smoothing", [0, 2.5, "much"])
def test_a_reach_that_is_none_is_told(smoothing: object, track: Simulated) -> None:
    with pytest.raises(SettingError, match=r"smoothing = .*: a whole number from 1 on, or auto is needed"):
        quick(smoothing=smoothing).fit(track.counts)

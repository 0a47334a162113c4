"""The data model: one rule for windows, no silent cutting, folders that come back as they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import PopulationError, SchemaError
from spikeprint.population import Population, read_population, write_population
from spikeprint.population.segments import find_pairs, make_segments


def make(lengths: tuple[int, ...] = (6, 6, 6), n_units: int = 3) -> Population:
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (sum(lengths), n_units)).astype(np.uint16)
    return Population.from_arrays(counts, {"x": rng.normal(size=len(counts))}, lengths, bin_width=0.1)


def test_no_window_crosses_a_border_or_touches_an_invalid_row() -> None:
    valid = np.ones(18, dtype=bool)
    valid[14] = False
    population = replace(make(), valid=valid)
    centres = population.centres((2, 2))
    for row in range(18):
        window = np.arange(row - 2, row + 2)
        inside = window.min() >= 0 and window.max() < 18 and len(set(window // 6)) == 1
        assert (row in centres) == (inside and valid[window].all())


def test_rows_between_segments_are_never_used() -> None:
    table = make_segments([4, 4]).assign(start_row=[0, 8], stop_row=[4, 12])
    population = Population.from_arrays(np.ones((12, 2)), segments=table)
    assert population.centres((0, 1)).tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert find_pairs(population.segment_of_row, population.centres((0, 1)), 2).tolist() == [0, 1, 8, 9]


def test_a_tensor_is_a_view_and_unequal_segments_are_named() -> None:
    population = make()
    assert population.tensor().shape == (3, 6, 3)
    assert np.shares_memory(population.tensor(), population.counts)
    with pytest.raises(PopulationError, match="segment 1 has 5 rows, the first has 6"):
        make((6, 5)).tensor()


def test_a_missing_bin_shifts_positional_blocks_but_no_tensor() -> None:
    presentation = np.repeat(np.arange(6), 10)
    flat = np.delete(presentation, 25)
    blocks = flat[: len(flat) // 10 * 10].reshape(-1, 10)
    assert (np.ptp(blocks[2:], axis=1) > 0).all()  # what cutting by position does: every later block mixes two
    lengths = np.bincount(flat)
    with pytest.raises(PopulationError, match="segment 2 has 9 rows"):
        Population.from_arrays(np.ones((len(flat), 2)), segments=lengths.tolist()).tensor()


def test_selection_by_mask_query_and_ids_agree() -> None:
    population = make()
    mask = population.select(np.array([False, True, True]))
    by_id = population.select([1, 2])
    by_query = population.select("segment_id > 0")
    for other in (by_id, by_query):
        assert np.array_equal(mask.counts, other.counts)
        assert np.array_equal(mask.labels["x"], other.labels["x"])
    assert mask.segments["start_row"].tolist() == [0, 6]
    with pytest.raises(PopulationError, match=r"no segments \[7\]"):
        population.select([7])
    with pytest.raises(PopulationError, match="columns of segments"):
        population.select("frame == 3")


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    population = make().with_label("angle", np.linspace(0, 6, 18), period=2 * np.pi)
    population = population.with_label("side", np.arange(18) % 2).with_label("wide", np.ones((18, 12)))
    write_population(tmp_path / "p", population)
    back = read_population(tmp_path / "p")
    assert isinstance(back.counts, np.memmap)
    assert np.array_equal(back.counts, population.counts)
    assert back.counts.dtype == np.uint16
    assert back.periods == {"angle": 2 * np.pi}
    for name, values in population.labels.items():
        assert back.labels[name].dtype == values.dtype
        assert np.array_equal(back.labels[name], values)
    pd.testing.assert_frame_equal(back.segments, population.segments, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: replace(p, units=p.units.assign(presence_ratio=[0.5, 1.5, 1.0])), "presence_ratio.*found 1.5"),
        (lambda p: replace(p, units=p.units.assign(unit_id=["a", "a", "b"])), "unit_id"),
        (lambda p: replace(p, segments=p.segments.assign(t_stop=p.segments["t_stop"] + 9)), "do not fill"),
        (lambda p: p.with_label("x", np.full(18, np.nan)), "'x': row 1 is empty"),
    ],
)
def test_a_folder_that_breaks_a_rule_is_not_written(change: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=said):
        write_population(tmp_path / "p", change(make()))  # type: ignore[operator]
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"units": pd.DataFrame({"unit_id": ["a"]})}, "3 columns of counts but 1 units"),
        ({"labels": {"x": np.zeros(3)}}, "label 'x' has 3 rows"),
        ({"bin_width": 0.0}, "bin width 0.0"),
        ({"valid": np.ones(2, dtype=bool)}, "valid is"),
        ({"periods": {"y": 1.0}}, "which are no labels"),
        ({"counts": np.zeros((0, 3))}, "counts are"),
        ({"segments": make_segments([10, 10])}, r"segment 1 is rows \[10, 20\) of 18"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict, said: str) -> None:
    with pytest.raises(PopulationError, match=said):
        replace(make(), **change)


def test_trials_as_three_axes_and_their_labels() -> None:
    X = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    labels = {"image": np.array(["a", "b"]), "pupil": np.arange(6.0).reshape(2, 3), "row": np.arange(6)}
    population = Population.from_arrays(X, labels, bin_width=0.1)
    assert np.array_equal(population.tensor(), X)
    assert population.labels["image"].tolist() == ["a"] * 3 + ["b"] * 3
    assert np.array_equal(population.labels["pupil"], np.arange(6.0))
    assert np.array_equal(population.labels["row"], np.arange(6))
    with pytest.raises(PopulationError, match="label 'x' has 5 rows, counts have 6"):
        Population.from_arrays(X, {"x": np.arange(5)})


def test_spike_times_by_unit_become_a_population() -> None:
    spikes = {"a": [0.31, 0.05, 0.12], 7: np.array([0.25])}  # in any order
    place = (np.array([0.0, 0.4]), np.array([0.0, 4.0]))
    population = Population.from_spikes(spikes, bin_width=0.1, t_stop=0.4, series={"place": place})
    assert population.units["unit_id"].tolist() == ["a", "7"]
    assert population.counts.tolist() == [[1, 0], [1, 0], [0, 1], [1, 0]]
    assert np.allclose(population.labels["place"], [0.5, 1.5, 2.5, 3.5])
    shown = pd.DataFrame({"start_time": [0.0, 0.2], "stop_time": [0.2, 0.4], "frame": [3, 1]})
    trials = Population.from_spikes(list(spikes.values()), presentations=shown, n_bins=2)
    assert trials.tensor().tolist() == [[[1, 0], [1, 0]], [[0, 1], [1, 0]]]
    assert set(trials.split("time", fractions=(0.5, 0, 0.5), label="none")) == {"train", "test"}
    for options, said in (
        ({"presentations": pd.DataFrame({"onset": [0.0]})}, "without start_time, stop_time; columns: onset"),
        ({"series": {"p": ([0.0, 1.0], [1, 2, 3])}}, "2 times, 3 values"),
    ):
        with pytest.raises(PopulationError, match=said):
            Population.from_spikes(spikes, **options)
    with pytest.raises(PopulationError, match="segments of 5 rows in all, X has 6"):
        Population.from_arrays(np.ones((6, 2)), segments=[2, 3])
    with pytest.raises(PopulationError, match="0 units, 0 spikes; an empty session"):
        Population.from_spikes({})
    with pytest.raises(PopulationError, match="finite"):
        Population.from_spikes([[0.1, np.nan]], t_stop=1.0)

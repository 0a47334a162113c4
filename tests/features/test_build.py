"""Whole tables from spike trains and templates: sessions, labels, quality control, the card."""

import json

import numpy as np
import pytest

from spikeprint.core.config import FeatureParams
from spikeprint.core.errors import DataError
from spikeprint.core.types import Sorting, Templates, UnitTable
from spikeprint.features.build import build_from_sortings

PARAMS = FeatureParams(
    min_spikes=100,
    max_isi_violations_ratio=0.5,
    min_presence_ratio=0.9,
    max_amplitude_cutoff=0.1,
    censor_ms=0.0,
    refine_trough=True,
    min_waveform_coverage=0.5,
    unlabelled_patterns=["unlabeled"],
    synonyms={"sst": "SOM"},
)
ORIGIN = {"dataset": "d", "technology": "neuropixels", "species": "mouse", "format": "arrays", "source_md5": "0"}
FS_HZ, DURATION_S = 20_000.0, 120.0
SPIKE = -80 * np.exp(-0.5 * ((np.arange(70) - 25) / 2.5) ** 2) + 20 * np.exp(-0.5 * ((np.arange(70) - 38) / 5) ** 2)


def regular(interval_s: float) -> np.ndarray:
    """Spike samples every ``interval_s`` over the session."""
    return (np.arange(0.001, DURATION_S, interval_s) * FS_HZ).astype(np.int64)


def make_sorting(trains: list[np.ndarray], labels: list[str], templates: np.ndarray | None = None) -> Sorting:
    """A sorting with the same template for all units unless ``templates`` are given."""
    n = len(trains)
    if templates is None:
        templates = np.tile(SPIKE[None, :, None], (n, 1, 2)) * np.array([1.0, 0.4])
    return Sorting(
        unit_ids=np.array([f"u{i}" for i in range(n)]),
        spike_times=np.concatenate(trains),
        offsets=np.concatenate([[0], np.cumsum([len(train) for train in trains])]),
        templates=Templates(templates.astype(np.float32), FS_HZ, positions_um=np.zeros((2, 2))),
        time_rate_hz=FS_HZ,
        duration_s=np.full(n, DURATION_S),
        labels=np.array(labels),
    )


TRAINS = {
    "good": regular(0.05),
    "silent": np.empty(0, dtype=np.int64),
    "single": np.array([50]),
    "few": regular(3.0),
    "half_session": regular(0.05)[:1100],
    "doubled": np.sort(np.concatenate([regular(0.05), regular(0.05) + 10])),
}


@pytest.fixture(scope="module")
def table() -> UnitTable:
    """One unit of each kind of ``TRAINS``."""
    labels = ["PV", "sst", "b'unlabeled'", "", "PV", "nan"]
    return build_from_sortings([make_sorting(list(TRAINS.values()), labels)], PARAMS, dict(ORIGIN))


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ("good", ""),
        ("silent", "few_spikes;low_presence"),
        ("single", "few_spikes;low_presence"),
        ("few", "few_spikes"),
        ("half_session", "low_presence"),
        ("doubled", "isi_violations"),
    ],
)
def test_quality_control_gives_its_reason(table: UnitTable, unit: str, reason: str) -> None:
    row = table.metadata.iloc[list(TRAINS).index(unit)]
    assert (row["qc_reason"], row["passes_qc"]) == (reason, reason == "")


def test_zero_counts_from_trains_stay_zeros(table: UnitTable) -> None:
    silent = list(TRAINS).index("silent")
    assert not table.isi[silent].any()
    assert not table.acg[silent].any()
    assert table.metadata["flags"][silent] == "low_n"


def test_intervals_add_up(table: UnitTable) -> None:
    n_spikes, overflow = table.metadata["n_spikes"], table.metadata["isi_overflow"]
    assert np.array_equal(table.isi.sum(axis=1) + overflow, np.maximum(n_spikes - 1, 0))


def test_labels_are_cleaned(table: UnitTable) -> None:
    assert table.labels.tolist() == ["PV", "SOM", "", "", "PV", ""]


def test_the_metadata_starts_with_the_unit_and_ends_with_quality_control(table: UnitTable) -> None:
    columns = table.metadata.columns.tolist()
    assert (columns[0], columns[-2:]) == ("unit_id", ["passes_qc", "qc_reason"])


def test_the_card_of_a_sorting_says_what_it_holds(table: UnitTable) -> None:
    card = json.loads(json.dumps(table.card))
    expected = {"n_samples": 50, "sampling_frequency_hz": 20_000.0, "trough_index": 20, "unit": "uV"}
    assert card["waveform"] == {**expected, "source_samples": 70}
    assert (card["schema_version"], card["n_units"], card["n_labelled"]) == (2, 6, 3)
    assert (card["classes"], card["missing"]) == ({"PV": 2, "SOM": 1}, {"waveform": 0, "isi": 0, "acg": 0})
    assert card["flagged"] == {"low_n": 2, "few_spikes": 3, "isi_violations": 1, "low_presence": 3}


@pytest.mark.parametrize(("name", "first", "last", "n"), [("isi", 0, 100, 100), ("acg", -100.5, 100.5, 201)])
def test_the_card_declares_the_bins(table: UnitTable, name: str, first: float, last: float, n: int) -> None:
    entry = table.card[name]
    edges = entry["bin_edges_ms"]
    assert (entry["representation"], entry["n_bins"], len(edges)) == ("counts_1ms", n, n + 1)
    assert (edges[0], edges[-1]) == (first, last)


def test_a_flat_template_is_a_missing_waveform() -> None:
    templates = np.stack([np.zeros((70, 2)), np.tile(SPIKE[:, None], 2)])
    built = build_from_sortings([make_sorting([regular(0.05)] * 2, ["", ""], templates)], PARAMS, dict(ORIGIN))
    assert np.isnan(built.waveform).all(axis=1).tolist() == [True, False]
    assert built.card["missing"]["waveform"] == 1


def test_equal_input_gives_equal_output_in_any_spike_order() -> None:
    shuffled = np.random.default_rng(0).permutation(TRAINS["good"])
    ordered = build_from_sortings([make_sorting([TRAINS["good"]], [""])], PARAMS, dict(ORIGIN))
    again = build_from_sortings([make_sorting([shuffled], [""])], PARAMS, dict(ORIGIN))
    assert np.array_equal(ordered.acg, again.acg)


def test_a_bad_train_names_the_dataset() -> None:
    with pytest.raises(DataError, match=r"^d: spike times: .* negative"):
        build_from_sortings([make_sorting([TRAINS["good"] - 10**6], [""])], PARAMS, dict(ORIGIN))


def test_exactly_one_class_is_an_error() -> None:
    with pytest.raises(DataError, match=r"d: labels hold one class, 'PV' \(2 units\); at least 2"):
        build_from_sortings([make_sorting([TRAINS["good"]] * 3, ["PV", "", "PV"])], PARAMS, dict(ORIGIN))


def test_a_class_lost_to_the_patterns_is_named() -> None:
    message = r"one class, 'PV' \(2 units\) \(taken as unlabelled by features.unlabelled_patterns: unlabeled_x\); at"
    with pytest.raises(DataError, match=message):
        build_from_sortings([make_sorting([TRAINS["good"]] * 3, ["PV", "unlabeled_x", "PV"])], PARAMS, dict(ORIGIN))


def test_no_labels_are_fine() -> None:
    built = build_from_sortings([make_sorting([TRAINS["good"]] * 2, ["", ""])], PARAMS, dict(ORIGIN))
    assert (built.card["classes"], built.card["n_labelled"]) == ({}, 0)

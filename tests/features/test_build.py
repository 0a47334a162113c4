"""Whole tables: trains and templates, CSV folders of any width, labels, quality control, the card."""

import json

import numpy as np
import pytest

from spikeprint.core.config import FeatureParams
from spikeprint.core.errors import DataError
from spikeprint.core.types import Sorting, SourceTable, Templates, UnitTable
from spikeprint.features.build import build_from_sorting, build_from_table

PARAMS = FeatureParams(
    min_spikes=100,
    max_isi_violations_ratio=0.5,
    min_presence_ratio=0.9,
    min_waveform_coverage=0.5,
    unlabelled_patterns=["unlabeled"],
    synonyms={"sst": "SOM"},
)
ORIGIN = {"dataset": "d", "technology": "neuropixels", "species": "mouse", "format": "arrays", "source_md5": "0"}
NOISE = np.random.default_rng(9).random((2, 40))
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


def make_source(labels: list[str], **arrays: np.ndarray) -> SourceTable:
    """A CSV source with two good waveforms and histograms unless replaced."""
    return SourceTable(np.array([str(i) for i in range(len(labels))]), arrays, np.array(labels))


def build(source: SourceTable, rate_hz: float | None = None) -> UnitTable:
    """``build_from_table`` with the default parameters."""
    return build_from_table(source, PARAMS, rate_hz, dict(ORIGIN, format="csv"))


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
    return build_from_sorting(make_sorting(list(TRAINS.values()), labels), PARAMS, dict(ORIGIN))


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
    assert (card["schema_version"], card["n_units"], card["n_labelled"]) == (1, 6, 3)
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
    built = build_from_sorting(make_sorting([regular(0.05)] * 2, ["", ""], templates), PARAMS, dict(ORIGIN))
    assert np.isnan(built.waveform).all(axis=1).tolist() == [True, False]
    assert built.card["missing"]["waveform"] == 1


def test_equal_input_gives_equal_output_in_any_spike_order() -> None:
    shuffled = np.random.default_rng(0).permutation(TRAINS["good"])
    ordered = build_from_sorting(make_sorting([TRAINS["good"]], [""]), PARAMS, dict(ORIGIN))
    again = build_from_sorting(make_sorting([shuffled], [""]), PARAMS, dict(ORIGIN))
    assert np.array_equal(ordered.acg, again.acg)


def test_a_bad_train_names_the_dataset() -> None:
    with pytest.raises(DataError, match=r"^d: spike times: .* negative"):
        build_from_sorting(make_sorting([TRAINS["good"] - 10**6], [""]), PARAMS, dict(ORIGIN))


def test_exactly_one_class_is_an_error() -> None:
    with pytest.raises(DataError, match=r"d: labels hold one class, 'PV' \(2 units\); at least 2"):
        build_from_sorting(make_sorting([TRAINS["good"]] * 3, ["PV", "", "PV"]), PARAMS, dict(ORIGIN))


def test_a_class_lost_to_the_patterns_is_named() -> None:
    message = r"one class, 'PV' \(2 units\) \(taken as unlabelled by features.unlabelled_patterns: unlabeled_x\); at"
    with pytest.raises(DataError, match=message):
        build_from_sorting(make_sorting([TRAINS["good"]] * 3, ["PV", "unlabeled_x", "PV"]), PARAMS, dict(ORIGIN))


def test_no_labels_are_fine() -> None:
    built = build_from_sorting(make_sorting([TRAINS["good"]] * 2, ["", ""]), PARAMS, dict(ORIGIN))
    assert (built.card["classes"], built.card["n_labelled"]) == ({}, 0)


def test_canonical_widths_keep_their_values() -> None:
    rng = np.random.default_rng(1)
    waveform, isi, acg = rng.normal(size=(2, 50)), rng.random((2, 100)), rng.random((2, 201))
    built = build(make_source(["PV", "SOM"], waveform=waveform, isi=isi, acg=acg))
    assert np.array_equal(built.waveform, waveform.astype(np.float32))
    assert np.array_equal(built.isi, isi)
    assert np.array_equal(built.acg, acg)


def test_an_absent_modality_is_missing_everywhere() -> None:
    built = build(make_source(["", ""], waveform=NOISE, isi=np.ones((2, 51))))
    assert np.isnan(built.acg).all()
    assert built.card["missing"] == {"waveform": 0, "isi": 0, "acg": 2}
    assert built.card["acg"]["source_bins"] is None


def test_rows_without_information_are_missing() -> None:
    waveform, isi = np.random.default_rng(0).random((5, 40)), np.ones((5, 51))
    waveform[0], waveform[1], waveform[2, 3], isi[3] = 0.0, 2.5, np.nan, 0.0
    built = build(make_source([""] * 5, waveform=waveform, isi=isi))
    assert np.isnan(built.waveform).all(axis=1).tolist() == [True, True, True, False, False]
    assert np.isnan(built.isi).all(axis=1).tolist() == [False, False, False, True, False]
    assert np.isfinite(built.waveform[3:]).all()
    assert built.card["flagged"] == {"nonfinite_waveform": 1, "flat": 2, "empty_isi": 1}


def test_a_unit_without_any_data_fails_quality_control() -> None:
    waveform, isi = np.random.default_rng(0).random((2, 40)), np.ones((2, 51))
    waveform[0], isi[0] = 0.0, 0.0
    metadata = build(make_source(["", ""], waveform=waveform, isi=isi)).metadata
    assert metadata["qc_reason"].tolist() == ["no_features", ""]


def test_histograms_of_other_widths_stay_within_their_range() -> None:
    isi = np.random.default_rng(3).random((2, 51))
    built = build(make_source(["", ""], waveform=NOISE, isi=isi))
    assert (built.isi.min() >= isi.min(), built.isi.max() <= isi.max()) == (True, True)
    entry = {"representation": "legacy", "n_bins": 100, "bin_edges_ms": None, "source_bins": 51}
    assert built.card["isi"] == entry


def test_a_known_rate_aligns_the_waveform() -> None:
    fast = np.interp(np.arange(0, 70, 0.5), np.arange(70), SPIKE)
    built = build(make_source(["", ""], waveform=np.stack([fast, np.roll(fast, 6)]), isi=np.ones((2, 100))), 40_000.0)
    assert built.waveform.argmin(axis=1).tolist() == [20, 20]
    assert built.card["waveform"]["trough_index"] == 20


def test_an_unknown_rate_claims_neither_time_nor_trough() -> None:
    built = build(make_source(["", ""], waveform=np.stack([SPIKE, SPIKE]), isi=np.ones((2, 100))))
    assert (built.card["waveform"]["sampling_frequency_hz"], built.card["waveform"]["trough_index"]) == (None, None)
    assert built.metadata["trough_to_peak_ms"].isna().all()
    assert built.metadata["peak_to_trough_ratio"].notna().all()


@pytest.mark.parametrize(
    ("isi", "message"),
    [(np.ones((2, 3)), "3 columns"), (np.array([[1.0] * 60, [1.0] * 59 + [-2.0]]), "row 2, column 60 is -2")],
)
def test_unusable_histograms_are_located(isi: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=rf"d: isi_dist\.csv: .*{message}"):
        build(make_source(["", ""], waveform=NOISE, isi=isi))

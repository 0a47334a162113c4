"""Whole tables from spike trains and templates: sessions, labels, quality control, the card."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeprint.core.config import FeatureParams
from spikeprint.core.errors import DataError
from spikeprint.core.types import Sorting, Templates, UnitTable
from spikeprint.features.build import build_from_sortings
from spikeprint.features.scalars import SCALARS

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


def of_session(name: str, **changes: Any) -> Sorting:
    """Two good units of a named session."""
    return replace(make_sorting([regular(0.05), regular(0.07)], ["PV", "SOM"]), session_id=name, **changes)


def test_sessions_are_concatenated_and_name_their_units() -> None:
    built = build_from_sortings([of_session("mon"), of_session("tue", templates=None)], PARAMS, dict(ORIGIN))
    assert built.unit_ids.tolist() == ["mon/u0", "mon/u1", "tue/u0", "tue/u1"]
    assert built.metadata["session_id"].tolist() == ["mon", "mon", "tue", "tue"]
    assert built.labels.tolist() == ["PV", "SOM"] * 2
    assert np.array_equal(built.acg[:2], built.acg[2:])
    assert (built.card["n_sessions"], built.card["n_units"], built.card["missing"]["waveform"]) == (2, 4, 2)


def test_sessions_give_what_each_gives_alone() -> None:
    first, second = of_session("a"), of_session("b", templates=Templates(np.tile(SPIKE[:, None], (2, 1, 1)), 30_000.0))
    both = build_from_sortings([first, second], PARAMS, dict(ORIGIN))
    alone = [build_from_sortings([each], PARAMS, dict(ORIGIN)) for each in (first, second)]
    for name in ("waveform", "isi", "acg"):
        assert np.array_equal(getattr(both, name), np.concatenate([getattr(table, name) for table in alone]))
    for name in SCALARS:
        expected = np.concatenate([table.metadata[name] for table in alone])
        assert np.array_equal(both.metadata[name], expected, equal_nan=True), name


def test_one_session_keeps_its_unit_names() -> None:
    built = build_from_sortings([of_session("mon")], PARAMS, dict(ORIGIN))
    assert (built.unit_ids.tolist(), built.metadata["session_id"].tolist()) == (["u0", "u1"], ["mon", "mon"])


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "b", "a"], "d: 'a' among 3 sessions"), (["", ""], "''"), ([], "d: no session among 0")],
)
def test_sessions_need_names_of_their_own(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_from_sortings([of_session(name) for name in names], PARAMS, dict(ORIGIN))


def test_a_bad_session_is_named() -> None:
    bad = of_session("tue", duration_s=np.full(2, 1.0))
    with pytest.raises(DataError, match=r"^d: session tue: spike times: .* after the end at 1 s"):
        build_from_sortings([of_session("mon"), bad], PARAMS, dict(ORIGIN))


def test_columns_of_the_source_are_kept() -> None:
    first = {
        "KSLabel": np.array(["good", "mua"], dtype=object),
        "depth": np.array([10.0, np.inf]),
        "ch": np.array([1, 2]),
    }
    second = {"depth": np.array([3, 4]), "region": np.array(["CA1", "CA3"], dtype=object), "ch": np.array([5, 6])}
    third = {"ch": np.array([7, 8]), "depth": np.array(["x", "y"], dtype=object)}
    two = build_from_sortings([of_session("a", extra=first), of_session("b", extra=second)], PARAMS, dict(ORIGIN))
    columns = two.metadata[[name for name in two.metadata if name.startswith("source_")]]
    assert columns["source_KSLabel"].tolist() == ["good", "mua", "", ""]
    assert columns["source_region"].tolist() == ["", "", "CA1", "CA3"]
    assert np.array_equal(columns["source_depth"], [10, np.nan, 3, 4], equal_nan=True)
    assert columns["source_ch"].tolist() == [1, 2, 5, 6]
    mixed = build_from_sortings([of_session("a", extra=second), of_session("c", extra=third)], PARAMS, dict(ORIGIN))
    assert mixed.metadata["source_depth"].tolist() == ["3", "4", "x", "y"]
    names = mixed.metadata.columns.tolist()
    assert names[:2] == ["unit_id", "session_id"]
    assert names.index("source_depth") > max(names.index(name) for name in SCALARS)


def test_a_sorting_without_templates_has_missing_waveforms_and_no_flag() -> None:
    built = build_from_sortings([of_session("", templates=None)], PARAMS, dict(ORIGIN))
    assert np.isnan(built.waveform).all()
    assert built.metadata["flags"].tolist() == ["", ""]
    assert built.metadata["passes_qc"].all()
    assert (built.card["waveform"]["unit"], built.card["waveform"]["source_samples"]) == (None, None)
    assert built.metadata[["amplitude", "peak_channel", "polarity", "wf_coverage"]].isna().all(axis=None)


def test_the_unit_of_the_waveforms_is_that_of_all_sessions() -> None:
    au = Templates(np.tile(SPIKE[:, None], (2, 1, 1)), FS_HZ, "au")
    sessions = [of_session("a"), of_session("b", templates=au, noise_uv=np.array([5.0, 5.0]))]
    built = build_from_sortings(sessions, PARAMS, dict(ORIGIN))
    assert built.card["waveform"]["unit"] == "mixed"
    assert built.metadata["snr"][:2].isna().all()
    assert built.metadata["snr"][2] == pytest.approx(16, rel=0.02)
    assert build_from_sortings(sessions[1:], PARAMS, dict(ORIGIN)).card["waveform"]["unit"] == "au"


def test_noise_in_microvolts_gives_the_signal_to_noise_ratio() -> None:
    built = build_from_sortings([of_session("", noise_uv=np.array([8.0, np.nan]))], PARAMS, dict(ORIGIN))
    assert built.metadata["snr"][0] == pytest.approx(10, rel=0.02)
    assert np.isnan(built.metadata["snr"][1])


@pytest.mark.parametrize(("unit", "known"), [("uV", True), ("au", False)])
def test_sizes_are_microvolts_only_where_the_gain_is_known(unit: str, known: bool) -> None:
    templates = Templates(np.tile(SPIKE[:, None], (2, 1, 1)), FS_HZ, unit)
    sorting = of_session("", templates=templates)
    sizes = np.random.default_rng(0).normal(300, 20, len(sorting.spike_times)).astype(np.float32)
    metadata = build_from_sortings([replace(sorting, amplitudes_uv=sizes)], PARAMS, dict(ORIGIN)).metadata
    assert metadata["amplitude_median_uv"].notna().all() == known
    assert metadata["amplitude_cutoff"].notna().all()  # a fraction: any unit will do


def test_dropped_spikes_are_counted_in_the_card() -> None:
    train = np.sort(np.concatenate([regular(0.05), [2_005, 2_005, 4_003]]))
    sorting = replace(make_sorting([train], [""]), duration_s=np.array([119.94]))
    built = build_from_sortings([sorting], PARAMS.model_copy(update={"censor_ms": 1.0}), dict(ORIGIN))
    assert built.card["dropped"] == {"invalid": 1, "duplicates": 1, "censored": 2}
    assert built.card["extraction"] == {
        "censor_ms": 1.0,
        "refine_trough": True,
        "min_waveform_coverage": 0.5,
        "low_pass_hz": 8000.0,
        "low_pass_order": 5,
    }
    assert built.metadata["flags"][0] == "invalid_times;duplicate_times;censored_times"
    assert built.metadata["n_spikes"][0] == len(train) - 4


def test_no_interval_crosses_a_segment() -> None:
    sorting = make_sorting([regular(0.05)], [""])
    segment = (sorting.spike_times > 60 * FS_HZ).astype(np.int64)
    whole, split = (
        build_from_sortings([replace(sorting, segment=each)], PARAMS, dict(ORIGIN)) for each in (None, segment)
    )
    assert (whole.isi.sum() - split.isi.sum(), split.metadata["isi_overflow"][0]) == (1, 0)


def test_units_cut_off_by_the_threshold_fail() -> None:
    sizes = np.sort(np.random.default_rng(0).normal(60, 10, 2 * len(regular(0.05))))[-len(regular(0.05)) :]
    whole = np.random.default_rng(1).normal(60, 10, len(regular(0.05)))
    amplitudes = -np.concatenate([np.random.default_rng(2).permutation(sizes), whole]).astype(np.float32)
    sorting = replace(make_sorting([regular(0.05)] * 2, ["", ""]), amplitudes_uv=amplitudes)
    built = build_from_sortings([sorting], PARAMS, dict(ORIGIN))
    assert built.metadata["qc_reason"].tolist() == ["amplitude_cutoff", ""]


def test_sizes_follow_their_spikes_through_cleaning() -> None:
    train = regular(0.05)
    order = np.random.default_rng(0).permutation(len(train))
    depths = train / FS_HZ
    sorting = replace(make_sorting([train], [""]), depths_um=depths.astype(np.float32))
    shuffled = replace(make_sorting([train[order]], [""]), depths_um=depths[order].astype(np.float32))
    expected, found = (
        build_from_sortings([each], PARAMS, dict(ORIGIN)).metadata["drift_ptp_um"][0] for each in (sorting, shuffled)
    )
    assert expected == pytest.approx(60, abs=0.2)
    assert found == expected


def test_bad_channels_and_missing_templates_are_not_errors() -> None:
    templates = np.tile(SPIKE[None, :, None], (3, 1, 2)) * np.array([1.0, 0.4])
    templates[1, :, 0], templates[2] = np.nan, np.nan
    built = build_from_sortings([make_sorting([regular(0.05)] * 3, [""] * 3, templates)], PARAMS, dict(ORIGIN))
    assert np.array_equal(built.metadata["peak_channel"], [0, 1, np.nan], equal_nan=True)
    assert built.card["missing"]["waveform"] == 1


def test_no_units_at_all() -> None:
    built = build_from_sortings([make_sorting([np.empty(0, np.int64)], [""], None)], PARAMS, dict(ORIGIN))
    empty = replace(
        make_sorting([np.empty(0, np.int64)], [""]),
        unit_ids=np.array([], dtype=str),
        offsets=np.array([0]),
        duration_s=np.array([]),
        labels=np.array([], dtype=str),
        templates=None,
    )
    assert len(build_from_sortings([empty], PARAMS, dict(ORIGIN)).labels) == 0
    assert built.metadata["flags"][0] == "low_n"

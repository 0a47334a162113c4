"""Datasets against each other: values worked out by hand, or by SciPy."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from spikeprint.validate.drift import (
    BETWEEN,
    compare_classes,
    compare_columns,
    compare_representations,
    compare_shares,
    find_outside,
    make_between,
    measure_ks,
)

CARD: dict[str, Any] = {
    "n_units": 20,
    "missing": {"waveform": 0, "isi": 0, "acg": 0},
    "waveform": {"unit": "uV", "sampling_frequency_hz": 20000.0},
    "isi": {"representation": "counts_1ms"},
    "acg": {"representation": "counts_1ms"},
}


def frame(rates: np.ndarray, qc: float = 1.0) -> pd.DataFrame:
    """Units with a rate, of which a part passes quality control."""
    return pd.DataFrame({"firing_rate_hz": rates, "passes_qc": np.arange(len(rates)) < qc * len(rates)}).astype(float)


def pick(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    """The one row with these entries."""
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


@pytest.mark.parametrize("seed", range(5))
def test_ks_is_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 9, rng.integers(1, 40)), rng.integers(3, 12, rng.integers(1, 40))
    assert measure_ks(left, right) == pytest.approx(ks_2samp(left, right).statistic)


def test_columns_against_all_others_pooled() -> None:
    units = {"a": frame(np.arange(20.0)), "b": frame(np.arange(20.0)), "c": frame(np.arange(100.0, 120.0))}
    rows = compare_columns(units)
    row = pick(rows, dataset="c")
    assert row == {
        "dataset": "c",
        "column": "firing_rate_hz",
        "n": 20,
        "median": 109.5,
        "others_median": 9.5,
        "median_ratio": round(109.5 / 9.5, 6),
        "ks": 1.0,
    }
    assert pick(rows, dataset="a")["ks"] == 0.5
    assert len(rows) == 3


def test_only_finite_values_count_and_few_are_not_compared() -> None:
    rates = np.array([1.0, np.nan, np.inf, *range(2, 9)])
    rows = compare_columns({"few": frame(rates), "many": frame(np.arange(1.0, 30.0))})
    few = pick(rows, dataset="few")
    assert (few["n"], few["median"], few["others_median"]) == (8, 4.5, 15.0)
    assert np.isnan([few["ks"], few["median_ratio"], pick(rows, dataset="many")["ks"]]).all()


def test_a_column_without_a_value_has_no_row_and_a_zero_median_no_ratio() -> None:
    units = {"a": frame(np.full(12, np.nan)), "b": frame(np.zeros(12)), "c": frame(np.ones(12))}
    rows = compare_columns(units)
    assert [row["dataset"] for row in rows] == ["b", "c"]
    assert np.isnan(pick(rows, dataset="c")["median_ratio"])
    assert pick(rows, dataset="b")["median_ratio"] == 0.0


def test_shares_differ_from_those_of_the_others() -> None:
    rows = compare_shares({"a": frame(np.ones(10), 0.5), "b": frame(np.ones(30), 0.9)})
    assert pick(rows, dataset="a", column="passes_qc") == {
        "dataset": "a",
        "column": "passes_qc",
        "n": 10,
        "share": 0.5,
        "others_share": 0.9,
        "difference": -0.4,
    }


def test_class_balance_among_shared_classes() -> None:
    labels = {
        "a": np.array(["PV"] * 3 + ["SOM"] + ["VIP"] * 9 + [""] * 5),
        "b": np.array(["PV", "SOM", "MLI"]),
        "c": np.array(["PV", "GoC"]),
        "none": np.array(["", ""]),
    }
    rows = compare_classes(labels)
    assert [(row["left"], row["right"]) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert rows[0] == {
        "left": "a",
        "right": "b",
        "shared": ["PV", "SOM"],
        "only_left": ["VIP"],
        "only_right": ["MLI"],
        "total_variation": 0.25,
    }
    assert rows[1]["shared"] == ["PV"]
    assert np.isnan(rows[1]["total_variation"])


def test_representations_that_differ_are_told() -> None:
    other = CARD | {"isi": {"representation": "legacy"}, "waveform": {"unit": "au", "sampling_frequency_hz": None}}
    other |= {"missing": {"acg": 20}, "acg": {"representation": "legacy"}}
    rows = compare_representations({"a": CARD, "b": other})
    assert rows == [
        {"modality": "waveform", "agree": False, "datasets": {"uV, 20000 Hz": ["a"], "au, rate unknown": ["b"]}},
        {"modality": "isi", "agree": False, "datasets": {"counts_1ms": ["a"], "legacy": ["b"]}},
        {"modality": "acg", "agree": True, "datasets": {"counts_1ms": ["a"]}},
    ]


def test_one_row_per_dataset_and_what_lies_outside() -> None:
    units = {"a": frame(np.arange(10.0, 30.0)), "b": frame(np.arange(110.0, 130.0), 0.2)}
    classes = compare_classes({"a": np.array(["x"] * 9 + ["y"]), "b": np.array(["x"] + ["y"] * 9)})
    cards = {"a": CARD, "b": CARD}
    between = make_between(compare_columns(units), compare_shares(units), classes, cards)
    assert between["dataset"].tolist() == ["a", "b"]
    assert between["class_variation"].tolist() == [0.8, 0.8]
    assert between["isi_representation"].tolist() == ["counts_1ms"] * 2
    found = {(row["dataset"], row["column"]): row["value"] for row in find_outside(between)}
    assert found[("b", "firing_rate_hz_ratio")] == pytest.approx(119.5 / 19.5, abs=1e-6)
    assert found[("a", "passes_qc_difference")] == 0.8
    assert {column for _, column in found} == {
        "firing_rate_hz_ks",
        "firing_rate_hz_ratio",
        "passes_qc_difference",
        "class_variation",
    }


def test_alike_datasets_lie_inside() -> None:
    units = {name: frame(np.arange(10.0, 40.0)) for name in "ab"}
    between = make_between(compare_columns(units), compare_shares(units), [], {"a": CARD, "b": CARD})
    assert find_outside(between) == []


def test_one_dataset_is_compared_with_nothing() -> None:
    units = {"a": frame(np.arange(10.0, 40.0))}
    columns, shares = compare_columns(units), compare_shares(units)
    assert np.isnan([columns[0]["ks"], shares[0]["difference"]]).all()
    assert find_outside(make_between(columns, shares, [], {"a": CARD})) == []


def test_every_expected_column_can_be_made() -> None:
    units = {
        name: frame(np.arange(10.0, 40.0)).assign(**{
            column.removesuffix("_ks"): 1.0 for _, column, _ in BETWEEN if column.endswith("_ks")
        }, **{
            column.removesuffix("_difference"): 1.0 for _, column, _ in BETWEEN if column.endswith("_difference")
        })
        for name in "ab"
    }  # fmt: skip
    between = make_between(compare_columns(units), compare_shares(units), [], {"a": CARD, "b": CARD})
    assert {column for _, column, _ in BETWEEN if column} <= set(between.columns)

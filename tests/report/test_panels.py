"""What a panel shows is what the table holds."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from spikeprint.report.panels import count_units, draw_confusion, draw_intervals, draw_profile, normalise_profile
from spikeprint.report.style import make_styles


@pytest.mark.parametrize(
    ("modality", "scaled"), [("waveform", [-1.0, 0.5]), ("isi", [2.0, -1.0]), ("acg", [4.0, -2.0])]
)
def test_profile_is_divided_by_its_own_scale(modality: str, scaled: list[float]) -> None:
    row = [-8.0, 4.0] if modality == "waveform" else [8.0, -4.0]
    np.testing.assert_allclose(normalise_profile(np.array([row]), modality), [scaled])


def test_missing_and_silent_rows_are_left_out() -> None:
    rows = np.array([[1.0, 3.0], [np.nan, np.nan], [0.0, 0.0]])
    np.testing.assert_allclose(normalise_profile(rows, "isi"), [[0.25, 0.75]])


def test_counts_split_by_quality_control(two_tables: dict) -> None:
    table = two_tables["toy_silicon"]
    passes, labels = table.metadata["passes_qc"].to_numpy(), table.labels
    expected = {
        name or "unlabelled": (sum(passes[labels == name]), sum(~passes[labels == name])) for name in ("PV", "VIP", "")
    }
    assert count_units(table) == expected


def test_drawn_mean_is_the_mean_of_the_passing_units(two_tables: dict) -> None:
    table = two_tables["toy_silicon"]
    axes = Figure().subplots()
    draw_profile(axes, table, "isi", make_styles(table.labels))
    rows = table.isi[(table.labels == "VIP") & table.metadata["passes_qc"].to_numpy()]
    expected = np.mean([row / row.sum() for row in rows], axis=0)
    color = make_styles(table.labels)["VIP"].color
    (line,) = [line for line in axes.get_lines() if line.get_color() == color]
    np.testing.assert_allclose(line.get_ydata(), expected)


@pytest.mark.parametrize(("name", "message"), [("no_acg", "recorded"), ("failed", "quality control")])
def test_an_empty_panel_says_why(odd_tables: dict, name: str, message: str) -> None:
    axes = Figure().subplots()
    draw_profile(axes, odd_tables[name], "acg", make_styles(odd_tables[name].labels))
    assert message in axes.texts[0].get_text()


def test_intervals_stand_where_mean_and_sd_are() -> None:
    axes = Figure().subplots()
    draw_intervals(axes, [{"knn": {"mean": 0.6, "sd": 0.1, "folds": [0.5, 0.7]}}], "knn")
    folds, interval, mean = (line.get_xdata() for line in axes.get_lines())
    np.testing.assert_allclose([*folds, *interval, *mean], [0.5, 0.7, 0.5, 0.7, 0.6])
    assert [text.get_text() for text in axes.texts] == ["0.60"]


def test_confusion_prints_counts_and_shares_of_the_row() -> None:
    axes = Figure().subplots()
    draw_confusion(axes, pd.DataFrame([[3, 1], [0, 2]], index=["a", "b"], columns=["a", "b"]), 3.0, False)
    assert [text.get_text() for text in axes.texts] == ["3\n75%", "1\n25%", "2\n100%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a (4)", "b (2)"]

"""Every figure draws usual and odd data, the same bytes each time."""

import io
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from spikeprint.report.figures import plot_ablations, plot_confusion, plot_data, plot_losses, plot_map
from spikeprint.report.style import make_styles


def png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=50, metadata={"Software": None})
    return target.getvalue()


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.fixture(params=["two_tables", "odd_tables"])
def tables(request: pytest.FixtureRequest) -> dict:
    return request.getfixturevalue(request.param)


def styles_of(tables: dict) -> dict:
    return make_styles(label for table in tables.values() for label in table.labels)


def test_data_has_a_row_for_every_dataset(tables: dict) -> None:
    figure = plot_data(tables, styles_of(tables))
    assert titles(figure)[::4] == list(tables)
    assert png(figure)


def test_losses_leave_out_controls_and_parts_that_are_off(losses: pd.DataFrame) -> None:
    figure = plot_losses(losses)
    assert titles(figure) == ["total", "waveform", "ISI", "ACG", "KL divergence", "classification"]
    assert {len(axes.get_lines()) for axes in figure.axes} == {6}  # final and two folds, training and validation
    assert png(figure)


def test_ablations_begin_with_the_registered_one(tables: dict, metrics_of: Callable) -> None:
    metrics = {name: metrics_of(name, tables, 0.7) for name in ("baseline", "production")}
    figure = plot_ablations(metrics, "production", "network")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["production", "baseline"]
    assert png(figure)


def test_ablations_skip_datasets_without_scores(odd_tables: dict, metrics_of: Callable) -> None:
    figure = plot_ablations({"production": metrics_of("production", odd_tables, 0.7)}, "production", "network")
    assert "unlabelled" not in titles(figure)


def test_ablations_draw_without_a_control(two_tables: dict, metrics_of: Callable) -> None:
    figure = plot_ablations({"a": metrics_of("a", two_tables, 0.7, with_control=False)}, "a", "knn")
    assert not any("control" in text.get_text() for text in figure.legends[0].get_texts())


def test_ablations_without_any_score_say_so() -> None:
    figure = plot_ablations({"a": {"datasets": {}, "overall": {}}}, "a", "knn")
    assert "no dataset" in figure.axes[0].texts[0].get_text()


def test_confusion_has_a_matrix_for_every_scored_dataset(tables: dict, confusion_of: Callable) -> None:
    confusion = confusion_of(tables)
    figure = plot_confusion(confusion)
    assert titles(figure) == list(dict.fromkeys(confusion["dataset"]))
    assert png(figure)


def test_confusion_keeps_predictions_outside_the_actual_classes() -> None:
    figure = plot_confusion(pd.DataFrame({"dataset": "a", "actual": ["PV", "PV"], "predicted": ["PV", "SOM"]}))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["PV", "SOM"]


def test_confusion_without_rows_says_so() -> None:
    figure = plot_confusion(pd.DataFrame(columns=["dataset", "actual", "predicted"]))
    assert "no dataset" in figure.axes[0].texts[0].get_text()


def test_map_draws_every_unit(tables: dict, points_of: Callable) -> None:
    points = points_of(tables)
    figure = plot_map(points, styles_of(tables))
    assert sum(len(cloud.get_offsets()) for cloud in figure.axes[0].collections) == len(points)
    assert png(figure)


def test_the_same_tables_give_the_same_bytes(two_tables: dict, points_of: Callable) -> None:
    styles, points = styles_of(two_tables), points_of(two_tables)
    assert png(plot_map(points, styles)) == png(plot_map(points, styles))

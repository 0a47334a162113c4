"""Figures of hybrids: nothing leaves its panel, many sorted units stay readable."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hybrid_data import make_toy
from spikeprint.hybrid.inject import Injector
from spikeprint.report.hybrid import SHOWN_SORTED, Change, plot_plan, plot_score, save_figure


@pytest.fixture
def units() -> pd.DataFrame:
    columns = ("snr", "amplitude_uv", "rate_hz", "accuracy", "recall")
    return pd.DataFrame(dict(zip(columns, np.linspace(0.2, 1, 15).reshape(5, 3), strict=True)))


def test_a_plan_is_drawn_before_and_after(tmp_path: Path) -> None:
    plan, source = make_toy(tmp_path / "recording", seconds=3.0).plan(units=["3"], channels={"radius_um": 45.0})
    original = source.read(0, 0, 800)
    changed = original.copy()
    Injector(plan).add(changed, 0, 0)
    waves = np.zeros((2, 1, plan.n_samples), dtype=np.float32)
    figure = plot_plan(plan, Change(*waves, original, changed, 0))
    figure.canvas.draw()
    width = figure.bbox.width
    for axis in figure.axes:
        assert axis.title.get_window_extent().x1 <= width
    labels = [line.get_label() for line in figure.axes[1].lines]
    assert "0" in labels
    save_figure(figure, tmp_path / "new" / "folder" / "a.png")
    assert (tmp_path / "new" / "folder" / "a.png").stat().st_size > 10_000


def test_units_on_one_contact_share_a_name(tmp_path: Path) -> None:
    plan, source = make_toy(tmp_path / "recording", seconds=3.0).plan(units=["3"], channels={"radius_um": 45.0})
    (one,) = plan.units
    both = replace(plan, units=(one, replace(one, unit_id=1)))
    traces, waves = source.read(0, 0, 800), np.zeros((2, 2, plan.n_samples), dtype=np.float32)
    probe = plot_plan(both, Change(*waves, traces, traces, 0)).axes[0]
    assert [text.get_text() for text in probe.texts if text.get_text()] == ["0, 1"]


def test_panels_of_a_score_are_evenly_apart_and_columns_are_few(units: pd.DataFrame) -> None:
    names = [str(k) for k in range(60)]
    table = pd.DataFrame(np.ones((4, 61), dtype=int), index=["a", "b", "c", "unmatched"], columns=[*names, "missed"])
    lags = pd.DataFrame({"lag_below_ms": [1.0, np.inf], "n_spikes": [3, 4], "recall": [0.5, 1.0]})
    figure = plot_score(units, table, lags, {})
    figure.canvas.draw()
    upper = [axis.get_position(original=False) for axis in figure.subfigs[0].axes]
    gaps = np.diff([box.x0 for box in upper])
    assert gaps[0] == pytest.approx(gaps[1], rel=0.02)
    ticks = [label.get_text() for label in figure.subfigs[1].axes[1].get_xticklabels()]
    assert ticks == [*names[:SHOWN_SORTED], f"{60 - SHOWN_SORTED} others", "missed"]

"""The figure of what the model makes up draws all of it, part of it, and nothing."""

import io
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from spikeprint.report.generative import plot_generative


def png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=50, metadata={"Software": None})
    return target.getvalue()


def titles(figure: Figure) -> list[str]:
    return [part.get_suptitle() for part in figure.subfigs]


def test_every_panel_is_a_row(generative_of: Callable, generated: pd.DataFrame) -> None:
    figure = plot_generative(generative_of(["left", "right"])["imputation"], generated)
    assert len(titles(figure)) == 5
    assert titles(figure)[2].endswith("a → b")
    assert titles(figure)[3].endswith("PV → SOM")
    assert {len(part.axes) for part in figure.subfigs} == {3}
    assert png(figure)


def test_lines_are_those_of_the_table(generative_of: Callable, generated: pd.DataFrame) -> None:
    figure = plot_generative(generative_of(["left"])["imputation"], generated)
    assert [len(part.axes[0].get_lines()) for part in figure.subfigs[1:]] == [4, 3, 11, 2]
    way = generated[(generated["panel"] == "path") & (generated["modality"] == "isi") & (generated["kind"] == "0")]
    assert figure.subfigs[3].axes[1].get_lines()[0].get_ydata() == pytest.approx(way["value"].to_numpy())


def test_bars_are_the_errors(generative_of: Callable, generated: pd.DataFrame) -> None:
    figure = plot_generative(generative_of(["left", "right"])["imputation"], generated)
    waveform, _, acg = figure.subfigs[0].axes
    bars = [patch.get_width() for patch in waveform.patches if patch.get_height() < 0.5]
    assert bars == [0.1, 0.2, 0.25] * 2
    assert [text.get_text().strip() for text in acg.texts][-1] == "not recorded"


@pytest.mark.parametrize("panel", ["examples", "swap", "path", "samples"])
def test_one_panel_alone(generated: pd.DataFrame, panel: str) -> None:
    figure = plot_generative({}, generated[generated["panel"] == panel])
    assert len(figure.subfigs) == 1
    assert png(figure)


def test_a_modality_without_traces_says_so(generated: pd.DataFrame) -> None:
    figure = plot_generative({}, generated[generated["modality"] != "acg"])
    assert {part.axes[2].texts[0].get_text() for part in figure.subfigs} == {"no ACG"}
    assert png(figure)


def test_nothing_made_up_says_so(generated: pd.DataFrame) -> None:
    figure = plot_generative({}, generated.iloc[:0])
    assert "nothing was made up" in figure.axes[0].texts[0].get_text()
    assert png(figure)


def test_the_same_table_gives_the_same_bytes(generative_of: Callable, generated: pd.DataFrame) -> None:
    scores = generative_of(["left"])["imputation"]
    assert png(plot_generative(scores, generated)) == png(plot_generative(scores, generated))

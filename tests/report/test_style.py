"""Colours and shapes tell classes and datasets apart, and stay put."""

import numpy as np
import pytest

from spikeprint.report.style import MARKERS, make_grid, make_markers, make_styles


def test_up_to_seven_types_keep_their_colours_when_counts_change() -> None:
    few = make_styles(["a", "b", "c", "c"])
    assert few == make_styles(["a"] * 9 + ["b"] * 5 + ["c"])


def test_twenty_types_all_look_different() -> None:
    styles = make_styles(f"class_{i:02d}" for i in range(20))
    assert len(set(styles.values())) == 20


def test_the_most_frequent_types_take_the_full_colours() -> None:
    labels = [name for name in "abcdefghij" for _ in range(1 if name < "d" else 5)]
    styles = make_styles(labels)
    assert {name for name, style in styles.items() if style.fill == "full"} == set("defghij")


def test_unlabelled_units_get_no_style() -> None:
    assert list(make_styles(["PV", ""])) == ["PV"]


def test_faces_go_from_white_to_the_colour() -> None:
    styles = make_styles(f"class_{i:02d}" for i in range(20))
    faces = {style.fill: style.face for style in styles.values() if style.color == "#0072B2"}
    assert faces["open"] == (1.0, 1.0, 1.0)
    assert np.all(np.array(faces["full"]) < faces["pale"])


def test_eight_datasets_have_eight_shapes() -> None:
    assert len(set(make_markers([f"set_{i}" for i in range(8)]).values())) == len(MARKERS) == 8


@pytest.mark.parametrize(("n_panels", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (8, (3, 3))])
def test_panels_fill_their_rows_evenly(n_panels: int, shape: tuple[int, int]) -> None:
    grid = make_grid(n_panels, 3, 2.0)
    assert (grid.n_rows, grid.n_columns) == shape
    assert len(grid.figure.axes) == n_panels

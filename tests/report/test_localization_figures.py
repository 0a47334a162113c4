"""Figures of localised recordings: what is drawn is what was given. Small arrays."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from spikeprint.core.errors import DataError
from spikeprint.core.spikes import GroundTruth, Motion, Peaks, Positions
from spikeprint.report import localization
from spikeprint.report.agreement import measure_agreement, plot_agreement, plot_motions
from spikeprint.report.localization import (
    Cloud,
    average_sizes,
    plot_convergence,
    plot_displacements,
    plot_entropy,
    plot_local,
    plot_ncc,
    plot_projections,
    plot_rasters,
    plot_sizes,
)
from spikeprint.report.localized import Located, draw_figures
from spikeprint.training import Curve

CONTACTS = np.column_stack([np.tile([0.0, 32.0], 6), np.repeat(np.arange(6) * 20.0, 2)])


@pytest.fixture
def cloud() -> Cloud:
    rng = np.random.default_rng(0)
    xyz = np.column_stack([rng.normal(16, 10, 300), rng.uniform(0, 100, 300), rng.uniform(0, 40, 300)])
    return Cloud(np.sort(rng.uniform(0, 10, 300)), xyz, rng.normal(3, 0.3, 300))


def points(figure: Figure, panel: int = 0, collection: int = 0) -> np.ndarray:
    return np.asarray(figure.axes[panel].collections[collection].get_offsets())


def titles(figure: Figure) -> list[str]:
    parts = [figure, *figure.subfigs]
    return [axis.get_title(loc="left") for part in parts for axis in part.axes]


def test_raster_draws_every_spike_and_the_largest_last(cloud: Cloud) -> None:
    figure = plot_rasters({"one": cloud, "two": cloud})
    drawn, largest = points(figure), cloud.log_size.argmax()
    assert drawn.shape == (300, 2)
    np.testing.assert_allclose(drawn[-1], [cloud.times_s[largest], cloud.xyz_um[largest, 1]])
    highest = np.asarray(plot_rasters({"one": cloud}, "z").axes[0].collections[0].get_array())
    np.testing.assert_allclose(highest, np.sort(cloud.xyz_um[:, 2]))


def test_more_spikes_than_can_be_drawn_are_drawn_by_lot(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localization, "MAX_DRAWN", 50)
    assert len(points(plot_rasters({"one": cloud}))) == 50


def test_correlations_say_their_mean_off_the_diagonal() -> None:
    matrix = np.array([[1, 0.2, 0.4], [0.2, 1, 0.6], [0.4, 0.6, 1]])
    assert "one\nmean 0.400" in titles(plot_ncc({"one": matrix}))


def test_entropy_says_its_mean_without_empty_seconds() -> None:
    legend = plot_entropy({"one": np.array([1.0, np.nan, 2.0])}).axes[0].get_legend()
    assert legend.get_texts()[0].get_text() == "one: mean 1.500"


def test_projections_show_spikes_and_contacts_from_three_sides(cloud: Cloud) -> None:
    flat = replace(cloud, xyz_um=np.where([True, True, False], cloud.xyz_um, np.nan))
    figure = plot_projections({"one": cloud, "flat": flat}, CONTACTS, {"one": "mean 0.5"})
    assert [part.get_suptitle().strip() for part in figure.subfigs] == ["one   mean 0.5", "flat"]
    first, second = (part.axes for part in figure.subfigs)
    assert [len(axis.collections[0].get_offsets()) for axis in first] == [300, 300, 300]
    assert all(len(axis.collections[-1].get_offsets()) == len(CONTACTS) for axis in [*first, *second])
    assert [text.get_text() for axis in second for text in axis.texts] == ["z is not told"] * 2


def test_displacements_are_coloured_by_length_and_direction(cloud: Cloud) -> None:
    moved = cloud.xyz_um.copy()
    moved[:150, 0] += 4
    moved[150:, 1] -= 2
    figure = plot_displacements(cloud.xyz_um, moved, CONTACTS)
    colors = np.asarray(figure.axes[0].collections[0].get_facecolors())
    assert len(np.unique(colors.round(3), axis=0)) == 2
    saturation = np.sort([float(np.ptp(color[:3]) / color[:3].max()) for color in colors])
    assert saturation[0] == pytest.approx(0.5, abs=0.02)
    assert saturation[-1] == pytest.approx(1, abs=0.02)
    assert "median 3.0 µm, fully coloured from 4.0 µm" in titles(figure)[0]


def test_local_scatter_has_all_three_views(cloud: Cloud) -> None:
    figure = plot_local(cloud.xyz_um, cloud.log_size)
    rows = np.argsort(cloud.log_size, kind="stable")
    for panel, pair in enumerate(((0, 1), (0, 2), (1, 2))):
        np.testing.assert_allclose(points(figure, panel), cloud.xyz_um[rows][:, pair])


def test_mean_sizes_are_those_of_depth_and_second() -> None:
    xyz = np.array([[0, 5.0, 0], [0, 15.0, 0], [0, 45.0, 0], [0, np.nan, 0]])
    cloud = Cloud(np.array([0.2, 0.4, 1.5, 1.7]), xyz, np.array([1.0, 3.0, 5.0, 9.0]))
    depths, means = average_sizes(cloud, 20.0)
    np.testing.assert_allclose(depths, [10, 30, 50])
    np.testing.assert_allclose(means, [[2, np.nan], [np.nan, np.nan], [np.nan, 5]])


def test_sizes_say_how_much_a_depth_varies(cloud: Cloud) -> None:
    many = Cloud(*(np.repeat(values, 8, axis=0) for values in (cloud.times_s, cloud.xyz_um, cloud.log_size)))
    even = replace(many, log_size=np.full(2400, 3.0))
    assert "mean nan" not in " ".join(titles(plot_sizes(many)))
    assert "mean 0.000" in titles(plot_sizes(even))


def test_convergence_has_a_panel_for_each_part() -> None:
    curves = pd.DataFrame({"epoch": [0, 1, 0, 1], "split": "train", "part": ["loss", "loss", "rho", "rho"]})
    figure = plot_convergence(curves.assign(value=[2.0, 1.0, 0.5, 0.6]))
    assert titles(figure) == ["loss", "rho"]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [0.5, 0.6])


def test_rounds_of_training_follow_one_another() -> None:
    curves = pd.DataFrame({"epoch": [0, 1, 0, 1], "split": "train", "part": "rho", "value": [0.1, 0.2, 0.3, 0.4]})
    lines = plot_convergence(curves).axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[0, 1], [2, 3]]


def test_agreement_is_measured_on_known_pairs() -> None:
    said = measure_agreement(np.array([1.0, 2.0, 3.0, np.nan]), np.array([0.0, 1.0, 2.0, 5.0]))
    assert said == pytest.approx({"rms": 1.0, "bias": 1.0, "r": 1.0})
    assert np.isnan(measure_agreement(np.full(3, np.nan), np.zeros(3))["rms"])


def test_agreement_shows_global_and_local(cloud: Cloud) -> None:
    own = CONTACTS[np.arange(300) % len(CONTACTS)]
    figure = plot_agreement(cloud.xyz_um + 1, cloud.xyz_um, own, ("net", "monopole"))
    found = titles(figure)
    assert [title.split("\n")[0] for title in found] == [f"{w} {a}" for w in ("global", "local") for a in "xyz"]
    assert all("RMS 1.0, bias +1.0, r 1.000" in title for title in found)
    np.testing.assert_allclose(points(figure, 3)[:, 0], cloud.xyz_um[:, 0] - own[:, 0])
    with pytest.raises(DataError, match="they must agree"):
        plot_agreement(cloud.xyz_um, cloud.xyz_um[1:], own, ("net", "monopole"))


@pytest.mark.parametrize("n_depths", [1, 4])
def test_motions_say_their_difference_without_the_offset(n_depths: int) -> None:
    times = np.arange(8.0)
    depths = np.arange(n_depths) * 50.0
    truth = Motion(np.tile(np.sin(times)[:, None], (1, n_depths)), times, depths)
    same = replace(truth, displacement_um=truth.displacement_um + 7)
    worse = replace(truth, displacement_um=truth.displacement_um + np.where(times % 2, 1.0, -1.0)[:, None])
    found = titles(plot_motions({"same": same, "worse": worse}, truth))
    assert "same − reference: RMS 0.00 µm" in found
    assert "worse − reference: RMS 1.00 µm" in found


@pytest.mark.parametrize(("with_truth", "alone"), [(True, False), (False, False), (False, True)])
def test_all_figures_of_a_recording(cloud: Cloud, with_truth: bool, alone: bool) -> None:
    samples = np.round(cloud.times_s * 1000).astype(int)
    peaks = Peaks(samples, np.arange(300) % 12, np.full(300, -80, dtype=np.float32), 1000.0, 10_000)
    places = Positions(cloud.xyz_um.astype(np.float32))
    times = np.arange(10) + 0.5
    located = Located(places, places, [Motion(np.zeros((10, 1)), times, np.array([50.0]))])
    truth = GroundTruth(samples, np.zeros(300, dtype=int), np.zeros((1, 3)), np.zeros((2, 1, 2)), 0.2)
    methods = {"net": located} if alone else {"monopole": Located(places, places, located.motions), "net": located}
    parts = ("position", "total"), ("rho", "total")
    curves = [] if alone else [Curve(0, "train", part, 1.0) for phase in parts for part in phase]
    figures = draw_figures(peaks, CONTACTS, methods, curves, truth if with_truth else None)
    pairs = set() if alone else {"displacements", "agreement", "convergence"}
    always = {"raster", "raster_z", "correlations", "entropy", "projections", "comparison", "local", "sizes", "motion"}
    assert set(figures) == always | pairs
    if not alone:
        assert titles(figures["convergence"]) == ["position", "total", "rho", "total, joint phase"]

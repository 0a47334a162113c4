"""Decoding by number of units and region: nested draws, the same test, more units tell more; figures show it all."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import PopulationError, SettingError
from spikeprint.population import correlate_units, decode_by_units
from spikeprint.population.binning import bin_trials
from spikeprint.population.data import Population
from spikeprint.population.decoding.kshot import Study, run_kshot
from spikeprint.population.decoding.sizes import summarise_sizes
from spikeprint.report.population_units import plot_correlations, plot_sizes
from spikeprint.synth.populations import make_images


@pytest.fixture(scope="module")
def images() -> Population:
    """Sixteen units; the first four, in region mute, know nothing of the images."""
    population = bin_trials(make_images(n_images=4, n_repeats=16, n_units=16, seed=2), 5)
    counts = population.counts.copy()
    counts[:, :4] = np.random.default_rng(0).poisson(1.0, (len(counts), 4))
    regions = ["mute"] * 4 + ["VISp", "VISl"] * 5 + ["", None]
    return replace(population, counts=counts, units=population.units.assign(region=regions))


@pytest.fixture(scope="module")
def table(images: Population) -> pd.DataFrame:
    return decode_by_units(images, "poisson_nb", repeats=4)


def test_more_units_tell_more_and_a_mute_region_nothing(table: pd.DataFrame) -> None:
    found = summarise_sizes(table).set_index(["region", "n_units"])
    assert found.loc["all"].index.tolist() == [1, 2, 4, 8, 16]
    assert found.loc["VISp"].index.tolist() == [1, 2, 4, 5]
    assert found.loc["all"]["n"].tolist() == [4, 4, 4, 4, 1]  # all are drawn once
    assert found.loc[("all", 16), "top1"] > found.loc[("all", 2), "top1"] + 0.15
    assert abs(found.loc[("mute", 4), "top1"] - 0.25) < 0.25
    assert found.loc[("VISp", 5), "top1"] > found.loc[("mute", 4), "top1"]
    assert table["region"].unique().tolist() == ["all", "VISl", "VISp", "mute"]
    assert table["n_test"].nunique() == 1
    assert table["chance"].eq(0.25).all()


def test_all_units_are_decoded_as_a_study_does(images: Population, table: pd.DataFrame) -> None:
    (row,) = table[(table["region"] == "all") & (table["n_units"] == 16)].to_dict("records")
    theirs = run_kshot([images], Study(models=("poisson_nb",), shots=(0,), repeats=1)).table.iloc[0]
    assert row["top1"] == theirs["top1"]
    assert row["n_test"] == theirs["n_test"]
    again = decode_by_units(images, "poisson_nb", sizes=[2, 16, 99], repeats=4)
    same = table[table["n_units"].isin([2, 16])].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, same)


def test_regions_without_a_usable_unit_and_wrong_numbers(images: Population) -> None:
    counts = images.counts.copy()
    counts[:, :4] = 0
    silent = decode_by_units(replace(images, counts=counts), "poisson_nb", sizes=[2], repeats=1)
    assert silent["region"].tolist() == ["all", "VISl", "VISp"]
    for sizes in ([0], [17], []):
        with pytest.raises(PopulationError, match="1 to 16 of them"):
            decode_by_units(images, "poisson_nb", sizes=sizes)
    with pytest.raises(SettingError, match="poisson_nb"):
        decode_by_units(images, "poison_nb")


def test_correlations_are_those_of_numpy_in_the_order_of_regions(images: Population) -> None:
    counts = images.counts.copy()
    counts[:, 7] = 3
    valid = np.arange(images.n_rows) % 3 > 0
    found = correlate_units(replace(images, counts=counts, valid=valid))
    assert found.regions.tolist() == [""] * 2 + ["VISl"] * 5 + ["VISp"] * 5 + ["mute"] * 4
    assert found.unit_ids.tolist() == images.units["unit_id"].to_numpy()[found.order].tolist()
    with np.errstate(invalid="ignore"):
        theirs = np.corrcoef(counts[valid].T.astype(float))
    assert np.allclose(found.matrix, theirs[np.ix_(found.order, found.order)], equal_nan=True)
    assert np.isnan(found.matrix[found.order == 7]).all()
    with pytest.raises(PopulationError, match="correlations need three"):
        correlate_units(replace(images, valid=np.zeros(images.n_rows, dtype=bool)))


def test_figures_show_every_region(images: Population, table: pd.DataFrame) -> None:
    (axes,) = plot_sizes({"images": table}).axes
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == ["chance", "all (16 units)", "VISl (5 units)", "VISp (5 units)", "mute (4 units)"]
    (every, *_) = axes.containers
    means = summarise_sizes(table).query("region == 'all'")["top1"]
    assert np.allclose(every[0].get_ydata(), means)
    found = correlate_units(images)
    axes = plot_correlations(found.matrix, found.regions).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["none", "VISl", "VISp", "mute"]
    assert np.isnan(np.ma.filled(axes.images[0].get_array(), np.nan).diagonal()).all()

"""Descriptors: what is measured is there, to the digit where it is known, and nothing else matters."""

import numpy as np
import pytest

from spikeprint.features.descriptors import DESCRIPTORS, N_DESCRIPTORS, describe
from spikeprint.features.transforms import INPUT_LENGTHS, normalise

RNG = np.random.default_rng(0)
T = np.arange(50)


def gaussian(width: float, sign: float = -1.0) -> np.ndarray:
    return sign * np.exp(-0.5 * ((T - 20) / width) ** 2)[None]


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_every_table_entry_gives_its_number_of_finite_values(name: str) -> None:
    x = RNG.normal(size=(30, INPUT_LENGTHS[name])) if name == "waveform" else RNG.random((30, INPUT_LENGTHS[name]))
    x[3] = 0
    x[4] = 1
    found = describe({name: x})[name]
    assert found.shape == (30, N_DESCRIPTORS[name])
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_there_are_as_many_as_modalities() -> None:
    assert set(DESCRIPTORS) == set(INPUT_LENGTHS) == set(N_DESCRIPTORS)


@pytest.mark.parametrize("width", [2.0, 3.0, 4.5])
def test_the_widths_of_a_gaussian_are_known(width: float) -> None:
    found = describe({"waveform": gaussian(width)})["waveform"][0]
    for i, level in enumerate((0.25, 0.5, 0.75)):
        half = width * np.sqrt(-2 * np.log(level))
        np.testing.assert_allclose(found[3 * i : 3 * i + 3], [half, half, 2 * half], rtol=0.03, atol=0.05)


def test_a_spike_upside_down_differs_in_its_polarity_only() -> None:
    down, up = (describe({"waveform": gaussian(3, sign)})["waveform"][0] for sign in (-1.0, 1.0))
    differ = np.flatnonzero(down != up)
    assert len(differ) == 1
    assert (down[differ], up[differ]) == (1, -1)


def test_quantiles_of_intervals_are_those_of_the_histogram() -> None:
    counts = RNG.poisson(40, (5, 50)).astype(float)
    found = describe({"isi": np.sqrt(counts / counts.mean(axis=1, keepdims=True))})["isi"]
    for row, histogram in zip(found, counts, strict=True):
        edges = np.concatenate([[0], histogram.cumsum() / histogram.sum()])
        np.testing.assert_allclose(np.exp(row[4]), np.interp(0.5, edges, np.arange(51)), rtol=1e-3)
        mean = (histogram * (np.arange(50) + 0.5)).sum() / histogram.sum()
        np.testing.assert_allclose(row[7], mean, rtol=1e-4)


def test_a_rhythm_shows_in_the_autocorrelogram() -> None:
    lag = np.arange(50)
    flat, rhythm = np.ones((1, 50)), np.sqrt(1 + 0.8 * np.cos(2 * np.pi * lag / 10))[None]
    assert describe({"acg": rhythm})["acg"][0, -2] > 0.9
    assert describe({"acg": flat})["acg"][0, -2] < 0.1


def test_gain_and_recording_length_do_not_matter_and_units_do_not_meet() -> None:
    raw = {
        "waveform": RNG.normal(size=(1500, 50)).cumsum(axis=1),
        "isi": RNG.poisson(5, (1500, 100)).astype(float),  # counts as small as these tie all the time
        "acg": RNG.poisson(5, (1500, 201)).astype(float),
    }
    together = describe(normalise(raw)[0])
    alone = describe(normalise({name: 3.7 * x[1200:] for name, x in raw.items()})[0])
    for name in raw:
        np.testing.assert_allclose(alone[name], together[name][1200:], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("column", "share"), [(0, 0.02), (1, 0.05), (2, 0.1), (3, 0.25), (4, 0.5)])
def test_a_quantile_between_two_bins_is_at_the_end_of_the_first(column: int, share: float) -> None:
    """However the shares are rounded: bin 0 holds just that share of the intervals, bin 1 none."""
    counts = np.zeros((1, 50))
    counts[0, 0], counts[0, -1] = share, 1 - share
    found = describe({"isi": np.sqrt(counts / counts.mean(axis=1, keepdims=True))})["isi"]
    np.testing.assert_allclose(np.exp(found[0, column]), 1, rtol=1e-4)


@pytest.mark.parametrize(("name", "first"), [("isi", 25), ("acg", 19)])
def test_the_grain_of_a_histogram_tells_how_many_events_made_it(name: str, first: int) -> None:
    few, many = (RNG.multinomial(n, np.full(50, 0.02), 20).astype(float) for n in (60, 60_000))
    rows = np.concatenate([few, many])
    rough, least, empty = describe({name: np.sqrt(rows / rows.mean(axis=1, keepdims=True))})[name].T[first : first + 3]
    assert rough[:20].min() > rough[20:].max() + 3
    assert least[:20].max() < least[20:].min()
    np.testing.assert_allclose(empty, (rows == 0).mean(axis=1), atol=1e-6)


def test_noise_of_a_waveform_is_seen_before_and_after_the_spike() -> None:
    clean = gaussian(3)
    noisy = clean + RNG.normal(0, 0.1, clean.shape)
    quiet, loud = (describe({"waveform": x})["waveform"][0, -3:] for x in (clean, noisy))
    assert (loud > quiet + 1).all()

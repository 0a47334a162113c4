"""The only normalisation: scale-free, missing stays missing, no unit influences another."""

import numpy as np
import pytest

from spikeprint.core.types import LARGEST, MODALITIES
from spikeprint.features.transforms import INPUT_LENGTHS, SCALINGS, normalise, stretch_rows

RNG = np.random.default_rng(0)
RAW = {
    "waveform": RNG.normal(size=(20, 50)),
    "isi": RNG.poisson(5, (20, 100)).astype(float),
    "acg": RNG.poisson(5, (20, 201)).astype(float),
}


def test_tables_agree_on_the_modalities() -> None:
    assert list(INPUT_LENGTHS) == list(SCALINGS) == list(MODALITIES)


def test_counts_and_probabilities_give_the_same_input() -> None:
    as_probability = RAW | {"isi": RAW["isi"] / RAW["isi"].sum(axis=1, keepdims=True)}
    np.testing.assert_allclose(normalise(as_probability)[0]["isi"], normalise(RAW)[0]["isi"], rtol=1e-5)


def test_each_unit_is_scaled_by_itself() -> None:
    whole, _ = normalise(RAW)
    part, _ = normalise({k: v[4:6] for k, v in RAW.items()})
    for name in INPUT_LENGTHS:
        np.testing.assert_array_equal(part[name], whole[name][4:6])


def test_the_acg_is_folded_at_its_centre() -> None:
    acg = np.zeros((1, 201))
    acg[0, [97, 103]] = 2, 4  # lags -3 and +3
    folded = normalise({"acg": acg})[0]["acg"][0]
    assert folded.nonzero()[0].tolist() == [1]


def test_nan_rows_flat_waveforms_and_empty_histograms_are_missing() -> None:
    raw = {k: v.copy() for k, v in RAW.items()}
    raw["waveform"][0], raw["waveform"][1] = np.nan, 3.0
    raw["isi"][2], raw["acg"][3] = 0, np.nan
    inputs, present = normalise(raw)
    assert (~present).nonzero()[0].tolist() == [0, 1, 2, 3]
    assert all(np.isfinite(x).all() for x in inputs.values())
    assert not inputs["waveform"][:2].any()


def test_a_small_waveform_on_a_large_offset_keeps_its_shape() -> None:
    lifted = RAW | {"waveform": 1e-3 * RAW["waveform"] + 1e4}
    np.testing.assert_allclose(normalise(lifted)[0]["waveform"], normalise(RAW)[0]["waveform"], atol=1e-6)


def test_the_largest_histograms_that_are_let_in_do_not_overflow() -> None:
    largest = {name: np.full((2, MODALITIES[name].length), LARGEST) for name in ("isi", "acg")}
    inputs, present = normalise(largest)
    assert present[:, 1:].all()
    for name in largest:
        np.testing.assert_allclose(inputs[name], 1, rtol=1e-6)


def test_an_absent_modality_is_missing_for_all() -> None:
    _, present = normalise({"isi": RAW["isi"]})
    assert present.tolist() == [[False, True, False]] * 20


def test_stretch_keeps_values_of_the_same_width() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 50))
    assert np.array_equal(stretch_rows(rows, 50), rows)


@pytest.mark.parametrize("width", [1, 2, 40, 51, 90, 200])
def test_stretch_equals_interpolation_at_half_pixel_centres(width: int) -> None:
    rows = np.random.default_rng(width).normal(size=(4, width))
    position = (np.arange(100) + 0.5) * width / 100 - 0.5
    expected = [np.interp(position, np.arange(width), row) for row in rows]
    assert np.allclose(stretch_rows(rows, 100), expected)


def test_stretch_keeps_missing_rows_missing() -> None:
    assert np.isnan(stretch_rows(np.full((1, 40), np.nan), 50)).all()

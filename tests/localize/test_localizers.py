"""Every localiser of the table goes through one suite, on one recording with known truth."""

import numpy as np
import pytest

from spikeprint.core.errors import ModelError
from spikeprint.core.localize_params import LocalizeParams
from spikeprint.core.spikes import AXES, GroundTruth, Positions, Source
from spikeprint.localize.fit import FittedLocalizer
from spikeprint.localize.localizers import LOCALIZERS, localise
from spikeprint.localize.score import match_peaks, score_positions

LARGEST_MEDIAN_UM = {"peak_channel": 25.0, "center_of_mass": 30.0, "transformer": 60.0}
"""What is expected at least of the weak ones, and of one that has trained for seconds; 20 µm of all others."""

Results = dict[str, Positions]


@pytest.fixture(scope="module")
def results(source: Source, fitted: dict[str, FittedLocalizer]) -> Results:
    return {name: localise(name, source, fitted.get(name)) for name in LOCALIZERS}


@pytest.fixture(scope="module")
def errors(results: Results, source: Source, truth: GroundTruth) -> dict[str, dict[str, float]]:
    matches = match_peaks(source.peaks, source.contacts_um, truth)
    assert matches.detected > 0.4
    assert (matches.units >= 0).mean() > 0.9
    return {name: score_positions(positions, matches) for name, positions in results.items()}


@pytest.mark.parametrize("name", LOCALIZERS)
def test_it_estimates_the_axes_it_declares(name: str, results: Results, source: Source) -> None:
    found = results[name]
    assert found.xyz_um.shape == (len(source.peaks), 3)
    assert found.xyz_um.dtype == np.float32
    is_told = np.isfinite(found.xyz_um).all(axis=0)
    assert "".join(axis for axis, told in zip(AXES, is_told, strict=True) if told) == LOCALIZERS[name].axes
    low, high = source.contacts_um.min(axis=0) - 150, source.contacts_um.max(axis=0) + 150
    assert ((found.xyz_um[:, :2] > low) & (found.xyz_um[:, :2] < high)).mean() > 0.99
    assert found.alpha_uv_um is None or (found.alpha_uv_um > 0).all()
    assert found.sd_um is None or (found.sd_um > 0).all()


@pytest.mark.parametrize("name", LOCALIZERS)
def test_it_is_near_the_truth(name: str, errors: dict[str, dict[str, float]]) -> None:
    assert errors[name]["median_um"] < LARGEST_MEDIAN_UM.get(name, 20.0)


def test_the_order_is_that_of_the_reference(errors: dict[str, dict[str, float]]) -> None:
    median = {name: found["median_um"] for name, found in errors.items()}
    assert median["production"] < median["monopole"] * 1.10
    assert median["monopole"] < median["peak_channel"]
    assert median["monopole"] <= median["monopole_library"] * 1.10


def test_the_same_chunks_or_others_give_the_same(source: Source, results: Results, recording: object) -> None:
    from dataclasses import replace
    from functools import partial

    from spikeprint.io.traces.snippets import iter_snippets

    longer = partial(iter_snippets, source.recording, n_before=source.n_before, n_after=source.n_after, chunk_s=7.3)
    again = localise("monopole", replace(source, read=longer))
    np.testing.assert_allclose(again.xyz_um, results["monopole"].xyz_um, atol=0.5)


@pytest.mark.parametrize("name", [name for name, one in LOCALIZERS.items() if one.is_trained])
def test_a_network_must_be_trained_and_of_its_kind(
    name: str, source: Source, fitted: dict[str, FittedLocalizer]
) -> None:
    with pytest.raises(ModelError, match=f"localizer {name}: a trained network of its kind is needed, found none"):
        localise(name, source)
    other = next(one for kind, one in fitted.items() if kind != name)
    with pytest.raises(ModelError, match=f"found a {other.config['kind']}"):
        localise(name, source, other)


def test_a_network_for_another_window_is_refused(
    source: Source, fitted: dict[str, FittedLocalizer], params: LocalizeParams
) -> None:
    from dataclasses import replace

    with pytest.raises(ModelError, match="trained for n_after 60, the recording 75"):
        localise("production", replace(source, n_after=75), fitted["production"])

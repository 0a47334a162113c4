"""CSV folders of any width become canonical tables."""

from dataclasses import replace

import numpy as np
import pytest

from spikeprint.core.config import FeatureParams
from spikeprint.core.errors import DataError
from spikeprint.core.types import SourceTable, UnitTable
from spikeprint.cvae.units import stack_units
from spikeprint.features.tables import build_from_table

PARAMS = FeatureParams(
    min_spikes=100,
    max_isi_violations_ratio=0.5,
    min_presence_ratio=0.9,
    max_amplitude_cutoff=0.1,
    censor_ms=0.0,
    refine_trough=True,
    min_waveform_coverage=0.5,
    unlabelled_patterns=["unlabeled"],
    synonyms={"sst": "SOM"},
)
ORIGIN = {"dataset": "d", "technology": "neuropixels", "species": "mouse", "format": "csv", "source_md5": "0"}
NOISE = np.random.default_rng(9).random((2, 40))
SPIKE = -80 * np.exp(-0.5 * ((np.arange(70) - 25) / 2.5) ** 2) + 20 * np.exp(-0.5 * ((np.arange(70) - 38) / 5) ** 2)


def make_source(labels: list[str], **arrays: np.ndarray) -> SourceTable:
    """A CSV source; ids are 0, 1, ..."""
    return SourceTable(np.array([str(i) for i in range(len(labels))]), arrays, np.array(labels))


def build(source: SourceTable, rate_hz: float | None = None) -> UnitTable:
    """``build_from_table`` with the default parameters."""
    return build_from_table(source, PARAMS, rate_hz, dict(ORIGIN))


def test_canonical_widths_keep_their_values() -> None:
    rng = np.random.default_rng(1)
    waveform, isi, acg = rng.normal(size=(2, 50)), rng.random((2, 100)), rng.random((2, 201))
    built = build(make_source(["PV", "SOM"], waveform=waveform, isi=isi, acg=acg))
    assert np.array_equal(built.waveform, waveform.astype(np.float32))
    assert np.array_equal(built.isi, isi)
    assert np.array_equal(built.acg, acg)


def test_further_columns_of_the_source_are_kept() -> None:
    source = replace(make_source(["PV", "SOM"], waveform=NOISE), extra={"region": np.array(["V1", ""])})
    built = build_from_table(source, PARAMS, None, {**ORIGIN, "representation": "legacy"})
    assert built.metadata["source_region"].tolist() == ["V1", ""]
    assert stack_units({"d": built}).origin["region"].tolist() == ["V1", ""]


def test_an_absent_modality_is_missing_everywhere() -> None:
    built = build(make_source(["", ""], waveform=NOISE, isi=np.ones((2, 51))))
    assert np.isnan(built.acg).all()
    assert built.card["missing"] == {"waveform": 0, "isi": 0, "acg": 2}
    assert built.card["acg"]["source_bins"] is None


def test_rows_without_information_are_missing() -> None:
    waveform, isi = np.random.default_rng(0).random((5, 40)), np.ones((5, 51))
    waveform[0], waveform[1], waveform[2, 3], isi[3] = 0.0, 2.5, np.nan, 0.0
    built = build(make_source([""] * 5, waveform=waveform, isi=isi))
    assert np.isnan(built.waveform).all(axis=1).tolist() == [True, True, True, False, False]
    assert np.isnan(built.isi).all(axis=1).tolist() == [False, False, False, True, False]
    assert np.isfinite(built.waveform[3:]).all()
    assert built.card["flagged"] == {"nonfinite_waveform": 1, "flat": 2, "empty_isi": 1}


def test_a_unit_without_any_data_fails_quality_control() -> None:
    waveform, isi = np.random.default_rng(0).random((2, 40)), np.ones((2, 51))
    waveform[0], isi[0] = 0.0, 0.0
    metadata = build(make_source(["", ""], waveform=waveform, isi=isi)).metadata
    assert metadata["qc_reason"].tolist() == ["no_features", ""]


def test_histograms_of_other_widths_stay_within_their_range() -> None:
    isi = np.random.default_rng(3).random((2, 51))
    built = build(make_source(["", ""], waveform=NOISE, isi=isi))
    assert (built.isi.min() >= isi.min(), built.isi.max() <= isi.max()) == (True, True)
    entry = {"representation": "legacy", "n_bins": 100, "bin_edges_ms": None, "unit": None, "source_bins": 51}
    assert built.card["isi"] == entry


def test_a_known_rate_aligns_the_waveform() -> None:
    fast = np.interp(np.arange(0, 70, 0.5), np.arange(70), SPIKE)
    built = build(make_source(["", ""], waveform=np.stack([fast, np.roll(fast, 6)]), isi=np.ones((2, 100))), 40_000.0)
    assert built.waveform.argmin(axis=1).tolist() == [20, 20]
    assert built.card["waveform"]["trough_index"] == 20


def test_an_unknown_rate_claims_neither_time_nor_trough() -> None:
    built = build(make_source(["", ""], waveform=np.stack([SPIKE, SPIKE]), isi=np.ones((2, 100))))
    assert (built.card["waveform"]["sampling_frequency_hz"], built.card["waveform"]["trough_index"]) == (None, None)
    assert built.metadata["trough_to_peak_ms"].isna().all()
    assert built.metadata["peak_to_trough_ratio"].notna().all()


@pytest.mark.parametrize(
    ("isi", "message"),
    [(np.ones((2, 3)), "3 columns"), (np.array([[1.0] * 60, [1.0] * 59 + [-2.0]]), "row 2, column 60 is -2")],
)
def test_unusable_histograms_are_located(isi: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=rf"d: isi_dist\.csv: .*{message}"):
        build(make_source(["", ""], waveform=NOISE, isi=isi))

"""Assemble the features of a CSV folder. Enters: ``SourceTable``. Leaves: ``UnitTable`` with its card."""

from typing import Any

import numpy as np

from ..core.config import FeatureParams
from ..core.errors import DataError
from ..core.types import MODALITIES, SourceTable, UnitTable
from .assemble import SCHEMA_VERSION, Units, assemble, waveform_card
from .evidence import Evidence
from .representations import HISTOGRAMS, LEGACY, REPRESENTATIONS, check_declared, make_histogram_card
from .scalars import compute_scalars
from .transforms import stretch_rows
from .waveform import (
    CANONICAL_HZ,
    CANONICAL_MS_PER_SAMPLE,
    MIN_SOURCE_SAMPLES,
    N_SAMPLES,
    TROUGH_INDEX,
    align_waveforms,
)


def build_from_table(
    source: SourceTable,
    params: FeatureParams,
    sampling_frequency_hz: float | None,
    card: dict[str, Any],
    representation: str = LEGACY,
) -> UnitTable:
    """Bring the per-unit arrays of a CSV folder to the canonical lengths, declared as what they are.

    Waveforms are aligned when their sampling rate is known, else stretched to 50 samples. Histograms keep their
    values, interpolated to the canonical length. Rows without information (constant waveforms, all-zero
    histograms, non-finite values) become missing: all NaN.

    Parameters
    ----------
    source : arrays of any width
    params : quality limits and label rules
    sampling_frequency_hz : rate of the waveforms, Hz, ``None`` when unknown
    card : ``dataset, technology, species, format, source_md5, representation``; copied into the card of the result
    representation : key of ``REPRESENTATIONS``, what the histograms are

    Raises
    ------
    DataError
        Fewer than 5 columns, negative histogram values, columns or rows that are not as declared, or labels of
        exactly one class.
    """
    dataset, n_units = card["dataset"], len(source.unit_ids)
    present = {name: _check_source(name, source.arrays[name], dataset) for name in MODALITIES if name in source.arrays}
    for name in present.keys() & HISTOGRAMS:
        check_declared(f"{dataset}: {MODALITIES[name].file}", REPRESENTATIONS[representation][name], present[name])
    rows = {name: present.get(name, np.full((n_units, spec.length), np.nan)) for name, spec in MODALITIES.items()}
    flags = {f"nonfinite_{name}": ~np.isfinite(values).all(axis=1) for name, values in present.items()}
    rate, aligned = (sampling_frequency_hz if "waveform" in present else None), None
    if rate is None:
        constant = (rows["waveform"] == rows["waveform"][:, :1]).all(axis=1)
        waveform = _blank(stretch_rows(rows["waveform"], N_SAMPLES), constant)
        trough, flags["flat"] = np.where(np.isfinite(waveform), waveform, np.inf).argmin(axis=1), constant
    else:
        aligned = align_waveforms(
            rows["waveform"][:, :, None], rate, params.min_waveform_coverage, params.refine_trough
        )
        waveform = aligned.waveform.astype(np.float64)
        trough = np.full(n_units, TROUGH_INDEX)
        flags |= aligned.flags
    features = {"waveform": waveform}
    for name in HISTOGRAMS:
        empty = (rows[name] == 0).all(axis=1)
        flags[f"empty_{name}"] = empty
        features[name] = _blank(stretch_rows(rows[name], MODALITIES[name].length), empty)
    widths = {name: values.shape[1] for name, values in present.items()}
    card = {
        **card,
        "schema_version": SCHEMA_VERSION,
        "waveform": waveform_card(None if rate is None else CANONICAL_HZ, "au", widths.get("waveform")),
        **{name: make_histogram_card(name, representation, widths.get(name)) for name in HISTOGRAMS},
    }
    time_base = None if rate is None else CANONICAL_MS_PER_SAMPLE
    scalars = compute_scalars(Evidence(waveform, trough, time_base, aligned))
    units = Units(source.unit_ids, source.labels, features, scalars, flags, extra=source.extra)
    return assemble(units, params, card)


def _check_source(name: str, values: np.ndarray, dataset: str) -> np.ndarray:
    """Rows as float64 with every partly non-finite row wholly NaN; histograms must not be negative."""
    file = f"{dataset}: {MODALITIES[name].file}"
    values = np.asarray(values, dtype=np.float64)
    if values.shape[1] < MIN_SOURCE_SAMPLES:
        raise DataError(f"{file}: {values.shape[1]} columns; at least {MIN_SOURCE_SAMPLES} samples or bins are needed")
    if name != "waveform" and (values < 0).any():
        row, column = np.argwhere(values < 0)[0]
        raise DataError(
            f"{file}: row {row + 1}, column {column + 1} is {values[row, column]:g}; "
            f"counts or probabilities >= 0 are needed ({int((values < 0).any(axis=1).sum())} rows have negative values)"
        )
    return _blank(values, ~np.isfinite(values).all(axis=1))


def _blank(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Copy of ``values`` (n, width) with the rows ``where`` (n,) bool missing, i.e. all NaN."""
    return np.where(where[:, None], np.nan, values)

"""Assemble canonical features. Enters: ``Sorting`` or ``SourceTable``. Leaves: ``UnitTable`` with its card.

Quality control marks units (``passes_qc``, ``qc_reason``); it never deletes one.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..core.config import FeatureParams
from ..core.errors import DataError
from ..core.types import MODALITIES, UNLABELLED, Sorting, SourceTable, UnitTable
from .labels import clean_labels
from .scalars import Evidence, compute_scalars
from .trains import N_ISI_BINS, N_LAGS, clean_trains, compute_isi_acg
from .waveform import CANONICAL_HZ, MIN_SOURCE_SAMPLES, N_SAMPLES, TROUGH_INDEX, align_waveforms, stretch_rows

SCHEMA_VERSION = 1
CANONICAL_MS_PER_SAMPLE = 1e3 / CANONICAL_HZ


@dataclass(frozen=True)
class QcRule:
    """A unit fails when ``fails(scalar, params.<limit>)``; an unknown (NaN) scalar never fails."""

    scalar: str
    limit: str
    fails: Callable[[np.ndarray, float], np.ndarray]


QC_RULES: dict[str, QcRule] = {
    "few_spikes": QcRule("n_spikes", "min_spikes", operator.lt),
    "isi_violations": QcRule("isi_violations_ratio", "max_isi_violations_ratio", operator.gt),
    "low_presence": QcRule("presence_ratio", "min_presence_ratio", operator.lt),
    "short_waveform": QcRule("wf_coverage", "min_waveform_coverage", operator.lt),
}
"""Reason written to ``qc_reason`` -> rule."""


def build_from_sorting(sorting: Sorting, params: FeatureParams, card: dict[str, Any]) -> UnitTable:
    """Compute the canonical features of a sorting from its spike trains and templates.

    Parameters
    ----------
    sorting : spike trains in samples, templates in µV
    params : quality limits and label rules
    card : ``dataset, technology, species, format, source_md5``; copied into the card of the result

    Raises
    ------
    DataError
        Times that cannot be spike times, or labels of exactly one class.
    """
    try:
        trains = clean_trains(
            sorting.spike_times, sorting.offsets, sorting.time_rate_hz, float(sorting.duration_s.max())
        )
    except DataError as error:
        raise DataError(f"{card['dataset']}: {error}") from None
    isi, acg = compute_isi_acg(trains.ticks, trains.offsets)
    templates = sorting.templates
    if templates is None:
        raise DataError(f"{card['dataset']}: no templates")
    aligned = align_waveforms(templates.values, templates.sampling_frequency_hz, params.min_waveform_coverage)
    waveform = aligned.waveform.astype(np.float64)
    n_units = len(waveform)
    evidence = Evidence(
        waveform=waveform,
        trough=np.full(n_units, TROUGH_INDEX),
        time_base=CANONICAL_MS_PER_SAMPLE,
        coverage=aligned.coverage,
        trains=trains,
        acg=acg,
    )
    flags = {
        **aligned.flags,
        "low_n": trains.n_spikes < 2,
        "invalid_times": trains.n_invalid > 0,
        "unsorted_times": trains.n_unsorted > 0,
        "duplicate_times": trains.n_duplicates > 0,
    }
    card = {
        **card,
        "schema_version": SCHEMA_VERSION,
        "waveform": _waveform_card(CANONICAL_HZ, templates.unit, templates.values.shape[1]),
        "isi": _counts_card(list(range(N_ISI_BINS + 1))),
        "acg": _counts_card([lag - 0.5 for lag in range(-N_LAGS, N_LAGS + 2)]),
    }
    features = {"waveform": waveform, "isi": isi.astype(np.float64), "acg": acg.astype(np.float64)}
    return _assemble(sorting.unit_ids, sorting.labels, features, evidence, flags, params, card)


def build_from_table(
    source: SourceTable, params: FeatureParams, sampling_frequency_hz: float | None, card: dict[str, Any]
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
    card : ``dataset, technology, species, format, source_md5``; copied into the card of the result

    Raises
    ------
    DataError
        Fewer than 5 columns, negative histogram values, or labels of exactly one class.
    """
    dataset, n_units = card["dataset"], len(source.unit_ids)
    present = {name: _check_source(name, source.arrays[name], dataset) for name in MODALITIES if name in source.arrays}
    rows = {name: present.get(name, np.full((n_units, spec.length), np.nan)) for name, spec in MODALITIES.items()}
    flags = {f"nonfinite_{name}": ~np.isfinite(values).all(axis=1) for name, values in present.items()}
    rate, coverage = (sampling_frequency_hz if "waveform" in present else None), None
    if rate is None:
        constant = (rows["waveform"] == rows["waveform"][:, :1]).all(axis=1)
        waveform = _blank(stretch_rows(rows["waveform"], N_SAMPLES), constant)
        trough, flags["flat"] = np.where(np.isfinite(waveform), waveform, np.inf).argmin(axis=1), constant
    else:
        aligned = align_waveforms(rows["waveform"][:, :, None], rate, params.min_waveform_coverage)
        waveform, coverage = aligned.waveform.astype(np.float64), aligned.coverage
        trough = np.full(n_units, TROUGH_INDEX)
        flags |= aligned.flags
    features = {"waveform": waveform}
    for name in ("isi", "acg"):
        empty = (rows[name] == 0).all(axis=1)
        flags[f"empty_{name}"] = empty
        features[name] = _blank(stretch_rows(rows[name], MODALITIES[name].length), empty)
    widths = {name: values.shape[1] for name, values in present.items()}
    card = {
        **card,
        "schema_version": SCHEMA_VERSION,
        "waveform": _waveform_card(None if rate is None else CANONICAL_HZ, "au", widths.get("waveform")),
        **{name: _legacy_card(name, widths.get(name)) for name in ("isi", "acg")},
    }
    time_base = None if rate is None else CANONICAL_MS_PER_SAMPLE
    evidence = Evidence(waveform, trough, time_base, coverage)
    return _assemble(source.unit_ids, source.labels, features, evidence, flags, params, card)


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


def _assemble(
    unit_ids: np.ndarray,
    labels: np.ndarray,
    features: dict[str, np.ndarray],
    evidence: Evidence,
    flags: dict[str, np.ndarray],
    params: FeatureParams,
    card: dict[str, Any],
) -> UnitTable:
    """Add labels, scalars, quality control and the counts of the card."""
    written = labels
    labels = clean_labels(written, params.unlabelled_patterns, params.synonyms)
    classes = _count_classes(labels, written, card["dataset"])
    scalars = compute_scalars(evidence)
    reasons = {
        name: rule.fails(scalars[rule.scalar], float(getattr(params, rule.limit))) for name, rule in QC_RULES.items()
    }
    missing = {name: np.isnan(values).all(axis=1) for name, values in features.items()}
    reasons["no_features"] = np.logical_and.reduce(list(missing.values()))
    qc_reason = _join_names(reasons, len(labels))
    metadata = pd.DataFrame(
        {
            "unit_id": np.asarray(unit_ids).astype(str),
            **scalars,
            "flags": _join_names(flags, len(labels)),
            "passes_qc": qc_reason == "",
            "qc_reason": qc_reason,
        }
    )
    card = {
        **card,
        "n_units": len(labels),
        "n_labelled": sum(classes.values()),
        "classes": classes,
        "missing": {name: int(rows.sum()) for name, rows in missing.items()},
        "flagged": {name: int(rows.sum()) for name, rows in {**flags, **reasons}.items() if rows.any()},
    }
    return UnitTable(features["waveform"].astype(np.float32), features["isi"], features["acg"], labels, metadata, card)


def _count_classes(labels: np.ndarray, written: np.ndarray, dataset: str) -> dict[str, int]:
    """Units per cell type, alphabetical; exactly one class is an error, none is not.

    ``written`` are the labels before cleaning: the error names those that were taken as unlabelled.
    """
    names, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    if len(names) == 1:
        taken = sorted(set(written[(labels == UNLABELLED) & (written != UNLABELLED)].tolist()))
        hint = f" (taken as unlabelled by features.unlabelled_patterns: {', '.join(taken)})" if taken else ""
        raise DataError(
            f"{dataset}: labels hold one class, '{names[0]}' ({counts[0]} units){hint}; at least 2 classes are needed: "
            "label more units, or add the dataset with --label-column none to use it without labels"
        )
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _join_names(table: dict[str, np.ndarray], n: int) -> np.ndarray:
    """(n,) object: for each row, the names whose (n,) bool is true, joined by ";"."""
    return np.array([";".join(name for name, rows in table.items() if rows[i]) for i in range(n)], dtype=object)


def _waveform_card(sampling_frequency_hz: float | None, unit: str, source_samples: int | None) -> dict[str, Any]:
    """Card entry of the waveform; an unknown rate has no trough index either."""
    return {
        "n_samples": N_SAMPLES,
        "sampling_frequency_hz": sampling_frequency_hz,
        "trough_index": None if sampling_frequency_hz is None else TROUGH_INDEX,
        "unit": unit,
        "source_samples": source_samples,
    }


def _counts_card(edges: list[float]) -> dict[str, Any]:
    """Card entry of a histogram counted here from spike times."""
    return {
        "representation": "counts_1ms",
        "n_bins": len(edges) - 1,
        "bin_edges_ms": [float(edge) for edge in edges],
        "source_bins": None,
    }


def _legacy_card(name: str, source_bins: int | None) -> dict[str, Any]:
    """Card entry of a histogram whose bins and unit the source does not declare."""
    n_bins = MODALITIES[name].length
    return {"representation": "legacy", "n_bins": n_bins, "bin_edges_ms": None, "source_bins": source_bins}

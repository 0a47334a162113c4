"""Units of all sessions -> one table. Enters: features, scalars and flags. Leaves: ``UnitTable`` with its card.

Labels are cleaned and quality control applied here: it marks units (``passes_qc``, ``qc_reason``)
and never deletes one.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..core.config import FeatureParams
from ..core.errors import DataError
from ..core.types import UNLABELLED, UnitTable
from .labels import clean_labels
from .waveform import N_SAMPLES, TROUGH_INDEX

SCHEMA_VERSION = 2


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
    "amplitude_cutoff": QcRule("amplitude_cutoff", "max_amplitude_cutoff", operator.gt),
    "short_waveform": QcRule("wf_coverage", "min_waveform_coverage", operator.lt),
}
"""Reason written to ``qc_reason`` -> rule."""


@dataclass(frozen=True)
class Units:
    """What was computed for some units, before labels and quality control.

    Attributes
    ----------
    unit_ids, labels : (n_units,) str, labels as the source writes them
    features : modality -> (n_units, canonical length) float64
    scalars : (n_units,) float64 each
    flags : (n_units,) bool each; an absent one is raised for no unit
    session_id : (n_units,) str, None where the source has no sessions
    extra : (n_units,) each, further columns of the source
    """

    unit_ids: np.ndarray
    labels: np.ndarray
    features: dict[str, np.ndarray]
    scalars: dict[str, np.ndarray]
    flags: dict[str, np.ndarray]
    session_id: np.ndarray | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def assemble(units: Units, params: FeatureParams, card: dict[str, Any]) -> UnitTable:
    """Add clean labels, quality control and the counts of the card.

    Raises
    ------
    DataError
        Labels of exactly one class.
    """
    n_units, features = len(units.labels), units.features
    labels = clean_labels(units.labels, params.unlabelled_patterns, params.synonyms)
    classes = _count_classes(labels, units.labels, card["dataset"])
    reasons = {
        name: rule.fails(units.scalars[rule.scalar], float(getattr(params, rule.limit)))
        for name, rule in QC_RULES.items()
    }
    missing = {name: np.isnan(values).all(axis=1) for name, values in features.items()}
    reasons["no_features"] = np.logical_and.reduce(list(missing.values()))
    qc_reason = _join_names(reasons, n_units)
    metadata = pd.DataFrame(
        {
            "unit_id": np.asarray(units.unit_ids).astype(str),
            **({} if units.session_id is None else {"session_id": units.session_id.astype(str)}),
            **units.scalars,
            **{f"source_{name}": values for name, values in units.extra.items()},
            "flags": _join_names(units.flags, n_units),
            "passes_qc": qc_reason == "",
            "qc_reason": qc_reason,
        }
    )
    card = {
        **card,
        "n_units": n_units,
        "n_labelled": sum(classes.values()),
        "classes": classes,
        "missing": {name: int(rows.sum()) for name, rows in missing.items()},
        "flagged": {name: int(rows.sum()) for name, rows in {**units.flags, **reasons}.items() if rows.any()},
    }
    return UnitTable(features["waveform"].astype(np.float32), features["isi"], features["acg"], labels, metadata, card)


def concatenate(sessions: Sequence[Units]) -> Units:
    """Return the units of all sessions as one; a column that a session lacks is unknown there (a flag: not raised)."""
    n_units = [len(units.unit_ids) for units in sessions]

    def join(name: str) -> dict[str, list[np.ndarray | None]]:
        columns = [getattr(units, name) for units in sessions]
        return {key: [column.get(key) for column in columns] for key in {k: None for c in columns for k in c}}

    def stack(name: str) -> dict[str, np.ndarray]:
        return {key: np.concatenate([part for part in parts if part is not None]) for key, parts in join(name).items()}

    flags = {
        key: np.concatenate([np.zeros(n, dtype=bool) if p is None else p for p, n in zip(parts, n_units, strict=True)])
        for key, parts in join("flags").items()
    }
    return Units(
        unit_ids=np.concatenate([units.unit_ids for units in sessions]),
        labels=np.concatenate([units.labels.astype(object) for units in sessions]),
        features=stack("features"),
        scalars=stack("scalars"),
        flags=flags,
        session_id=np.concatenate([units.session_id for units in sessions]),
        extra={key: _join_column(parts, n_units) for key, parts in join("extra").items()},
    )


def _join_column(parts: Sequence[np.ndarray | None], n_units: Sequence[int]) -> np.ndarray:
    """One column of the source over all sessions: numbers (NaN where unknown), or text (empty where unknown)."""
    known = [np.asarray(part) for part in parts if part is not None]
    if all(part.dtype.kind in "biuf" for part in known):
        if len(known) == len(parts) and not any(part.dtype.kind == "f" for part in known):
            return np.concatenate(known)
        numbers = [
            np.full(n, np.nan) if part is None else np.asarray(part, dtype=np.float64)
            for part, n in zip(parts, n_units, strict=True)
        ]
        column = np.concatenate(numbers)
        return np.where(np.isfinite(column), column, np.nan)  # infinity is no measurement
    texts = [
        np.full(n, "", dtype=object) if part is None else np.asarray(part).astype(str).astype(object)
        for part, n in zip(parts, n_units, strict=True)
    ]
    return np.concatenate(texts)


def waveform_card(sampling_frequency_hz: float | None, unit: str | None, source_samples: int | None) -> dict[str, Any]:
    """Return the card entry of the waveform; an unknown rate has no trough index either."""
    return {
        "n_samples": N_SAMPLES,
        "sampling_frequency_hz": sampling_frequency_hz,
        "trough_index": None if sampling_frequency_hz is None else TROUGH_INDEX,
        "unit": unit,
        "source_samples": source_samples,
    }


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

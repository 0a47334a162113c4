"""Datasets against each other. Enters: units, labels and cards of several. Leaves: how far each is from the others.

A distance is no fault: animals, probes and sorters differ. It is told, so that a wrong unit, a histogram in other bins
or a class that only one dataset has is seen before a model learns to tell datasets apart.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..core.types import MODALITIES, UNLABELLED

COLUMNS = ("firing_rate_hz", "trough_to_peak_ms", "fwhm_ms", "peak_to_trough_ratio", "cv2", "burst_index")
"""Compared as distributions."""
FLAGS = ("passes_qc", *(f"has_{name}" for name in MODALITIES))
"""0 or 1 for each unit, compared as shares."""
MIN_UNITS = 10
"""Fewer values on one side are not compared: their distribution is mostly chance."""
DIGITS = 6

_VALUES = "ExpectColumnValuesToBeBetween"
BETWEEN: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("ExpectTableRowCountToBeBetween", "", {"min_value": 2}),
    *((_VALUES, f"{column}_ks", {"max_value": 0.5}) for column in COLUMNS),
    *((_VALUES, f"{column}_ratio", {"min_value": 1 / 3, "max_value": 3}) for column in COLUMNS),
    *((_VALUES, f"{flag}_difference", {"min_value": -0.5, "max_value": 0.5}) for flag in FLAGS),
    (_VALUES, "class_variation", {"max_value": 0.5}),
    *(("ExpectColumnUniqueValueCountToBeBetween", f"{name}_representation", {"max_value": 1}) for name in MODALITIES),
)
"""What is expected of a table by ``make_between``, one row per dataset."""


def compare_columns(units: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Compare each dataset's numbers with those of all others pooled.

    Parameters
    ----------
    units : dataset -> table with (some of) ``COLUMNS``, see ``suites.make_unit_health``

    Returns
    -------
    ``dataset, column, n, median, others_median, median_ratio, ks`` for every column that a dataset knows. ``ks`` is the
    Kolmogorov-Smirnov distance, 0 (same distribution) to 1 (apart); NaN where either side has under ``MIN_UNITS``.
    """
    rows = []
    for column in COLUMNS:
        values = {name: _finite(frame, column) for name, frame in units.items()}
        for name, mine in values.items():
            others = np.concatenate([np.empty(0), *(theirs for other, theirs in values.items() if other != name)])
            if not len(mine):
                continue
            is_compared = min(len(mine), len(others)) >= MIN_UNITS
            median, others_median = (float(np.median(side)) if len(side) else np.nan for side in (mine, others))
            ratio = median / others_median if is_compared and others_median else np.nan
            row = {"dataset": name, "column": column, "n": len(mine), "median": _round(median)}
            row |= {"others_median": _round(others_median), "median_ratio": _round(ratio)}
            rows.append({**row, "ks": _round(measure_ks(mine, others)) if is_compared else np.nan})
    return rows


def compare_shares(units: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Compare the share of each of ``FLAGS``: ``dataset, column, n, share, others_share, difference``."""
    rows = []
    for flag in FLAGS:
        values = {name: _finite(frame, flag) for name, frame in units.items()}
        for name, mine in values.items():
            others = np.concatenate([np.empty(0), *(theirs for other, theirs in values.items() if other != name)])
            share, others_share = (float(np.mean(side)) if len(side) else np.nan for side in (mine, others))
            row = {"dataset": name, "column": flag, "n": len(mine), "share": _round(share)}
            rows.append({**row, "others_share": _round(others_share), "difference": _round(share - others_share)})
    return rows


def compare_classes(labels: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Compare class balance for each pair of datasets with labels.

    Parameters
    ----------
    labels : dataset -> (n_units,) str, "" where unknown

    Returns
    -------
    ``left, right, shared, only_left, only_right, total_variation``: half the summed difference of the shares among the
    shared classes, 0 (same balance) to 1; NaN with fewer than two shared classes.
    """
    counts = {name: pd.Series(values[values != UNLABELLED]).value_counts() for name, values in labels.items()}
    rows = []
    for left, right in combinations([name for name, count in counts.items() if len(count)], 2):
        here, there = set(counts[left].index), set(counts[right].index)
        shared = sorted(here & there)
        shares = [counts[name][shared] / counts[name][shared].sum() for name in (left, right)]
        variation = float(np.abs(shares[0] - shares[1]).sum() / 2) if len(shared) > 1 else np.nan
        row = {"left": left, "right": right, "shared": shared, "only_left": sorted(here - there)}
        rows.append({**row, "only_right": sorted(there - here), "total_variation": _round(variation)})
    return rows


def compare_representations(cards: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compare what the numbers mean: ``modality, agree, datasets`` (representation -> names of the datasets).

    A dataset without any value of a modality has no say in it.
    """
    rows = []
    for modality in MODALITIES:
        found: dict[str, list[str]] = {}
        for name, card in cards.items():
            representation = _representation(card, modality)
            if representation:
                found.setdefault(representation, []).append(name)
        rows.append({"modality": modality, "agree": len(found) <= 1, "datasets": found})
    return rows


def make_between(
    columns: Sequence[Mapping[str, Any]],
    shares: Sequence[Mapping[str, Any]],
    classes: Sequence[Mapping[str, Any]],
    cards: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """Return one row per dataset (``dataset`` first) with the columns of ``BETWEEN``; NaN or None where not compared.

    ``class_variation`` is the largest ``total_variation`` of the pairs that a dataset is part of.
    """
    rows: dict[str, dict[str, Any]] = {name: {"dataset": name} for name in cards}
    for row in columns:
        rows[row["dataset"]] |= {f"{row['column']}_ks": row["ks"], f"{row['column']}_ratio": row["median_ratio"]}
    for row in shares:
        rows[row["dataset"]][f"{row['column']}_difference"] = row["difference"]
    for name, row in rows.items():
        mine = [pair["total_variation"] for pair in classes if name in (pair["left"], pair["right"])]
        row["class_variation"] = max((value for value in mine if np.isfinite(value)), default=np.nan)
        row |= {f"{modality}_representation": _representation(cards[name], modality) for modality in MODALITIES}
    return pd.DataFrame(list(rows.values()))


def find_outside(between: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what lies outside the range of ``BETWEEN``: ``dataset, column, value``."""
    found = []
    for kind, column, limits in BETWEEN:
        if kind != _VALUES or column not in between:
            continue
        low, high = limits.get("min_value", -np.inf), limits.get("max_value", np.inf)
        for name, value in zip(between["dataset"], between[column], strict=True):
            if np.isfinite(value) and not low <= value <= high:
                found.append({"dataset": name, "column": column, "value": float(value)})
    return found


def measure_ks(left: np.ndarray, right: np.ndarray) -> float:
    """Return the largest distance of two empirical distribution functions; both need a value."""
    left, right = np.sort(left), np.sort(right)
    at = np.concatenate([left, right])
    steps = [np.searchsorted(side, at, side="right") / len(side) for side in (left, right)]
    return float(np.abs(steps[0] - steps[1]).max())


def _representation(card: Mapping[str, Any], modality: str) -> str | None:
    """What a dataset's numbers of one modality are, in one word or two; None where it has none at all."""
    entry = card.get(modality) or {}
    if card.get("n_units") and card.get("missing", {}).get(modality) == card["n_units"]:
        return None
    if modality != "waveform":
        return str(entry.get("representation", "undeclared"))
    rate = entry.get("sampling_frequency_hz")
    return f"{entry.get('unit', 'au')}, {f'{rate:g} Hz' if rate else 'rate unknown'}"


def _finite(frame: pd.DataFrame, column: str) -> np.ndarray:
    """(n,) float64, the finite values of a column; empty where there is none."""
    if column not in frame:
        return np.empty(0)
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
    return values[np.isfinite(values)]


def _round(value: float) -> float:
    """Rounded so that the file is the same on every machine."""
    return round(float(value), DIGITS)

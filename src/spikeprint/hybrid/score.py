"""How well a sorter found the hybrid units. Enters: a plan, sorted trains. Leaves: tables of scores, fits, confusion.

The truth is not exhaustive: real neurons fire too. So recall and agreement mean what they say, while precision counts
the spikes of the matched unit alone, and what else that unit holds is called contamination.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ..core.hybrid_plan import NO_COLLISION, Plan
from ..io.hybrid.sortings import Trains
from .kernels import pair_spikes
from .matching import WELL_DETECTED, Matching, match

SNR_BINS = (0.0, 5.0, 8.0, 12.0, np.inf)
LAG_MS = (0.25, 0.5, 1.0, 2.0, 5.0, np.inf)
"""Upper edges of the bins of the distance to the nearest colliding spike."""
RIDGE = 1e-3


@dataclass(frozen=True)
class Score:
    """One sorting against a plan.

    Attributes
    ----------
    units : a row per hybrid unit: what it is, and accuracy, recall, precision, ...
    confusion : pairs of spikes; last column ``missed``, last row ``unmatched``
    lags : share of detected spikes by distance to the nearest colliding spike
    fits : feature -> logistic fit of the share of detected spikes
    summary : numbers for metrics
    matching : what it rests on
    """

    units: pd.DataFrame
    confusion: pd.DataFrame
    lags: pd.DataFrame
    fits: dict[str, dict[str, float]]
    summary: dict[str, Any]
    matching: Matching


def score(plan: Plan, found: Trains, tolerance_ms: float = 0.4) -> Score:
    """Score a sorting of the hybrid recording.

    Parameters
    ----------
    found : the sorting, on the segments of the plan's source
    tolerance_ms : 2 ms is what hybridfactory uses
    """
    rate_hz = plan.source.sampling_frequency_hz
    tolerance = round(tolerance_ms * rate_hz / 1000)
    starts = np.array([segment.start for segment in plan.source.segments], dtype=np.int64)
    clock = plan.spikes["sample"] + starts[plan.spikes["segment"]]
    true = [np.sort(clock[plan.spikes["unit"] == k]) for k in range(len(plan.units))]
    times = found.sample + starts[found.segment]
    trains = [np.sort(times[found.of_unit(k)]) for k in range(len(found.unit_ids))]
    matching = match(true, trains, tolerance)
    units = _tabulate(plan, matching, found.unit_ids)
    detected = _detect(plan, clock, true, trains, matching, tolerance)
    lags = _by_lag(plan, detected, rate_hz)
    return Score(units, _confusion(plan, matching, found.unit_ids), lags, _fit_all(units, plan, detected, rate_hz),
                 _summarise(units, matching, tolerance_ms), matching)  # fmt: skip


def _tabulate(plan: Plan, matching: Matching, names: np.ndarray) -> pd.DataFrame:
    """One row per hybrid unit."""
    best = matching.best()
    rows = []
    for k, unit in enumerate(plan.units):
        sorted_unit = int(matching.assigned[k])
        is_found = sorted_unit >= 0
        pairs = int(matching.counts[k, sorted_unit]) if is_found else 0
        n_true, n_sorted = int(matching.n_true[k]), int(matching.n_sorted[sorted_unit]) if is_found else 0
        rows.append(
            {
                "unit_id": unit.unit_id,
                "source_unit": unit.source_unit,
                "sorted_unit": str(names[sorted_unit]) if is_found else "",
                "peak_channel": unit.peak_channel,
                "amplitude_uv": unit.amplitude_uv,
                "snr": unit.snr,
                "rate_hz": unit.rate_hz,
                "n_spikes": n_true,
                "n_found": pairs,
                "accuracy": float(matching.agreement[k, sorted_unit]) if is_found else 0.0,
                "recall": pairs / n_true if n_true else np.nan,
                "precision": pairs / n_sorted if n_sorted else np.nan,
                "false_discovery_rate": 1 - pairs / n_sorted if n_sorted else np.nan,
                "miss_rate": 1 - pairs / n_true if n_true else np.nan,
                "contaminating_spikes": n_sorted - pairs,
                "is_well_detected": is_found and matching.agreement[k, sorted_unit] >= WELL_DETECTED,
                "best_unit": str(names[best[k]]) if best[k] >= 0 else "",
                "best_agreement": float(matching.agreement[k, best[k]]) if best[k] >= 0 else 0.0,
            }
        )
    return pd.DataFrame(rows)


def _confusion(plan: Plan, matching: Matching, names: np.ndarray) -> pd.DataFrame:
    """The confusion matrix with names; sorted units without a common spike are left out."""
    rows, columns = matching.order()
    table = matching.confusion()
    kept = np.append(table[:-1, :-1].any(axis=0), True)
    index = [f"hybrid {plan.units[k].unit_id}" for k in rows] + ["unmatched"]
    heads = np.array([str(names[k]) for k in columns] + ["missed"], dtype=object)
    return pd.DataFrame(table[:, kept], index=index, columns=list(heads[kept]))


def _detect(
    plan: Plan, clock: np.ndarray, true: list[np.ndarray], trains: list[np.ndarray], matching: Matching, tolerance: int
) -> np.ndarray:
    """(n_spikes,) whether each spike of the plan is found by the unit assigned to its own."""
    detected = np.zeros(len(plan.spikes), dtype=bool)
    for k in range(len(plan.units)):
        if matching.assigned[k] < 0:
            continue
        mine = np.flatnonzero(plan.spikes["unit"] == k)
        order = mine[np.argsort(clock[mine], kind="stable")]
        detected[order] = pair_spikes(true[k], trains[matching.assigned[k]], tolerance) >= 0
    return detected


def _by_lag(plan: Plan, detected: np.ndarray, rate_hz: float) -> pd.DataFrame:
    """Share of detected spikes of assigned units by distance to the nearest colliding spike."""
    lag_ms = np.abs(plan.spikes["collision_lag"].astype(np.float64)) / rate_hz * 1000
    lag_ms[plan.spikes["collision_lag"] == NO_COLLISION] = np.inf
    part = np.searchsorted(LAG_MS, lag_ms, side="left")
    counts = np.bincount(part, minlength=len(LAG_MS))
    hits = np.bincount(part, weights=detected, minlength=len(LAG_MS))
    recall = np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return pd.DataFrame({"lag_below_ms": LAG_MS, "n_spikes": counts, "recall": recall})


def _fit_all(units: pd.DataFrame, plan: Plan, detected: np.ndarray, rate_hz: float) -> dict[str, dict[str, float]]:
    """Share of detected spikes against what may explain it."""
    if not len(units):
        return {}
    n, k = units["n_spikes"].to_numpy(), units["n_found"].to_numpy()
    fits = {name: fit_logistic(units[name].to_numpy(), k, n) for name in ("snr", "amplitude_uv", "rate_hz")}
    lag_ms = np.minimum(np.abs(plan.spikes["collision_lag"].astype(np.float64)) / rate_hz * 1000, 10.0)
    fits["collision_lag_ms"] = fit_logistic(lag_ms, detected.astype(int), np.ones(len(lag_ms), dtype=int))
    return fits


def fit_logistic(x: np.ndarray, k: np.ndarray, n: np.ndarray) -> dict[str, float]:
    """Fit the share of hits as a logistic function, by Newton's method with a small ridge.

    Parameters
    ----------
    x : (m,); rows that are not finite or have no trials are left out
    k, n : (m,) hits and trials

    Returns
    -------
    intercept, slope (per unit of x), half : x at which half is found, NaN where that lies outside the values; all NaN
    with fewer than two values of x
    """
    good = np.isfinite(x) & (n > 0)
    x, k, n = x[good], k[good].astype(float), n[good].astype(float)
    spread = x.std() if len(x) else 0.0
    if len(np.unique(x)) < 2 or spread == 0:
        return {"intercept": np.nan, "slope": np.nan, "half": np.nan}
    centre = x.mean()
    design = np.column_stack([np.ones(len(x)), (x - centre) / spread])
    beta = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        weight = n * p * (1 - p)
        penalty = RIDGE * n.sum() * np.eye(2)
        step = np.linalg.solve(design.T @ (design * weight[:, None]) + penalty, design.T @ (k - n * p) - penalty @ beta)
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    slope = float(beta[1] / spread)
    intercept = float(beta[0] - slope * centre)
    half = -intercept / slope if slope else np.nan
    return {"intercept": intercept, "slope": slope, "half": half if x.min() <= half <= x.max() else np.nan}


def _summarise(units: pd.DataFrame, matching: Matching, tolerance_ms: float) -> dict[str, Any]:
    """Numbers for metrics."""
    if not len(units):
        return {"n_hybrid": 0, "n_sorted": len(matching.n_sorted), "tolerance_ms": tolerance_ms}
    bins = {}
    for low, high in pairwise(SNR_BINS):
        mine = units[(units["snr"] >= low) & (units["snr"] < high)]
        if len(mine):
            name = f"snr_{low:g}_up" if np.isinf(high) else f"snr_{low:g}_{high:g}"
            bins[name] = float(mine["n_found"].sum() / max(mine["n_spikes"].sum(), 1))
    return {
        "n_hybrid": len(units),
        "n_sorted": len(matching.n_sorted),
        "n_assigned": int((matching.assigned >= 0).sum()),
        "n_well_detected": int(units["is_well_detected"].sum()),
        "n_redundant": int(matching.redundant().sum()),
        "n_overmerged": int(matching.merged().sum()),
        "accuracy": float(units["accuracy"].mean()),
        "recall": float(units["recall"].mean()),
        "precision": float(units["precision"].mean()) if units["precision"].notna().any() else None,
        "recall_by_snr": bins,
        "tolerance_ms": tolerance_ms,
    }

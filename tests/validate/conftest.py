"""Canonical features of a simulated session: real counts that every rule must let pass."""

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.types import MODALITIES, UnitTable

COUNTS = {"representation": "counts_1ms"}
CARD = {
    "dataset": "toy",
    "technology": "neuropixels",
    "species": "mouse",
    "format": "arrays",
    "source_md5": "0",
    "waveform": {"unit": "uV"},
    "isi": COUNTS,
    "acg": COUNTS,
}


def count_pairs(times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ISI and ACG by all pairwise differences of integer milliseconds: (100,) and (201,)."""
    lags = np.subtract.outer(times_ms, times_ms)
    acg = np.array([(lags == lag).sum() for lag in range(-100, 101)])
    acg[100] = 0
    return np.bincount(np.diff(times_ms), minlength=100)[:100], acg


@pytest.fixture
def table() -> UnitTable:
    """Thirty units with Poisson trains, three classes, a missing row in each modality."""
    rng = np.random.default_rng(3)
    n = 30
    trains = [np.unique(rng.integers(0, 20_000, rng.integers(50, 300))) for _ in range(n)]
    isi, acg = (np.array(rows, dtype=float) for rows in zip(*map(count_pairs, trains), strict=True))
    waveform = rng.normal(size=(n, 50)).astype(np.float32)
    waveform[2], isi[3], acg[4] = np.nan, np.nan, np.nan
    metadata = pd.DataFrame(
        {
            "unit_id": [f"u{i}" for i in range(n)],
            "n_spikes": [float(len(train)) for train in trains],
            "firing_rate_hz": [len(train) / 20 for train in trains],
            "trough_to_peak_ms": rng.uniform(0.2, 0.7, n),
            "flags": [""] * n,
            "passes_qc": [True] * n,
            "qc_reason": [""] * n,
        }
    )
    labels = np.array(["PV", "SOM", ""])[np.arange(n) % 3]
    return UnitTable(waveform, isi, acg, labels, metadata, dict(CARD))


@pytest.fixture
def frames(table: UnitTable) -> dict[str, pd.DataFrame]:
    """The same as tables, as they are read from a canonical folder."""
    matrices = {
        modality.file: pd.DataFrame(getattr(table, name).astype(float), columns=list(modality.columns))
        for name, modality in MODALITIES.items()
    }
    labels = pd.DataFrame({"cell_type": pd.Series(table.labels, dtype="str")})
    text = {"unit_id": "str", "flags": "str", "qc_reason": "str"}
    return {**matrices, "labels.csv": labels, "metadata.csv": table.metadata.astype(text)}

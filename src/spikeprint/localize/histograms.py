"""Do positions repeat from bin to bin? Enters: corrected positions and times. Leaves: rho-bar and H-bar, by their grid.

The scoreboard of the Spike Localization Network, exactly: all ordered pairs of bins, Pearson correlation at zero shift, a
bin without spikes counts as 0; spatial entropy in nats over bins that have spikes. The grid is part of the name:
``rho_soft4`` and ``rho_hard8`` are different measures. A high value alone says little: see ``score_with_control``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

REACH = 3
"""Cells around the nearest centre that a soft spike reaches, 3 sigma."""


@dataclass(frozen=True)
class Grid:
    """Cells of a histogram over (x, y).

    Attributes
    ----------
    low_um, high_um : (2,) first and last centre, x and y; pitch_um : their distance
    sigma_um : of the Gaussian that a spike adds (its peak is 1); None = a spike adds 1 to its cell
    """

    low_um: tuple[float, float]
    high_um: tuple[float, float]
    pitch_um: float
    sigma_um: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along x and y."""
        nx, ny = (round((high - low) / self.pitch_um) + 1 for low, high in zip(self.low_um, self.high_um, strict=True))
        return nx, ny

    @property
    def n_cells(self) -> int:
        """Cells in all."""
        return self.shape[0] * self.shape[1]


def make_grids(contacts_um: np.ndarray) -> dict[str, Grid]:
    """Return the grids ``soft4`` and ``hard8`` over a probe, with the margins of the published ones."""
    low, high = contacts_um.min(axis=0), contacts_um.max(axis=0)
    soft_low, soft_high = (low[0] - 40, low[1] - 20), (high[0] + 60, high[1] + 20)
    hard_low, hard_high = (low[0] - 80, low[1] - 40), (high[0] + 100, high[1] + 40)
    return {
        "soft4": Grid(_plain(soft_low), _plain(soft_high), 4.0, 4.0),
        "hard8": Grid(_plain(hard_low), _plain(hard_high), 8.0, None),
    }


@dataclass
class Histograms:
    """Histograms of a recording, one for each second, built up chunk by chunk.

    Attributes
    ----------
    counts : (n_bins, n_cells) float32
    """

    grid: Grid
    counts: np.ndarray
    bin_s: float = 1.0

    @classmethod
    def empty(cls, grid: Grid, duration_s: float, bin_s: float = 1.0) -> "Histograms":
        """Return histograms without spikes for a recording of that length."""
        return cls(grid, np.zeros((int(np.ceil(duration_s / bin_s)), grid.n_cells), dtype=np.float32), bin_s)

    def add(self, xy_um: np.ndarray, times_s: np.ndarray) -> None:
        """Add spikes: (n, 2) µm at (n,) s; those farther than 3 sigma (or half a cell) from the grid are left out."""
        bins = (times_s // self.bin_s).astype(np.int64)
        inside = np.isfinite(xy_um).all(axis=1) & (bins >= 0) & (bins < len(self.counts))
        low, high, pitch = np.array(self.grid.low_um), np.array(self.grid.high_um), self.grid.pitch_um
        margin = pitch / 2 if self.grid.sigma_um is None else 3 * self.grid.sigma_um
        inside &= ((xy_um >= low - margin) & (xy_um <= high + margin)).all(axis=1)
        xy, bins = xy_um[inside].astype(np.float64), bins[inside]
        nx, ny = self.grid.shape
        near = np.clip(np.rint((xy - low) / pitch).astype(np.int64), 0, [nx - 1, ny - 1])
        n_cells, total = self.grid.n_cells, np.zeros(self.counts.size)
        start = bins * n_cells
        if self.grid.sigma_um is None:
            total += np.bincount(start + near[:, 0] * ny + near[:, 1], minlength=total.size)
        else:
            rest = xy - (low + near * pitch)
            taps = np.arange(-REACH, REACH + 1)
            gauss = np.exp(-((rest[:, :, None] - taps * pitch) ** 2) / (2 * self.grid.sigma_um**2))
            for i, dx in enumerate(taps):
                x = near[:, 0] + dx
                in_x = (x >= 0) & (x < nx)
                for j, dy in enumerate(taps):
                    y = near[:, 1] + dy
                    kept = np.flatnonzero(in_x & (y >= 0) & (y < ny))
                    weight = gauss[kept, 0, i] * gauss[kept, 1, j]
                    total += np.bincount(start[kept] + x[kept] * ny + y[kept], weight, minlength=total.size)
        self.counts += total.reshape(self.counts.shape).astype(np.float32)


def correlate_bins(counts: np.ndarray) -> np.ndarray:
    """Return the (n_bins, n_bins) Pearson correlations of histograms; 0 with a bin that is empty."""
    rows = counts - counts.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows @ rows.T


def mean_correlation(counts: np.ndarray) -> float:
    """Return rho-bar, the mean over all ordered pairs of two bins."""
    n = len(counts)
    if n < 2:
        return 0.0
    rows = counts - counts.mean(axis=1, keepdims=True, dtype=np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    # the sum over all pairs is the norm of the sum
    total = float(np.square(rows.sum(axis=0)).sum() - np.square(rows).sum())
    return total / (n * (n - 1))


def entropies(counts: np.ndarray) -> np.ndarray:
    """Return the (n_bins,) spatial entropy of each bin in nats, NaN for an empty one."""
    total = counts.sum(axis=1, keepdims=True, dtype=np.float64)
    p = counts / np.maximum(total, 1e-12)
    found = -(p * np.log(p + 1e-12)).sum(axis=1)
    return np.where(total[:, 0] > 0, found, np.nan)


def score_repeats(
    xy_um: np.ndarray, times_s: np.ndarray, duration_s: float, grids: dict[str, Grid]
) -> dict[str, float]:
    """Return ``rho_<grid>`` and ``H_<grid>`` for every grid."""
    found: dict[str, float] = {}
    for name, grid in grids.items():
        histograms = Histograms.empty(grid, duration_s)
        for rows in _chunks(len(xy_um)):
            histograms.add(xy_um[rows], times_s[rows])
        found[f"rho_{name}"] = mean_correlation(histograms.counts)
        found[f"H_{name}"] = float(np.nanmean(entropies(histograms.counts)))
    return found


def score_with_control(
    xy_um: np.ndarray, times_s: np.ndarray, duration_s: float, grids: dict[str, Grid]
) -> dict[str, float]:
    """Return the scores, and as ``..._collapsed`` those with every x at the median: worse positions that score more."""
    collapsed = xy_um.copy()
    collapsed[:, 0] = np.nanmedian(xy_um[:, 0])
    control = score_repeats(collapsed, times_s, duration_s, grids)
    return score_repeats(xy_um, times_s, duration_s, grids) | {f"{k}_collapsed": v for k, v in control.items()}


def _chunks(n: int, size: int = 500_000) -> Iterable[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _plain(point: tuple[float, float]) -> tuple[float, float]:
    return float(point[0]), float(point[1])

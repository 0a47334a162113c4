"""Do positions repeat from bin to bin? Enters: corrected positions and times. Leaves: rho-bar and H-bar, by their grid.

The scoreboard of the Spike Localization Network, exactly: all ordered pairs of bins, Pearson correlation at zero shift;
a bin without spikes counts as 0; spatial entropy in nats over bins that have spikes. The grid is part of the name:
``rho_soft4`` and ``rho_hard8`` are different measures. A high value alone says little: see ``score_with_control``.
"""

from dataclasses import dataclass

import numpy as np

REACH = 3
"""Cells around the nearest centre that a soft spike reaches, 3 sigma."""
BLOCK_BINS = 16
"""Seconds whose histograms are in memory at a time."""


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


def count_cells(xy_um: np.ndarray, bins: np.ndarray, n_bins: int, grid: Grid) -> np.ndarray:
    """Return the (n_bins, n_cells) histograms of spikes (n, 2) in bins (n,): a bincount for each tap."""
    low, high, pitch = np.array(grid.low_um), np.array(grid.high_um), grid.pitch_um
    margin = pitch / 2 if grid.sigma_um is None else 3 * grid.sigma_um
    inside = ((xy_um >= low - margin) & (xy_um <= high + margin)).all(axis=1)  # False where not a number
    xy = xy_um[inside].astype(np.float64)
    nx, ny = grid.shape
    near = np.clip(np.rint((xy - low) / pitch).astype(np.int64), 0, [nx - 1, ny - 1])
    cell = bins[inside] * grid.n_cells + near[:, 0] * ny + near[:, 1]
    n = n_bins * grid.n_cells
    if grid.sigma_um is None:
        return np.bincount(cell, minlength=n).reshape(n_bins, -1)
    rest, total = xy - (low + near * pitch), np.zeros(n)
    taps = np.arange(-REACH, REACH + 1)
    gauss = np.exp(-((rest[:, :, None] - taps * pitch) ** 2) / (2 * grid.sigma_um**2))
    in_x, in_y = ((near[:, i, None] + taps >= 0) & (near[:, i, None] + taps < size) for i, size in enumerate((nx, ny)))
    gauss_x, gauss_y = gauss[:, 0] * in_x, gauss[:, 1] * in_y
    last = n - 1
    for i, dx in enumerate(taps):
        for j, dy in enumerate(taps):
            # a tap outside the grid weighs 0, wherever it lands
            at = np.clip(cell + dx * ny + dy, 0, last)
            total += np.bincount(at, gauss_x[:, i] * gauss_y[:, j], minlength=n)
    return total.reshape(n_bins, -1)


def correlate_bins(counts: np.ndarray) -> np.ndarray:
    """Return the (n_bins, n_bins) Pearson correlations of histograms; 0 with a bin that is empty."""
    rows = _normalise(counts)
    return rows @ rows.T


def entropies(counts: np.ndarray) -> np.ndarray:
    """Return the (n_bins,) spatial entropy of each bin in nats, NaN for an empty one."""
    total = counts.sum(axis=1, keepdims=True, dtype=np.float64)
    p = counts / np.maximum(total, 1e-12)
    found = -(p * np.log(p + 1e-12)).sum(axis=1)
    return np.where(total[:, 0] > 0, found, np.nan)


def score_repeats(
    xy_um: np.ndarray, times_s: np.ndarray, duration_s: float, grids: dict[str, Grid]
) -> dict[str, float]:
    """Return ``rho_<grid>`` and ``H_<grid>`` for every grid; memory does not grow with the recording.

    Parameters
    ----------
    xy_um : (n, 2) at rising times (n,)
    """
    found: dict[str, float] = {}
    n_bins = int(np.ceil(duration_s))
    edges = np.searchsorted(times_s, np.arange(n_bins + 1))
    for name, grid in grids.items():
        total, squares, nats = np.zeros(grid.n_cells), 0.0, []
        for first in range(0, n_bins, BLOCK_BINS):
            last = min(first + BLOCK_BINS, n_bins)
            rows = slice(edges[first], edges[last])
            bins = np.floor(times_s[rows]).astype(np.int64) - first
            counts = count_cells(xy_um[rows], bins, last - first, grid)
            nats.append(entropies(counts))
            counts = _normalise(counts)
            total += counts.sum(axis=0)
            squares += float(np.square(counts).sum())
        # the sum over all ordered pairs is the norm of the sum, less the pairs of a bin with itself
        found[f"rho_{name}"] = float(np.square(total).sum() - squares) / max(n_bins * (n_bins - 1), 1)
        found[f"H_{name}"] = float(np.nanmean(np.concatenate(nats)))
    return found


def _normalise(counts: np.ndarray) -> np.ndarray:
    """Rows without their mean, of norm 1; an empty row stays 0."""
    rows = counts - counts.mean(axis=1, keepdims=True, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def score_with_control(
    xy_um: np.ndarray, times_s: np.ndarray, duration_s: float, grids: dict[str, Grid]
) -> dict[str, float]:
    """Return the scores, and as ``..._collapsed`` those with every x at the median: worse positions that score more."""
    collapsed = xy_um.copy()
    collapsed[:, 0] = np.nanmedian(xy_um[:, 0])
    control = score_repeats(collapsed, times_s, duration_s, grids)
    return score_repeats(xy_um, times_s, duration_s, grids) | {f"{k}_collapsed": v for k, v in control.items()}


def _plain(point: tuple[float, float]) -> tuple[float, float]:
    return float(point[0]), float(point[1])

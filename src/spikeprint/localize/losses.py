"""The self-supervised objective. Enters: corrected positions and their bins. Leaves: differentiable scalars.

Soft histogram, correlation and entropy of the Spike Localization Network; the correlation is one Gram matrix in place
of a product for each pair of rows (the same value and gradient), the tether holds all three axes.
"""

import torch
from torch import Tensor

from .histograms import REACH, Grid


def soft_histogram(xy: Tensor, bins: Tensor, n_bins: int, grid: Grid) -> Tensor:
    """Add a Gaussian of peak 1 for each spike to the cells within 3 sigma; taps outside the grid are dropped.

    Parameters
    ----------
    xy : (n, 2) µm; bins : (n,) int64, below ``n_bins``; grid : with a ``sigma_um``

    Returns
    -------
    (n_bins, n_cells), differentiable in xy through the weights

    Raises
    ------
    ValueError
        The grid is a hard one, which has no gradient.
    """
    if grid.sigma_um is None:
        raise ValueError("a soft histogram needs a grid with sigma_um")
    nx, ny = grid.shape
    low = torch.tensor(grid.low_um, dtype=xy.dtype, device=xy.device)
    near = torch.round((xy.detach() - low) / grid.pitch_um).long()
    taps = torch.arange(-REACH, REACH + 1, device=xy.device)
    cells = near[:, :, None] + taps
    weights = torch.exp(-((xy[:, :, None] - low[:, None] - cells * grid.pitch_um) ** 2) / (2 * grid.sigma_um**2))
    size = torch.tensor([nx, ny], device=xy.device)[:, None]
    inside = (cells >= 0) & (cells < size)
    weights = weights * inside
    cells = torch.minimum(cells.clamp_min(0), size - 1)
    index = bins[:, None, None] * (nx * ny) + cells[:, 0, :, None] * ny + cells[:, 1, None, :]
    values = weights[:, 0, :, None] * weights[:, 1, None, :]
    flat = torch.zeros(n_bins * nx * ny, dtype=xy.dtype, device=xy.device)
    return flat.index_add(0, index.flatten(), values.flatten()).view(n_bins, nx * ny)


def windowed_correlation(histograms: Tensor, is_valid: Tensor, window: int) -> Tensor:
    """Mean Pearson correlation at zero shift of all pairs of valid bins at most ``window`` apart; 0 without a pair.

    Parameters
    ----------
    histograms : (n_bins, n_cells); is_valid : (n_bins,) bool
    """
    rows = histograms - histograms.mean(dim=1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    gram = rows @ rows.T
    n = len(gram)
    apart = torch.arange(n, device=gram.device)[None] - torch.arange(n, device=gram.device)[:, None]
    pairs = (apart > 0) & (apart <= window) & is_valid[:, None] & is_valid[None]
    return (gram * pairs).sum() / pairs.sum().clamp_min(1)


def spatial_entropy(histograms: Tensor, is_valid: Tensor) -> Tensor:
    """Mean entropy in nats over valid bins; 0 without one."""
    p = histograms / histograms.sum(dim=1, keepdim=True).clamp_min(1e-8)
    entropy = -(p * torch.log(p + 1e-8)).sum(dim=1)
    return (entropy * is_valid).sum() / is_valid.sum().clamp_min(1)


def tether(xyz: Tensor, start: Tensor) -> Tensor:
    """Mean squared way from the start, over spikes and the three axes, µm²."""
    return (xyz - start).square().mean()

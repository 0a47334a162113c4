"""Where a unit goes. Enters: contacts of the probe, contacts of the unit. Leaves: new contacts, the shift, weights."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..core.errors import DataError
from ..core.hybrid_params import RelocateParams

TOLERANCE_UM = 0.5
LENGTH_UM, NUGGET = 100.0, 1e-6
"""Kriging: length of the Matérn-5/2 covariance, and what is added to its diagonal."""
EDGE = 0.75
"""Interpolated templates are tapered in space from this part of the radius on."""


@dataclass(frozen=True)
class Move:
    """A unit's new place.

    Attributes
    ----------
    channels : (m_new,) absolute
    shift_um : (2,)
    weights : (m, m_new) from old contacts to new ones, None = one to one
    """

    channels: np.ndarray
    shift_um: np.ndarray
    weights: np.ndarray | None = None

    def carry(self, waveforms: np.ndarray) -> np.ndarray:
        """(..., n_samples, m) -> (..., n_samples, m_new) float32."""
        return waveforms if self.weights is None else (waveforms @ self.weights).astype(np.float32)


def relocate(
    channels: np.ndarray,
    positions_um: np.ndarray,
    params: RelocateParams,
    radius_um: float,
    rng: np.random.Generator,
    anchor: int | None = None,
) -> Move:
    """Choose a new place for a unit.

    Parameters
    ----------
    channels : (m,) absolute, the peak first
    positions_um : (n_channels, 2); NaN where there is no connected contact
    radius_um : of the interpolated footprint
    anchor : channel from which shifts are counted; None = the peak

    Raises
    ------
    DataError
        There is none.
    """
    start = int(channels[0]) if anchor is None else anchor
    if params.mode == "none":
        return Move(channels, np.zeros(2))
    if params.mode == "channel_shift":
        return _shift_channels(channels, positions_um, params.channel_shift or 0)
    if params.mode == "interpolate":
        return _interpolate(channels, positions_um, params, radius_um, rng)
    shifts, targets = find_lattice(channels, positions_um, start)
    distance = np.linalg.norm(shifts, axis=1)
    largest = np.inf if params.max_um is None else params.max_um
    fits = np.flatnonzero((distance >= max(params.min_um, TOLERANCE_UM)) & (distance <= largest))
    if not len(fits):
        raise DataError(
            f"no place for it: {len(channels)} contacts around channel {channels[0]} fit the probe at {len(shifts)} "
            f"shifts, none of them {params.min_um:g} to {largest:g} µm long; use relocate.mode interpolate, a "
            "smaller channels.radius_um, or (few contacts, as a tetrode's) mode none: the same contacts, other times"
        )
    fits = fits[np.argsort(distance[fits], kind="stable")]
    chosen = fits[_draw(len(fits), params.weights, rng)]
    return Move(targets[chosen], shifts[chosen])


def find_lattice(channels: np.ndarray, positions_um: np.ndarray, anchor: int) -> tuple[np.ndarray, np.ndarray]:
    """Find every shift that takes all contacts of a unit onto contacts.

    Returns
    -------
    shifts : (n, 2) µm; targets : (n, m) channels
    """
    connected = np.flatnonzero(np.isfinite(positions_um).all(axis=1))
    tree = cKDTree(positions_um[connected])
    shifts = positions_um[connected] - positions_um[anchor]
    places = positions_um[channels][None] + shifts[:, None]
    distance, index = tree.query(places, distance_upper_bound=TOLERANCE_UM)
    fits = np.isfinite(distance).all(axis=1)
    return shifts[fits], connected[index[fits]]


def _draw(n: int, weights: str, rng: np.random.Generator) -> int:
    """One of n, equally likely or in proportion to the rank."""
    rank = np.arange(1, n + 1, dtype=np.float64)
    p = rank / rank.sum() if weights == "rank" else np.full(n, 1 / n)
    return int(rng.choice(n, p=p))


def _shift_channels(channels: np.ndarray, positions_um: np.ndarray, shift: int) -> Move:
    """The channels so many places further in the order of the connected ones, else so many before."""
    connected = np.flatnonzero(np.isfinite(positions_um).all(axis=1))
    rank = np.searchsorted(connected, channels)
    old = positions_um[channels]
    for step in (shift, -shift):
        moved = rank + step
        if moved.min() >= 0 and moved.max() < len(connected):
            new = positions_um[connected[moved]]
            steps = new - old
            if np.abs(steps - steps[0]).max() <= TOLERANCE_UM:
                return Move(connected[moved], steps[0])
    raise DataError(
        f"no place for it: {len(channels)} contacts around channel {channels[0]} leave the probe or change their "
        f"distances {shift} channels up and down; choose another relocate.channel_shift, or mode lattice"
    )


def _interpolate(
    channels: np.ndarray,
    positions_um: np.ndarray,
    params: RelocateParams,
    radius_um: float,
    rng: np.random.Generator,
) -> Move:
    """A shift near to, not onto, another contact."""
    connected = np.flatnonzero(np.isfinite(positions_um).all(axis=1))
    peak = positions_um[channels[0]]
    pitch = float(
        np.median(cKDTree(positions_um[connected]).query(positions_um[connected], k=min(2, len(connected)))[0][:, -1])
    )
    shifts = positions_um[connected] - peak + rng.uniform(-0.5, 0.5, (len(connected), 2)) * pitch * [0.0, 1.0]
    distance = np.linalg.norm(shifts, axis=1)
    largest = np.inf if params.max_um is None else params.max_um
    fits = np.flatnonzero((distance >= params.min_um) & (distance <= largest))
    if not len(fits):
        raise DataError(
            f"no place for it: no contact {params.min_um:g} to {largest:g} µm from channel {channels[0]}; change "
            "relocate.min_um or max_um, or use relocate.mode none: the same contacts, other times"
        )
    fits = fits[np.argsort(distance[fits], kind="stable")]
    shift = shifts[fits[_draw(len(fits), params.weights, rng)]]
    return displace(channels, positions_um, shift, radius_um)


def displace(channels: np.ndarray, positions_um: np.ndarray, shift_um: np.ndarray, radius_um: float) -> Move:
    """Return the move by any shift: what the contacts around the new place see, by kriging."""
    source = positions_um[channels]
    connected = np.flatnonzero(np.isfinite(positions_um).all(axis=1))
    distance = np.linalg.norm(positions_um[connected] - source[0] - shift_um, axis=1)
    near = connected[distance < radius_um]
    if not len(near):
        raise DataError(f"no contact within {radius_um:g} µm of the new place; channels.radius_um is too small")
    weights = krige(source, positions_um[near] - shift_um)
    edge = np.clip((distance[distance < radius_um] / radius_um - EDGE) / (1 - EDGE), 0, 1)
    return Move(near, np.asarray(shift_um, dtype=np.float64), weights * (0.5 + 0.5 * np.cos(np.pi * edge)))


def krige(source_um: np.ndarray, target_um: np.ndarray) -> np.ndarray:
    """(m, k) weights that predict values at ``target_um`` (k, 2) from values at ``source_um`` (m, 2)."""
    covariance = _matern(source_um, source_um) + NUGGET * np.eye(len(source_um))
    return np.linalg.solve(covariance, _matern(source_um, target_um))


def _matern(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matérn-5/2 covariance."""
    scaled = np.sqrt(5.0) * np.linalg.norm(a[:, None] - b[None], axis=2) / LENGTH_UM
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)

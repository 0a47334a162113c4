"""Spikes on a probe as types. Enters: arrays. Leaves: frozen records of contacts, peaks, positions and motion.

Coordinates are µm: x lateral, y along the shank (depth), z away from the probe's face, on which contacts lie at z = 0.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError

AXES = ("x", "y", "z")
"""Columns of every array of positions."""


@dataclass(frozen=True)
class Neighbourhoods:
    """The contacts around each channel.

    Attributes
    ----------
    channels : (n_channels, k) int64, ordered by y, then x; -1 where the probe has no more contacts
    offsets_um : (n_channels, k, 2) float32, contact less the channel's own contact, 0 where there is none
    anchors_um : (n_channels, 2) float32, centroid of the contacts that are there
    contacts_um : (n_channels, 2) float32, where the channels are
    """

    channels: np.ndarray
    offsets_um: np.ndarray
    anchors_um: np.ndarray
    contacts_um: np.ndarray

    @property
    def is_there(self) -> np.ndarray:
        """(n_channels, k) bool"""
        return self.channels >= 0

    @property
    def own(self) -> np.ndarray:
        """(n_channels,) int64, place of a channel in its own neighbourhood."""
        return np.argmax(self.channels == np.arange(len(self.channels))[:, None], axis=1)


@dataclass(frozen=True)
class Peaks:
    """Detected spikes of one segment, in the order of time.

    Attributes
    ----------
    samples : (n,) int64, sample of the trough; channels : (n,) int64, index of the peak channel
    amplitudes_uv : (n,) float32, as the detector signs them
    fs_hz : sampling rate; n_samples : length of the recording
    """

    samples: np.ndarray
    channels: np.ndarray
    amplitudes_uv: np.ndarray
    fs_hz: float
    n_samples: int

    def __post_init__(self) -> None:
        if not len(self.samples) == len(self.channels) == len(self.amplitudes_uv):
            shapes = self.samples.shape, self.channels.shape, self.amplitudes_uv.shape
            raise DataError(f"Peaks: samples, channels and amplitudes {shapes}; equal lengths are needed")
        if (np.diff(self.samples) < 0).any():
            raise DataError("Peaks: samples that fall; spikes in the order of time are needed")

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def times_s(self) -> np.ndarray:
        """(n,) float64"""
        return self.samples / self.fs_hz

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return self.n_samples / self.fs_hz

    def take(self, rows: np.ndarray) -> "Peaks":
        """Return some of the spikes, rows in the order of time."""
        return Peaks(self.samples[rows], self.channels[rows], self.amplitudes_uv[rows], self.fs_hz, self.n_samples)


@dataclass(frozen=True)
class Positions:
    """Where spikes come from.

    Attributes
    ----------
    xyz_um : (n, 3) float32; an axis that a method does not estimate is NaN
    alpha_uv_um : (n,) float32, amplitude on the peak channel times the distance of the source; None = not estimated
    sd_um : (n, 3) float32, scale of the error the method expects on each axis; None = not estimated
    """

    xyz_um: np.ndarray
    alpha_uv_um: np.ndarray | None = None
    sd_um: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.xyz_um)
        for name, shape in (("xyz_um", (n, 3)), ("alpha_uv_um", (n,)), ("sd_um", (n, 3))):
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise DataError(f"Positions: {name} is {values.shape}, {shape} is needed")


@dataclass(frozen=True)
class Motion:
    """How far the tissue has moved along one axis.

    Attributes
    ----------
    displacement_um : (n_times, n_depths) float64; corrected = position - displacement
    times_s : (n_times,) and depths_um : (n_depths,) rising, where it is known; one depth = the probe moves as one
    axis : column of positions that it moves
    """

    displacement_um: np.ndarray
    times_s: np.ndarray
    depths_um: np.ndarray
    axis: int = 1

    def __post_init__(self) -> None:
        shape = (len(self.times_s), len(self.depths_um))
        if self.displacement_um.shape != shape or 0 in shape:
            raise DataError(f"Motion: displacement {self.displacement_um.shape}, times and depths {shape}")
        if (np.diff(self.times_s) <= 0).any() or (np.diff(self.depths_um) <= 0).any():
            raise DataError("Motion: times and depths must rise")
        if not np.isfinite(self.displacement_um).all():
            raise DataError("Motion: displacement that is not a number")

    def at(self, times_s: np.ndarray, depths_um: np.ndarray) -> np.ndarray:
        """Look displacement up: bilinear, held at the borders.

        Parameters
        ----------
        times_s, depths_um : (n,) float64

        Returns
        -------
        (n,) float64, µm
        """
        row, row_share = _place(self.times_s, times_s)
        column, column_share = _place(self.depths_um, depths_um)
        values = self.displacement_um
        last_row, last_column = values.shape[0] - 1, values.shape[1] - 1
        below, right = np.minimum(row + 1, last_row), np.minimum(column + 1, last_column)
        early = values[row, column] * (1 - column_share) + values[row, right] * column_share
        late = values[below, column] * (1 - column_share) + values[below, right] * column_share
        return early * (1 - row_share) + late * row_share


def _place(grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the point of a rising grid below each value, and the share of the way to the next."""
    if len(grid) == 1:
        return np.zeros(len(values), dtype=np.int64), np.zeros(len(values))
    held = np.clip(values, grid[0], grid[-1])
    row = np.clip(np.searchsorted(grid, held, side="right") - 1, 0, len(grid) - 2)
    return row, (held - grid[row]) / (grid[row + 1] - grid[row])


@dataclass(frozen=True)
class Source:
    """A preprocessed recording, its peaks, and a way to its snippets.

    Attributes
    ----------
    recording : spikeinterface BaseRecording in µV, one segment
    peaks : what was detected in it
    contacts_um : (n_channels, 2) float, where its channels are; noise_uv : (n_channels,) float, their MAD x 1.4826
    n_before, n_after : samples of a snippet before the trough and from it on
    band_hz : band-pass that the traces went through; None = the spikes are as wide as they were
    read : neighbourhoods, peaks -> (rows, snippets (n, k, n_before + n_after) float32), chunk by chunk
    n_components : temporal components that the snippets of its peaks were kept in; None = they come from the traces
    """

    recording: Any
    peaks: Peaks
    contacts_um: np.ndarray
    noise_uv: np.ndarray
    n_before: int
    n_after: int
    band_hz: tuple[float, float] | None
    read: Callable[[Neighbourhoods, Peaks], Iterator[tuple[slice, np.ndarray]]]
    n_components: int | None = None


@dataclass(frozen=True)
class GroundTruth:
    """Where the neurons of a simulated recording are, when they fire and how the tissue moves.

    Attributes
    ----------
    samples : (n_spikes,) int64, rising; units : (n_spikes,) int64
    locations_um : (n_units, 3); at time t a neuron is at location + displacement
    displacement_um : (n_times, n_units, 2), x and y, held from row to row; displacement_hz : rows per second
    """

    samples: np.ndarray
    units: np.ndarray
    locations_um: np.ndarray
    displacement_um: np.ndarray
    displacement_hz: float

    def __post_init__(self) -> None:
        n_units = len(self.locations_um)
        if len(self.samples) != len(self.units) or self.displacement_um.shape[1:] != (n_units, 2):
            raise DataError(
                f"truth: {len(self.samples)} samples, {len(self.units)} units of spikes, {n_units} locations, "
                f"displacement {self.displacement_um.shape}; they must agree"
            )

    def moved_um(self, units: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """(n, 2) displacement of units (n,) at times (n,)."""
        rows = np.clip((times_s * self.displacement_hz).astype(np.int64), 0, len(self.displacement_um) - 1)
        return self.displacement_um[rows, units]

    def motion(self, times_s: np.ndarray, depths_um: np.ndarray, bin_s: float) -> np.ndarray:
        """(n_times, n_depths) true displacement along y: mean over a bin, linear between the depths of neurons."""
        found = np.empty((len(times_s), len(depths_um)))
        order = np.argsort(self.locations_um[:, 1])
        depths = self.locations_um[order, 1]
        for i, time in enumerate(times_s):
            rows = np.arange((time - bin_s / 2) * self.displacement_hz, (time + bin_s / 2) * self.displacement_hz)
            rows = np.clip(np.floor(rows + 1e-6).astype(np.int64), 0, len(self.displacement_um) - 1)
            found[i] = np.interp(depths_um, depths, self.displacement_um[rows][:, order, 1].mean(axis=0))
        return found

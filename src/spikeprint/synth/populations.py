"""Populations with known latents. Enters: sizes and a seed. Leaves: counts, latents and rates, or spike trains.

``make_torus``: two angles that wander smoothly, units tuned to one or both, nuisances shared by all.
``make_track``: an animal on a linear track with place fields.
``make_images``: responses to images shown again and again.
``simulate_continuous``: a label on a line, a latent around it, mixed by a random flow, with noise of a choice.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from ..core.errors import SettingError, suggest
from ..core.sessions import Series, SpikeSession


@dataclass(frozen=True)
class Simulated:
    """A simulated population.

    Attributes
    ----------
    counts : (n_rows, n_units) uint16
    latent : (n_rows, d) what the units are tuned to
    rates : (n_rows, n_units) expected counts per bin
    nuisance : (n_rows, m) what moves all rates
    """

    counts: np.ndarray
    latent: np.ndarray
    rates: np.ndarray
    nuisance: np.ndarray


@dataclass(frozen=True)
class Mixed:
    """A latent around a label, mixed into many dimensions.

    Attributes
    ----------
    counts : (n_rows, n_dim) uint16 or uint32, float64 where the noise is no count
    latent : (n_rows, 2) float64
    label : (n_rows,) float64, radians
    rates : (n_rows, n_dim) what the noise is added to
    """

    counts: np.ndarray
    latent: np.ndarray
    label: np.ndarray
    rates: np.ndarray


def make_torus(n_rows: int = 15_000, n_units: int = 120, seed: int = 0, bin_width_s: float = 0.025) -> Simulated:
    """Simulate two angles on a torus, in (0, 2 pi).

    60 % of the units are tuned (von Mises, to one angle or both); five slow nuisance latents move the log rate of all.
    """
    rng = np.random.default_rng(seed)
    angles = np.cumsum(gaussian_filter1d(rng.normal(size=(n_rows, 2)), 20, axis=0) * 0.25, axis=0) % (2 * np.pi)
    nuisance = gaussian_filter1d(rng.normal(size=(n_rows, 5)), 40, axis=0)
    nuisance /= nuisance.std(axis=0)
    kind = rng.choice(4, size=n_units, p=[0.4, 0.2, 0.2, 0.2])  # none, first, second, both
    centre = rng.uniform(0, 2 * np.pi, (n_units, 2))
    sharp = rng.uniform(1.0, 2.5, (n_units, 2)) * np.stack([np.isin(kind, (1, 3)), np.isin(kind, (2, 3))], axis=1)
    tuned = (sharp * (np.cos(angles[:, None, :] - centre) - 1)).sum(axis=2)
    base_hz = np.where(kind == 0, rng.uniform(1, 10, n_units), rng.uniform(10, 25, n_units))
    shared = nuisance @ rng.normal(0, 0.3, (5, n_units))
    rates = base_hz * np.exp(tuned + shared) * bin_width_s
    return Simulated(rng.poisson(rates).astype(np.uint16), angles, rates, nuisance)


def make_track(n_rows: int = 12_000, n_units: int = 60, seed: int = 0, bin_width_s: float = 0.05) -> Simulated:
    """Simulate runs to and fro on a track of length 1 with place fields that depend on the direction.

    ``latent`` is the position (0 to 1) and the direction (-1 or 1); the animal pauses at the ends, and rates drift.
    """
    rng = np.random.default_rng(seed)
    position, direction = np.empty(n_rows), np.empty(n_rows)
    x, way, pause = 0.0, 1.0, 0
    for row in range(n_rows):
        if pause:
            pause -= 1
        else:
            x = float(np.clip(x + way * max(0.002, rng.normal(0.012, 0.005)), 0, 1))
            if x in (0.0, 1.0):
                way, pause = -way, int(rng.integers(10, 60))
        position[row], direction[row] = x, way
    centre, width = rng.uniform(0, 1, (2, n_units)), rng.uniform(0.05, 0.15, n_units)
    peak_hz = rng.gamma(2.0, 4.0, (2, n_units))
    side = (direction > 0).astype(int)
    field = peak_hz[side] * np.exp(-0.5 * ((position[:, None] - centre[side]) / width) ** 2)
    nuisance = gaussian_filter1d(rng.normal(size=(n_rows, 2)), 200, axis=0)
    nuisance /= nuisance.std(axis=0)
    rates = (0.3 + field) * np.exp(nuisance @ rng.normal(0, 0.2, (2, n_units))) * bin_width_s
    latent = np.stack([position, direction], axis=1)
    return Simulated(rng.poisson(rates).astype(np.uint16), latent, rates, nuisance)


def make_images(
    n_images: int = 12, n_repeats: int = 20, n_units: int = 40, seed: int = 0, session_id: str = "images"
) -> SpikeSession:
    """Simulate a session of images of 250 ms in random order, with blanks (frame -1), as spike trains.

    Units respond after 50 ms to some images; a slow state moves all rates. There are quality columns, an invalid time.
    """
    rng = np.random.default_rng(seed)
    frames = rng.permutation(np.repeat(np.arange(-1, n_images), n_repeats))
    onsets = 2.0 + np.arange(len(frames)) * 0.25
    t_stop = float(onsets[-1] + 2.0)
    state = np.exp(0.2 * gaussian_filter1d(rng.normal(size=len(frames)), 20) * 10)
    gain = rng.gamma(0.6, 14.0, (n_units, n_images + 1))
    gain[:, 0] = 0  # blanks
    base_hz = rng.uniform(1, 8, n_units)
    trains = []
    for unit in range(n_units):
        steady = rng.uniform(0, t_stop, rng.poisson(base_hz[unit] * t_stop))
        n_evoked = rng.poisson(gain[unit, frames + 1] * state * 0.15)
        evoked = np.repeat(onsets, n_evoked) + 0.05 + rng.gamma(2.0, 0.03, n_evoked.sum())
        train = np.concatenate([steady, evoked])
        trains.append(np.sort(train[train < t_stop]))
    units = pd.DataFrame(
        {
            "unit_id": [f"u{i:03d}" for i in range(n_units)],
            "probe": np.where(np.arange(n_units) < n_units // 2, "probeA", "probeB"),
            "isi_violations": rng.gamma(1.0, 0.1, n_units),
            "amplitude_cutoff": rng.uniform(0, 0.11, n_units),
            "presence_ratio": rng.uniform(0.94, 1.0, n_units),
        }
    )
    shown = pd.DataFrame({"start_time": onsets, "stop_time": onsets + 0.25, "frame": frames})
    invalid = pd.DataFrame({"start": [onsets[3]], "stop": [onsets[3] + 0.1], "tags": [["stimulus"]]})
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    return SpikeSession(session_id, np.concatenate(trains), offsets, units, 0.0, t_stop, shown, invalid)


def make_track_session(
    n_units: int = 40, duration_s: float = 300.0, seed: int = 0, session_id: str = "track"
) -> SpikeSession:
    """Simulate ``make_track`` as spike trains with the series ``position`` (0 to 1) and ``direction`` (-1 or 1)."""
    width = 0.05
    n_rows = int(duration_s / width)
    data = make_track(n_rows, n_units, seed, width)
    rng = np.random.default_rng(seed + 1)
    trains = []
    for unit in range(n_units):
        bins = np.repeat(np.arange(n_rows), data.counts[:, unit])
        trains.append(np.sort((bins + rng.random(len(bins))) * width))
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    units = pd.DataFrame({"unit_id": [f"u{i:03d}" for i in range(n_units)]})
    times = (np.arange(n_rows) + 0.5) * width
    series = {
        "position": Series(times, data.latent[:, 0].copy()),
        "direction": Series(times, data.latent[:, 1].astype(np.int64)),
    }
    return SpikeSession(session_id, np.concatenate(trains), offsets, units, 0.0, n_rows * width, series=series)


def refractory_counts(
    rate: np.ndarray, window: float, refractory: float, seed: int | np.random.Generator = 0
) -> np.ndarray:
    """Count the spikes of a window, in uint32, whose intervals are exponential plus a dead time.

    Parameters
    ----------
    rate : of any shape, Hz; 1 / the mean of the exponential part
    window, refractory : seconds; the first interval starts with the window and has its dead time too

    Raises
    ------
    SettingError
        A rate or dead time that is negative or not finite, a window that is not above 0.

    Notes
    -----
    Spike n comes at n dead times plus a sum of n exponentials. That of the first spike which cannot be inside is drawn
    (a gamma), then that of the middle one given both ends (a beta share), and so on to the last spike inside: exact, in
    log2(window / refractory) draws however many spikes there are.
    """
    rate, rng = np.asarray(rate, dtype=float), np.random.default_rng(seed)
    for name, holds, needed in (
        ("rate", np.isfinite(rate).all() and (rate >= 0).all(), "finite values of 0 or more are needed"),
        (f"window = {window}", np.isfinite(window) and window > 0, "seconds above 0 are needed"),
        (f"refractory = {refractory}", np.isfinite(refractory) and refractory >= 0, "seconds, 0 or more, are needed"),
    ):
        if not holds:
            raise SettingError(f"{name}: {needed}")
    if refractory == 0:
        return rng.poisson(rate * window).astype(np.uint32)
    fires = np.maximum(rate, 1e-300)  # a unit at rest: its first spike never comes
    inside, outside = np.zeros(rate.shape, dtype=int), np.full(rate.shape, int(np.ceil(window / refractory)))
    begin, end = np.zeros(rate.shape), rng.gamma(outside) / fires
    while (outside - inside > 1).any():
        middle = (inside + outside) // 2
        share = rng.beta(np.maximum(middle - inside, 1), outside - middle)
        between = begin + share * (end - begin)
        is_inside = (middle > inside) & (middle * refractory + between < window)
        moves = (middle > inside) & ~is_inside
        inside, begin = np.where(is_inside, middle, inside), np.where(is_inside, between, begin)
        outside, end = np.where(moves, middle, outside), np.where(moves, between, end)
    return inside.astype(np.uint32)


NOISES: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "poisson": lambda rng, rates: rng.poisson(rates).astype(np.uint16),
    "gaussian": lambda rng, rates: rates + np.abs(rng.normal(size=rates.shape)),
    "laplace": lambda rng, rates: np.maximum(rng.laplace(rates), 0),
    "uniform": lambda rng, rates: rates + rng.uniform(0, 2, rates.shape),
    "t": lambda rng, rates: rates + rng.standard_t(2, rates.shape),
    "refractory_poisson": lambda rng, rates: refractory_counts(rates * 50, 3.0, 0.01, rng),
}
"""Noise -> values around rates. As in cebra's data sets: of the normal noise only the half above 0, Student's with 2
degrees of freedom, and with a dead time of 10 ms the spikes of 3 s at 50 times the rate."""


def simulate_continuous(
    length: int = 15_000, n_dim: int = 100, noise: str = "poisson", seed: int = 0, mixing_seed: int = 0
) -> Mixed:
    """Simulate the task with a continuous label of pi-VAE (Zhou and Wei, 2020), which CEBRA was measured on.

    The label u is uniform on (0, 2 pi); the latent is normal around (u, 2 sin u) with the variances 0.6 - 0.3 |sin u|
    and 0.3 |sin u|; zeros fill it up to ``n_dim``, four blocks of coupling layers with permutations between mix it,
    and rates are exp(2.2 tanh(.)).

    Parameters
    ----------
    noise : one of ``NOISES``
    seed : of label, latent and noise
    mixing_seed : of the blocks; the same for recordings of one population

    Raises
    ------
    SettingError
        An unknown noise, no rows, or fewer dimensions than the latent has.
    """
    if noise not in NOISES:
        raise SettingError(f"noise = '{noise}': unknown; allowed: {', '.join(NOISES)}{suggest(noise, NOISES)}")
    if length < 1 or n_dim < 2:
        raise SettingError(f"length = {length}, n_dim = {n_dim}: 1 row and 2 dimensions or more are needed")
    rng = np.random.default_rng(seed)
    label = rng.uniform(0, 2 * np.pi, length)
    wave = np.sin(label)
    spread = np.sqrt(np.stack([0.6 - 0.3 * np.abs(wave), 0.3 * np.abs(wave)], axis=1))
    latent = np.stack([label, 2 * wave], axis=1) + spread * rng.normal(size=(length, 2))
    rates = np.exp(2.2 * np.tanh(_mix(latent, n_dim, np.random.default_rng(mixing_seed))))
    return Mixed(NOISES[noise](rng, rates), latent, label, rates)


def _mix(latent: np.ndarray, n_dim: int, rng: np.random.Generator) -> np.ndarray:
    """Four blocks of four affine couplings, each half in turn, as in pi-VAE; bijective."""
    x = np.concatenate([latent, np.zeros((len(latent), n_dim - latent.shape[1]))], axis=1)
    for block in range(4):
        x = x[:, rng.permutation(n_dim)] if block else x
        for _ in range(4):
            kept, moved = np.split(x, [n_dim // 2], axis=1)
            hidden = kept
            for width in (max(n_dim // 4, 8), max(n_dim // 4, 8)):
                hidden = np.maximum(hidden @ _weights(hidden.shape[1], width, rng), 0)
            scale, shift = np.split(hidden @ _weights(hidden.shape[1], 2 * moved.shape[1], rng), 2, axis=1)
            x = np.concatenate([moved * np.exp(0.1 * np.tanh(scale)) + shift, kept], axis=1)
    return x


def _weights(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    reach = np.sqrt(6 / (n_in + n_out))  # Glorot
    return rng.uniform(-reach, reach, (n_in, n_out))

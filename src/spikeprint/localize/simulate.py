"""Spikes of known origin, to learn from. Enters: contacts, noise, a generator. Leaves: snippets and their truth.

Wider than the simulator a network is tested on: three laws of decay over ellipsoids of any direction, shapes and
conduction delays of a wide range, noise cut from the recording itself. A spike is kept only where a detector would have
met it: its trough is the deepest of its neighbourhood and above the threshold.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.spikes import Neighbourhoods
from .kernels import render_waves
from .waves import FINE, WaveBank

LARGEST_TRIES = 200
"""Draws without a kept spike before a channel is given up."""

Decay = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

DECAYS: dict[str, Decay] = {
    "exponential": lambda r, scale, power: np.exp(-r / scale),
    "power": lambda r, scale, power: 1 / (1 + (r / scale) ** power),
    "monopole": lambda r, scale, power: scale / np.sqrt(r**2 + 25.0),
}
"""Law of decay -> size on a contact at distance r (n, k) for scales and powers (n, 1); 1 at the source or near it."""


@dataclass(frozen=True)
class World:
    """Ranges of what is simulated.

    Attributes
    ----------
    lateral_um : sources lie that far around their peak contact, at most; margin_um : and that far beyond all contacts
    z_um, alpha_uv, scale_um, power, shrink, speed_um_per_ms : (least, largest); alpha is drawn by its logarithm
    spherical : share of sources without an ellipsoid
    shares : law -> its share
    """

    lateral_um: float = 45.0
    margin_um: float = 25.0
    z_um: tuple[float, float] = (3.0, 50.0)
    alpha_uv: tuple[float, float] = (60.0, 900.0)
    scale_um: tuple[float, float] = (8.0, 55.0)
    power: tuple[float, float] = (1.3, 3.0)
    shrink: tuple[float, float] = (0.35, 1.0)
    speed_um_per_ms: tuple[float, float] = (200.0, 500.0)
    spherical: float = 0.15
    shares: tuple[tuple[str, float], ...] = (("exponential", 0.6), ("power", 0.25), ("monopole", 0.15))


@dataclass(frozen=True)
class Sources:
    """n sources around their peak contacts.

    Attributes
    ----------
    channels : (n,) int64; xyz_um : (n, 3) relative to the peak contact; sizes_uv : (n, k) trough on each contact
    delays_ms : (n, k) after the peak contact
    """

    channels: np.ndarray
    xyz_um: np.ndarray
    sizes_uv: np.ndarray
    delays_ms: np.ndarray


@dataclass(frozen=True)
class Truth:
    """Simulated spikes.

    Attributes
    ----------
    channels : (n,) int64 peak channels; snippets : (n, k, T) float32 µV; xyz_um : (n, 3) float32, relative to the peak
        contact; sizes_uv : (n, k) float32, noise-free troughs
    """

    channels: np.ndarray
    snippets: np.ndarray
    xyz_um: np.ndarray
    sizes_uv: np.ndarray


@dataclass(frozen=True)
class Simulator:
    """What spikes are drawn from.

    Attributes
    ----------
    around : neighbourhoods; bank : spike shapes; fs_hz, n_before : sampling rate and place of the trough
    noise_channels : (m,) int64 and noise : (m, k, T) float32: what channels saw at random times
    limits_uv : (n_channels,) threshold of the detector
    """

    around: Neighbourhoods
    bank: WaveBank
    fs_hz: float
    n_before: int
    noise_channels: np.ndarray
    noise: np.ndarray
    limits_uv: np.ndarray
    world: World = World()

    def draw(self, rng: np.random.Generator, n: int, overlap: float = 0.0) -> Truth:
        """Draw n spikes; into a share ``overlap`` of the windows another spike falls at a random time."""
        length = self.noise.shape[2]
        sources, chosen = self._meet(rng, n)
        snippets = self.noise[chosen]
        step_ms = 1000 / self.fs_hz / FINE
        # a trough is found on a whole sample, noise may move it to the next
        jitter = rng.uniform(-0.5, 0.5, (n, 1)) + rng.normal(0, 0.3, (n, 1))
        delays = sources.delays_ms / step_ms + jitter * FINE
        which = rng.integers(0, len(self.bank.values), n)
        render_waves(self.bank.values, which, delays, sources.sizes_uv, self.bank.origin, snippets)
        struck = np.flatnonzero(rng.random(n) < overlap)
        if len(struck):
            others = draw_sources(rng, self.around, sources.channels[struck], self.world, 2.0)
            late = others.delays_ms / step_ms + rng.uniform(-length, length, (len(struck), 1)) * FINE
            part = snippets[struck]
            waves = rng.integers(0, len(self.bank.values), len(struck))
            render_waves(self.bank.values, waves, late, others.sizes_uv, self.bank.origin, part)
            snippets[struck] = part
        return Truth(sources.channels, snippets, sources.xyz_um.astype(np.float32), sources.sizes_uv.astype(np.float32))

    def _meet(self, rng: np.random.Generator, n: int) -> tuple[Sources, np.ndarray]:
        """n sources that a detector would meet, and the rows of their noise."""
        own = self.around.own
        parts, rows = [], []
        n_left = n
        for _ in range(LARGEST_TRIES):
            chosen = rng.integers(0, len(self.noise), max(4 * n_left, 256))
            channels = self.noise_channels[chosen]
            found = draw_sources(rng, self.around, channels, self.world)
            seen = found.sizes_uv - self.noise[chosen, :, self.n_before]
            peak = seen[np.arange(len(seen)), own[channels]]
            met = (peak >= seen.max(axis=1)) & (peak > self.limits_uv[channels])
            kept = np.flatnonzero(met)[:n_left]
            parts.append(_take(found, kept))
            rows.append(chosen[kept])
            n_left -= len(kept)
            if n_left == 0:
                break
        joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Sources.__dataclass_fields__]
        return Sources(*joined), np.concatenate(rows)


def draw_sources(
    rng: np.random.Generator, around: Neighbourhoods, channels: np.ndarray, world: World, spread: float = 1.0
) -> Sources:
    """Draw a source near each of ``channels`` (n,), uniform in space, and its size on the contacts around.

    ``spread`` widens the lateral range.
    """
    n = len(channels)
    reach, here = world.lateral_um * spread, around.contacts_um[channels]
    low = np.maximum(around.contacts_um.min(axis=0) - world.margin_um - here, -reach)
    high = np.minimum(around.contacts_um.max(axis=0) + world.margin_um - here, reach)
    depth = rng.uniform(*world.z_um, (n, 1))
    xyz = np.hstack([rng.uniform(low, high), depth])
    least, largest = np.log(world.alpha_uv)
    alpha = np.exp(rng.uniform(least, largest, (n, 1)))
    scale, power = rng.uniform(*world.scale_um, (n, 1)), rng.uniform(*world.power, (n, 1))
    offsets = around.offsets_um[channels]
    distance = _stretched(rng, offsets, xyz, world)
    names = [name for name, _ in world.shares]
    law = rng.choice(len(names), n, p=[share for _, share in world.shares])
    sizes = np.zeros(distance.shape)
    for i, name in enumerate(names):
        mine = law == i
        sizes[mine] = DECAYS[name](distance[mine], scale[mine], power[mine])
    sizes *= alpha * around.is_there[channels]
    own = around.own[channels]
    delays = (distance - distance[np.arange(n), own][:, None]) / rng.uniform(*world.speed_um_per_ms, (n, 1))
    return Sources(channels, xyz, sizes, delays)


def _stretched(rng: np.random.Generator, offsets_um: np.ndarray, xyz: np.ndarray, world: World) -> np.ndarray:
    """(n, k) distances in space shrunk along one direction of the probe's plane, for most sources."""
    n = len(xyz)
    angle = rng.uniform(0, np.pi, (n, 1))
    shrink = np.where(rng.random((n, 1)) < world.spherical, 1.0, rng.uniform(*world.shrink, (n, 1)))
    dx, dy = (offsets_um[:, :, axis] - xyz[:, axis, None] for axis in (0, 1))
    along, across = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    return np.sqrt(along**2 + (across / shrink) ** 2 + xyz[:, 2, None] ** 2)


def _take(sources: Sources, rows: np.ndarray) -> Sources:
    return Sources(*(getattr(sources, name)[rows] for name in Sources.__dataclass_fields__))

"""Spikes of known origin, to learn from. Enters: contacts, noise, a generator. Leaves: snippets and their truth.

Wider than the simulator a network is tested on: three laws of decay over ellipsoids of any direction, shapes and
conduction delays of a wide range, noise cut from the recording itself. A spike is kept only where a detector would have
met it: its trough is the deepest of its neighbourhood and above the threshold.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

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
class Neurons:
    """n sources by themselves.

    Attributes
    ----------
    xyz_um : (n, 3) in the frame of the probe; law : (n,) number of its ``shares``
    alpha_uv, scale_um, power, angle, shrink, speed_um_per_ms : (n, 1)
    """

    xyz_um: np.ndarray
    law: np.ndarray
    alpha_uv: np.ndarray
    scale_um: np.ndarray
    power: np.ndarray
    angle: np.ndarray
    shrink: np.ndarray
    speed_um_per_ms: np.ndarray


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

    def draw(self, rng: np.random.Generator, n: int, overlap: float = 0.0, drift_um: float = 0.0) -> Truth:
        """Draw n spikes; into a share ``overlap`` of the windows another spike falls at a random time.

        With ``drift_um`` (n even) every other spike is of the neuron before it, moved along y by that at most.
        """
        length = self.noise.shape[2]
        sources, chosen = self._meet(rng, n // 2 if drift_um else n, drift_um)
        snippets = self.noise[chosen]
        step_ms = 1000 / self.fs_hz / FINE
        # a trough is found on a whole sample, noise may move it to the next
        jitter = rng.uniform(-0.5, 0.5, (n, 1)) + rng.normal(0, 0.3, (n, 1))
        delays = sources.delays_ms / step_ms + jitter * FINE
        which = rng.integers(0, len(self.bank.values), n)
        if drift_um:
            which[1::2] = which[::2]
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

    def _meet(self, rng: np.random.Generator, n: int, drift_um: float) -> tuple[Sources, np.ndarray]:
        """n sources that a detector would meet, with a drift each twice in turn; and the rows of their noise."""
        parts, rows = [], []
        n_left = n
        for _ in range(LARGEST_TRIES):
            chosen = rng.integers(0, len(self.noise), max(4 * n_left, 256))
            channels = self.noise_channels[chosen]
            neurons = draw_neurons(rng, self.around, channels, self.world)
            looks, noises = [cast_neurons(neurons, self.around, channels, self.world)], [chosen]
            met = self._is_met(looks[0], chosen)
            if drift_um:
                moved, again = self._move(rng, neurons, channels, drift_um)
                looks, noises = [*looks, moved], [*noises, again]
                met &= self._is_met(moved, again)
            kept = np.flatnonzero(met)[:n_left]
            parts.append(_alternate([_take(look, kept) for look in looks]))
            rows.append(np.column_stack([noise[kept] for noise in noises]).ravel())
            n_left -= len(kept)
            if n_left == 0:
                break
        joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Sources.__dataclass_fields__]
        return Sources(*joined), np.concatenate(rows)

    def _is_met(self, sources: Sources, chosen: np.ndarray) -> np.ndarray:
        """(n,) whether the trough on the peak contact is the deepest around, and above the threshold."""
        seen = sources.sizes_uv - self.noise[chosen, :, self.n_before]
        peak = seen[np.arange(len(seen)), self.around.own[sources.channels]]
        return (peak >= seen.max(axis=1)) & (peak > self.limits_uv[sources.channels])

    def _move(
        self, rng: np.random.Generator, neurons: Neurons, channels: np.ndarray, drift_um: float
    ) -> tuple[Sources, np.ndarray]:
        """The same neurons somewhere else along y, at the contact where they are largest then, and rows of noise."""
        xyz = neurons.xyz_um.copy()
        xyz[:, 1] += rng.uniform(-drift_um, drift_um, len(xyz))
        moved = replace(neurons, xyz_um=xyz)
        largest = cast_neurons(moved, self.around, channels, self.world).sizes_uv.argmax(axis=1)
        there = self.around.channels[channels, largest]
        order = np.argsort(self.noise_channels, kind="stable")
        first, last = (np.searchsorted(self.noise_channels[order], there, side=side) for side in ("left", "right"))
        # a channel without a snippet of noise borrows the one of the next
        rows = np.minimum(first + (rng.random(len(there)) * (last - first)).astype(np.int64), len(order) - 1)
        return cast_neurons(moved, self.around, there, self.world), order[rows]


def draw_neurons(
    rng: np.random.Generator, around: Neighbourhoods, channels: np.ndarray, world: World, spread: float = 1.0
) -> Neurons:
    """Draw a neuron near each of ``channels`` (n,), uniform in space; ``spread`` widens the lateral range."""
    n = len(channels)
    reach, here = world.lateral_um * spread, around.contacts_um[channels]
    low = np.maximum(around.contacts_um.min(axis=0) - world.margin_um - here, -reach)
    high = np.minimum(around.contacts_um.max(axis=0) + world.margin_um - here, reach)
    depth = rng.uniform(*world.z_um, (n, 1))
    xyz = np.hstack([here + rng.uniform(low, high), depth])
    least, largest = np.log(world.alpha_uv)
    return Neurons(
        xyz,
        law=rng.choice(len(world.shares), n, p=[share for _, share in world.shares]),
        alpha_uv=np.exp(rng.uniform(least, largest, (n, 1))),
        scale_um=rng.uniform(*world.scale_um, (n, 1)),
        power=rng.uniform(*world.power, (n, 1)),
        angle=rng.uniform(0, np.pi, (n, 1)),
        shrink=np.where(rng.random((n, 1)) < world.spherical, 1.0, rng.uniform(*world.shrink, (n, 1))),
        speed_um_per_ms=rng.uniform(*world.speed_um_per_ms, (n, 1)),
    )


def cast_neurons(neurons: Neurons, around: Neighbourhoods, channels: np.ndarray, world: World) -> Sources:
    """Return what the contacts around ``channels`` (n,) see of each neuron."""
    xyz = neurons.xyz_um.copy()
    xyz[:, :2] -= around.contacts_um[channels]
    distance = _stretched(neurons, around.offsets_um[channels], xyz)
    sizes = np.zeros(distance.shape)
    for i, (name, _) in enumerate(world.shares):
        mine = neurons.law == i
        sizes[mine] = DECAYS[name](distance[mine], neurons.scale_um[mine], neurons.power[mine])
    sizes *= neurons.alpha_uv * around.is_there[channels]
    own = distance[np.arange(len(xyz)), around.own[channels]][:, None]
    return Sources(channels, xyz, sizes, (distance - own) / neurons.speed_um_per_ms)


def draw_sources(
    rng: np.random.Generator, around: Neighbourhoods, channels: np.ndarray, world: World, spread: float = 1.0
) -> Sources:
    """Draw a neuron near each of ``channels`` (n,), as its contacts see it."""
    return cast_neurons(draw_neurons(rng, around, channels, world, spread), around, channels, world)


def _stretched(neurons: Neurons, offsets_um: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    """(n, k) distances in space shrunk along one direction of the probe's plane."""
    dx, dy = (offsets_um[:, :, axis] - xyz[:, axis, None] for axis in (0, 1))
    cos, sin = np.cos(neurons.angle), np.sin(neurons.angle)
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    return np.sqrt(along**2 + (across / neurons.shrink) ** 2 + xyz[:, 2, None] ** 2)


def _alternate(looks: list[Sources]) -> Sources:
    """The first of each, the second of each, ..."""
    columns = [[getattr(look, name) for look in looks] for name in Sources.__dataclass_fields__]
    return Sources(*(np.stack(each, axis=1).reshape(-1, *each[0].shape[1:]) for each in columns))


def _take(sources: Sources, rows: np.ndarray) -> Sources:
    return Sources(*(getattr(sources, name)[rows] for name in Sources.__dataclass_fields__))

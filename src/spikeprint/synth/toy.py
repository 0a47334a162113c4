"""Simulated sessions with known cell types. Enters: parameters and a seed. Leaves: a ``Sorting``.

Five cortical cell types differ in the shape of their spikes and in how they fire; the spread of units around their
type is wide enough for neighbours to overlap, as in recordings. Numbers are of the order reported for mouse cortex
(e.g. Petersen et al. 2021; Senzai et al. 2019; Tremblay et al. 2016); they are a test bed, not a model of tissue.
"""

from dataclasses import dataclass, fields

import numpy as np

from ..core.config import SessionParams
from ..core.types import UNLABELLED, Sorting, Templates


@dataclass(frozen=True)
class Spread:
    """A positive quantity over the units of a type: median, and standard deviation of its logarithm."""

    median: float
    sigma: float


@dataclass(frozen=True)
class CellType:
    """How units of one type look and fire.

    Attributes
    ----------
    trough_width_ms : full width at half depth of the trough
    trough_to_peak_ms : delay of the after-peak
    peak_ratio, pre_peak_ratio : after-peak and pre-peak relative to the trough
    amplitude_uv : trough depth on a channel beside the soma
    rate_hz : mean firing rate
    refractory_ms : absolute refractory period
    regularity : shape of the gamma distribution of intervals; 1 is a Poisson process, more is more regular
    burst_probability : chance that a spike is followed by a burst
    burst_isi_ms : interval within bursts
    modulation : standard deviation of the logarithm of the slowly changing rate
    """

    trough_width_ms: Spread
    trough_to_peak_ms: Spread
    peak_ratio: Spread
    pre_peak_ratio: Spread
    amplitude_uv: Spread
    rate_hz: Spread
    refractory_ms: Spread
    regularity: Spread
    burst_probability: Spread
    burst_isi_ms: Spread
    modulation: Spread


@dataclass(frozen=True)
class Layout:
    """A probe and what its amplifier adds to the mean waveform.

    Attributes
    ----------
    positions_um : (n_channels, 2), lateral and depth
    n_near : channels around a unit that carry its template; the others are zero
    decay_um : distance at which the amplitude has fallen to a half
    residual_uv : standard deviation of the noise left in a mean waveform
    noise_width_ms : correlation time of that noise
    """

    positions_um: tuple[tuple[float, float], ...]
    n_near: int
    decay_um: float
    residual_uv: float
    noise_width_ms: float


CELL_TYPES: dict[str, CellType] = {
    "pyramidal": CellType(
        trough_width_ms=Spread(0.27, 0.15),
        trough_to_peak_ms=Spread(0.68, 0.15),
        peak_ratio=Spread(0.30, 0.30),
        pre_peak_ratio=Spread(0.08, 0.50),
        amplitude_uv=Spread(120, 0.40),
        rate_hz=Spread(2.5, 0.50),
        refractory_ms=Spread(2.5, 0.30),
        regularity=Spread(1.0, 0.25),
        burst_probability=Spread(0.14, 0.60),
        burst_isi_ms=Spread(5.5, 0.30),
        modulation=Spread(0.60, 0.30),
    ),
    "PV": CellType(
        trough_width_ms=Spread(0.15, 0.15),
        trough_to_peak_ms=Spread(0.31, 0.15),
        peak_ratio=Spread(0.50, 0.25),
        pre_peak_ratio=Spread(0.12, 0.50),
        amplitude_uv=Spread(85, 0.40),
        rate_hz=Spread(12, 0.55),
        refractory_ms=Spread(2.0, 0.30),
        regularity=Spread(1.3, 0.25),
        burst_probability=Spread(0.04, 0.70),
        burst_isi_ms=Spread(4.5, 0.30),
        modulation=Spread(0.40, 0.30),
    ),
    "SOM": CellType(
        trough_width_ms=Spread(0.20, 0.15),
        trough_to_peak_ms=Spread(0.46, 0.15),
        peak_ratio=Spread(0.38, 0.28),
        pre_peak_ratio=Spread(0.09, 0.50),
        amplitude_uv=Spread(80, 0.40),
        rate_hz=Spread(7, 0.55),
        refractory_ms=Spread(3.0, 0.30),
        regularity=Spread(1.7, 0.25),
        burst_probability=Spread(0.06, 0.70),
        burst_isi_ms=Spread(7.5, 0.30),
        modulation=Spread(0.40, 0.30),
    ),
    "VIP": CellType(
        trough_width_ms=Spread(0.19, 0.15),
        trough_to_peak_ms=Spread(0.50, 0.15),
        peak_ratio=Spread(0.30, 0.30),
        pre_peak_ratio=Spread(0.06, 0.50),
        amplitude_uv=Spread(65, 0.40),
        rate_hz=Spread(5, 0.55),
        refractory_ms=Spread(2.5, 0.30),
        regularity=Spread(0.9, 0.25),
        burst_probability=Spread(0.16, 0.60),
        burst_isi_ms=Spread(8.0, 0.30),
        modulation=Spread(0.70, 0.30),
    ),
    "NGF": CellType(
        trough_width_ms=Spread(0.25, 0.15),
        trough_to_peak_ms=Spread(0.60, 0.15),
        peak_ratio=Spread(0.42, 0.28),
        pre_peak_ratio=Spread(0.05, 0.50),
        amplitude_uv=Spread(75, 0.40),
        rate_hz=Spread(4, 0.50),
        refractory_ms=Spread(5.5, 0.35),
        regularity=Spread(1.9, 0.25),
        burst_probability=Spread(0.02, 0.70),
        burst_isi_ms=Spread(10.0, 0.30),
        modulation=Spread(0.45, 0.30),
    ),
}
"""Cell type -> how its units look and fire."""

LAYOUTS: dict[str, Layout] = {
    "neuropixels": Layout(
        # Two staggered columns, 20 µm between rows, as on the shank of a Neuropixels 1.0 probe.
        positions_um=tuple((11.0 + 32 * (i % 2) + 16 * (i // 2 % 2), 20.0 * (i // 2)) for i in range(32)),
        n_near=10,
        decay_um=30.0,
        residual_uv=1.2,
        noise_width_ms=0.05,
    ),
    "linear": Layout(
        positions_um=tuple((0.0, 25.0 * i) for i in range(8)),
        n_near=8,
        decay_um=45.0,
        residual_uv=2.0,
        noise_width_ms=0.12,
    ),
}
"""``SessionParams.layout`` -> probe geometry and noise."""

WINDOW_MS = (1.2, 2.2)
MODULATION_STEP_S = 1.0
MODULATION_TIME_S = 8.0
MEAN_EXTRA_SPIKES = 1.6
MAX_BURST_PROBABILITY = 0.7
SILENT_SPIKES = (2, 60)
DOUBLE_DETECTION_FRAC = 0.2
DOUBLE_DETECTION_MS = (0.3, 1.2)
CONDUCTION_UM_PER_MS = 400.0


def simulate_session(name: str, params: SessionParams, variability: float, seed: int) -> Sorting:
    """Simulate the sorted units of one session: labelled, unlabelled and low-quality ones, in random order.

    Unlabelled units are good units whose cell type is withheld. Low-quality units are, in turn, contaminated (two
    units merged, part of the spikes detected twice) or nearly silent. Equal arguments give an equal session, whatever
    other sessions exist.

    Parameters
    ----------
    name : names the session and, with ``seed``, its random stream
    params : layout, numbers of units, duration and sampling rate
    variability : factor on every spread of ``CELL_TYPES``
    seed : int

    Returns
    -------
    Sorting, unit ids ``"unit_000"``, ...
    """
    rng = np.random.default_rng([seed, *name.encode()])
    layout = LAYOUTS[params.layout]
    labelled = np.repeat(list(CELL_TYPES), params.n_units_per_type)
    n_hidden, n_low = params.n_unlabelled, params.n_low_quality
    cell_types = np.concatenate([labelled, rng.choice(list(CELL_TYPES), n_hidden + n_low)])
    labels = np.concatenate([labelled, np.full(n_hidden + n_low, UNLABELLED)])
    n_units = len(cell_types)

    units = [draw_unit(str(cell_type), variability, rng) for cell_type in cell_types]
    trains = [simulate_train(unit, params.duration_s, rng) for unit in units]
    templates = np.stack([_make_template(unit, layout, params.sampling_frequency_hz, rng) for unit in units])
    for rank, index in enumerate(range(n_units - n_low, n_units)):
        other = int(rng.integers(n_units))
        if rank % 2 == 0:
            trains[index] = _contaminate(trains[index], trains[other], rng)
            templates[index] = (templates[index] + templates[other]) / 2
        else:
            n_left = min(len(trains[index]), int(rng.integers(*SILENT_SPIKES)))
            trains[index] = np.sort(rng.choice(trains[index], n_left, replace=False))

    order = rng.permutation(n_units)
    last = int(params.duration_s * params.sampling_frequency_hz)
    samples = [np.unique((trains[i] * params.sampling_frequency_hz).astype(np.int64)) for i in order]
    samples = [train[train < last] for train in samples]
    return Sorting(
        unit_ids=np.array([f"unit_{i:03d}" for i in range(n_units)]),
        spike_times=np.concatenate(samples),
        offsets=np.concatenate([[0], np.cumsum([len(train) for train in samples])]).astype(np.int64),
        time_rate_hz=params.sampling_frequency_hz,
        duration_s=np.full(n_units, float(params.duration_s)),
        labels=labels[order],
        templates=Templates(templates[order], params.sampling_frequency_hz, "uV", np.array(layout.positions_um)),
    )


def draw_unit(cell_type: str, variability: float, rng: np.random.Generator) -> dict[str, float]:
    """Draw one unit of a type: field of ``CellType`` -> its value, log-normal around the type's median."""
    spreads: dict[str, Spread] = {f.name: getattr(CELL_TYPES[cell_type], f.name) for f in fields(CellType)}
    noise = rng.standard_normal(len(spreads))
    return {
        name: spread.median * float(np.exp(spread.sigma * variability * z))
        for (name, spread), z in zip(spreads.items(), noise, strict=True)
    }


def simulate_train(unit: dict[str, float], duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate spike times: a gamma process in warped time, a refractory period, bursts.

    Returns
    -------
    (n_spikes,) float64, seconds, ascending, within [0, duration_s)
    """
    burst_probability = min(unit["burst_probability"], MAX_BURST_PROBABILITY)
    refractory_s = unit["refractory_ms"] / 1e3
    # Rates are of all spikes; events start bursts and wait for the refractory period, hence the two corrections.
    event_hz = unit["rate_hz"] / (1 + burst_probability * MEAN_EXTRA_SPIKES)
    free_hz = event_hz / max(1 - event_hz * refractory_s, 0.1)

    edges = np.arange(0, duration_s + MODULATION_STEP_S, MODULATION_STEP_S)
    cumulative = np.concatenate([[0], np.cumsum(_slow_rate(len(edges) - 1, unit["modulation"], rng))])
    expected = free_hz * duration_s
    n_draws = int(expected + 6 * np.sqrt(expected / min(unit["regularity"], 1)) + 10)
    warped = np.cumsum(rng.gamma(unit["regularity"], 1 / unit["regularity"], n_draws)) / free_hz
    events = np.interp(warped, cumulative * MODULATION_STEP_S, edges, right=np.inf)
    events = events + refractory_s * np.arange(len(events))
    events = events[events < duration_s]

    n_extra = rng.geometric(1 / MEAN_EXTRA_SPIKES, len(events)) * (rng.random(len(events)) < burst_probability)
    parent = np.repeat(np.arange(len(events)), n_extra)
    steps = refractory_s / 2 + unit["burst_isi_ms"] / 1e3 * np.exp(0.25 * rng.standard_normal(len(parent)))
    total = np.cumsum(steps)
    before = np.concatenate([[0.0], total])[np.searchsorted(parent, parent)]
    extra = events[parent] + total - before
    following = np.append(events[1:], duration_s)[parent]
    return np.sort(np.concatenate([events, extra[extra < following - refractory_s]]))


def _slow_rate(n_steps: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """(n_steps,) positive rate factors of mean 1: the exponential of an autoregressive process."""
    keep = np.exp(-MODULATION_STEP_S / MODULATION_TIME_S)
    state = np.empty(n_steps)
    value = rng.standard_normal()
    for step, kick in enumerate(rng.standard_normal(n_steps) * np.sqrt(1 - keep**2)):
        state[step] = value = keep * value + kick
    factor = np.exp(sigma * state)
    return factor / factor.mean()


def _make_template(
    unit: dict[str, float], layout: Layout, sampling_frequency_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """(n_samples, n_channels) float32, µV: the unit's spike on the channels around it, with residual noise."""
    positions = np.array(layout.positions_um)
    home = positions[rng.integers(len(positions))] + rng.normal(0, 8, 2)
    distance = np.sqrt(((positions - home) ** 2).sum(axis=1) + 15**2)
    near = np.argsort(distance)[: layout.n_near]
    gain = 1 / (1 + ((distance[near] - distance.min()) / layout.decay_um) ** 2)
    delay_ms = (distance[near] - distance.min()) / CONDUCTION_UM_PER_MS + rng.uniform(-0.02, 0.02)
    step_ms = 1e3 / sampling_frequency_hz
    time_ms = np.arange(-WINDOW_MS[0], WINDOW_MS[1], step_ms)[:, None] - delay_ms

    template = np.zeros((len(time_ms), len(positions)))
    template[:, near] = unit["amplitude_uv"] * gain * _spike_shape(unit, time_ms)
    kernel = np.exp(-0.5 * (np.arange(-20, 21) * step_ms / layout.noise_width_ms) ** 2)
    noise = rng.standard_normal((len(time_ms) + 40, len(near)))
    noise = np.stack([np.convolve(column, kernel / np.sqrt((kernel**2).sum()), "valid") for column in noise.T], axis=1)
    template[:, near] += layout.residual_uv * noise
    return template.astype(np.float32)


def _spike_shape(unit: dict[str, float], time_ms: np.ndarray) -> np.ndarray:
    """Trough of depth 1 at time 0, a small pre-peak and a slower, skewed after-peak."""
    width = unit["trough_width_ms"] / 2.355
    peak = unit["trough_to_peak_ms"]
    trough = np.exp(-0.5 * (time_ms / np.where(time_ms < 0, 0.85 * width, 1.15 * width)) ** 2)
    rise = 0.45 * peak
    after = np.exp(-0.5 * ((time_ms - peak) / np.where(time_ms < peak, rise, 1.6 * rise)) ** 2)
    before = np.exp(-0.5 * ((time_ms + 3.2 * width) / (1.2 * width)) ** 2)
    return -trough + unit["peak_ratio"] * after * (time_ms > 0) + unit["pre_peak_ratio"] * before


def _contaminate(train: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Merge two trains and detect part of their spikes twice, as a failed sorting does. Seconds."""
    merged = np.concatenate([train, other])
    twice = rng.choice(merged, int(DOUBLE_DETECTION_FRAC * len(merged)), replace=False)
    return np.sort(np.concatenate([merged, twice + rng.uniform(*DOUBLE_DETECTION_MS, len(twice)) / 1e3]))

"""Which units are worth copying. Enters: windows and trains. Leaves: quality of each unit, a spread-out choice."""

from dataclasses import dataclass

import numpy as np

MIN_EVENTS = 200
MAX_CONTAMINATION, MIN_PRESENCE, MIN_CONSISTENCY = 0.1, 0.9, 0.6
PRESENCE_BIN_S, MIN_BINS = 60.0, 10


@dataclass(frozen=True)
class Quality:
    """What decides about a unit.

    Attributes
    ----------
    snr : largest absolute value of the mean over the noise of its channel
    n_events : spikes
    contamination : rate of a contaminating train over the unit's own (Hill et al. 2011), from intervals below 2 ms
    presence : part of the bins of the recording with a spike
    consistency : median correlation of events with their mean
    depth_um, amplitude : where and how large, for the spread
    """

    snr: float
    n_events: int
    contamination: float
    presence: float
    consistency: float
    depth_um: float
    amplitude: float

    def fails(self) -> list[str]:
        """Return what is not good enough, in words."""
        checks = {
            f"{self.n_events} spikes (at least {MIN_EVENTS})": self.n_events >= MIN_EVENTS,
            f"contamination {self.contamination:.2f} (at most {MAX_CONTAMINATION})": self.contamination
            <= MAX_CONTAMINATION,
            f"presence {self.presence:.2f} (at least {MIN_PRESENCE})": self.presence >= MIN_PRESENCE,
            f"consistency {self.consistency:.2f} (at least {MIN_CONSISTENCY})": self.consistency >= MIN_CONSISTENCY,
        }
        return [words for words, is_good in checks.items() if not is_good]


def measure_contamination(times_s: np.ndarray, duration_s: float, refractory_s: float = 0.002) -> float:
    """Intervals below the refractory period against those that a contaminating train would cause."""
    n = len(times_s)
    if n < 2:
        return 0.0
    violations = int((np.diff(times_s) < refractory_s).sum())
    return violations * duration_s / (2 * refractory_s * n**2)


def measure_presence(times_s: np.ndarray, duration_s: float) -> float:
    """Part of equal bins, 60 s or a tenth of the recording, that hold a spike."""
    n_bins = max(int(duration_s / PRESENCE_BIN_S), MIN_BINS)
    counts = np.histogram(times_s, bins=n_bins, range=(0, duration_s))[0]
    return float((counts > 0).mean())


def measure_consistency(windows: np.ndarray) -> float:
    """Median correlation of events (n, n_samples, m) with their mean."""
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    mean = flat.mean(axis=0)
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(mean)
    return float(np.median(flat @ mean / np.where(norms > 0, norms, 1.0)))


def choose_units(qualities: dict[int, Quality], n_units: int) -> list[int]:
    """Choose good units that spread over depth and size.

    The units that fail nothing are sorted into a grid of depth and amplitude quantiles; in turn each cell gives its
    unit of the largest SNR.

    Returns
    -------
    keys of ``qualities``, ascending
    """
    good = sorted(unit for unit, quality in qualities.items() if not quality.fails())
    if len(good) <= n_units:
        return good
    n_bins = int(np.ceil(np.sqrt(n_units)))
    depth = _quantile_bins(np.array([qualities[unit].depth_um for unit in good]), n_bins)
    size = _quantile_bins(np.array([qualities[unit].amplitude for unit in good]), n_bins)
    cells: dict[tuple[int, int], list[int]] = {}
    for unit, d, s in zip(good, depth, size, strict=True):
        cells.setdefault((int(d), int(s)), []).append(unit)
    queues = [sorted(cells[key], key=lambda unit: -qualities[unit].snr) for key in sorted(cells)]
    turns = [(turn, -qualities[unit].snr, unit) for queue in queues for turn, unit in enumerate(queue)]
    return sorted(unit for _, _, unit in sorted(turns)[:n_units])


def _quantile_bins(values: np.ndarray, n_bins: int) -> np.ndarray:
    """(n,) bin of each value; as many in each."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return ranks * n_bins // len(values)

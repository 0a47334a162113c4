"""Compiled loops over the samples that a plan changes. Enters: a block of traces, spikes. Leaves: the block changed.

All release the interpreter lock. ``block`` (n_rows, n_channels) begins at sample ``first`` of its segment; rows of a
window outside the block are left to the block they lie in, so any cut into blocks gives the same bytes. ``spikes`` are
records of ``SPIKE`` in order, ``bank`` and ``channels`` the waveforms of the plan. Each loop finds the
place of a spike by itself: with one helper for all, ``gather`` took 1.4 times as long (processor time, measured once).
"""

import numba
import numpy as np

_NEVER = -(2**63)
"""No sum of samples of at most 32 bits."""
_ROUND = 6755399441055744.0
"""1.5 * 2^52: adding and taking it away rounds a double half to even, on every processor without a call."""


@numba.njit(cache=True, nogil=True)
def fill_deltas(waveform: np.ndarray, scale: float, deltas: np.ndarray) -> None:  # pragma: no cover - compiled
    """Fill ``deltas`` with a row of a waveform times ``scale``, rounded half to even; a loop of its own vectorises."""
    for k in range(len(deltas)):
        deltas[k] = np.int64((scale * np.float64(waveform[k]) + _ROUND) - _ROUND)


@numba.njit(cache=True, nogil=True)
def fetch(
    block: np.ndarray, start: int, n_samples: int, left: int, right: int
) -> np.int64:  # pragma: no cover - compiled
    """Read two samples of every row of a window: many rows are then on their way from memory at a time.

    Returns their sum, never ``_NEVER``, so that the compiler cannot leave the reads out.
    """
    total = np.int64(0)
    for t in range(max(0, -start), min(n_samples, block.shape[0] - start)):
        total += np.int64(block[start + t, left]) + np.int64(block[start + t, right])
    return total


@numba.njit(cache=True, nogil=True)
def count_channels(channels: np.ndarray) -> int:  # pragma: no cover - compiled
    """Channels before the first -1."""
    n = 0
    while n < len(channels) and channels[n] >= 0:
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def add_integers(
    block: np.ndarray,
    first: int,
    spikes: np.ndarray,
    bank: np.ndarray,
    channels: np.ndarray,
    before: int,
    limits: np.ndarray,
) -> np.ndarray:  # pragma: no cover - compiled
    """Add spikes to integer traces; what lies beyond ``limits`` (low, high) is clipped.

    Returns (n_clipped, 3) int64: spike, index of the sample in the block, what was lost.
    """
    low, high = limits[0], limits[1]
    n_rows, n_samples, n_channels = block.shape[0], bank.shape[1], block.shape[1]
    lost = np.empty((0, 3), dtype=np.int64)
    n_lost = 0
    buffer = np.empty(channels.shape[1], dtype=np.int64)
    for s in range(len(spikes)):
        row, scale = spikes[s].bank, np.float64(spikes[s].scale)
        start = spikes[s].sample - before - first
        on = channels[row]
        values = buffer[: count_channels(on)]
        if fetch(block, start, n_samples, on[0], on[len(values) - 1]) == _NEVER:
            return lost
        for t in range(max(0, -start), min(n_samples, n_rows - start)):
            line = block[start + t]
            fill_deltas(bank[row, t], scale, values)
            is_beyond = False
            for k in range(len(values)):
                values[k] += np.int64(line[on[k]])
                is_beyond |= (values[k] < low) | (values[k] > high)
            if is_beyond:
                for k in range(len(values)):
                    if low <= values[k] <= high:
                        continue
                    if n_lost == len(lost):
                        grown = np.empty((2 * n_lost + 64, 3), dtype=np.int64)
                        grown[:n_lost] = lost
                        lost = grown
                    kept = low if values[k] < low else high
                    lost[n_lost, 0] = s
                    lost[n_lost, 1] = (start + t) * n_channels + on[k]
                    lost[n_lost, 2] = values[k] - kept
                    n_lost += 1
                    values[k] = kept
            for k in range(len(values)):
                line[on[k]] = values[k]
    return lost[:n_lost]


@numba.njit(cache=True, nogil=True)
def subtract_integers(
    block: np.ndarray, first: int, spikes: np.ndarray, bank: np.ndarray, channels: np.ndarray, before: int
) -> None:  # pragma: no cover - compiled
    """Take spikes away from integer traces, modulo the range of the type: the order does not matter.

    Where ``add_integers`` has clipped, what it lost must be added too.
    """
    n_rows, n_samples = block.shape[0], bank.shape[1]
    buffer = np.empty(channels.shape[1], dtype=np.int64)
    for s in range(len(spikes)):
        row, scale = spikes[s].bank, np.float64(spikes[s].scale)
        start = spikes[s].sample - before - first
        on = channels[row]
        deltas = buffer[: count_channels(on)]
        if fetch(block, start, n_samples, on[0], on[len(deltas) - 1]) == _NEVER:
            return
        for t in range(max(0, -start), min(n_samples, n_rows - start)):
            line = block[start + t]
            fill_deltas(bank[row, t], scale, deltas)
            for k in range(len(deltas)):
                line[on[k]] = np.int64(line[on[k]]) - deltas[k]


@numba.njit(cache=True, nogil=True)
def add_floats(
    block: np.ndarray,
    first: int,
    spikes: np.ndarray,
    bank: np.ndarray,
    channels: np.ndarray,
    before: int,
    kept: np.ndarray,
) -> None:  # pragma: no cover - compiled
    """Add spikes to floating point traces; ``kept`` (n_spikes, n_samples, width) gets each sample as it was before."""
    n_rows, n_samples = block.shape[0], bank.shape[1]
    for s in range(len(spikes)):
        row, scale = spikes[s].bank, np.float64(spikes[s].scale)
        start = spikes[s].sample - before - first
        for t in range(max(0, -start), min(n_samples, n_rows - start)):
            for k in range(channels.shape[1]):
                channel = channels[row, k]
                if channel < 0:
                    break
                kept[s, t, k] = block[start + t, channel]
                block[start + t, channel] += scale * np.float64(bank[row, t, k])


@numba.njit(cache=True, nogil=True)
def gather(
    block: np.ndarray, first: int, spikes: np.ndarray, channels: np.ndarray, before: int, kept: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Copy the samples under the windows of spikes into ``kept`` (n_spikes, n_samples, width)."""
    n_rows, n_samples = block.shape[0], kept.shape[1]
    for s in range(len(spikes)):
        row = spikes[s].bank
        start = spikes[s].sample - before - first
        for t in range(max(0, -start), min(n_samples, n_rows - start)):
            for k in range(channels.shape[1]):
                channel = channels[row, k]
                if channel < 0:
                    break
                kept[s, t, k] = block[start + t, channel]


@numba.njit(cache=True, nogil=True)
def restore(
    block: np.ndarray, first: int, spikes: np.ndarray, channels: np.ndarray, before: int, kept: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Write back what ``gather`` or ``add_floats`` has kept, the last spike first."""
    n_rows, n_samples = block.shape[0], kept.shape[1]
    for back in range(len(spikes)):
        s = len(spikes) - 1 - back
        row = spikes[s].bank
        start = spikes[s].sample - before - first
        for t in range(max(0, -start), min(n_samples, n_rows - start)):
            for k in range(channels.shape[1]):
                channel = channels[row, k]
                if channel < 0:
                    break
                block[start + t, channel] = kept[s, t, k]


@numba.njit(cache=True, nogil=True)
def pair_spikes(first: np.ndarray, second: np.ndarray, tolerance: int) -> np.ndarray:  # pragma: no cover - compiled
    """(n_first,) index of the partner of each spike in ``second``, -1 without one.

    Two pointers through sorted trains: no spike is used twice, and the earliest spikes that can be paired are.
    """
    partner = np.full(len(first), -1, dtype=np.int64)
    i, j = 0, 0
    while i < len(first) and j < len(second):
        distance = first[i] - second[j]
        if distance > tolerance:
            j += 1
        elif distance < -tolerance:
            i += 1
        else:
            partner[i] = j
            i += 1
            j += 1
    return partner


@numba.njit(cache=True, nogil=True)
def count_pairs(
    first: np.ndarray, first_offsets: np.ndarray, second: np.ndarray, second_offsets: np.ndarray, tolerance: int
) -> np.ndarray:  # pragma: no cover - compiled
    """(n_first, n_second) int64, pairs of spikes between all units of two sortings."""
    counts = np.zeros((len(first_offsets) - 1, len(second_offsets) - 1), dtype=np.int64)
    for a in range(counts.shape[0]):
        one = first[first_offsets[a] : first_offsets[a + 1]]
        for b in range(counts.shape[1]):
            partner = pair_spikes(one, second[second_offsets[b] : second_offsets[b + 1]], tolerance)
            counts[a, b] = (partner >= 0).sum()
    return counts

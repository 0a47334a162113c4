"""Spikes cut out of raw traces. Enters: a binary layout and a ``Sorting``. Leaves: the sorting with mean waveforms.

For sortings whose own templates are whitened or absent. Traces are read through memory maps, window by window. The
high-pass is one finite zero-phase kernel; being linear it is applied to the mean of the raw windows, not to each.
Traces that are filtered already are not filtered again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.errors import DataError
from ...core.types import Sorting, Templates

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
"""Sample types a flat binary may have (little-endian)."""
MAX_WINDOWS = 500
"""Windows averaged per unit, evenly spread over its spikes."""
BEFORE_MS, AFTER_MS = 1.2, 2.2
HIGH_PASS_HZ = 300.0
NOISE_PIECES, NOISE_PIECE_S = 20, 0.25
LEVEL_ROWS = 512
"""Samples of each of NOISE_PIECES pieces from which the level of filtered traces is taken."""
_BATCH = 20_000
"""Spikes whose amplitudes are read at a time."""


@dataclass(frozen=True)
class BinaryLayout:
    """Flat binary traces, channels interleaved sample by sample.

    Attributes
    ----------
    paths : files one after another
    gain_uv, offset_uv : µV = sample * gain + offset; gain None = not known
    byte_offset : bytes of header in each file
    is_filtered : the traces are high-passed already
    """

    paths: tuple[Path, ...]
    sampling_frequency_hz: float
    n_channels: int
    dtype: str
    gain_uv: float | None = None
    offset_uv: float = 0.0
    byte_offset: int = 0
    is_filtered: bool = False

    def __post_init__(self) -> None:
        where = self.paths[0] if self.paths else "binary"
        if self.dtype not in DTYPES:
            raise DataError(f"{where}: dtype '{self.dtype}'; one of {', '.join(DTYPES)} is needed")
        if self.n_channels < 1:
            raise DataError(f"{where}: n_channels = {self.n_channels}; a whole number above 0 is needed")
        if not (np.isfinite(self.sampling_frequency_hz) and self.sampling_frequency_hz > 0):
            raise DataError(f"{where}: sampling frequency {self.sampling_frequency_hz} Hz; a positive one is needed")

    def count_samples(self) -> list[int]:
        """Return the samples per channel of each file.

        Raises
        ------
        DataError
            A file is missing, empty, or does not hold whole rows of ``n_channels`` samples.
        """
        row = self.n_channels * np.dtype(self.dtype).itemsize
        counts = []
        for path in self.paths:
            if not path.is_file():
                raise DataError(f"{path}: missing; the traces are needed")
            n_bytes = path.stat().st_size - self.byte_offset
            if n_bytes < row or n_bytes % row:
                raise DataError(
                    f"{path}: {path.stat().st_size} bytes; {self.n_channels} channels of {self.dtype} need a multiple "
                    f"of {row} after {self.byte_offset} bytes of header; check n_channels and dtype, or copy it again"
                )
            counts.append(n_bytes // row)
        return counts


@dataclass(frozen=True)
class _Filter:
    """What is done to windows: ``kernel`` (odd,); or, to filtered traces, ``level`` (n_channels,) is taken away."""

    kernel: np.ndarray
    level: np.ndarray | None

    def apply(self, windows: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """(n_samples, n_channels) windows of these channels, shorter by the kernel."""
        from scipy.signal import oaconvolve

        if self.level is not None:
            return windows - self.level[channels]
        return oaconvolve(windows - windows.mean(axis=0), self.kernel[:, None], mode="valid", axes=0)

    def centre(self, windows: np.ndarray, channel: int) -> np.ndarray:
        """(n_windows,) filtered value in the middle of windows (n_windows, len(kernel)) of one channel."""
        level = windows.mean(axis=1, keepdims=True) if self.level is None else self.level[channel]
        return (windows - level) @ self.kernel


def average_windows(binary: BinaryLayout, sorting: Sorting, channel_positions_um: np.ndarray) -> Sorting:
    """Return the sorting with mean waveforms, spike amplitudes and noise taken from its raw traces.

    Parameters
    ----------
    binary : the traces the sorting was made from; several files run on one clock
    channel_positions_um : (n_channels of the binary, 2); rows of NaN (reference, sync) are left out

    Returns
    -------
    Sorting
        ``templates`` : mean of at most 500 windows per unit, high-passed at 300 Hz unless the traces are filtered, µV
        ("au" without gain), all NaN for a unit without a whole window. ``amplitudes_uv`` : size at the trough of the
        mean, on its channel; NaN too near to the ends. ``noise_uv`` : MAD x 1.4826 of that channel.

    Raises
    ------
    DataError
        The traces are missing or cut, or the positions are not one per channel.
    """
    counts = binary.count_samples()
    if channel_positions_um.shape != (binary.n_channels, 2):
        raise DataError(
            f"{binary.paths[0]}: {binary.n_channels} channels but positions {channel_positions_um.shape}; "
            "one [x, y] per channel is needed"
        )
    channels = np.flatnonzero(np.isfinite(channel_positions_um).all(axis=1))
    traces = [_map(binary, path, n) for path, n in zip(binary.paths, counts, strict=True)]
    rate_hz = binary.sampling_frequency_hz
    high_pass = _make_filter(binary, traces)
    half = len(high_pass.kernel) // 2
    file, sample = _place(sorting, counts, rate_hz)
    before, after = (round(ms * rate_hz / 1000) for ms in (BEFORE_MS, AFTER_MS))
    margins = (before + half, after + half)
    gain = 1.0 if binary.gain_uv is None else binary.gain_uv
    values = np.full((len(sorting.unit_ids), before + after, len(channels)), np.nan, dtype=np.float32)
    amplitudes = np.full(len(sample), np.nan, dtype=np.float32)
    peaks = np.full(len(values), -1)
    for row, (start, stop) in enumerate(zip(sorting.offsets[:-1], sorting.offsets[1:], strict=True)):
        where = np.arange(start, stop)[_is_inside(file[start:stop], sample[start:stop], counts, margins)]
        if len(where) == 0:
            continue
        # the constant offset of the traces falls out with the high-pass or the level
        values[row] = _mean_window(traces, file, sample, _spread(where), margins, channels, high_pass) * gain
        peaks[row] = int(np.argmax(np.ptp(values[row], axis=0)))
        shift = int(np.abs(values[row][:, peaks[row]]).argmax()) - before
        size = _filtered_samples(traces, file, sample + shift, where, int(channels[peaks[row]]), high_pass)
        amplitudes[where] = np.abs(size) * gain
    noise = _measure_noise(traces, channels, peaks, high_pass, rate_hz) * gain
    unit: Literal["uV", "au"] = "au" if binary.gain_uv is None else "uV"
    templates = Templates(values, rate_hz, unit, np.asarray(channel_positions_um, dtype=np.float64)[channels])
    return replace(sorting, templates=templates, amplitudes_uv=amplitudes, noise_uv=noise)


def _map(binary: BinaryLayout, path: Path, n_samples: int) -> np.ndarray:
    """(n_samples, n_channels) view of a file that is read only where it is used."""
    shape = (n_samples, binary.n_channels)
    return np.memmap(
        path, dtype=np.dtype(binary.dtype).newbyteorder("<"), mode="r", offset=binary.byte_offset, shape=shape
    )


def _make_filter(binary: BinaryLayout, traces: list[np.ndarray]) -> _Filter:
    """The high-pass; for filtered traces their median level, as an unsigned or offset binary does not rest at 0."""
    if not binary.is_filtered:
        return _Filter(_high_pass(binary.sampling_frequency_hz), None)
    pieces = [piece for trace in traces for piece in _cut_pieces(trace, LEVEL_ROWS, len(traces))]
    level = np.median(np.concatenate(pieces).astype(np.float32), axis=0)
    return _Filter(np.ones(1, dtype=np.float32), level)


def _cut_pieces(trace: np.ndarray, length: int, n_traces: int) -> Iterator[np.ndarray]:
    """Pieces of ``length`` samples spread through a trace, this one's share of NOISE_PIECES."""
    starts = np.linspace(0, max(len(trace) - length, 0), max(NOISE_PIECES // n_traces, 1)).astype(np.int64)
    for start in np.unique(starts):
        yield trace[start : start + length]


def _high_pass(rate_hz: float) -> np.ndarray:
    """Odd symmetric kernel: identity less a windowed-sinc low-pass, so that a constant becomes zero."""
    from scipy.signal import firwin

    half = round(1.5 * rate_hz / HIGH_PASS_HZ)
    kernel = -firwin(2 * half + 1, HIGH_PASS_HZ, fs=rate_hz)
    kernel[half] -= kernel.sum()
    return kernel.astype(np.float32)


def _place(sorting: Sorting, counts: list[int], rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """File and sample within it of each spike; file -1 where the time is in none of them."""
    times = sorting.spike_times
    if sorting.time_rate_hz != rate_hz or times.dtype.kind == "f":
        seconds = np.asarray(times, dtype=np.float64) / sorting.time_rate_hz
        times = np.rint(np.where(np.isfinite(seconds), seconds, -1.0) * rate_hz)
    samples = times.astype(np.int64)
    ends = np.cumsum([0, *counts])
    file = np.searchsorted(ends, samples, side="right") - 1
    file[(samples < 0) | (file >= len(counts))] = -1
    return file, samples - ends[np.maximum(file, 0)]


def _is_inside(file: np.ndarray, sample: np.ndarray, counts: list[int], margins: tuple[int, int]) -> np.ndarray:
    """Whether the window of each spike lies whole in its file."""
    n_samples = np.asarray(counts)[np.maximum(file, 0)]
    # one window more on both sides: amplitudes are read at the trough, which may lie aside of the spike time
    reach = margins[0] + margins[1]
    return (file >= 0) & (sample >= reach) & (sample + reach <= n_samples)


def _spread(where: np.ndarray) -> np.ndarray:
    """At most MAX_WINDOWS of the indices, evenly spread."""
    if len(where) <= MAX_WINDOWS:
        return where
    return where[np.linspace(0, len(where) - 1, MAX_WINDOWS).astype(np.int64)]


def _mean_window(
    traces: list[np.ndarray],
    file: np.ndarray,
    sample: np.ndarray,
    chosen: np.ndarray,
    margins: tuple[int, int],
    channels: np.ndarray,
    high_pass: _Filter,
) -> np.ndarray:
    """(n_samples, n_channels) mean of the chosen windows, high-passed; margins are used up by the kernel."""
    total = np.zeros((sum(margins), len(channels)))
    for spike in chosen:
        at = sample[spike]
        total += traces[file[spike]][at - margins[0] : at + margins[1]][:, channels]
    return high_pass.apply(total / len(chosen), channels)


def _filtered_samples(
    traces: list[np.ndarray], file: np.ndarray, sample: np.ndarray, where: np.ndarray, channel: int, high_pass: _Filter
) -> np.ndarray:
    """High-passed value of one channel at the samples of the spikes ``where``."""
    half = len(high_pass.kernel) // 2
    reach = np.arange(-half, half + 1)
    values = np.empty(len(where), dtype=np.float32)
    for first, part in _batches(where):
        for number in np.unique(file[part]):
            mine = file[part] == number
            rows = sample[part[mine]][:, None] + reach
            windows = traces[number][rows, channel].astype(np.float32)
            values[first : first + len(part)][mine] = high_pass.centre(windows, channel)
    return values


def _batches(where: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of indices with the position of their first."""
    for first in range(0, len(where), _BATCH):
        yield first, where[first : first + _BATCH]


def _measure_noise(
    traces: list[np.ndarray], channels: np.ndarray, peaks: np.ndarray, high_pass: _Filter, rate_hz: float
) -> np.ndarray:
    """(n_units,) MAD x 1.4826 of each unit's peak channel over pieces spread through the traces; NaN without one."""
    noise = np.full(len(peaks), np.nan)
    used = np.unique(peaks[peaks >= 0])
    length = max(int(NOISE_PIECE_S * rate_hz), 2 * len(high_pass.kernel))
    pieces = []
    for trace in traces:
        for rows in _cut_pieces(trace, length, len(traces)):
            piece = rows[:, channels[used]].astype(np.float32)
            if len(piece) > len(high_pass.kernel):
                pieces.append(high_pass.apply(piece, channels[used]))
    if pieces and len(used):
        joined = np.concatenate(pieces)
        mad = np.median(np.abs(joined - np.median(joined, axis=0)), axis=0) * 1.4826
        noise[peaks >= 0] = mad[np.searchsorted(used, peaks[peaks >= 0])]
    return noise

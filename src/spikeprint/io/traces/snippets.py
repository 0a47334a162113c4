"""Spikes and what contacts around them saw. Enters: a preprocessed recording. Leaves: peaks, and snippets in chunks.

Everything runs through the traces chunk by chunk: memory does not grow with the recording, only the list of peaks does.
"""

import logging
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ...core.compute import count_workers
from ...core.errors import DataError, NotEnoughSpikes
from ...core.localize_params import DetectParams
from ...core.spikes import Neighbourhoods, Peaks, Source

LOGGER = logging.getLogger(__name__)
LEAST_NOISE_UV, LARGEST_NOISE_UV = 0.1, 1000.0
"""Extracellular noise lies between; volts read as µV lie a million times below."""
_PROBED_PIECES, _PIECE_S = 20, 0.1


def open_source(
    recording: Any,
    params: DetectParams,
    band_hz: tuple[float, float] | None,
    chunk_s: float = 1.0,
    peaks: Peaks | None = None,
) -> Source:
    """Detect the peaks of a recording and return the way to their snippets.

    Parameters
    ----------
    recording : preprocessed spikeinterface BaseRecording in µV, with probe
    params : detection and window
    band_hz : the band-pass that the recording went through, None = none
    chunk_s : seconds of traces in memory at a time
    peaks : of this recording, detected before; None = they are detected

    Raises
    ------
    DataError
        The peaks given are of another recording; no probe, several segments, traces with NaN, not in µV, or channels
        that are flat (see ``drop_dead``).
    NotEnoughSpikes
        Fewer peaks than ``min_peaks``.
    """
    recording, noise = _check(recording, params)
    if peaks is None:
        peaks = find_peaks(recording, noise, params, chunk_s)
    _check_peaks(recording, peaks)
    fs_hz = float(recording.get_sampling_frequency())
    n_before, n_after = (round(ms * fs_hz / 1000) for ms in (params.before_ms, params.after_ms))
    read = partial(iter_snippets, recording, n_before=n_before, n_after=n_after, chunk_s=chunk_s)
    contacts = np.asarray(recording.get_channel_locations(), dtype=np.float64)[:, :2]
    return Source(recording, peaks, contacts, noise, n_before, n_after, band_hz, read)


def find_peaks(recording: Any, noise_uv: np.ndarray, params: DetectParams, chunk_s: float = 1.0) -> Peaks:
    """Detect negative peaks, the largest among near channels (SpikeInterface ``locally_exclusive``).

    Raises
    ------
    NotEnoughSpikes
        Fewer than ``min_peaks``; the message tells the threshold.
    """
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    found = detect_peaks(
        recording,
        method="locally_exclusive",
        method_kwargs={
            "peak_sign": "neg",
            "detect_threshold": params.threshold,
            "exclude_sweep_ms": params.exclude_sweep_ms,
            "radius_um": params.radius_um,
            "noise_levels": np.asarray(noise_uv, dtype=np.float32),
        },
        job_kwargs={"n_jobs": count_workers(), "chunk_duration": f"{chunk_s}s", "progress_bar": False},
    )
    if len(found) < params.min_peaks:
        raise NotEnoughSpikes(
            f"recording: {len(found)} spikes above {params.threshold:g} x noise ({np.median(noise_uv):.1f} µV), "
            f"at least {params.min_peaks} are needed; lower localize.detect.threshold, or check gain, filter and probe"
        )
    order = np.lexsort((found["channel_index"], found["sample_index"]))
    found = found[order]
    return Peaks(
        found["sample_index"].astype(np.int64),
        found["channel_index"].astype(np.int64),
        found["amplitude"].astype(np.float32),
        float(recording.get_sampling_frequency()),
        int(recording.get_num_samples()),
    )


def iter_snippets(
    recording: Any, around: Neighbourhoods, peaks: Peaks, n_before: int, n_after: int, chunk_s: float
) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut the contacts around each peak out of the traces, chunk by chunk.

    Yields
    ------
    rows of ``peaks``, and their snippets (n, k, n_before + n_after) float32; contacts that are not there and samples
    beyond the ends of the recording are 0

    Raises
    ------
    DataError
        A sample that is not a number; the message tells channel and time.
    """
    length, n_samples = n_before + n_after, recording.get_num_samples()
    step = max(1, round(chunk_s * peaks.fs_hz))
    edges = np.searchsorted(peaks.samples, np.arange(0, n_samples + step, step))
    for i, (first, last) in enumerate(pairwise(edges)):
        if first == last:
            continue
        start, stop = i * step - n_before, min((i + 1) * step, n_samples) + n_after
        inside = recording.get_traces(start_frame=max(start, 0), end_frame=min(stop, n_samples))
        _refuse_nan(recording, inside, max(start, 0))
        traces = np.pad(inside, ((max(-start, 0), max(stop - n_samples, 0)), (0, 1)))  # the last column stands for none
        rows = slice(int(first), int(last))
        channels = around.channels[peaks.channels[rows]]
        at = (peaks.samples[rows] - n_before - start)[:, None, None] + np.arange(length)
        flat = at * traces.shape[1] + np.where(channels < 0, traces.shape[1] - 1, channels)[:, :, None]
        yield rows, np.ascontiguousarray(traces, dtype=np.float32).ravel().take(flat)


def _check(recording: Any, params: DetectParams) -> tuple[Any, np.ndarray]:
    """The recording without dead channels, and the noise of each channel."""
    if not recording.has_probe():
        raise DataError("recording: no contact positions; add a probe file, probe.json of probeinterface")
    if recording.get_num_segments() != 1:
        raise DataError(
            f"recording: {recording.get_num_segments()} segments; motion needs one clock: localise each segment "
            "(select_segment_recording), or join them (spikeinterface.concatenate_recordings)"
        )
    noise = _measure_noise(recording)
    dead = noise == 0
    if dead.all():
        raise DataError(f"recording: all {len(noise)} channels are flat; check the file, its dtype and gain")
    if dead.any():
        names = ", ".join(str(recording.channel_ids[i]) for i in np.flatnonzero(dead)[:8])
        if not params.drop_dead:
            raise DataError(
                f"recording: {dead.sum()} dead channels (flat): {names}; remove them, or set localize.detect.drop_dead"
            )
        LOGGER.warning("left out %d dead channels: %s", dead.sum(), names)
        recording, noise = recording.remove_channels(recording.channel_ids[dead]), noise[~dead]
    level = float(np.median(noise))
    if not LEAST_NOISE_UV <= level <= LARGEST_NOISE_UV:
        raise DataError(
            f"recording: noise of {level:.3g}, {LEAST_NOISE_UV:g} to {LARGEST_NOISE_UV:g} µV are plausible; traces "
            "seem to be in another unit (volts?): set the gain of the recording in µV"
        )
    return recording, noise


def _check_peaks(recording: Any, peaks: Peaks) -> None:
    """Raise DataError unless peaks can be of a recording."""
    mine = recording.get_num_samples(), recording.get_num_channels(), float(recording.get_sampling_frequency())
    n_channels = int(peaks.channels.max()) + 1 if len(peaks) else 0
    if (peaks.n_samples, peaks.fs_hz) != (mine[0], mine[2]) or n_channels > mine[1]:
        raise DataError(
            f"recording: {mine[0]} samples of {mine[1]} channels at {mine[2]:g} Hz, but peaks of {peaks.n_samples} "
            f"samples of at least {n_channels} channels at {peaks.fs_hz:g} Hz; localise this recording again"
        )


def _measure_noise(recording: Any) -> np.ndarray:
    """(n_channels,) MAD x 1.4826 over pieces spread through the recording."""
    n_samples, fs_hz = recording.get_num_samples(), recording.get_sampling_frequency()
    length = min(round(_PIECE_S * fs_hz), n_samples)
    pieces = []
    for start in np.unique(np.linspace(0, n_samples - length, _PROBED_PIECES).astype(np.int64)):
        piece = recording.get_traces(start_frame=int(start), end_frame=int(start) + length)
        _refuse_nan(recording, piece, int(start))
        pieces.append(piece)
    joined = np.concatenate(pieces).astype(np.float32)
    return np.median(np.abs(joined - np.median(joined, axis=0)), axis=0) * 1.4826


def _refuse_nan(recording: Any, traces: np.ndarray, start: int) -> None:
    """Raise DataError at a sample that is not a finite number."""
    if np.isfinite(traces).all():
        return
    sample, channel = np.argwhere(~np.isfinite(traces))[0]
    at_s = (start + sample) / recording.get_sampling_frequency()
    raise DataError(
        f"recording: channel {recording.channel_ids[channel]} is not a number at {at_s:.3f} s; cut the recording "
        "there, or leave the channel out"
    )

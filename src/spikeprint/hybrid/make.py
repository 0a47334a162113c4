"""From a recording and its sorting to a plan. Enters: a source, trains, options. Leaves: a ``Plan``.

A few thousand windows are read. Every unit draws from a generator of its own, so a unit's spikes do not depend on the
others that were chosen.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..core.errors import ConfigError, DataError
from ..core.hybrid_params import HybridParams
from ..core.hybrid_plan import Plan
from ..core.spikes import Motion
from ..io.hybrid.sortings import Trains
from ..io.hybrid.source import RawSource
from . import compat
from .choose import Quality, choose_units, measure_consistency, measure_contamination, measure_presence
from .drift import carry_along, measure_shift
from .events import cut_windows, detrend, make_window, measure_noise, pick, sketch_units
from .join import join_copies
from .relocate import relocate
from .study import Copy, Study
from .times import check_given, draw_jitter, draw_renewal
from .waveforms import UnitModel, model_unit, pick_channels

LOGGER = logging.getLogger(__name__)
MAX_MISALIGNED = 3
"""Samples; a larger offset of the extremum from the spike times is told."""
MAX_MOTION_UM = 10.0
"""A larger motion of the units is told where hybrids do not follow it."""


def make_plan(
    source: RawSource,
    trains: Trains,
    params: HybridParams,
    motion: Motion | None = None,
    given: Mapping[str, np.ndarray] | None = None,
) -> Plan:
    """Plan hybrid units.

    Parameters
    ----------
    source : the traces
    trains : its sorting, see ``io.hybrid.sortings``
    params : all options; ``source``, ``sorting`` and ``target`` are not looked at
    motion : of the tissue; None = there is none
    given : times.mode given: unit -> (n,) samples on the sorter's clock

    Raises
    ------
    ConfigError
        Units that are not there, or options that leave no train to draw.
    DataError
        No unit is left; the reasons are listed.
    """
    window = make_window(params.window_ms, source.sampling_frequency_hz)
    if window.n_samples > max(source.counts):
        raise DataError(
            f"{source.path}: {max(source.counts)} samples, shorter than a window of {window.n_samples}; lower window_ms"
        )
    sketch = sketch_units(source, trains, window, params.seed)
    study = Study(source, trains, params, window, measure_noise(source), sketch, motion, given or {})
    notes = _check_alignment(study)
    chosen, dropped = _choose(study)
    copies: list[Copy] = []
    for unit in chosen:
        try:
            copies.append(_copy_unit(study, unit))
        except DataError as error:
            dropped[study.name(unit)] = str(error)
            LOGGER.warning("unit %s is left out: %s", study.name(unit), error)
    if not copies and not params.allow_dropped:
        reasons = "; ".join(f"{unit}: {reason}" for unit, reason in list(dropped.items())[:4])
        raise DataError(f"{source.path}: no unit can be made a hybrid of ({reasons or 'there are none'})")
    notes += [
        f"unit {study.name(copy.source_unit)}: {copy.n_dropped} spikes found no free place and were left out"
        for copy in copies
        if copy.n_dropped
    ]
    motion_um = float(np.median([abs(copy.moved_um) for copy in copies])) if copies else 0.0
    if params.drift is None and motion_um > MAX_MOTION_UM:
        notes.append(f"the units move by {motion_um:.0f} µm (median) from start to end, the hybrids do not: set drift")
        LOGGER.warning(notes[-1])
    return join_copies(study, copies, dropped, notes)


def _check_alignment(study: Study) -> list[str]:
    """Notes on spike times that miss the trough, as those of a writer that counts from 1 or elsewhere."""
    offset = float(np.median(study.sketch.offsets[study.sketch.peaks >= 0])) if (study.sketch.peaks >= 0).any() else 0.0
    if abs(offset) <= MAX_MISALIGNED:
        return []
    note = f"the extremum of the mean lies {offset:g} samples from the spike times (median over units)"
    LOGGER.warning("%s; is one_based, or the recording, the right one?", note)
    return [note]


def _choose(study: Study) -> tuple[list[int], dict[str, str]]:
    """Units to copy, and why others are not."""
    params = study.params
    if params.units != "auto":
        return study.trains.index([str(unit) for unit in params.units]), {}
    qualities = {unit: _measure(study, unit) for unit in range(len(study.trains.unit_ids))}
    known = {unit: quality for unit, quality in qualities.items() if quality is not None}
    chosen = choose_units(known, params.n_units)
    failed = {study.name(unit): ", ".join(quality.fails()) for unit, quality in known.items() if quality.fails()}
    return chosen, {} if chosen else failed


def _read(study: Study, unit: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a unit's spikes around its extremum on the contacts near its peak, and those contacts."""
    positions = study.source.probe.positions_um
    peak, shift = study.sketch.peaks[unit], int(study.sketch.offsets[unit])
    if peak < 0:
        raise DataError("none of its spikes has a whole window inside the traces")
    distance = np.linalg.norm(positions - positions[peak], axis=1)
    channels = np.flatnonzero(distance <= 2 * study.params.channels.radius_um)
    spikes = study.trains.of_unit(unit)
    moved = replace(study.trains, sample=study.trains.sample + shift)
    fitting = spikes[study.window.fits(moved, spikes, study.source)]
    chosen = pick(fitting, n, np.random.default_rng([study.params.seed, 2, unit]))
    if len(chosen) < 2:
        raise DataError(f"{len(chosen)} of its spikes have a whole window inside the traces; 2 are needed")
    return cut_windows(study.source, study.trains, chosen, study.window, channels, shift), channels


def _measure(study: Study, unit: int) -> Quality | None:
    """Quality of a unit, from at most 300 of its spikes."""
    trains, rate_hz = study.trains, study.source.sampling_frequency_hz
    if study.sketch.peaks[unit] < 0 or trains.offsets[unit + 1] - trains.offsets[unit] < 2:
        return None
    windows, channels = _read(study, unit, 300)
    windows = detrend(windows)
    mean = windows.mean(axis=0)
    peak = int(np.ptp(mean, axis=0).argmax())
    ends = np.concatenate([[0], np.cumsum(study.source.counts)])
    spikes = trains.of_unit(unit)
    times_s = (trains.sample[spikes] + ends[trains.segment[spikes]]) / rate_hz
    near = study.sketch.footprint[unit, channels]
    size = float(np.abs(mean[:, peak]).max())
    return Quality(
        snr=size / max(float(study.noise[channels[peak]]), 1e-9),
        n_events=len(spikes),
        contamination=measure_contamination(times_s, ends[-1] / rate_hz),
        presence=measure_presence(times_s, ends[-1] / rate_hz),
        consistency=measure_consistency(windows[:, :, near]),
        depth_um=float(study.source.probe.positions_um[channels[peak], 1]),
        amplitude=size,
    )


def _copy_unit(study: Study, unit: int) -> Copy:
    """Waveforms, place, times and sizes of one hybrid unit."""
    params, source = study.params, study.source
    rng = np.random.default_rng([params.seed, 3, unit])
    positions = source.probe.positions_um
    windows, channels = _read(study, unit, params.max_events)
    rank = params.rank if params.mode == "svd" or params.compat else None
    if params.compat:
        kept = pick_channels(detrend(windows), channels, positions[channels], params.channels)
        events = compat.make_events(windows[:, :, kept], params.rank)
        model = UnitModel(channels[kept], events.mean(axis=0), events)
        weighted = params.relocate.model_copy(update={"weights": "rank"})
        move = relocate(
            model.channels, positions, weighted, params.channels.radius_um, rng,
            compat.pick_anchor(model.channels, positions),
        )  # fmt: skip
    else:
        bank = (params.bank, params.taper)
        model = model_unit(windows, channels, positions[channels], params.channels, rank, bank, rng)
        move = relocate(model.channels, positions, params.relocate, params.channels.radius_um, rng)
    segment, sample, n_dropped = _draw_times(study, unit, rng)
    mean = move.carry(model.mean)
    scale = _draw_scale(study, mean, move.channels, len(sample), rng)
    row = rng.integers(0, len(model.bank), len(sample))
    steps = _count_steps(study, move.channels, mean, segment, sample)
    place = carry_along(
        move.carry(model.bank), row, move.channels, positions, params.channels.radius_um, steps,
        params.drift.step_um if params.drift else 1.0,
    )  # fmt: skip
    return Copy(
        source_unit=unit, segment=segment, sample=sample, bank=place.row, scale=scale,
        displacement=place.displacement, waveforms=place.waveforms, channels=place.channels,
        shift_um=move.shift_um, mean=mean, target=move.channels,
        n_dropped=n_dropped, moved_um=measure_shift(windows, positions[channels, 1]),
    )  # fmt: skip


def _draw_times(study: Study, unit: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """Segment and sample of each spike of a hybrid, and how many found no place."""
    times, trains, rate_hz = study.params.times, study.trains, study.source.sampling_frequency_hz
    mine = trains.of_unit(unit)
    segment, sample = trains.segment[mine], trains.sample[mine] + int(study.sketch.offsets[unit])
    if times.mode == "given":
        name = study.name(unit)
        if name not in study.given:
            raise DataError(f"times.file has no row of unit {name}")
        starts = np.asarray(study.source.starts)
        number = np.maximum(np.searchsorted(starts, study.given[name], side="right") - 1, 0)
        local = study.given[name] - starts[number]
        return *check_given(number, local, study.spans, study.source.names(), name), 0
    if study.params.compat:
        spread = times.jitter_ms * rate_hz / 1000
        return *compat.draw_times(segment, sample, study.spans, (times.rate_hz, rate_hz, spread), rng), 0
    if times.mode == "renewal":
        own_hz = len(mine) / (sum(study.source.counts) / rate_hz)
        return *draw_renewal(times, times.rate_hz or own_hz, study.spans, rate_hz, rng), 0
    return draw_jitter(times, segment, sample, study.spans, rate_hz, rng)


def _draw_scale(study: Study, mean: np.ndarray, channels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) float32 factor of each spike."""
    amplitude = study.params.amplitude
    if amplitude.mode == "scale":
        return rng.uniform(amplitude.low, amplitude.high, n).astype(np.float32)
    wanted = rng.uniform(amplitude.low, amplitude.high)
    peak = int(np.ptp(mean, axis=0).argmax())
    size, channel = float(np.abs(mean[:, peak]).max()), channels[peak]
    unit = study.source.gains_uv[channel] if amplitude.mode == "target_uv" else 1 / study.noise[channel]
    if not np.isfinite(unit) or unit <= 0 or size <= 0:
        raise ConfigError(
            f"amplitude.mode {amplitude.mode}: the {'gain' if amplitude.mode == 'target_uv' else 'noise'} of channel "
            f"{channel} is not known; set layout.gain_uv, or use mode scale"
        )
    return np.full(n, wanted / (size * unit), dtype=np.float32)


def _count_steps(
    study: Study, channels: np.ndarray, mean: np.ndarray, segment: np.ndarray, sample: np.ndarray
) -> np.ndarray:
    """(n,) int32, steps by which each spike is displaced; zeros without motion."""
    drift = study.params.drift
    if study.motion is None or drift is None or not len(sample):
        return np.zeros(len(sample), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(study.source.counts)])
    times_s = (starts[segment] + sample) / study.source.sampling_frequency_hz
    depth = float(study.source.probe.positions_um[channels[int(np.ptp(mean, axis=0).argmax())], 1])
    rest = study.motion.at(study.motion.times_s[:1], np.array([depth]))
    moved = study.motion.at(times_s, np.full(len(times_s), depth)) - rest
    return np.rint(moved / drift.step_um).astype(np.int32)

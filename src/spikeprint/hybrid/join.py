"""Hybrid units put together. Enters: the copies of single units. Leaves: a plan with one bank and ordered spikes."""

import numpy as np

from ..core.hybrid_plan import SPIKE, HybridUnit, Plan
from ..io.hybrid.fingerprint import describe_source
from .collisions import find_lags
from .drift import stack_banks
from .study import Copy, Study


def join_copies(study: Study, copies: list[Copy], dropped: dict[str, str], notes: list[str]) -> Plan:
    """Return the plan.

    Parameters
    ----------
    dropped : source unit -> why there is no copy of it
    """
    params, source = study.params, study.source
    units, parts = [], []
    first_row = 0
    for number, copy in enumerate(copies):
        units.append(_describe(study, copy, number))
        spikes = np.zeros(len(copy.sample), dtype=SPIKE)
        spikes["segment"], spikes["sample"], spikes["unit"] = copy.segment, copy.sample, number
        spikes["bank"], spikes["scale"], spikes["displacement"] = copy.bank + first_row, copy.scale, copy.displacement
        used = np.unique(copy.channels[copy.channels >= 0])
        spikes["collision_lag"] = find_lags(copy.segment, copy.sample, used, study.trains, study.sketch.footprint)
        parts.append(spikes)
        first_row += len(copy.waveforms)
    if copies:
        waveforms, channels = stack_banks([copy.waveforms for copy in copies], [copy.channels for copy in copies])
    else:
        waveforms = np.zeros((0, study.window.n_samples, 1), dtype=np.float32)
        channels = np.zeros((0, 1), dtype=np.int32)
    spikes = np.concatenate([np.empty(0, SPIKE), *parts])
    order = np.lexsort((spikes["unit"], spikes["sample"], spikes["segment"]))
    return Plan(
        spikes=spikes[order],
        waveforms=waveforms,
        channels=channels,
        before=study.window.before,
        units=tuple(units),
        source=describe_source(source, params.fast_fingerprint),
        config=params.model_dump(mode="json"),
        seed=params.seed,
        dropped=dropped,
        drift_step_um=params.drift.step_um if params.drift else 1.0,
        notes=tuple(notes),
    )


def _describe(study: Study, copy: Copy, number: int) -> HybridUnit:
    """The row of a unit in the table."""
    source = study.source
    channels = copy.target
    peak = int(np.ptp(copy.mean, axis=0).argmax())
    channel = int(channels[peak])
    gain = source.gains_uv[channel]
    size = float(np.abs(copy.mean[:, peak]).max()) * float(copy.scale.mean() if len(copy.scale) else 1.0)
    x, y = source.probe.positions_um[channel]
    return HybridUnit(
        unit_id=number,
        source_unit=study.name(copy.source_unit),
        peak_channel=channel,
        x_um=float(x),
        y_um=float(y),
        amplitude_uv=size * (float(gain) if np.isfinite(gain) else 1.0),
        snr=size / float(study.noise[channel]) if study.noise[channel] > 0 else float("nan"),
        n_spikes=len(copy.sample),
        rate_hz=len(copy.sample) / (sum(source.counts) / source.sampling_frequency_hz),
        shift_x_um=float(copy.shift_um[0]),
        shift_y_um=float(copy.shift_um[1]),
    )

"""A plan for SpikeInterface. Enters: a plan, a recording. Leaves: the recording with hybrid units, and the truth."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.hybrid_plan import Plan
from ..io.hybrid.lazy import change_recording, channel_locations, make_sorting
from .inject import Injector

NEAR_UM = 0.5


def to_spikeinterface(plan: Plan, recording: Any) -> tuple[Any, Any]:
    """Return the recording with the hybrid units and the sorting of the hybrid units.

    Parameters
    ----------
    plan : of this recording
    recording : spikeinterface BaseRecording, traces as stored; channels without a contact may be missing

    Returns
    -------
    recording, sorting : the traces equal those that ``apply`` writes, sample for sample

    Raises
    ------
    DataError
        Another type, other segments, or a channel that the plan changes is missing; or floating point traces, which
        ``apply`` changes.
    """
    lengths = [recording.get_num_samples(k) for k in range(recording.get_num_segments())]
    wanted = [segment.n_samples for segment in plan.source.segments]
    dtype = np.dtype(recording.get_dtype())
    if lengths != wanted or dtype != np.dtype(plan.source.dtype) or dtype.kind not in "iu":
        raise DataError(
            f"recording: {lengths} samples of {dtype}, the plan was made for {wanted} of {plan.source.dtype}; "
            "integers as stored are needed"
        )
    injector = Injector(_remap(plan, recording))
    spikes = [plan.spikes[plan.of_segment(k)] for k in range(len(wanted))]
    ids = np.array([unit.unit_id for unit in plan.units])
    sorting = make_sorting(
        [part["sample"] for part in spikes],
        [ids[part["unit"]] for part in spikes],
        float(recording.get_sampling_frequency()),
        ids,
    )
    return change_recording(recording, injector.add), sorting


def _remap(plan: Plan, recording: Any) -> Plan:
    """The plan with the channel numbers of the recording, by their places."""
    n_channels = recording.get_num_channels()
    if n_channels == plan.source.n_channels:
        return plan
    places = channel_locations(recording)
    positions = plan.source.positions_um
    used = np.unique(plan.channels[plan.channels >= 0])
    number = np.full(plan.source.n_channels, -1, dtype=np.int32)
    for channel in used:
        distance = np.linalg.norm(places - positions[channel], axis=1)
        if distance.min() > NEAR_UM:
            raise DataError(f"recording: no contact at {positions[channel]} µm (channel {channel} of the plan)")
        number[channel] = distance.argmin()
    channels = np.where(plan.channels >= 0, number[plan.channels], -1).astype(np.int32)
    source = replace(
        plan.source, n_channels=n_channels, positions_um=places, gains_uv=np.ones(n_channels),
        shanks=np.zeros(n_channels, dtype=np.int64),
    )  # fmt: skip
    return replace(plan, channels=channels, source=source)

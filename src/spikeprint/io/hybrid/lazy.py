"""A recording that is changed when it is read. Enters: a SpikeInterface recording. Leaves: one of the same shape."""

from collections.abc import Callable
from typing import Any

import numpy as np


def change_recording(recording: Any, change: Callable[[np.ndarray, int, int], Any]) -> Any:
    """Return a recording whose traces are those of another one, changed block by block.

    Parameters
    ----------
    recording : spikeinterface BaseRecording
    change : (traces of all channels, segment, first sample), in place

    Notes
    -----
    It lives in this process only: SpikeInterface cannot send it to others (use ``n_jobs=1``) or save it but as traces.
    """
    from spikeinterface.core import BaseRecording, BaseRecordingSegment

    class ChangedSegment(BaseRecordingSegment):
        """One segment."""

        def __init__(self, parent: Any, number: int) -> None:
            super().__init__(**parent.get_times_kwargs())
            self._parent, self._number = parent, number

        def get_num_samples(self) -> int:
            return self._parent.get_num_samples()

        def get_traces(self, start_frame: Any = None, end_frame: Any = None, channel_indices: Any = None) -> Any:
            start = 0 if start_frame is None else int(start_frame)
            stop = self.get_num_samples() if end_frame is None else int(end_frame)
            block = np.array(self._parent.get_traces(start, stop, slice(None)), order="C")
            change(block, self._number, start)
            return block if channel_indices is None else block[:, channel_indices]

    class ChangedRecording(BaseRecording):
        """All segments."""

        def __init__(self) -> None:
            super().__init__(recording.get_sampling_frequency(), recording.channel_ids, recording.get_dtype())
            recording.copy_metadata(self)
            self._serializability = {"memory": False, "json": False, "pickle": False}
            for number, segment in enumerate(recording.segments):
                self.add_recording_segment(ChangedSegment(segment, number))

    return ChangedRecording()


def make_sorting(samples: list[np.ndarray], units: list[np.ndarray], rate_hz: float, unit_ids: np.ndarray) -> Any:
    """Return spikes, (samples, units) per segment, as a SpikeInterface sorting."""
    from spikeinterface.core import NumpySorting

    return NumpySorting.from_samples_and_labels(samples, units, rate_hz, unit_ids=unit_ids)


def channel_locations(recording: Any) -> np.ndarray:
    """(n_channels, 2) of a SpikeInterface recording, µm."""
    return np.asarray(recording.get_channel_locations(), dtype=np.float64)[:, :2]

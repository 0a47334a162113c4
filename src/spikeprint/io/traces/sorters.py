"""From traces to spikes. Enters: a SpikeInterface recording. Leaves: its filtered form, its sorting, its units.

Every step runs through the traces chunk by chunk: memory does not grow with the recording, only with the spikes.
"""

import contextlib
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.compute import count_workers
from ...core.config import SpikesParams
from ...core.errors import ConfigError, DataError
from ...core.types import Sorting
from ..readers.analyzer import from_analyzer
from .given import check_fit

DTYPE = "float32"

SHORT_S = 120.0
"""Shorter recordings are sorted by one process: each further one compiles the sorter anew, which takes longer."""


@dataclass(frozen=True)
class Sorter:
    """A spike sorter that SpikeInterface runs: the module it needs, and what installs that ("" = nothing more)."""

    module: str
    install: str


SORTERS: dict[str, Sorter] = {
    "lupin": Sorter("spikeinterface", ""),
    "tridesclous2": Sorter("hdbscan", "pip install hdbscan"),
    "spykingcircus2": Sorter("hdbscan", "pip install hdbscan"),
    "mountainsort5": Sorter("mountainsort5", "pip install mountainsort5"),
    "kilosort4": Sorter("kilosort", "pip install kilosort"),
}
"""``RecordingParams.sorter`` -> what it needs; all run on a CPU."""


def preprocess(recording: Any, params: SpikesParams) -> Any:
    """Scale to µV, band-pass and reference a recording, lazily.

    Parameters
    ----------
    recording : spikeinterface BaseRecording, any sample type; the band-pass is left out where it says it is filtered
    params : band and reference

    Returns
    -------
    spikeinterface BaseRecording, float32; in µV where all gains and offsets are known, else as stored

    Raises
    ------
    ConfigError
        The band does not lie below half the sampling rate.
    """
    from spikeinterface.preprocessing import astype, bandpass_filter, common_reference, scale_to_uV, unsigned_to_signed

    half_hz = recording.get_sampling_frequency() / 2
    is_filtered = recording.is_filtered()
    if not params.freq_min_hz < params.freq_max_hz < half_hz:
        raise ConfigError(
            f"params.yaml: spikes.freq_min_hz = {params.freq_min_hz:g}, freq_max_hz = {params.freq_max_hz:g}; they "
            f"must rise and stay below half the sampling rate, {half_hz:g} Hz"
        )
    if recording.has_scaleable_traces():
        recording = scale_to_uV(recording)
    else:
        signed = unsigned_to_signed(recording) if recording.get_dtype().kind == "u" else recording
        recording = astype(signed, DTYPE)
    if not is_filtered:
        recording = bandpass_filter(recording, freq_min=params.freq_min_hz, freq_max=params.freq_max_hz, dtype=DTYPE)
    if params.reference != "none" and recording.get_num_channels() > 1:
        recording = common_reference(recording, reference="global", operator=params.reference, dtype=DTYPE)
    return recording


def sort(recording: Any, sorter: str, seed: int) -> Any:
    """Find units with a spike sorter; its working files are removed.

    Parameters
    ----------
    recording : a preprocessed spikeinterface recording
    sorter : a name of ``SORTERS``
    seed : makes the sorters that draw at random repeatable

    Returns
    -------
    spikeinterface BaseSorting in memory, no spike beyond the end of the recording

    Raises
    ------
    ConfigError
        The sorter is not installed.
    DataError
        The sorter failed; the last line of its log is told.
    """
    from spikeinterface.core import NumpySorting, concatenate_recordings, split_sorting
    from spikeinterface.curation import remove_excess_spikes
    from spikeinterface.sorters import get_default_sorter_params, run_sorter, sorter_dict
    from spikeinterface.sorters.utils import SpikeSortingError

    _check_installed(sorter)
    known = get_default_sorter_params(sorter)
    # filtered traces are kept on disk, not in memory, whatever their length
    job = _job(1.0) | ({"n_jobs": 1} if recording.get_total_duration() < SHORT_S else {})
    ours = {"seed": seed, "job_kwargs": job, "cache_preprocessing_mode": "folder"}
    options = {name: value for name, value in ours.items() if name in known}
    n_segments = recording.get_num_segments()
    is_joined = n_segments > 1 and not sorter_dict[sorter].handle_multi_segment
    traces = concatenate_recordings([recording]) if is_joined else recording
    said = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="spikeprint_sort_") as folder:
        try:
            with contextlib.redirect_stdout(said), warnings.catch_warnings(), _seeded(seed):
                warnings.simplefilter("ignore")
                found = run_sorter(sorter, traces, folder=Path(folder) / "sorter", verbose=False, **options)
        except SpikeSortingError as error:
            # the first line only announces a trace, the last names a log that is removed with the folder
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            cause = lines[-2] if len(lines) > 2 else lines[-1]
            raise DataError(f"sorter {sorter} failed: {cause}; choose another sorter, or check the recording") from None
        found = NumpySorting.from_sorting(remove_excess_spikes(found, traces), with_metadata=True)
    if len(found.unit_ids) == 0:
        raise DataError(f"sorter {sorter} found no units; check gain, filter and probe, or choose another sorter")
    return split_sorting(found, [recording])[0] if is_joined else found


def measure(recording: Any, sorting: Any, params: SpikesParams, seed: int = 0) -> Sorting:
    """Measure mean waveforms, spike sizes and depths, and noise of sorted units.

    Parameters
    ----------
    recording : the preprocessed spikeinterface recording
    sorting : a spikeinterface BaseSorting of it
    params : window, spikes per mean, seconds of traces in memory
    seed : of the choice of spikes that are averaged

    Returns
    -------
    Sorting
        µV where the recording is; channels far from a unit are NaN in its template.

    Raises
    ------
    DataError
        The sorting has no units, or its rate or segments are not the recording's.
    """
    import spikeinterface.postprocessing  # noqa: F401  (registers spike_amplitudes and spike_locations)
    from spikeinterface.core import create_sorting_analyzer

    check_fit(recording, sorting)
    job = _job(params.chunk_s)
    analyzer = create_sorting_analyzer(
        sorting,
        recording,
        format="memory",
        sparse=True,
        seed=seed,
        return_in_uV=bool(recording.has_scaleable_traces()),
        job_kwargs=job,
    )
    means = {
        "random_spikes": {"max_spikes_per_unit": params.max_spikes, "seed": seed},
        "noise_levels": {"random_slices_kwargs": {"seed": seed}},
        "templates": {"ms_before": params.before_ms, "ms_after": params.after_ms, "operators": ["average"]},
    }
    # one worker: each adds up the chunks that it happens to get, and the order of a sum shows in its last digits
    analyzer.compute(means, verbose=False, **job | {"n_jobs": 1})
    of_spikes = {"spike_amplitudes": {}, "spike_locations": {"method": "center_of_mass"}}
    analyzer.compute(of_spikes, verbose=False, **job)
    return from_analyzer(analyzer)


def _job(chunk_s: float) -> dict[str, Any]:
    """How SpikeInterface goes through traces: all workers, so many seconds at a time, silently."""
    return {"n_jobs": count_workers(), "chunk_duration": f"{chunk_s}s", "progress_bar": False}


@contextlib.contextmanager
def _seeded(fallback: int) -> Iterator[None]:
    """Give unseeded NumPy generators a seed: lupin (SpikeInterface 0.105) passes its own on to some of its steps only.

    What is left out decides which peaks are clustered and how noise is estimated, so units differed from run to run.
    """
    original = np.random.default_rng

    def seeded_rng(seed: Any = None) -> np.random.Generator:
        return original(fallback if seed is None else seed)

    np.random.default_rng = seeded_rng
    try:
        yield
    finally:
        np.random.default_rng = original


def _check_installed(name: str) -> None:
    """Raise ConfigError unless the sorter's package can be imported."""
    if importlib.util.find_spec(SORTERS[name].module) is None:
        ready = [other for other, sorter in SORTERS.items() if importlib.util.find_spec(sorter.module) is not None]
        raise ConfigError(
            f"sorter {name} is not installed: {SORTERS[name].install}; installed: {', '.join(ready) or 'none'}"
        )

"""A raw recording whose neurons are known. Enters: parameters and a seed. Leaves: traces, probe and truth on disk.

Made with SpikeInterface's generators (Buccino et al. 2020; Garcia et al. 2022): templates that decay and travel along a
two-column probe, injected into Gaussian noise. Depths, sizes and rates of the neurons spread as in cortex: many
small and slow ones, few large ones. The tissue may move along the probe, all neurons together.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...core.config import RawSessionParams
from ...core.files import atomic_folder, write_csv, write_json
from ...core.spikes import AXES
from ...core.types import UNLABELLED, Sorting, Templates
from ..arrays import write_sorting

TRUTH = "truth"
"""Folder with the true spike trains and templates, an ``arrays`` folder; nothing downstream reads it."""
GAIN_UV = 0.195
BEFORE_MS, AFTER_MS = 1.0, 3.0
AMPLITUDE_UV, AMPLITUDE_SIGMA = 180.0, 0.45
"""Median and log spread of the largest trough on the probe, for a neuron of median distance."""
RATE_HZ, RATE_SIGMA = 6.0, 0.6
DISPLACEMENT_FILE, DISPLACEMENT_HZ = "displacement.csv", 5.0
"""In ``truth/``: time_s, x_um, y_um, each row held until the next; places at rest are columns of ``units.csv``."""
_STEP_UM = 1.0
_CHUNK_S = 1.0


def write_recording(folder: Path, params: RawSessionParams, seed: int) -> Sorting:
    """Simulate a raw recording and write it as a ``binary`` folder, atomically.

    Parameters
    ----------
    folder : gets ``traces.bin`` (int16, little-endian), ``recording.json``, ``probe.json`` and ``truth/``
    params : channels, neurons, length, rate, noise and drift
    seed : same seed, same bytes

    Returns
    -------
    Sorting
        The truth: spike samples, noise-free templates in µV and places (x_um, y_um, z_um) at rest, contact positions.
    """
    import probeinterface

    recording, truth = _simulate(params, seed)
    with atomic_folder(folder) as temporary:
        _write_traces(temporary / "traces.bin", recording)
        layout = {
            "sampling_frequency_hz": params.sampling_frequency_hz,
            "n_channels": params.n_channels,
            "dtype": "int16",
            "gain_uv": GAIN_UV,
            "offset_uv": 0.0,
            "is_filtered": False,
        }
        write_json(temporary / "recording.json", layout)
        probeinterface.write_probeinterface(temporary / "probe.json", recording.get_probegroup())
        write_sorting(temporary / TRUTH, truth)
        drift = make_drift(params)
        times = np.arange(len(drift)) / DISPLACEMENT_HZ
        table = pd.DataFrame({"time_s": times, "x_um": np.zeros(len(drift)), "y_um": drift})
        write_csv(temporary / TRUTH / DISPLACEMENT_FILE, table)
    return truth


def make_drift(params: RawSessionParams) -> np.ndarray:
    """Return the (n_times,) displacement along y, µm, at DISPLACEMENT_HZ: up and down in straight lines."""
    times = np.arange(int(np.ceil(params.duration_s * DISPLACEMENT_HZ)) + 1) / DISPLACEMENT_HZ
    phase = times / params.drift_period_s % 1.0
    return params.drift_um * (1 - 4 * np.abs(phase - 0.5)) * -1.0


def _simulate(params: RawSessionParams, seed: int) -> tuple[Any, Sorting]:
    """Traces in µV, made chunk by chunk when asked for, and the truth."""
    from spikeinterface.core import generate_sorting
    from spikeinterface.core.generate import InjectTemplatesRecording, generate_templates, generate_unit_locations
    from spikeinterface.generation import NoiseGeneratorRecording

    rng = np.random.default_rng(seed)
    rate_hz, n_units = params.sampling_frequency_hz, params.n_units
    probe = _make_probe(params.n_channels)
    positions = probe.contact_positions
    # neurons too near to each other are taken as they come: a crowded probe is not an error
    spots = generate_unit_locations(n_units, positions, margin_um=10, minimum_z=8, maximum_z=35, seed=seed)
    templates = generate_templates(positions, spots, rate_hz, BEFORE_MS, AFTER_MS, seed=seed)
    size = AMPLITUDE_UV * rng.lognormal(0, AMPLITUDE_SIGMA, n_units)
    gain = size / -templates.min(axis=(1, 2))
    templates *= gain[:, None, None]
    sorting = generate_sorting(
        num_units=n_units,
        sampling_frequency=rate_hz,
        durations=[params.duration_s],
        firing_rates=RATE_HZ * rng.lognormal(0, RATE_SIGMA, n_units),
        refractory_period_ms=3.0,
        seed=seed,
    )
    noise = NoiseGeneratorRecording(
        num_channels=params.n_channels,
        sampling_frequency=rate_hz,
        durations=[params.duration_s],
        noise_levels=params.noise_uv,
        strategy="on_the_fly",
        seed=seed,
    )
    n_before = int(BEFORE_MS * rate_hz / 1000)
    if params.drift_um:

        def move(shift_um: float) -> np.ndarray:
            moved = spots + np.array([0.0, shift_um, 0.0])
            found = generate_templates(positions, moved, rate_hz, BEFORE_MS, AFTER_MS, seed=seed)
            return found * gain[:, None, None]

        recording = _inject_moving(sorting, templates, move, noise, n_before, probe, make_drift(params))
    else:
        recording = InjectTemplatesRecording(sorting, templates, nbefore=n_before, parent_recording=noise)
        recording.set_probe(probe)
    trains = [sorting.get_unit_spike_train(unit, segment_index=0) for unit in sorting.unit_ids]
    truth = Sorting(
        unit_ids=np.array([str(unit) for unit in sorting.unit_ids], dtype=str),
        spike_times=np.concatenate(trains).astype(np.int64),
        offsets=np.cumsum([0] + [len(train) for train in trains]).astype(np.int64),
        time_rate_hz=rate_hz,
        duration_s=np.full(n_units, recording.get_num_samples() / rate_hz),
        labels=np.full(n_units, UNLABELLED),
        templates=Templates(templates.astype(np.float32), rate_hz, "uV", positions.astype(np.float64)),
        extra={f"{axis}_um": spots[:, i].astype(np.float64) for i, axis in enumerate(AXES)},
    )
    return recording, truth


def _inject_moving(
    sorting: Any,
    templates: np.ndarray,
    move: Callable[[float], np.ndarray],
    noise: Any,
    n_before: int,
    probe: Any,
    drift_um: np.ndarray,
) -> Any:
    """Traces with templates made anew for every whole µm of the way."""
    from spikeinterface.core import Templates as LibraryTemplates
    from spikeinterface.generation.drift_tools import DriftingTemplates, InjectDriftingTemplatesRecording

    rate_hz = sorting.get_sampling_frequency()
    still = LibraryTemplates(templates.astype(np.float32), rate_hz, n_before, probe=probe, is_in_uV=True)
    moving = DriftingTemplates.from_static_templates(still)
    steps = np.arange(np.floor(drift_um.min()), np.ceil(drift_um.max()) + _STEP_UM, _STEP_UM)
    moving.templates_array_moved = np.stack([move(step) for step in steps]).astype(np.float32)
    moving.displacements = np.column_stack([np.zeros(len(steps)), steps])
    way = np.column_stack([np.zeros(len(drift_um)), drift_um])[:, :, None]
    return InjectDriftingTemplatesRecording(
        sorting=sorting,
        drifting_templates=moving,
        displacement_vectors=[way],
        displacement_sampling_frequency=DISPLACEMENT_HZ,
        displacement_unit_factor=np.ones((len(sorting.unit_ids), 1)),
        parent_recording=noise,
        num_samples=[noise.get_num_samples()],
    )


def _make_probe(n_channels: int) -> Any:
    """Two staggered columns 20 µm apart, contacts of a column 40 µm apart, wired in order."""
    import probeinterface

    row = np.arange(n_channels)
    probe = probeinterface.Probe(ndim=2, si_units="um")
    positions = np.column_stack([20.0 * (row % 2), 20.0 * row])
    probe.set_contacts(positions, shapes="circle", shape_params={"radius": 6})
    probe.set_device_channel_indices(row)
    return probe


def _write_traces(path: Path, recording: Any) -> None:
    """Write int16 samples chunk by chunk; what the converter cannot hold is clipped, as in an amplifier."""
    n_samples = recording.get_num_samples()
    step = max(1, round(_CHUNK_S * recording.get_sampling_frequency()))
    with path.open("wb") as file:
        for start in range(0, n_samples, step):
            traces = recording.get_traces(start_frame=start, end_frame=min(start + step, n_samples))
            file.write(np.clip(np.rint(traces / GAIN_UV), -32768, 32767).astype("<i2").tobytes())

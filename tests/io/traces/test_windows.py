"""Windows cut from raw traces: the mean spike, its size and the noise are those that were put in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from spikeprint.core.errors import DataError
from spikeprint.core.types import Sorting
from spikeprint.io.traces.windows import BinaryLayout, average_windows

RATE_HZ, N_CHANNELS, N_SAMPLES, GAIN, NOISE_UV = 20000.0, 5, 60000, 0.5, 6.0
POSITIONS = np.column_stack([np.zeros(N_CHANNELS), 20.0 * np.arange(N_CHANNELS)])
SHAPE = -120 * np.exp(-0.5 * ((np.arange(-20, 21)) / 3.0) ** 2) + 40 * np.exp(
    -0.5 * ((np.arange(-20, 21) - 12) / 5.0) ** 2
)

TROUGH_UV = sosfiltfilt(butter(3, 300, "highpass", fs=RATE_HZ, output="sos"), np.pad(SHAPE, 2000)).min()


def make(folder: Path, **changes: Any) -> tuple[BinaryLayout, Sorting]:
    """Two files of noise on an offset; unit a spikes on channel 2 (half as large on 3), b never, c at the ends."""
    rng = np.random.default_rng(0)
    traces = rng.normal(0, NOISE_UV, (N_SAMPLES, N_CHANNELS)) + 900
    spikes = np.arange(500, N_SAMPLES - 500, 211)
    for at in spikes:
        traces[at - 20 : at + 21, 2] += SHAPE
        traces[at - 20 : at + 21, 3] += SHAPE / 2
    paths = (folder / "a.bin", folder / "b.bin")
    for path, part in zip(paths, np.split(np.rint(traces / GAIN).astype("<i2"), [25000]), strict=True):
        path.write_bytes(part.tobytes())
    layout = {
        "paths": paths,
        "sampling_frequency_hz": RATE_HZ,
        "n_channels": N_CHANNELS,
        "dtype": "int16",
        "gain_uv": GAIN,
    }
    times = np.concatenate([spikes, [3, N_SAMPLES - 2]])
    sorting = Sorting(
        unit_ids=np.array(["a", "b", "c"]),
        spike_times=times,
        offsets=np.array([0, len(spikes), len(spikes), len(times)]),
        time_rate_hz=RATE_HZ,
        duration_s=np.full(3, N_SAMPLES / RATE_HZ),
        labels=np.full(3, ""),
    )
    return BinaryLayout(**(layout | changes)), sorting


def test_mean_size_and_noise(tmp_path: Path) -> None:
    found = average_windows(*make(tmp_path), POSITIONS)
    assert found.templates is not None
    assert found.amplitudes_uv is not None
    assert found.noise_uv is not None
    values = found.templates.values
    assert values.shape == (3, round(1.2 * 20) + round(2.2 * 20), N_CHANNELS)
    assert found.templates.unit == "uV"
    assert int(values[0][:, 2].argmin()) == 24
    assert np.ptp(values[0], axis=0).argmax() == 2
    # as a Butterworth high-pass of the spike itself: its part below 300 Hz is lost
    assert values[0][:, 2].min() == pytest.approx(TROUGH_UV, rel=0.06)
    assert values[0][:, 3].min() == pytest.approx(values[0][:, 2].min() / 2, rel=0.05)
    n = found.offsets[1]
    assert np.nanmedian(found.amplitudes_uv[:n]) == pytest.approx(-values[0][:, 2].min(), rel=0.03)
    assert np.isnan(values[1:]).all()
    assert np.isnan(found.amplitudes_uv[n:]).all()
    assert np.isnan(found.noise_uv[1:]).all()
    assert found.noise_uv[0] < 25


def test_noise_of_a_quiet_channel(tmp_path: Path) -> None:
    """With spikes on the channel removed, noise is the standard deviation after the high-pass."""
    _, sorting = make(tmp_path)
    traces = np.random.default_rng(1).normal(0, NOISE_UV, (25000, N_CHANNELS))
    (tmp_path / "a.bin").write_bytes(np.rint(traces / GAIN).astype("<i2").tobytes())
    found = average_windows(BinaryLayout((tmp_path / "a.bin",), RATE_HZ, N_CHANNELS, "int16", GAIN), sorting, POSITIONS)
    assert found.noise_uv is not None
    assert found.noise_uv[0] == pytest.approx(NOISE_UV, rel=0.05)


def test_filtered_traces_are_not_filtered_again(tmp_path: Path) -> None:
    """The spike keeps its part below 300 Hz, whatever level the traces rest at."""
    layout, sorting = make(tmp_path, is_filtered=True)
    found, again = average_windows(layout, sorting, POSITIONS), average_windows(*make(tmp_path), POSITIONS)
    assert found.templates is not None
    assert found.amplitudes_uv is not None
    assert found.noise_uv is not None
    assert again.templates is not None
    assert abs(TROUGH_UV / SHAPE.min() - 1) > 0.1  # a filter would show
    window = found.templates.values[0]
    np.testing.assert_allclose(window[4:45, 2], SHAPE, atol=4)
    np.testing.assert_allclose(window[4:45, 3], SHAPE / 2, atol=4)
    np.testing.assert_allclose(window[:, 0], 0, atol=4)
    assert np.abs(window - again.templates.values[0]).max() > 15
    n = found.offsets[1]
    assert np.nanmedian(found.amplitudes_uv[:n]) == pytest.approx(-SHAPE.min(), rel=0.03)
    assert np.isfinite(found.noise_uv[0])


def test_without_gain_and_with_seconds(tmp_path: Path) -> None:
    layout, sorting = make(tmp_path, gain_uv=None)
    seconds = replace(sorting, spike_times=sorting.spike_times / RATE_HZ, time_rate_hz=1.0)
    found, expected = average_windows(layout, seconds, POSITIONS), average_windows(layout, sorting, POSITIONS)
    assert found.templates is not None
    assert expected.templates is not None
    assert found.templates.unit == "au"
    np.testing.assert_array_equal(found.templates.values, expected.templates.values)
    assert found.templates.values[0].min() == pytest.approx(TROUGH_UV / GAIN, rel=0.06)


def test_channels_without_position_are_left_out(tmp_path: Path) -> None:
    positions = POSITIONS.copy()
    positions[[0, 2]] = np.nan
    found = average_windows(*make(tmp_path), positions)
    assert found.templates is not None
    assert found.templates.values.shape[2] == 3
    np.testing.assert_array_equal(found.templates.positions_um, POSITIONS[[1, 3, 4]])
    assert np.ptp(found.templates.values[0], axis=0).argmax() == 1


def test_faults(tmp_path: Path) -> None:
    layout, sorting = make(tmp_path)
    with pytest.raises(DataError, match="5 channels but positions"):
        average_windows(layout, sorting, POSITIONS[:4])
    with pytest.raises(DataError, match="4 channels of int16 need a multiple of 8"):
        average_windows(make(tmp_path, n_channels=4, byte_offset=2)[0], sorting, POSITIONS[:4])
    (tmp_path / "b.bin").unlink()
    with pytest.raises(DataError, match=r"b\.bin: missing; the traces are needed"):
        average_windows(layout, sorting, POSITIONS)
    with pytest.raises(DataError, match="dtype 'text'"):
        BinaryLayout((tmp_path / "a.bin",), RATE_HZ, 4, "text")

"""Peaks and snippets: what contacts saw, whatever the chunks; recordings that cannot be used, one clear line each."""

from typing import Any

import numpy as np
import pytest

from spikeprint.core.errors import DataError, NotEnoughSpikes
from spikeprint.core.production import LOCALIZATION
from spikeprint.core.spikes import Neighbourhoods, Peaks
from spikeprint.io.traces.snippets import iter_snippets, open_source

FS_HZ, N_CHANNELS = 10_000.0, 6
PARAMS = LOCALIZATION.detect.model_copy(update={"min_peaks": 5})
AROUND = Neighbourhoods(
    np.array([[0, 1, -1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, -1]]),
    np.zeros((6, 3, 2), dtype=np.float32),
    np.zeros((6, 2), dtype=np.float32),
    np.zeros((6, 2), dtype=np.float32),
)


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEPRINT_WORKERS", "1")


def make(traces: np.ndarray | list[np.ndarray], with_probe: bool = True) -> Any:
    from probeinterface import generate_linear_probe
    from spikeinterface.core import NumpyRecording

    recording = NumpyRecording(traces if isinstance(traces, list) else [traces], FS_HZ)
    if with_probe:
        probe = generate_linear_probe(recording.get_num_channels(), ypitch=25)
        probe.set_device_channel_indices(np.arange(recording.get_num_channels()))
        recording.set_probe(probe, in_place=True)
    return recording


@pytest.fixture
def traces() -> np.ndarray:
    """Two seconds of noise of 5 µV with a spike each 50 ms, deepest at channel 2."""
    rng = np.random.default_rng(0)
    found = rng.normal(0, 5, (20_000, N_CHANNELS)).astype(np.float32)
    wave = -120 * np.exp(-((np.arange(-10, 11) / 2.0) ** 2))[:, None] * np.array([0.2, 0.6, 1, 0.6, 0.2, 0.1])
    for at in range(500, 19_500, 500):
        found[at - 10 : at + 11] += wave.astype(np.float32)
    return found


def test_spikes_are_found_where_they_are(traces: np.ndarray) -> None:
    source = open_source(make(traces), PARAMS, None)
    assert len(source.peaks) == 38
    assert (source.peaks.channels == 2).all()
    assert np.abs(source.peaks.samples - np.arange(500, 19_500, 500)).max() <= 1
    np.testing.assert_allclose(source.noise_uv, 5, rtol=0.15)


@pytest.mark.parametrize("chunk_s", [0.013, 0.5, 60.0])
def test_snippets_are_what_contacts_saw_whatever_the_chunks(traces: np.ndarray, chunk_s: float) -> None:
    samples = np.array([0, 3, 700, 701, 9_999, 10_000, 19_999])
    peaks = Peaks(samples, np.array([0, 5, 2, 3, 1, 4, 2]), np.zeros(7), FS_HZ, len(traces))
    padded = np.pad(traces, ((10, 20), (0, 1)))
    parts = list(iter_snippets(make(traces), AROUND, peaks, 10, 20, chunk_s))
    found = np.concatenate([snippets for _, snippets in parts])
    assert [row for rows, _ in parts for row in range(rows.start, rows.stop)] == list(range(7))
    assert found.dtype == np.float32
    for i, (sample, channel) in enumerate(zip(samples, peaks.channels, strict=True)):
        expected = padded[sample : sample + 30, AROUND.channels[channel]].T
        np.testing.assert_array_equal(found[i], expected)


def test_no_probe(traces: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"no contact positions; add a probe file"):
        open_source(make(traces, with_probe=False), PARAMS, None)


def test_several_segments(traces: np.ndarray) -> None:
    with pytest.raises(DataError, match="2 segments; motion needs one clock"):
        open_source(make([traces, traces]), PARAMS, None)


def test_not_a_number(traces: np.ndarray) -> None:
    traces[5_000:6_000, 3] = np.nan
    recording = make(traces)
    with pytest.raises(DataError, match=r"channel 3 is not a number at 0\.5\d* s"):
        open_source(recording, PARAMS, None)
    peaks = Peaks(np.array([5_100]), np.array([2]), np.zeros(1), FS_HZ, len(traces))
    with pytest.raises(DataError, match=r"channel 3 is not a number at 0\.500 s"):
        list(iter_snippets(recording, AROUND, peaks, 10, 20, 1.0))


def test_dead_channels(traces: np.ndarray) -> None:
    traces[:, [1, 4]] = 0
    with pytest.raises(
        DataError, match=r"2 dead channels \(flat\): 1, 4; remove them, or set localize.detect.drop_dead"
    ):
        open_source(make(traces), PARAMS, None)
    source = open_source(make(traces), PARAMS.model_copy(update={"drop_dead": True}), None)
    assert len(source.contacts_um) == 4
    assert (source.contacts_um[source.peaks.channels, 1] == 50).all()
    with pytest.raises(DataError, match="all 6 channels are flat"):
        open_source(make(np.zeros_like(traces)), PARAMS, None)


def test_volts(traces: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"noise of 5\.\d+e-06.*another unit \(volts\?\)"):
        open_source(make(traces / 1e6), PARAMS, None)


def test_no_spikes() -> None:
    quiet = np.random.default_rng(0).normal(0, 5, (20_000, N_CHANNELS)).astype(np.float32)
    with pytest.raises(NotEnoughSpikes, match=r"\d spikes above 6 x noise \(\d\.\d µV\), at least 5 are needed; lower"):
        open_source(make(quiet), PARAMS, None)

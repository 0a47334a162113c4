"""Mean waveforms of NWB units: every column and axis order that is out there."""

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from pynwb.misc import Units

from nwb_files import new_file, save, spike, trains, write_nwb
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.types import Templates
from spikeprint.io.readers.nwb import read_nwb

RATE = 30_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.nwb"


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear the package's logger."""
    monkeypatch.setattr(logging.getLogger("spikeprint"), "propagate", True)


def read(path: Path, rate_hz: float | None = None) -> Templates:
    templates = read_nwb(path, rate_hz)[0].templates
    assert templates is not None
    return templates


def multi(n_units: int = 4, n_samples: int = 40, n_channels: int = 6, channels_first: bool = False) -> np.ndarray:
    """(n_units, n_samples, n_channels) volts: unit u is largest on channel u."""
    size = 1 / (1 + np.abs(np.arange(n_channels)[None, :] - np.arange(n_units)[:, None]))
    values = spike(n_samples)[None, :, None] * size[:, None, :]
    return values.transpose(0, 2, 1) if channels_first else values


def with_means(values: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    """Units with these means and further cells for every unit."""
    return [
        {**unit, "waveform_mean": mean, **{name: cells[u] for name, cells in more.items()}}
        for u, (unit, mean) in enumerate(zip(trains(len(values)), values, strict=True))
    ]


def test_single_channel(path: Path) -> None:
    values = np.stack([spike(depth=d) for d in (50e-6, 80e-6)])
    templates = read(write_nwb(path, with_means(values), rate_hz=RATE))
    assert (templates.unit, templates.sampling_frequency_hz) == ("uV", RATE)
    np.testing.assert_allclose(templates.values, 1e6 * values[:, :, None], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("channels_first", [False, True])
def test_electrodes_decide_the_axes(path: Path, channels_first: bool) -> None:
    electrodes = [[0, 1, 2, 3, 4, 5]] * 4
    units = with_means(multi(channels_first=channels_first), electrodes=electrodes)
    templates = read(write_nwb(path, units, n_electrodes=6, rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(), rtol=1e-6, atol=1e-9)
    assert templates.positions_um is not None
    assert templates.positions_um.shape == (4, 6, 2)
    assert templates.positions_um[3, 5].tolist() == [50.0, 100.0]


@pytest.mark.parametrize("channels_first", [False, True])
def test_the_electrodes_table_decides_without_a_column(path: Path, channels_first: bool) -> None:
    units = with_means(multi(channels_first=channels_first))
    templates = read(write_nwb(path, units, n_electrodes=6, places="brain", rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(), rtol=1e-6, atol=1e-9)
    assert templates.positions_um is not None
    assert templates.positions_um[:, 1].tolist() == [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]


@pytest.mark.parametrize("channels_first", [False, True])
def test_the_rate_decides_the_axes(path: Path, channels_first: bool) -> None:
    """40 samples last 1.3 ms; 6 samples would last 0.2 ms."""
    templates = read(write_nwb(path, with_means(multi(channels_first=channels_first)), rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(), rtol=1e-6, atol=1e-9)
    assert templates.positions_um is None


@pytest.mark.parametrize("channels_first", [False, True])
def test_troughs_decide_the_axes(path: Path, channels_first: bool) -> None:
    """Both axes could be a window; the units trough at one sample but on different channels."""
    values = multi(n_channels=60, channels_first=channels_first)
    templates = read(write_nwb(path, with_means(values), rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(n_channels=60), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize(("n_samples", "n_channels"), [(64, 16), (60, 12), (48, 8)])
def test_as_many_samples_as_electrodes(path: Path, n_samples: int, n_channels: int, channels_first: bool) -> None:
    """Units on some channels of a probe that happens to have as many as a waveform has samples."""
    values = multi(4, n_samples, n_channels, channels_first)
    templates = read(write_nwb(path, with_means(values), n_electrodes=n_samples, rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(4, n_samples, n_channels), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("channels_first", [False, True])
def test_electrodes_of_the_file_decide_between_two_windows(path: Path, channels_first: bool) -> None:
    """One unit has no spread of troughs, and 40 or 60 samples are both usual."""
    units = with_means(multi(1, 40, 60, channels_first))
    templates = read(write_nwb(path, units, n_electrodes=60, rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(1, 40, 60), rtol=1e-6, atol=1e-9)


def test_signs_that_contradict_each_other_are_refused(path: Path) -> None:
    write_nwb(path, with_means(multi(4, 48, 40)), n_electrodes=48, rate_hz=RATE)
    message = r"48 x 40 per unit: the 48 electrodes of the file say channels first, the troughs samples first; a units"
    with pytest.raises(DataError, match=message):
        read_nwb(path)


def test_windows_that_no_axis_can_be_are_refused(path: Path) -> None:
    write_nwb(path, with_means(multi(4, 13, 6)), n_electrodes=6, rate_hz=RATE)
    with pytest.raises(DataError, match=r"is 13 x 6 per unit, and at 30000 Hz neither axis lasts 0\.5 to 10 ms; check"):
        read_nwb(path)


def test_undecidable_axes_are_refused(path: Path) -> None:
    write_nwb(path, with_means(multi(n_units=1, n_channels=60)), rate_hz=RATE)
    with pytest.raises(DataError, match=r"units/waveform_mean is 40 x 60 per unit, and neither electrodes, rate nor"):
        read_nwb(path)


def test_square_means_are_decided_by_troughs(path: Path) -> None:
    values = multi(n_channels=40, channels_first=True)
    templates = read(
        write_nwb(path, with_means(values, electrodes=[list(range(40))] * 4), n_electrodes=40, rate_hz=RATE)
    )
    np.testing.assert_allclose(templates.values, 1e6 * multi(n_channels=40), rtol=1e-6, atol=1e-9)


def test_units_with_fewer_electrodes_are_padded_with_nan(path: Path) -> None:
    """NWB pads a rectangular column; the padding is no silent channel."""
    values = multi(n_units=2, n_channels=4)
    values[1, :, 2:] = 0.0
    write_nwb(path, with_means(values, electrodes=[[0, 1, 2, 3], [4, 5]]), n_electrodes=6, rate_hz=RATE)
    templates = read(path)
    assert np.isfinite(templates.values[0]).all()
    assert np.isnan(templates.values[1, :, 2:]).all()
    np.testing.assert_allclose(templates.values[1, :, :2], 1e6 * values[1, :, :2], rtol=1e-6, atol=1e-9)
    assert templates.positions_um is not None
    assert templates.positions_um[1, :2, 0].tolist() == [40.0, 50.0]
    assert np.isnan(templates.positions_um[1, 2:]).all()


def test_one_electrode_named_for_many_channels(path: Path) -> None:
    """Some files name only the peak electrode: no channel may be taken for padding."""
    units = with_means(multi(), electrodes=[[u] for u in range(4)])
    templates = read(write_nwb(path, units, n_electrodes=6, rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(), rtol=1e-6, atol=1e-9)
    assert templates.positions_um is not None
    assert templates.positions_um.shape == (6, 2)


def test_a_channel_with_nan_is_missing(path: Path) -> None:
    values = multi()
    values[0, 7, 2] = np.nan
    values[1] = np.nan
    templates = read(write_nwb(path, with_means(values), rate_hz=RATE))
    assert np.isnan(templates.values[0, :, 2]).all()
    assert np.isfinite(templates.values[0, :, 1]).all()
    assert np.isnan(templates.values[1]).all()


def test_positions_that_are_all_equal_are_unknown(path: Path) -> None:
    write_nwb(path, with_means(multi(), electrodes=[list(range(6))] * 4), n_electrodes=6, rate_hz=RATE)
    with h5py.File(path, "r+") as file:
        for name in ("rel_x", "rel_y"):
            file[f"general/extracellular_ephys/electrodes/{name}"][...] = 0.0
    assert read(path).positions_um is None


def test_an_electrode_that_is_not_there(path: Path) -> None:
    write_nwb(path, with_means(multi(), electrodes=[list(range(6))] * 4), n_electrodes=6, rate_hz=RATE)
    with h5py.File(path, "r+") as file:
        file["units/electrodes"][3] = 99
    with pytest.raises(DataError, match=r"units/electrodes of unit 10 names rows 0 to 99; the electrodes table has 6"):
        read_nwb(path)


@pytest.mark.filterwarnings("ignore:Column .* is predefined")
def test_allen_means_stand_one_under_another(path: Path) -> None:
    """As the AllenSDK writes them: ragged, channels first, µV without saying so, the rate with the probe."""
    means = 1e6 * multi(n_units=3, n_samples=82, n_channels=384, channels_first=True)
    file = new_file(2)
    frame = pd.DataFrame(
        {"peak_channel_id": [850, 851, 852], "quality": ["good", "noise", "good"]}, index=[950, 951, 960]
    )
    file.units = Units.from_dataframe(frame, name="units")
    file.units.add_column("spike_times", "times (s)", data=np.arange(9.0), index=[2, 5, 9])
    file.units.add_column("waveform_mean", "means", data=np.concatenate(means), index=[384, 768, 1152])
    file.add_invalid_time_interval(start_time=1.0, stop_time=2.0, tags=["EcephysSession"])
    save(file, path)
    with h5py.File(path, "r+") as stored:
        stored["general/extracellular_ephys/probe0"].attrs["sampling_rate"] = 29_999.95
        for key in ("unit", "sampling_rate"):
            stored["units/waveform_mean"].attrs.pop(key, None)
    (sorting,) = read_nwb(path, label_column="none")
    assert sorting.unit_ids.tolist() == ["950", "951", "960"]
    assert sorting.extra["quality"].tolist() == ["good", "noise", "good"]
    templates = sorting.templates
    assert templates is not None
    assert (templates.unit, templates.sampling_frequency_hz) == ("au", 29_999.95)
    np.testing.assert_allclose(templates.values, means.transpose(0, 2, 1), rtol=1e-6, atol=1e-9)


def test_spikes_of_several_channels_are_averaged(path: Path) -> None:
    """The doubly ragged column ``waveforms``: per unit its spikes, per spike its channels."""
    rng = np.random.default_rng(0)
    spikes = [rng.normal(0, 1e-5, (n, c, 30)) for n, c in ((2, 3), (4, 1))]
    units = [{**unit, "waveforms": values} for unit, values in zip(trains(2), spikes, strict=True)]
    templates = read(write_nwb(path, units, rate_hz=RATE))
    assert templates.values.shape == (2, 30, 3)
    np.testing.assert_allclose(templates.values[0], 1e6 * spikes[0].mean(axis=0).T, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(templates.values[1, :, :1], 1e6 * spikes[1].mean(axis=0).T, rtol=1e-5, atol=1e-9)
    assert np.isnan(templates.values[1, :, 1:]).all()


def test_blocks_of_bounded_memory_give_the_same_mean(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    units = [{**unit, "waveforms": rng.normal(0, 1e-5, (7, 2, 30))} for unit in trains(2)]
    whole = read(write_nwb(path, units, rate_hz=RATE)).values
    monkeypatch.setattr("spikeprint.io.readers.nwb_waveforms.BLOCK_BYTES", 1_000)
    np.testing.assert_allclose(read(path).values, whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n_channels", [1, 4])
def test_spike_waveforms_with_one_index(path: Path, n_channels: int) -> None:
    """A row per spike: (samples,), or (samples, channels)."""
    rng = np.random.default_rng(0)
    shape = (9, 30) if n_channels == 1 else (9, 30, n_channels)
    values = rng.normal(0, 1e-5, shape).astype(np.float32)
    write_nwb(path, trains(3))
    with h5py.File(path, "r+") as file:
        file["units/spike_waveforms"] = values
        file["units/spike_waveforms_index"] = np.array([2, 2, 9])
    templates = read(path, RATE)
    want = values.reshape(9, 30, n_channels)
    assert templates.unit == "au"
    np.testing.assert_allclose(templates.values[0], want[:2].mean(axis=0), rtol=1e-4, atol=1e-9)
    assert np.isnan(templates.values[1]).all()
    np.testing.assert_allclose(templates.values[2], want[2:].mean(axis=0), rtol=1e-4, atol=1e-9)


def test_means_are_preferred_to_spikes(path: Path) -> None:
    units = [{**unit, "waveforms": np.ones((2, 1, 30))} for unit in with_means(multi(2))]
    templates = read(write_nwb(path, units, rate_hz=RATE))
    np.testing.assert_allclose(templates.values, 1e6 * multi(2), rtol=1e-6, atol=1e-9)


def test_spikes_that_differ_in_channels(path: Path) -> None:
    write_nwb(path, [{"spike_times": [1.0, 2.0], "waveforms": np.ones((2, 2, 30))}], rate_hz=RATE)
    with h5py.File(path, "r+") as file:
        file["units/waveforms_index"][0] = 1
    with pytest.raises(DataError, match=r"spikes of unit 0 have 1 to 3 channels"):
        read_nwb(path)


# Rate ----------------------------------------------------------------------------------------------------------------


def test_the_resolution_of_times_gives_the_rate(path: Path) -> None:
    assert read(write_nwb(path, with_means(multi()), resolution_s=1 / 25_000)).sampling_frequency_hz == pytest.approx(
        25e3
    )


def test_the_user_gives_the_rate(path: Path) -> None:
    assert read(write_nwb(path, with_means(multi())), 24_000.0).sampling_frequency_hz == 24_000.0


def test_file_and_user_must_agree_about_the_rate(path: Path) -> None:
    write_nwb(path, with_means(multi()), rate_hz=RATE)
    assert read(path, RATE * 1.0005).sampling_frequency_hz == RATE
    with pytest.raises(ConfigError, match=r"sampling_rate is 30000\.0 Hz, --sampling-frequency says 20000"):
        read(path, 20_000.0)


def test_no_rate_anywhere(path: Path) -> None:
    write_nwb(path, with_means(multi()))
    with pytest.raises(DataError, match=r"sampling_rate: no sampling rate; pass --sampling-frequency"):
        read_nwb(path)


def test_a_resolution_that_is_none(path: Path) -> None:
    """Old files write -1 for an unknown resolution, others 1 ms."""
    for resolution in (-1.0, 0.01):
        write_nwb(path, with_means(multi()), resolution_s=resolution)
        assert read(path, RATE).sampling_frequency_hz == RATE


# Unit ----------------------------------------------------------------------------------------------------------------


def set_attributes(path: Path, **attributes: object) -> None:
    with h5py.File(path, "r+") as file:
        for key, value in attributes.items():
            file["units/waveform_mean"].attrs[key] = value


@pytest.mark.parametrize(
    ("unit", "factor", "kept"),
    [("volts", 1e6, "uV"), ("millivolts", 1e3, "uV"), ("uV", 1.0, "uV"), ("bits", 1.0, "au"), ("", 1.0, "au")],
)
def test_units_of_measure(path: Path, unit: str, factor: float, kept: str) -> None:
    write_nwb(path, with_means(1e6 / factor * multi()), rate_hz=RATE)
    set_attributes(path, unit=unit)
    templates = read(path)
    assert templates.unit == kept
    np.testing.assert_allclose(templates.values, 1e6 * multi(), rtol=1e-5, atol=1e-9)


def test_conversion_is_applied(path: Path) -> None:
    write_nwb(path, with_means(multi() / 2e-7), rate_hz=RATE)
    set_attributes(path, conversion=2e-7)
    np.testing.assert_allclose(read(path).values, 1e6 * multi(), rtol=1e-5, atol=1e-9)


def test_volts_that_cannot_be_are_not_scaled(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """pynwb writes "volts" whatever the numbers are."""
    templates = read(write_nwb(path, with_means(1e6 * multi()), rate_hz=RATE))
    assert templates.unit == "au"
    np.testing.assert_allclose(templates.values, 1e6 * multi(), rtol=1e-5, atol=1e-9)
    assert "is in volts, but its spikes would be 100 V high; kept in arbitrary units" in caplog.text


# Shapes --------------------------------------------------------------------------------------------------------------


def test_rows_that_do_not_fit(path: Path) -> None:
    write_nwb(path, trains(3))
    with h5py.File(path, "r+") as file:
        file["units/waveform_mean"] = np.zeros((2, 30))
    with pytest.raises(DataError, match=r"units/waveform_mean has 2 rows; one for each of 3 units is needed"):
        read_nwb(path, RATE)


def test_waveforms_that_are_text(path: Path) -> None:
    write_nwb(path, trains(2))
    with h5py.File(path, "r+") as file:
        file["units/waveform_mean"] = np.array([b"a", b"b"])
    with pytest.raises(DataError, match=r"units/waveform_mean is \|S1 \(2,\); numbers are needed"):
        read_nwb(path, RATE)


def test_lengths_that_differ(path: Path) -> None:
    write_nwb(path, trains(2))
    with h5py.File(path, "r+") as file:
        file["units/waveform_mean"] = np.zeros(70)
        file["units/waveform_mean_index"] = np.array([30, 70])
    with pytest.raises(DataError, match=r"waveforms of 30 to 40 samples; all units need the same number"):
        read_nwb(path, RATE)

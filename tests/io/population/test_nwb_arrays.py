"""`load_data` of an .nwb file: by key, by the end of its path, the only series, and what it says otherwise."""

from pathlib import Path

import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.behavior import Position, SpatialSeries

from nwb_files import new_file, save
from nwb_sessions import write_nwb
from spikeprint.core.errors import DataError, MissingKey
from spikeprint.population import load_data


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "session.nwb"
    write_nwb(path, 3, 6, 4)
    return path


def test_series_columns_and_tables_by_key(session: Path) -> None:
    speed = np.linspace(0, 5, 100)
    for key in (None, "running_speed", "acquisition/running_speed", "/acquisition/running_speed"):
        assert np.array_equal(load_data(session, key=key), speed)
    frames = load_data(session, key="natural_scenes_presentations/frame")
    assert sorted(set(frames)) == [-1, 0, 1, 2]
    assert np.array_equal(load_data(session, key="intervals/natural_scenes_presentations/frame"), frames)
    table = load_data(session, key="natural_scenes_presentations", columns=["start_time", "frame"])
    assert table.shape == (len(frames), 2)
    assert np.array_equal(table[:, 1], frames)
    assert np.allclose(load_data(session, key="units/isi_violations"), 0.1 * np.arange(4))


def test_a_series_in_a_container_and_several_of_one_name(tmp_path: Path) -> None:
    nwb, place = new_file(), np.arange(8.0).reshape(4, 2)
    behavior = nwb.create_processing_module("behavior", "what the animal did")
    series = SpatialSeries("position", place, reference_frame="corner", rate=10.0)
    behavior.add(Position(spatial_series=series))
    nwb.add_acquisition(TimeSeries("pupil", place[:, 0], "m", timestamps=np.arange(4.0)))
    nwb.add_acquisition(TimeSeries("position", place[:, 0], "m", rate=1.0))
    path = save(nwb, tmp_path / "two.nwb")
    assert np.array_equal(load_data(path, key="Position/position"), place)
    assert load_data(path, key="pupil").tolist() == [0, 2, 4, 6]
    with pytest.raises(
        MissingKey, match=r"several time series.*acquisition/pupil.*processing/behavior/Position/position"
    ):
        load_data(path)
    with pytest.raises(
        MissingKey, match="several entries 'position', give more of its path: acquisition/position, proc"
    ):
        load_data(path, key="position")


def test_what_is_not_there_is_told(session: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MissingKey, match=r"no entry 'pupil'; there are: acquisition/running_speed.*natural_scenes_presentations"
    ):
        load_data(session, key="pupil")
    with pytest.raises(MissingKey, match=r"no entry 'spike_times'.*from_nwb"):
        load_data(session, key="spike_times")  # ragged
    with pytest.raises(DataError, match="numbers are needed"):
        load_data(session, key="units/quality")
    with pytest.raises(MissingKey, match="no time series; name an entry as key; there are: none"):
        load_data(save(new_file(), tmp_path / "empty.nwb"))
    (tmp_path / "broken.nwb").write_bytes(session.read_bytes()[:3000])
    with pytest.raises(DataError, match="not a whole HDF5"):
        load_data(tmp_path / "broken.nwb")

"""An embedding in an NWB file: pynwb reads it, the original stays, and nothing is replaced unasked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from nwb_sessions import write_nwb
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.population.nwb_embedding import write_nwb_embedding
from spikeprint.population import load_data, read_nwb

TIMES = np.arange(20) * 0.1 + 0.05
ROWS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "session.nwb"
    write_nwb(path, 3, 4, 4)
    return path


def series_of(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    with NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
        inside: Any = io.read().processing["spikeprint"].data_interfaces
        return {name: (own.data[...], own.timestamps[...], own.description) for name, own in inside.items()}


def test_a_copy_has_the_embedding_and_all_else(session: Path, tmp_path: Path) -> None:
    before, out = session.read_bytes(), tmp_path / "out.nwb"
    write_nwb_embedding(session, out, ROWS, TIMES, description="of a test")
    assert session.read_bytes() == before
    data, times, told = series_of(out)["embedding"]
    assert data.dtype == np.float32
    assert np.array_equal(data, ROWS)
    assert np.array_equal(times, TIMES)
    assert told == "of a test"
    assert np.array_equal(load_data(out, key="spikeprint/embedding"), ROWS)
    assert np.array_equal(read_nwb(out, bin_width=0.1).counts, read_nwb(session, bin_width=0.1).counts)
    assert np.array_equal(load_data(out, key="running_speed"), load_data(session))


def test_nothing_is_replaced_unasked(session: Path, tmp_path: Path) -> None:
    before = session.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        write_nwb_embedding(session, session, ROWS, TIMES)
    assert session.read_bytes() == before
    write_nwb_embedding(session, session, ROWS, TIMES, overwrite=True)
    with pytest.raises(ConfigError, match="has processing/spikeprint/embedding already"):
        write_nwb_embedding(session, tmp_path / "more.nwb", ROWS, TIMES)
    write_nwb_embedding(session, session, ROWS + 1, TIMES, overwrite=True)
    write_nwb_embedding(session, session, ROWS, TIMES, name="second", overwrite=True)
    found = series_of(session)
    assert sorted(found) == ["embedding", "second"]
    assert np.array_equal(found["embedding"][0], ROWS + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["session.nwb"]


def test_what_does_not_fit_writes_nothing(session: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nwb"
    for rows, times, told in (
        (ROWS, TIMES[1:], "needed"), (ROWS[:, 0], TIMES, "needed"), (ROWS, TIMES[::-1], "do not ascend")
    ):  # fmt: skip
        with pytest.raises(DataError, match=told):
            write_nwb_embedding(session, out, rows, times)
    with pytest.raises(ConfigError, match="without '/'"):
        write_nwb_embedding(session, out, ROWS, TIMES, name="a/b")
    import h5py

    odd = tmp_path / "odd.nwb"
    with h5py.File(odd, "w") as file:
        file["units/spike_times"] = np.arange(3.0)
    with pytest.raises(DataError, match="cannot be written"):
        write_nwb_embedding(odd, out, ROWS, TIMES)
    session.chmod(0o444)
    with pytest.raises(DataError, match="write-protected"):
        write_nwb_embedding(session, session, ROWS, TIMES, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.nwb", "session.nwb"]


def test_a_published_file_takes_an_embedding(shared_datasets: Path, tmp_path: Path) -> None:
    real = shared_datasets.parent / "recordings" / "nwb_units_only" / "A8604-211122.nwb"
    write_nwb_embedding(real, tmp_path / "out.nwb", ROWS, TIMES)
    assert np.array_equal(series_of(tmp_path / "out.nwb")["embedding"][0], ROWS)

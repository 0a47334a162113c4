"""Sessions from NWB files, folders and the rat on the track; one array from a file of any kind."""

import pickle
from pathlib import Path

import h5py
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import savemat

from nwb_sessions import write_nwb
from spikeprint.core.errors import ConfigError, DataError, MissingKey, UnknownFileKind
from spikeprint.io.population.files import load_data
from spikeprint.io.population.hippocampus import read_hippocampus
from spikeprint.io.population.nwb import read_nwb_session
from spikeprint.io.population.spikes import read_spikes, write_spikes
from spikeprint.population import bin_session, read_nwb
from spikeprint.synth.populations import make_images, make_track_session

ARRAY = np.arange(12.0).reshape(4, 3)


@pytest.fixture(scope="module")
def nwb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nwb") / "session.nwb"
    write_nwb(path, 3, 6, 4)
    return path


def test_a_session_of_presentations_from_nwb(nwb: Path) -> None:
    session = read_nwb_session(nwb, "natural_scenes")
    truth = make_images(3, 6, 4, seed=3)
    assert np.array_equal(session.spike_times_s, truth.spike_times_s)
    assert session.units["region"].tolist() == ["VISp"] * 4
    assert session.units["probe"].tolist() == ["probeA"] * 4
    assert session.units["quality"].tolist()[0] == "noise"
    assert session.invalid["tags"].tolist() == [["EcephysProbe", "7", "probeA"]]
    assert session.presentations is not None
    assert session.presentations["stimulus_name"].iloc[0] == "scenes"
    population = read_nwb(nwb, stimulus="natural_scenes", n_bins=5)
    assert population.tensor().shape == (23, 5, 4)
    assert -1 in population.segments["frame"].tolist()


def test_a_continuous_population_from_nwb(nwb: Path) -> None:
    population = read_nwb(nwb, bin_width=0.05, labels=["running_speed"])
    assert len(population.segments) == 1
    speed = population.labels["running_speed"]
    assert np.nanmax(speed) == pytest.approx(5, abs=0.1)
    assert not population.valid[np.isnan(speed)].any()


def test_what_an_nwb_file_lacks_is_told(nwb: Path, shared_datasets: Path) -> None:
    with pytest.raises(DataError, match=r"tables of intervals: .*natural_scenes_presentations"):
        read_nwb_session(nwb, "gabors")
    with pytest.raises(DataError, match="no time series 'pupil'; there are: running_speed"):
        read_nwb_session(nwb, series=("pupil",))
    real = shared_datasets.parent / "recordings" / "nwb_units_only" / "A8604-211122.nwb"
    assert len(read_nwb_session(real).units) == 3
    with pytest.raises(DataError, match="tables of intervals"):
        read_nwb_session(real, "natural_scenes")


def test_the_rat_on_the_track(shared_datasets: Path) -> None:
    session = read_hippocampus(shared_datasets.parent / "recordings" / "hippocampus_linear_track")
    assert len(session.units) == 31
    assert 900 < session.t_stop - session.t_start < 1100
    population = bin_session(session, 0.1)
    position = population.labels["position"]
    assert (position.min(), position.max()) == (0, 1)
    assert (position < 0.1).mean() > 0.1
    assert set(population.labels["direction"]) == {-1, 1}


@pytest.mark.parametrize("make", [lambda: make_images(3, 4, 3), lambda: make_track_session(4, 20.0)])
def test_a_session_folder_comes_back_as_it_was(make: object, tmp_path: Path) -> None:
    session = make()  # type: ignore[operator]
    write_spikes(tmp_path / "s", session)
    back = read_spikes(tmp_path / "s")
    assert np.array_equal(back.spike_times_s, session.spike_times_s)
    pd.testing.assert_frame_equal(back.units, session.units, check_dtype=False)
    assert back.invalid["tags"].tolist() == session.invalid["tags"].tolist()
    for name, series in session.series.items():
        assert np.array_equal(back.series[name].values, series.values)
    (tmp_path / "s" / "offsets.npy").unlink()
    with pytest.raises(DataError, match="not a whole session folder"):
        read_spikes(tmp_path / "s")


def _write_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["neural"] = ARRAY


WRITERS = {
    ".npy": lambda path: np.save(path, ARRAY),
    ".npz": lambda path: np.savez(path, name=np.array("x"), neural=ARRAY),
    ".h5": _write_h5,
    ".pt": lambda path: torch.save({"neural": torch.from_numpy(ARRAY)}, path),
    ".csv": lambda path: pd.DataFrame(ARRAY, columns=["a", "b", "c"]).to_csv(path, index=False),
    ".xlsx": lambda path: pd.DataFrame(ARRAY).to_excel(path, index=False),
    ".parquet": lambda path: pd.DataFrame(ARRAY, columns=["a", "b", "c"]).to_parquet(path),
    ".mat": lambda path: savemat(path, {"neural": ARRAY}),
    ".jl": lambda path: joblib.dump({"neural": ARRAY}, path),
    ".pkl": lambda path: path.write_bytes(pickle.dumps({"neural": ARRAY})),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_one_array_from_every_kind_of_file(ending: str, tmp_path: Path) -> None:
    if ending == ".xlsx":
        pytest.importorskip("openpyxl")
    path = tmp_path / f"data{ending}"
    WRITERS[ending](path)
    pickled = ending in (".jl", ".pkl")
    if pickled:
        with pytest.raises(ConfigError, match="allow_pickle=True"):
            load_data(path)
    assert np.array_equal(load_data(path, allow_pickle=pickled), ARRAY)
    if ending in (".npz", ".pt", ".mat", ".jl", ".h5"):
        with pytest.raises(KeyError, match="no entry 'other'"):
            load_data(path, key="other", allow_pickle=pickled)


def test_columns_headers_and_strange_files(tmp_path: Path) -> None:
    WRITERS[".csv"](tmp_path / "a.csv")
    assert np.array_equal(load_data(tmp_path / "a.csv", columns=["c"]), ARRAY[:, 2:])
    with pytest.raises(MissingKey, match=r"no columns \['z'\]; there are: a, b, c"):
        load_data(tmp_path / "a.csv", columns=["z"])
    np.savetxt(tmp_path / "bare.csv", ARRAY, delimiter=",")
    assert np.array_equal(load_data(tmp_path / "bare.csv"), ARRAY)
    for kind in (OSError, ValueError, UnknownFileKind):
        with pytest.raises(kind, match=r"ending '\.xyz' is not known"):
            load_data(tmp_path / "a.xyz")
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        load_data(tmp_path / "broken.npy")
    with pytest.raises(DataError, match="missing"):
        load_data(tmp_path / "none.npy")


def test_tables_as_programs_write_them(tmp_path: Path) -> None:
    table = pd.DataFrame(ARRAY + 0.5)
    table.to_csv(tmp_path / "index.csv")
    table.to_csv(tmp_path / "counted.csv", index=False)
    table.to_csv(tmp_path / "german.csv", sep=";", decimal=",", index=False)
    table.to_csv(tmp_path / "tab.csv", sep="\t", index=False)
    table.to_csv(tmp_path / "bare.csv", header=False, index=False)
    table.rename(columns={0: "a"}).to_csv(tmp_path / "bom.csv", encoding="utf-8-sig", index=False)
    for name in ("index", "counted", "german", "tab", "bare", "bom"):
        assert np.array_equal(load_data(tmp_path / f"{name}.csv"), ARRAY + 0.5), name
    assert np.array_equal(load_data(tmp_path / "bom.csv", columns=["a"]).ravel(), ARRAY[:, 0] + 0.5)
    pytest.importorskip("openpyxl")
    for name, header in (("named", ["a", "b", "c"]), ("bare", False)):
        table.to_excel(tmp_path / f"{name}.xlsx", header=header, index=False)
        assert np.array_equal(load_data(tmp_path / f"{name}.xlsx"), ARRAY + 0.5), name


def test_arrays_deep_in_a_file_and_models_in_place_of_arrays(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file["rate"], file["session/neural"] = 30.0, ARRAY
    assert np.array_equal(load_data(tmp_path / "deep.h5"), ARRAY)
    assert np.array_equal(load_data(tmp_path / "deep.h5", key="session/neural"), ARRAY)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"model\.pt: cannot be read"):
        load_data(tmp_path / "model.pt")


class _Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("ending", [".pkl", ".jl"])
def test_a_pickle_runs_nothing_even_on_request(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil{ending}"
    (joblib.dump if ending == ".jl" else lambda value, p: p.write_bytes(pickle.dumps(value)))(_Evil(), path)
    with pytest.raises(DataError, match=r"plain containers \(pathlib"):
        load_data(path, allow_pickle=True)
    assert not (tmp_path / "ran").exists()

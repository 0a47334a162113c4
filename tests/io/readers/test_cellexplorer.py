"""CellExplorer sessions, v5 and v7.3: the real files, and small ones with every oddity."""

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.types import Sorting
from spikeprint.features.trains import clean_trains, compute_isi_acg
from spikeprint.io.readers.cellexplorer import SUFFIX, find_cellexplorer, read_cellexplorer
from spikeprint.io.readers.mats import list_variables, read_mat

MS = np.arange(-5, 5) / 20


def cell(*items: Any) -> np.ndarray:
    """A MATLAB cell array, 1 x n."""
    found = np.empty((1, len(items)), dtype=object)
    found[0] = [None] * len(items)
    for i, item in enumerate(items):
        found[0, i] = item
    return found


def session(**more: Any) -> dict[str, Any]:
    """Two units on three channels, the third of which belongs to another electrode; the second unit has no spikes."""
    row = -np.exp(-((np.arange(10) - 5.0) ** 2))
    means = [np.outer([1.0, 2.0, 50.0], row) * k for k in (1, 2)]
    return {
        "UID": np.array([4, 9], dtype=np.uint8),
        "spikes": {"times": cell(np.array([[0.5], [1.25], [9.0]]), np.empty((0, 0)))},
        "waveforms": {
            "filt": cell(row[2:8], row[2:8]),
            "time": cell(MS[2:8], MS[2:8]),
            "filt_all": cell(*means),
            "time_all": cell(MS, MS),
            "channels_all": cell(np.array([1, 2, 3]), np.array([1, 2, 3])),
            "bestChannels": cell(np.array([2, 1]), np.array([1, 2])),
        },
        "general": {
            "chanCoords": {"x": np.array([0, 10, 200.0]), "y": np.array([0, 20, 0.0])},
            "excludeIntervals": np.array([[1.0, 2.0], [8.0, 9.0]]),
        },
        "groundTruthClassification": {"PV": np.array([1, 2]), "VGAT": np.array([2])},
        "putativeCellType": cell("Narrow Interneuron", "Pyramidal Cell"),
        "brainRegion": cell("CA1", "CA3"),
    } | more


def write_v5(path: Path, **more: Any) -> Path:
    content = {k: v for k, v in session(**more).items() if v is not None}
    # Compressed as MATLAB writes them: a checksum then tells damage, at which scipy could otherwise crash.
    savemat(path, {"cell_metrics": content}, long_field_names=True, do_compression=True)
    return path


def put(file: h5py.File, parent: h5py.Group, name: str, value: Any) -> None:
    """Write as MATLAB writes v7.3: transposed, cells as references, text as uint16."""
    if isinstance(value, dict):
        group = parent.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for key, item in value.items():
            put(file, group, key, item)
        return
    array = np.atleast_2d(value) if not isinstance(value, str) else None
    if array is not None and array.dtype == object:
        refs = np.empty(array.T.shape, dtype=h5py.ref_dtype)
        for i, item in enumerate(array.T.ravel()):
            target = f"{len(file.require_group('#refs#'))}_{parent.name.count('/')}_{name}"
            put(file, file["#refs#"], target, item)
            refs.ravel()[i] = file["#refs#"][target].ref
        data, kind = refs, "cell"
    elif array is None:
        data, kind = np.array([[ord(c)] for c in value], dtype=np.uint16), "char"
    else:
        data, kind = array.T, "double"
    if not data.size:
        data = np.array(array.shape, dtype=np.uint64)
        made = parent.create_dataset(name, data=data)
        made.attrs["MATLAB_empty"] = np.uint8(1)
    else:
        made = parent.create_dataset(name, data=data, dtype=data.dtype)
    made.attrs["MATLAB_class"] = np.bytes_(kind)


def write_v73(path: Path, **more: Any) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        put(file, file, "cell_metrics", {k: v for k, v in session(**more).items() if v is not None})
    return path


WRITERS = {"v5": write_v5, "v73": write_v73}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Writes a session of either version with some fields replaced."""
    return lambda name="s1", **more: WRITERS[request.param](tmp_path / f"{name}{SUFFIX}", **more)


def test_reads_a_session(write: Any) -> None:
    path = write()
    assert find_cellexplorer(path) == find_cellexplorer(path.parent) == [path]
    (sorting,) = read_cellexplorer(path)
    assert sorting.unit_ids.tolist() == ["4", "9"]
    np.testing.assert_allclose(sorting.spike_times, [0.5, 7.0])
    assert sorting.offsets.tolist() == [0, 2, 2]
    assert sorting.time_rate_hz == 1.0
    np.testing.assert_allclose(sorting.duration_s, 7.000001)
    assert sorting.labels.tolist() == ["PV", "PV+VGAT"]
    assert sorting.session_id == ""
    assert sorting.extra["putativeCellType"].tolist() == ["Narrow Interneuron", "Pyramidal Cell"]
    assert sorting.extra["brainRegion"].tolist() == ["CA1", "CA3"]
    np.testing.assert_allclose(sorting.extra["excluded_frac"], [1 / 3, np.nan])


def test_waveforms_are_those_of_the_units_own_electrode(write: Any) -> None:
    templates = read_cellexplorer(write())[0].templates
    assert templates.sampling_frequency_hz == 20000.0
    assert templates.unit == "uV"
    assert templates.values.shape == (2, 10, 3)
    np.testing.assert_allclose(templates.values[:, 5, :2], [[-1, -2], [-2, -4]])
    assert np.isnan(templates.values[:, :, 2]).all()
    assert templates.positions_um.tolist() == [[0, 0], [10, 20], [200, 0]]


def test_the_mean_of_one_channel_stands_in(write: Any) -> None:
    waves = session()["waveforms"]
    single = {"filt": waves["filt"], "time": waves["time"]}
    templates = read_cellexplorer(write(waveforms=single))[0].templates
    assert templates.values.shape == (2, 6, 1)
    np.testing.assert_allclose(templates.values[:, 3, 0], -1)
    assert templates.positions_um is None
    with pytest.raises(DataError, match=r"no waveforms\.time; pass --sampling-frequency"):
        read_cellexplorer(write(waveforms={"filt": waves["filt"]}))
    assert read_cellexplorer(write(waveforms={"filt": waves["filt"]}), 3e4)[0].templates.sampling_frequency_hz == 3e4
    assert read_cellexplorer(write(waveforms=None))[0].templates is None


def test_label_column(write: Any) -> None:
    path = write()
    by_guess = read_cellexplorer(path, label_column="putativeCellType")[0].labels
    assert by_guess.tolist() == ["Narrow Interneuron", "Pyramidal Cell"]
    assert read_cellexplorer(path, label_column="none")[0].labels.tolist() == ["", ""]
    with pytest.raises(ConfigError, match="no label column 'putativeCelltype'; did you mean 'putativeCellType'"):
        read_cellexplorer(path, label_column="putativeCelltype")
    with pytest.raises(ConfigError, match="'waveforms' does not hold one text per unit"):
        read_cellexplorer(write(waveforms=cell(1.0)), label_column="waveforms")
    assert read_cellexplorer(write(groundTruthClassification=None))[0].labels.tolist() == ["", ""]
    listed = cell("PV", cell("SOM", "VIP"))
    assert read_cellexplorer(write(groundTruthClassification=listed))[0].labels.tolist() == ["PV", "SOM+VIP"]
    with pytest.raises(DataError, match=r"groundTruthClassification\.PV names unit 3; there are 2 units"):
        read_cellexplorer(write(groundTruthClassification={"PV": np.array([3])}))


def test_end_of_the_last_epoch_is_the_duration(write: Any) -> None:
    general = {"epochs": cell({"name": "a", "stopTime": 4.0}, {"name": "b", "stopTime": 60.0})}
    assert read_cellexplorer(write(general=general))[0].duration_s.tolist() == [60.0, 60.0]


def test_spikes_in_excluded_intervals_are_left_out_and_the_clock_stands_still(write: Any) -> None:
    times = cell(np.array([1.0, 2.0, 10.5, 11.5, 20.0]), np.array([0.5, 25.0]))
    general = {"excludeIntervals": np.array([[10.0, 11.0], [10.9, 12.0]])}
    path = write(spikes={"times": times}, general=general)
    (sorting,) = read_cellexplorer(path)
    np.testing.assert_allclose(sorting.spike_times, [1.0, 2.0, 18.0, 0.5, 23.0])
    assert sorting.segment.tolist() == [0, 0, 1, 0, 1]
    np.testing.assert_allclose(sorting.extra["excluded_frac"], [0.4, 0.0])
    np.testing.assert_allclose(sorting.duration_s, 23.0, atol=1e-5)


def test_a_session_of_one_unit(write: Any) -> None:
    (sorting,) = read_cellexplorer(
        write(
            UID=np.array([3]),
            spikes={"times": cell(np.array([[1.0], [2.0]]))},
            waveforms={"filt": cell(MS), "time": cell(MS)},
            groundTruthClassification={"Juxta": np.array([1])},
            putativeCellType=cell("Pyramidal Cell"),
            brainRegion=cell("CA1"),
        )
    )
    assert (sorting.unit_ids.tolist(), sorting.labels.tolist()) == (["3"], ["Juxta"])
    assert sorting.extra["brainRegion"].tolist() == ["CA1"]


@pytest.mark.parametrize(
    "spikes", [None, {"times": cell(np.empty((0, 0)), np.empty((0, 0)))}, {"total": np.array([3])}]
)
def test_without_spike_times_there_is_nothing_to_convert(write: Any, spikes: Any) -> None:
    with pytest.raises(DataError, match=r"no spike times \(cell_metrics\.spikes\.times\) but .*UID.*they are needed"):
        read_cellexplorer(write(spikes=spikes, acg={"wide": np.ones((1001, 2))}))


def test_several_files_are_several_sessions(write: Any) -> None:
    folder = write("b").parent
    write("a")
    (folder / "notes.mat").write_bytes(b"x")
    assert [sorting.session_id for sorting in read_cellexplorer(folder)] == ["a", "b"]


def test_foreign_and_damaged_files(write: Any, tmp_path: Path) -> None:
    assert find_cellexplorer(tmp_path) == find_cellexplorer(tmp_path / "absent") == []
    with pytest.raises(DataError, match="a CellExplorer session is needed"):
        read_cellexplorer(tmp_path)
    path = write()
    whole = path.read_bytes()
    for cut in (0, 100, 600, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"s1\.cell_metrics.*") as caught:
            read_cellexplorer(path)
        assert "\n" not in str(caught.value)
    savemat(path, {"other": 1})
    with pytest.raises(DataError, match="no struct 'cell_metrics'"):
        read_cellexplorer(path)


def test_flipped_bytes_never_raise_anything_else(write: Any) -> None:
    path = write()
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 8):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_cellexplorer(path)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_structs_of_both_versions_read_alike(tmp_path: Path) -> None:
    old = read_mat(write_v5(tmp_path / "5.mat"), ["cell_metrics"], ["general", "UID"])["cell_metrics"]
    new = read_mat(write_v73(tmp_path / "7.mat"), ["cell_metrics"], ["general", "UID"])["cell_metrics"]
    assert set(old) == set(new) == set(session())
    assert old["spikes"] is new["spikes"] is None  # not asked for
    np.testing.assert_array_equal(old["UID"], new["UID"])
    np.testing.assert_array_equal(old["general"]["excludeIntervals"], new["general"]["excludeIntervals"])
    assert list_variables(tmp_path / "5.mat") == list_variables(tmp_path / "7.mat") == ["cell_metrics"]
    assert list_variables(tmp_path / "absent.mat") == []
    with pytest.raises(DataError, match="missing"):
        read_mat(tmp_path / "absent.mat")


# The real files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tagged(root: Path) -> dict[str, Sorting]:
    """Session -> sorting, of all 38 public files."""
    folder = root.parent / "shared" / "recordings" / "cellexplorer_tagged"
    if not folder.is_dir():
        pytest.skip("real data (../shared/recordings) is not on this machine")
    return {sorting.session_id: sorting for sorting in read_cellexplorer(folder)}


def test_all_public_files_read(tagged: dict[str, Sorting]) -> None:
    assert len(tagged) == 38
    labels = Counter(label for sorting in tagged.values() for label in sorting.labels.tolist())
    assert labels == {"Axo_Axonic": 30, "Juxta": 18, "PV": 12, "VGAT": 3, "PV+VGAT": 2}
    n_kept = sum(len(sorting.spike_times) for sorting in tagged.values())
    n_all = sum(np.sum(s.n_spikes / (1 - s.extra["excluded_frac"])) for s in tagged.values())
    assert round(n_all) == 5_994_703
    assert 0.5 * n_all < n_kept < n_all
    rates = {sorting.templates.sampling_frequency_hz for sorting in tagged.values()}
    assert rates == {10_000.0, 20_000.0, 30_000.0}
    guesses = Counter(guess for s in tagged.values() for guess in s.extra["putativeCellType"])
    assert sum(guesses.values()) == 65
    assert guesses["Pyramidal Cell"] == 16


def test_juxtacellular_pipettes_are_no_channels(tagged: dict[str, Sorting]) -> None:
    values = tagged["d611109"].templates.values[0]
    assert np.flatnonzero(np.isfinite(values).all(axis=0)).tolist() == [0, 1, 2, 3, 4]
    assert int(np.nanargmax(np.ptp(values, axis=0))) == 0  # maxWaveformCh1 = 1; the pipette is ten times larger


AGREE = [
    "YMV01_170818",
    "d611108",
    "mouse1_180502b",
    "mouse1_180414",
    "mouse1_180415",
    "mouse1_180501a",
    "mouse5_181116",
]
"""Sessions whose stored ACGs leave stimulation out, as we do, or that have none."""


@pytest.mark.parametrize("session", AGREE)
def test_recomputed_acg_is_the_stored_one(tagged: dict[str, Sorting], root: Path, session: str) -> None:
    """With stimulation, up to 72 % of a unit's spikes would not be in its stored ACG."""
    sorting = tagged[session]
    path = root.parent / "shared" / "recordings" / "cellexplorer_tagged" / f"{session}{SUFFIX}"
    stored = read_mat(path, ["cell_metrics"], ["acg"])["cell_metrics"]["acg"]["wide"]  # Hz, 1001 bins of 1 ms
    trains = clean_trains(sorting.spike_times, sorting.offsets, 1.0, sorting.duration_s, sorting.segment)
    _, acg = compute_isi_acg(trains.ticks, trains.offsets, trains.runs)
    counts = stored.T[:, 400:601] * sorting.n_spikes[:, None] * 1e-3
    kept = np.arange(201) != 100
    for mine, theirs in zip(acg[:, kept], counts[:, kept], strict=True):
        assert theirs.sum() / mine.sum() == pytest.approx(1.0, abs=2e-3)
        assert np.corrcoef(mine, theirs)[0, 1] > 0.99

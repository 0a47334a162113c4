"""Kilosort and phy folders: spikes, groups, and waveforms that are never whitened."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.types import Sorting
from spikeprint.io.readers.phy import find_phy, places_phy, read_phy

RNG = np.random.default_rng(3)
SHAPES = RNG.normal(size=(3, 12, 4)).astype(np.float32)
WHITENING = np.eye(4) * 2 + RNG.normal(size=(4, 4)) * 0.3  # not symmetric, as local whitening
TIMES = np.array([3, 10, 20, 25, 40, 50, 60], dtype=np.uint64)
TEMPLATES = np.array([0, 1, 0, 2, 2, 1, 0], dtype=np.uint32)
CLUSTERS = np.array([0, 1, 0, 9, 9, 9, 0], dtype=np.int32)  # templates 2 and, in part, 1 were merged into cluster 9
SIZES = np.array([1.0, 2, 3, 4, 5, 6, 7])
PARAMS = "dat_path = r'/far/away.dat'\nn_channels_dat = 6\ndtype = 'int16'\noffset = 0\nsample_rate = 20000.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Kilosort 2 folder, curated in phy."""
    root = tmp_path / "ks"
    root.mkdir()
    positions = np.column_stack([np.zeros(4), np.arange(4) * 20.0])
    for name, values in {
        "spike_times": TIMES[:, None],
        "spike_templates": TEMPLATES[:, None],
        "spike_clusters": CLUSTERS,
        "amplitudes": SIZES[:, None],
        "templates": SHAPES @ WHITENING.astype(np.float32),
        "templates_ind": np.tile(np.arange(4), (3, 1)),
        "whitening_mat": WHITENING,
        "whitening_mat_inv": np.linalg.inv(WHITENING),
        "channel_map": np.array([[4], [0], [2], [5]], dtype=np.int32),
        "channel_positions": positions,
    }.items():
        np.save(root / f"{name}.npy", values)
    (root / "params.py").write_text(PARAMS)
    return root


def edit(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, change(np.load(path)))


def waveform(sorting: Sorting, unit: str) -> np.ndarray:
    return sorting.templates.values[sorting.unit_ids.tolist().index(unit)]


def test_spikes(folder: Path) -> None:
    (sorting,) = read_phy(folder)
    assert sorting.unit_ids.tolist() == ["0", "1", "9"]
    assert sorting.spike_times.tolist() == [3, 20, 60, 10, 25, 40, 50]
    assert sorting.spike_times.dtype == np.int64
    assert sorting.offsets.tolist() == [0, 3, 4, 7]
    assert sorting.time_rate_hz == 20_000.0
    assert sorting.duration_s.tolist() == [61 / 20_000] * 3
    assert sorting.labels.tolist() == ["", "", ""]
    assert (sorting.session_id, sorting.segment, sorting.amplitudes_uv) == ("", None, None)


def test_templates_are_unwhitened_scaled_and_merged(folder: Path) -> None:
    templates = read_phy(folder)[0].templates
    assert templates.unit == "au"
    assert templates.sampling_frequency_hz == 20_000.0
    assert templates.positions_um[:, 1].tolist() == [0, 20, 40, 60]
    expected = [SHAPES[0] * (1 + 3 + 7) / 3, SHAPES[1] * 2, (SHAPES[2] * (4 + 5) + SHAPES[1] * 6) / 3]
    np.testing.assert_allclose(templates.values, expected, rtol=1e-4, atol=1e-4)


def test_the_inverse_is_computed_where_it_is_missing(folder: Path) -> None:
    before = read_phy(folder)[0].templates.values
    (folder / "whitening_mat_inv.npy").unlink()
    np.testing.assert_allclose(read_phy(folder)[0].templates.values, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("blank", [True, False])
def test_whitened_templates_are_never_waveforms(folder: Path, caplog: pytest.LogCaptureFixture, blank: bool) -> None:
    for name in ("whitening_mat.npy", "whitening_mat_inv.npy"):
        (folder / name).unlink()
        if blank:  # what Kilosort 4 writes for phy
            np.save(folder / name, np.eye(4, dtype=np.float32) * 0.005)
    (sorting,) = read_phy(folder)
    assert sorting.templates is None
    assert "no whitening matrix to undo it: waveforms are missing" in caplog.text


def test_kilosort_4_keeps_the_real_matrix_elsewhere(folder: Path) -> None:
    np.save(folder / "whitening_mat_dat.npy", WHITENING)  # acts on columns of channels
    np.save(folder / "whitening_mat.npy", np.eye(4) * 0.005)
    np.save(folder / "whitening_mat_inv.npy", np.eye(4) * 200)
    np.save(folder / "templates.npy", SHAPES @ WHITENING.T.astype(np.float32))
    (sorting,) = read_phy(folder)
    np.testing.assert_allclose(waveform(sorting, "0"), SHAPES[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(waveform(sorting, "9"), (SHAPES[2] * 2 + SHAPES[1]) / 3, rtol=1e-4, atol=1e-4)


def test_sparse_templates_leave_other_channels_missing(folder: Path) -> None:
    np.save(folder / "templates_ind.npy", np.array([[0, 1], [2, 3], [3, 4]]))  # 4 is past the last channel
    np.save(folder / "templates.npy", SHAPES[:, :, :2])
    np.save(folder / "whitening_mat_inv.npy", np.diag([1.0, 2.0, 3.0, 4.0]))
    (sorting,) = read_phy(folder)
    assert np.isnan(waveform(sorting, "0")[:, 2:]).all()
    np.testing.assert_allclose(waveform(sorting, "0")[:, :2], SHAPES[0][:, :2] * [1, 2] * 11 / 3, rtol=1e-5)
    np.testing.assert_allclose(waveform(sorting, "1")[:, 2:], SHAPES[1][:, :2] * [3, 4] * 2, rtol=1e-5)
    assert np.isfinite(waveform(sorting, "9")).all(axis=0).tolist() == [False, False, False, True]


def test_without_templates_there_are_no_waveforms(folder: Path) -> None:
    (folder / "templates.npy").unlink()
    assert read_phy(folder)[0].templates is None


def test_clusters_without_the_templates_they_were_made_from(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "spike_templates.npy").unlink()
    assert read_phy(folder)[0].templates is None
    assert "clusters were split or merged and spike_templates.npy is missing" in caplog.text
    np.save(folder / "spike_clusters.npy", TEMPLATES)
    np.testing.assert_allclose(waveform(read_phy(folder)[0], "1"), SHAPES[1] * 4, rtol=1e-4, atol=1e-4)


# Clusters and groups -------------------------------------------------------------------------------------------------


def test_templates_stand_in_for_clusters(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "spike_clusters.npy").unlink()
    assert read_phy(folder)[0].unit_ids.tolist() == ["0", "1", "2"]
    assert "no spike_clusters.npy; the sorter's templates are taken as units" in caplog.text
    (folder / "spike_templates.npy").unlink()
    with pytest.raises(DataError, match=r"spike_clusters\.npy missing; .*spike_templates\.npy, the sorter's templates"):
        read_phy(folder)


def test_noise_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (folder / "cluster_KSLabel.tsv").write_text("cluster_id\tKSLabel\n0\tgood\n1\tnoise\n9\tnoise\n")
    assert read_phy(folder)[0].unit_ids.tolist() == ["0"]
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tnoise\n9\tmua\n77\tgood\n")
    (sorting,) = read_phy(folder)
    assert sorting.unit_ids.tolist() == ["9"]  # a person's word counts more than the sorter's
    assert sorting.extra["group"].tolist() == ["mua"]
    assert sorting.extra["KSLabel"].tolist() == ["noise"]
    assert sorting.spike_times.tolist() == [25, 40, 50]
    assert sorting.duration_s.tolist() == [61 / 20_000]  # the recording is as long as before
    assert "2 of 3 clusters are noise" in caplog.text
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tnoise\n1\tnoise\n9\tnoise\n")
    with pytest.raises(DataError, match="3 clusters, all of them noise"):
        read_phy(folder)


def test_columns_of_the_clusters_are_kept(folder: Path) -> None:
    info = "cluster_id\tKSLabel\tch\tdepth\tn_spikes\tgroup\n0\tgood\t3\t60.5\t3\tgood\n9\t\t1\t20\t3\tmua\n"
    (folder / "cluster_info.tsv").write_text(info)
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n9\tgood\n")
    (folder / "cluster_ContamPct.tsv").write_text("cluster_id\tContamPct\n0\t1.5\n")
    (sorting,) = read_phy(folder)
    assert sorting.extra["group"].tolist() == ["good", "", "good"]
    assert sorting.extra["KSLabel"].tolist() == ["good", "", ""]
    np.testing.assert_array_equal(sorting.extra["depth"], [60.5, np.nan, 20])
    np.testing.assert_array_equal(sorting.extra["ContamPct"], [1.5, np.nan, np.nan])
    assert set(sorting.extra) == {"group", "KSLabel", "ch", "depth", "ContamPct"}


def test_predictions_are_not_taken_for_truth(folder: Path) -> None:
    (folder / "cluster_cell_type.tsv").write_text("cluster_id\tcell_type\n0\tPV\n9\tSOM\n")
    (sorting,) = read_phy(folder)
    assert sorting.labels.tolist() == ["", "", ""]
    assert "cell_type" not in sorting.extra
    assert read_phy(folder, label_column="cell_type")[0].labels.tolist() == ["PV", "", "SOM"]
    with pytest.raises(ConfigError, match="no label column 'celltype'; did you mean 'cell_type'"):
        read_phy(folder, label_column="celltype")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n1\t2\n", "columns a, b; a column cluster_id is needed"),
        ("", "columns none"),
        ("cluster_id\tgroup\n1\n", "row 1: 1 cells, the header has 2"),
        ("cluster_id\tgroup\n1\tgood\nx\tgood\n", "row 2: cluster_id 'x' is not a whole number"),
    ],
)
def test_bad_tables(folder: Path, text: str, message: str) -> None:
    (folder / "cluster_group.tsv").write_text(text)
    with pytest.raises(DataError, match=rf"cluster_group\.tsv: {message}"):
        read_phy(folder)


# Parameters ----------------------------------------------------------------------------------------------------------


def test_sampling_rate(folder: Path) -> None:
    assert read_phy(folder, 20_000.0)[0].time_rate_hz == 20_000.0
    with pytest.raises(ConfigError, match=r"sample_rate is 20000\.0 Hz, --sampling-frequency says 30000"):
        read_phy(folder, 30_000.0)
    (folder / "params.py").unlink()
    with pytest.raises(DataError, match="sample_rate: no sampling rate; pass --sampling-frequency"):
        read_phy(folder)
    assert read_phy(folder, 30000.390639481)[0].time_rate_hz == 30000.390639481


def test_params_are_never_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (folder / "params.py").write_text(f"import os\nos.system('touch {mark}')\nsample_rate = 25000\n")
    assert read_phy(folder)[0].time_rate_hz == 25_000.0
    assert not mark.exists()
    (folder / "params.py").write_text(f"sample_rate = __import__('os').system('touch {mark}')\n")
    with pytest.raises(DataError, match=r"params\.py: line 1: sample_rate is computed; the file is read, not run"):
        read_phy(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_rate = = 3", "not Python assignments"),
        ("sample_rate = 0", r"sample_rate is 0\.0; a positive number"),
        ("sample_rate = 'fast'", "sample_rate is 'fast'; a positive number"),
    ],
)
def test_bad_params(folder: Path, text: str, message: str) -> None:
    (folder / "params.py").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_phy(folder)
    assert "\n" not in str(caught.value)


# Raw traces ----------------------------------------------------------------------------------------------------------


def write_traces(folder: Path, times: np.ndarray, shape: np.ndarray) -> None:
    """Two seconds of six int16 channels: the spike on mapped channels, a huge pulse on an unmapped one."""
    traces = np.zeros((40_000, 6))
    for time in times:
        traces[time : time + len(shape)][:, [4, 0, 2, 5]] += shape
        traces[time : time + 5, 1] += 9_000
    traces.astype(np.int16).tofile(folder / "away.dat")


@pytest.fixture
def with_traces(folder: Path) -> tuple[Path, np.ndarray]:
    """The folder with the file of dat_path in it; each cluster has spikes in the middle of it."""
    shape = np.zeros((20, 4))
    shape[4:8] = np.outer([-500, -1000, -600, 100], [0.1, 1.0, 0.5, 0.2])
    times = np.arange(2_000, 37_000, 5_000)
    np.save(folder / "spike_times.npy", times)
    write_traces(folder, times, shape)
    return folder, shape


def test_raw_traces_are_preferred(with_traces: tuple[Path, np.ndarray]) -> None:
    folder, shape = with_traces
    (sorting,) = read_phy(folder)
    templates = sorting.templates
    assert templates.unit == "au"  # phy does not know the gain
    assert templates.values.shape[2] == 4  # the sync channel is no contact
    # channels in the order of the binary: 0, 2, 4, 5, which are rows 1, 2, 0, 3 of channel_map
    assert templates.positions_um[:, 1].tolist() == [20, 40, 0, 60]
    np.testing.assert_allclose(templates.values.min(axis=1)[0], shape[:, [1, 2, 0, 3]].min(axis=0), rtol=0.15)
    assert sorting.duration_s.tolist() == [2.0, 2.0, 2.0]
    assert len(sorting.amplitudes_uv) == 7


def test_positions_may_be_unknown(with_traces: tuple[Path, np.ndarray]) -> None:
    folder, _ = with_traces
    (folder / "channel_positions.npy").unlink()
    (sorting,) = read_phy(folder)
    assert sorting.templates.positions_um is None
    assert int(np.argmax(np.ptp(sorting.templates.values[0], axis=0))) == 0  # channel 0, the largest


def test_whitened_scratch_files_are_not_raw(with_traces: tuple[Path, np.ndarray]) -> None:
    folder, _ = with_traces
    (folder / "away.dat").rename(folder / "temp_wh.dat")
    (folder / "params.py").write_text(PARAMS.replace("/far/away.dat", r"C:\data\temp_wh.dat"))
    assert read_phy(folder)[0].amplitudes_uv is None
    assert folder / "temp_wh.dat" not in find_phy(folder)


def test_missing_traces_are_told(with_traces: tuple[Path, np.ndarray], caplog: pytest.LogCaptureFixture) -> None:
    folder, _ = with_traces
    read_phy(folder)
    assert "dat_path" not in caplog.text
    (folder / "away.dat").unlink()
    assert read_phy(folder)[0].templates is not None
    assert "dat_path names /far/away.dat, which is neither beside params.py nor there: waveforms are" in caplog.text


def test_filtered_traces_are_taken_as_they_are(with_traces: tuple[Path, np.ndarray]) -> None:
    folder, shape = with_traces
    with (folder / "params.py").open("a") as file:
        file.write("hp_filtered = True\n")
    values = read_phy(folder)[0].templates.values
    np.testing.assert_allclose(values.min(axis=1)[0], shape[:, [1, 2, 0, 3]].min(axis=0), rtol=1e-5)
    assert values[0].max() == pytest.approx(shape.max())  # a filter would ring


def test_two_sessions_with_traces_of_one_name(with_traces: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """Each session takes the file beside its own params.py, and add has to put them there."""
    folder, _ = with_traces
    multi = tmp_path / "multi"
    for n, name in enumerate(("s1", "s2"), 1):
        (tmp_path / name).mkdir()
        away = tmp_path / name / "away.dat"
        away.write_bytes((n * np.fromfile(folder / "away.dat", dtype=np.int16)).tobytes())
        shutil.copytree(folder, multi / name, ignore=shutil.ignore_patterns("away.dat"))
        (multi / name / "params.py").write_text(PARAMS.replace("/far/away.dat", str(away)))
    places = places_phy(multi)
    assert list(places) == find_phy(multi)
    assert places[tmp_path / "s1" / "away.dat"] == [Path("s1/away.dat")]
    assert places[tmp_path / "s2" / "away.dat"] == [Path("s2/away.dat")]
    assert places[multi / "s1" / "params.py"] == [Path("s1/params.py")]
    copy = tmp_path / "copy"
    for file, targets in places.items():
        for target in targets:
            (copy / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy / target)
    shutil.rmtree(tmp_path / "s1")
    shutil.rmtree(tmp_path / "s2")
    first, second = read_phy(copy)
    np.testing.assert_allclose(second.templates.values, 2 * first.templates.values, rtol=1e-4, atol=1e-2)


def test_places_of_traces(with_traces: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, _ = with_traces
    multi = tmp_path / "multi"
    for name in ("s1", "s2"):
        shutil.copytree(folder, multi / name, ignore=shutil.ignore_patterns("away.dat"))
    raw = multi / "raw" / "away.dat"
    raw.parent.mkdir()
    shutil.copyfile(folder / "away.dat", raw)

    def write(first: object, second: object) -> None:
        for name, written in (("s1", first), ("s2", second)):
            (multi / name / "params.py").write_text(PARAMS.replace("/far/away.dat", str(written)))

    write("../raw/away.dat", "../raw/away.dat")
    assert places_phy(multi)[raw] == [Path("raw/away.dat")]
    # the reader of the copy would look for an absolute path where it was, or not at all
    write(raw, raw)
    assert places_phy(multi)[raw] == [Path("s1/away.dat"), Path("s2/away.dat")]
    write("../raw/away.dat", folder / "away.dat")
    assert places_phy(multi)[folder / "away.dat"] == [Path("s2/away.dat")]
    assert places_phy(multi / "s1")[raw] == [Path("away.dat")]
    assert places_phy(multi / "s1" / "params.py")[raw] == [Path("away.dat")]


def test_places_are_never_outside(with_traces: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = with_traces
    (folder / "away.dat").rename(folder.parent / "away.dat")
    (folder / "params.py").write_text(PARAMS.replace("/far/", "../"))
    monkeypatch.chdir(folder)
    assert places_phy(Path("."))[Path("../away.dat")] == [Path("away.dat")]


def test_several_traces_of_one_name_are_refused(with_traces: tuple[Path, np.ndarray]) -> None:
    folder, _ = with_traces
    (folder / "params.py").write_text(PARAMS.replace("r'/far/away.dat'", "['/a/away.dat', '/b/away.dat']"))
    with pytest.raises(DataError, match=r"dat_path names several files away\.dat; .* different names are needed"):
        read_phy(folder)
    assert folder / "spike_times.npy" in find_phy(folder)


def test_params_with_a_byte_order_mark(folder: Path) -> None:
    (folder / "params.py").write_text(PARAMS, encoding="utf-8-sig")
    assert read_phy(folder)[0].time_rate_hz == 20_000.0


def test_traces_are_found_by_name_or_as_written(with_traces: tuple[Path, np.ndarray]) -> None:
    folder, _ = with_traces
    assert folder / "away.dat" in find_phy(folder)
    (folder / "away.dat").rename(folder.parent / "away.dat")
    assert read_phy(folder)[0].amplitudes_uv is None
    (folder / "params.py").write_text(PARAMS.replace("/far/", "../"))
    assert read_phy(folder)[0].amplitudes_uv is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_channels_dat = 6\n", "", "no n_channels_dat; needed to read away.dat"),
        ("n_channels_dat = 6", "n_channels_dat = 'six'", "n_channels_dat = 'six', offset = 0; whole numbers"),
        ("n_channels_dat = 6", "n_channels_dat = 5", "channel_map.npy names channel 5"),
        ("'int16'", "'int17'", "dtype 'int17'"),
    ],
)
def test_bad_layouts(with_traces: tuple[Path, np.ndarray], old: str, new: str, message: str) -> None:
    folder, _ = with_traces
    (folder / "params.py").write_text(PARAMS.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_phy(folder)


# Files ---------------------------------------------------------------------------------------------------------------


def test_find_lists_what_is_read(folder: Path) -> None:
    (folder / "pc_features.npy").write_bytes(b"large")
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n")
    names = {path.name for path in find_phy(folder)}
    assert names == {path.name for path in folder.iterdir()} - {"pc_features.npy"}
    assert find_phy(folder / "params.py") == find_phy(folder)
    assert len(find_phy(folder.parent)) == len(names)
    assert find_phy(folder.parent / "absent") == []
    (folder / "params.py").write_text("= =")
    assert find_phy(folder)  # the reader tells what is wrong


def test_several_folders_are_several_sessions(folder: Path) -> None:
    folder.rename(folder.parent / "b")
    (folder.parent / "a").mkdir()
    for path in (folder.parent / "b").iterdir():
        (folder.parent / "a" / path.name).write_bytes(path.read_bytes())
    assert [sorting.session_id for sorting in read_phy(folder.parent)] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("spike_times", np.arange(7) + 0.5, r"spike_times\.npy: value 1 is 0\.5; integers are needed"),
        ("spike_times", np.ones((7, 2)), r"spike_times\.npy: float64 \(7, 2\); one number per spike"),
        ("spike_clusters", np.arange(6), r"spike_clusters\.npy: 6 values, but there are 7 spikes"),
        ("spike_clusters", np.array(["a"] * 7), r"spike_clusters\.npy: <U1 \(7,\); one number per spike"),
        ("spike_templates", np.full(7, 3), r"spike_templates\.npy: template 3; templates\.npy has 3"),
        ("amplitudes", np.ones(3), r"amplitudes\.npy: 3 values, but there are 7 spikes"),
        ("templates", np.ones((3, 4)), r"templates\.npy: float64 \(3, 4\)"),
        ("templates_ind", np.ones((3, 3), dtype=int), r"templates_ind\.npy: \(3, 3\)"),
        ("whitening_mat_inv", np.eye(3), r"whitening_mat_inv\.npy: float64 \(3, 3\); finite numbers \(4, 4\)"),
        ("channel_positions", np.ones((4, 3)), r"channel_positions\.npy: float64 \(4, 3\); one \[x, y\]"),
        ("channel_map", np.arange(3), "4 rows in channel_positions.npy, 3 channels in channel_map.npy"),
        ("spike_times", np.array([], dtype=int), "spike_clusters.npy: 7 values, but there are 0"),
    ],
)
def test_bad_files(folder: Path, name: str, values: np.ndarray, message: str) -> None:
    np.save(folder / f"{name}.npy", values)
    with pytest.raises(DataError, match=message):
        read_phy(folder)


def test_damaged_files(folder: Path) -> None:
    path = folder / "spike_times.npy"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"spike_times\.npy: not a whole \.npy file") as caught:
        read_phy(folder)
    assert "\n" not in str(caught.value)
    np.save(path, np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"not a whole \.npy file of plain values"):
        read_phy(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"no spike_times\.npy; a Kilosort or phy folder is needed"):
        read_phy(folder)


def test_whole_floats_are_samples(folder: Path) -> None:
    edit(folder / "spike_times.npy", lambda times: times.astype(np.float64))
    assert read_phy(folder)[0].spike_times.dtype == np.int64


# Other programs' folders ---------------------------------------------------------------------------------------------


def test_spikeinterface_whitens_nothing(folder: Path) -> None:
    for name in ("whitening_mat", "whitening_mat_inv", "templates_ind"):
        (folder / f"{name}.npy").unlink()
    np.save(folder / "channel_map_si.npy", np.arange(4))
    np.save(folder / "template_ind.npy", np.array([[1, 0], [2, -1], [3, 2]]))
    np.save(folder / "templates.npy", SHAPES[:, :, :2])
    values = waveform(read_phy(folder)[0], "0")
    np.testing.assert_array_equal(values[:, [1, 0]], SHAPES[0][:, :2])  # a mean already: not scaled by amplitudes
    assert np.isfinite(waveform(read_phy(folder)[0], "1")).all(axis=0).tolist() == [False, False, True, False]


@pytest.mark.slow  # SpikeInterface compiles for ten seconds
def test_what_spikeinterface_exports(tmp_path: Path) -> None:
    import spikeinterface.core as si
    from spikeinterface.exporters import export_to_phy

    recording, truth = si.generate_ground_truth_recording([2.0], num_channels=6, num_units=3, seed=0)
    analyzer = si.create_sorting_analyzer(truth, recording, sparse=False)
    analyzer.compute(["random_spikes", "waveforms", "templates", "spike_amplitudes"], verbose=False)
    options = {"compute_pc_features": False, "add_quality_metrics": False, "verbose": False}
    export_to_phy(analyzer, tmp_path / "phy", copy_binary=False, **options)
    (sorting,) = read_phy(tmp_path / "phy")
    for unit, name in enumerate(sorting.unit_ids):
        samples = truth.get_unit_spike_train(truth.unit_ids[int(name)])
        found = sorting.spike_times[sorting.offsets[unit] : sorting.offsets[unit + 1]]
        np.testing.assert_array_equal(found, samples)
    means = analyzer.get_extension("templates").get_templates()
    np.testing.assert_allclose(sorting.templates.values, means, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(sorting.templates.positions_um, recording.get_channel_locations())


def test_public_kilosort_output(root: Path) -> None:
    folder = root.parent / "shared" / "recordings" / "kilosort4_macaque_te8922"
    if not folder.is_dir():
        pytest.skip("real data (../shared/recordings) is not on this machine")
    (sorting,) = read_phy(folder, 30_000.0)
    assert len(sorting.unit_ids) == 311
    assert len(sorting.spike_times) == 99_519
    assert sorting.templates is None
    times, clusters = (np.load(folder / f"spike_{name}.npy").ravel() for name in ("times", "clusters"))
    unit = int(np.argmax(sorting.n_spikes))
    expected = times[clusters == int(sorting.unit_ids[unit])]
    np.testing.assert_array_equal(sorting.spike_times[sorting.offsets[unit] : sorting.offsets[unit + 1]], expected)

"""ACQM zips: what they hold, and what is refused."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io.readers.acqm import find_acqm, read_acqm

TRAIN = {7: np.array([30, 60, 90]), 2: np.array([15, 45], dtype=np.uint64)}


def neuron(k: float, **more: Any) -> dict[str, Any]:
    waves = np.outer([1.0, 3.0], np.arange(5.0)) * k
    return {"waveforms": waves, "template": np.ones(9), "position": (10 * k, 20 * k, 3), "channel": int(k), **more}


def write(path: Path, member: str = "qm.npz", **arrays: Any) -> Path:
    content = {"train": TRAIN, "fs": 20000.0, "neuron_data": {2: neuron(2, cell_type="PV"), 7: neuron(7)}} | arrays
    file = io.BytesIO()
    np.savez(file, **{k: np.array(v, dtype=object) for k, v in content.items() if v is not None})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "x")
        archive.writestr(member, file.getvalue())
    return path


def test_reads_a_zip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", "curated/qm.npz")
    assert find_acqm(path) == find_acqm(tmp_path) == [path]
    (sorting,) = read_acqm(tmp_path)
    assert sorting.unit_ids.tolist() == ["7", "2"]  # the order of train
    assert sorting.spike_times.tolist() == [30, 60, 90, 15, 45]
    assert sorting.spike_times.dtype == np.int64
    assert sorting.time_rate_hz == 20000.0
    assert sorting.duration_s.tolist() == [91 / 20000] * 2
    assert sorting.labels.tolist() == ["", ""]
    assert sorting.session_id == ""
    # neuron_data stands in another order: matched by key
    np.testing.assert_array_equal(sorting.templates.values[:, :, 0], [np.arange(5) * 14, np.arange(5) * 4])
    assert sorting.templates.unit == "au"
    assert sorting.templates.positions_um.tolist() == [[[70, 140]], [[20, 40]]]
    assert sorting.extra["channel"].tolist() == [7, 2]


def test_several_zips_are_several_sessions(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / f"{name}.zip")
    (tmp_path / "other.zip").write_bytes(b"no zip")
    assert [sorting.session_id for sorting in read_acqm(tmp_path)] == ["a", "b"]


def test_keys_of_any_type_and_templates_without_waveforms(tmp_path: Path) -> None:
    data = {"7": {"template": np.arange(4.0)}, np.int64(2): {"template": np.arange(4.0)[None] * 2}}
    (sorting,) = read_acqm(write(tmp_path / "a.zip", neuron_data=data))
    np.testing.assert_array_equal(sorting.templates.values[:, :, 0], [np.arange(4), np.arange(4) * 2])
    assert sorting.templates.positions_um is None


def test_a_unit_that_neuron_data_lacks_has_no_waveform(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (sorting,) = read_acqm(write(tmp_path / "a.zip", neuron_data={2: neuron(2)}))
    assert np.isnan(sorting.templates.values[0]).all()
    assert "neuron_data lacks units 7" in caplog.text
    (sorting,) = read_acqm(write(tmp_path / "a.zip", neuron_data=None))
    assert sorting.templates is None


def test_label_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    assert read_acqm(path, label_column="cell_type")[0].labels.tolist() == ["", "PV"]
    assert read_acqm(path, label_column="none")[0].labels.tolist() == ["", ""]
    with pytest.raises(ConfigError, match="no label column 'cell_typ'; did you mean 'cell_type'"):
        read_acqm(path, label_column="cell_typ")


def test_sampling_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", fs=None)
    assert read_acqm(path, 12500.5)[0].time_rate_hz == 12500.5
    with pytest.raises(DataError, match="fs: no sampling rate; pass --sampling-frequency"):
        read_acqm(path)
    with pytest.raises(ConfigError, match=r"fs is 20000\.0 Hz, --sampling-frequency says 30000"):
        read_acqm(write(tmp_path / "b.zip"), 30000.0)
    with pytest.raises(DataError, match=r"fs is 0.0; a positive number"):
        read_acqm(write(tmp_path / "b.zip", fs=0))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train": None}, "no dict 'train' but fs, neuron_data"),
        ({"train": {1: np.array([0.5])}}, "train of unit 1: value 1 is 0.5; integers are needed"),
        ({"train": {1: np.array(["a"])}}, "train of unit 1: <U1; integers are needed"),
        ({"train": {1: np.array([3]), "1": np.array([4])}}, "two units of one name"),
        ({"train": {}}, "no spikes"),
        ({"neuron_data": {0: {}, 1: {}}}, "train has units 7, 2, neuron_data 0, 1; the same keys"),
        ({"neuron_data": {2: neuron(1), 7: {"template": np.ones(3)}}}, r"waveforms 7 \(3,\), 2 \(5,\); one row"),
        ({"neuron_data": {2: {"template": np.ones((3, 2))}}}, r"waveforms 2 \(3, 2\); one row"),
    ],
)
def test_refuses(tmp_path: Path, arrays: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_acqm(write(tmp_path / "a.zip", **arrays))


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("where", ["train", "neuron_data", "fs"])
def test_a_malicious_pickle_does_not_execute(tmp_path: Path, where: str) -> None:
    mark = tmp_path / "ran"
    path = write(tmp_path / "a.zip", **{where: {7: Evil(f"touch {mark}")}})
    with pytest.raises(DataError, match=rf"qm.npz: {where}: the pickle asks for \w+\.system"):
        read_acqm(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../qm.npz", "/tmp/qm.npz", "a/../../qm.npz", "C:\\x\\qm.npz", "..\\qm.npz"])
def test_member_names_that_leave_the_zip_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(DataError, match="points outside the zip; refused"):
        read_acqm(path)


def test_a_damaged_zip(tmp_path: Path) -> None:
    path = write(tmp_path / "a_acqm.zip")
    path.write_bytes(path.read_bytes()[:-30])
    assert find_acqm(path) == [path]  # its name says what it is
    with pytest.raises(DataError, match=r"not a whole zip file .* download it again") as caught:
        read_acqm(path)
    assert "\n" not in str(caught.value)
    whole = bytearray(write(path).read_bytes())
    whole[120:140] = b"\0" * 20
    path.write_bytes(whole)
    with pytest.raises(DataError, match="not a whole zip file"):
        read_acqm(path)


def test_other_zips_are_not_acqm(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    assert find_acqm(tmp_path) == find_acqm(tmp_path / "absent") == []
    with pytest.raises(DataError, match=r"no zip with a member qm.npz"):
        read_acqm(tmp_path)


def test_two_members_are_one_too_many(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("old/qm.npz", "x")
    with pytest.raises(DataError, match=r"2 members qm.npz"):
        read_acqm(path)

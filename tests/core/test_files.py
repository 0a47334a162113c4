"""Writing is whole or not at all; reading names what is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest

from spikeprint.core import files
from spikeprint.core.errors import ConfigError, DataError


class Interrupted(RuntimeError):
    pass


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(Interrupted), files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise Interrupted
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_folder_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    with files.atomic_folder(tmp_path / "f") as folder:
        (folder / "x").write_text("old")
    with pytest.raises(Interrupted), files.atomic_folder(tmp_path / "f") as folder:
        (folder / "y").write_text("half")
        raise Interrupted
    assert os.listdir(tmp_path) == ["f"]
    assert os.listdir(tmp_path / "f") == ["x"]


def test_json_turns_numpy_and_nan_into_plain_values(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"n": np.int64(3), "x": np.array([1.5, np.nan]), "t": (True,)})
    assert files.read_json(tmp_path / "a.json") == {"n": 3, "x": [1.5, None], "t": [True]}


def test_arrays_come_back_equal(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array([1], dtype=np.int64)}
    files.write_arrays(tmp_path / "a.safetensors", arrays)
    back = files.read_arrays(tmp_path / "a.safetensors")
    assert all(np.array_equal(arrays[k], back[k]) for k in arrays)


def test_no_arrays_at_all_come_back_too(tmp_path: Path) -> None:
    files.write_arrays(tmp_path / "a.safetensors", {})
    assert files.read_arrays(tmp_path / "a.safetensors") == {}


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    files.write_arrays(tmp_path / "a.safetensors", {"a": np.arange(100.0)})
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:200])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        files.read_arrays(tmp_path / "a.safetensors")


def test_bad_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        files.read_json(tmp_path / "a.json")


def test_a_hash_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = files.hash_path(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert files.hash_path(tmp_path / "a") != first


def test_the_root_is_found_from_below_and_missed_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", "/nowhere")  # set by DVC, of no concern here
    (tmp_path / "p" / "data").mkdir(parents=True)
    (tmp_path / "p" / "dvc.yaml").touch()
    assert files.find_root(tmp_path / "p" / "data") == tmp_path / "p"
    with pytest.raises(ConfigError, match=r"no dvc\.yaml"):
        files.find_root(tmp_path)


UNWRITABLE = {
    "a folder has the name": ("taken", "taken: cannot be written (is a directory)"),
    "a file is in the way": ("file/a.txt", "a.txt: cannot be written (not a directory)"),
    "a file is further up the way": ("file/b/a.txt", "a.txt: cannot be written (not a directory)"),
}


@pytest.mark.parametrize("check", [files.check_writable, lambda path: files.write_text(path, "x")])
@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_place_that_cannot_be_written_is_said_in_one_line(case: str, check, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    name, message = UNWRITABLE[case]
    with pytest.raises(ConfigError) as caught:
        check(tmp_path / name)
    assert message in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "taken"]
    assert not os.listdir(tmp_path / "taken")


def test_the_check_of_a_place_makes_nothing(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "new" / "folder" / "a.json")
    files.check_writable(Path("a.json"))
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = pytest.raises(ConfigError, match=r"m: cannot be written \(not a directory\)")
    with refused, files.atomic_folder(tmp_path / "file" / "m"):
        pass

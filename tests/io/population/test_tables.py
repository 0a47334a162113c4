"""Tables of pandas in HDF5, and the keypoints of DeepLabCut: read without PyTables, and without running anything.

``frames.zip`` holds what pandas 3 wrote through PyTables 3.11: ``to_hdf`` of the tables below, both layouts.
"""

import io
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import DataError, MissingKey
from spikeprint.population import load_data, load_deeplabcut

ROWS = np.arange(8)
BEHAVIOUR = {"speed": ROWS / 4, "turn": ROWS - 3.5, "trial": ROWS // 3}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of ``aux_fixed aux_table dlc_fixed dlc_table series`` ``.h5``."""
    folder = tmp_path_factory.mktemp("frames")
    with zipfile.ZipFile(Path(__file__).parent / "frames.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("layout", ["fixed", "table"])
def test_columns_of_a_table(layout: str, frames: Path) -> None:
    path = frames / f"aux_{layout}.h5"
    for key in (None, "behaviour"):
        found = load_data(path, key=key, columns=["turn", "speed"])
        assert np.array_equal(found, np.stack([BEHAVIOUR["turn"], BEHAVIOUR["speed"]], axis=1))
    trial = load_data(path, key="behaviour", columns=["trial"]).flatten()
    assert np.array_equal(trial, BEHAVIOUR["trial"])
    assert trial.dtype.kind == "i"
    assert load_data(path, columns=["side"]).ravel().tolist() == ["left", "right"] * 4
    with pytest.raises(MissingKey, match=r"no columns \['pupil'\]; there are: speed, turn, trial, side"):
        load_data(path, columns=["pupil"])
    with pytest.raises(MissingKey, match="no entry 'other'; there are: behaviour"):
        load_data(path, key="other")


def test_a_single_column(frames: Path) -> None:
    assert np.array_equal(load_data(frames / "series.h5").ravel(), BEHAVIOUR["speed"])


class _Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


def test_what_hides_in_the_names_of_columns_is_not_run(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.h5"
    path.write_bytes((frames / "aux_table.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["behaviour"].attrs["non_index_axes"] = np.bytes_(pickle.dumps(_Evil(), protocol=0))
    with pytest.raises(DataError, match="a table of pandas that cannot be read"):
        load_data(path)
    assert not (tmp_path / "ran").exists()
    with h5py.File(path, "r+") as file:
        file["behaviour"].attrs["pandas_type"] = np.bytes_("panel")
    with pytest.raises(DataError, match="a table of kind 'panel'; known: frame"):
        load_data(path)


def _csv(folder: Path, frames: Path) -> Path:
    lines = [
        "scorer" + ",DLC_resnet50" * 6,
        "bodyparts" + ",nose" * 3 + ",tail base" * 3,
        "coords" + ",x,y,likelihood" * 2,
    ]
    for t in range(12):
        nose = "999,999,0.1" if t in (4, 5) else f"{t},{2 * t},1"
        lines.append(f"{t},{nose},{'7,7,0.2' if t == 0 else f'{100 + t},{50 - t},1'}")
    (folder / "dlc.csv").write_text("\n".join(lines))
    return folder / "dlc.csv"


KINDS = {
    "table": lambda folder, frames: frames / "dlc_table.h5",
    "fixed": lambda folder, frames: frames / "dlc_fixed.h5",
    "csv": _csv,
}


@pytest.mark.parametrize("kind", KINDS)
def test_keypoints_keep_their_frames(kind: str, tmp_path: Path, frames: Path) -> None:
    path, t = KINDS[kind](tmp_path, frames), np.arange(12.0)
    nose = load_data(path, columns=["nose"])
    assert np.allclose(nose, np.stack([t, 2 * t], axis=1))  # frames 4 and 5 were unlikely: they lie between the others
    both = load_deeplabcut(path, keypoints=["tail base", "nose"])
    assert both.shape == (12, 4)
    assert np.isnan(both[0, :2]).all()  # not seen before: nothing is made up
    assert np.allclose(both[1:, 0], 100 + t[1:])
    assert np.array_equal(load_data(path)[:, :2], nose)
    assert np.array_equal(load_deeplabcut(path, pcutoff=0)[4], [999, 999, 104, 46])
    with pytest.raises(MissingKey, match=r"no keypoint 'nos'; did you mean 'nose'.*there are: nose, tail base"):
        load_data(path, columns=["nos"])


def test_labelled_frames_and_several_animals(tmp_path: Path) -> None:
    lines = ["scorer,,,me,me", "bodyparts,,,nose,nose", "coords,,,x,y"]
    lines += [f"labeled-data,reach,img{t}.png,{t},{'' if t == 1 else 2 * t}" for t in range(3)]
    (tmp_path / "labelled.csv").write_text("\n".join(lines))
    assert np.array_equal(load_data(tmp_path / "labelled.csv"), [[0, 0], [1, 2], [2, 4]])
    head = ["scorer,me,me", "individuals,a,a", "bodyparts,nose,nose", "coords,x,y", "0,1,2"]
    (tmp_path / "animals.csv").write_text("\n".join(head))
    with pytest.raises(DataError, match=r"several animals \(a\)"):
        load_data(tmp_path / "animals.csv")
    pd.DataFrame({"a": [1.0, 2.0]}).to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(DataError, match="no table of DeepLabCut"):
        load_deeplabcut(tmp_path / "other.csv")


def test_the_fixtures_are_what_pandas_reads(frames: Path) -> None:
    pytest.importorskip("tables")
    assert np.array_equal(pd.read_hdf(frames / "aux_fixed.h5")["turn"], BEHAVIOUR["turn"])  # type: ignore[index]
    assert io.BytesIO((frames / "dlc_table.h5").read_bytes()).read(4) == b"\x89HDF"

"""The verb ``hybrid``: from YAML to a hybrid recording and back, on every layout, and what it says to bad input."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hybrid_data import Toy, make_toy
from spikeprint.cli import main
from spikeprint.core.config import RecordingParams
from spikeprint.io.readers.phy import read_phy
from spikeprint.io.traces.recordings import open_recording

OPTIONS = {"n_units": 2, "channels": {"radius_um": 45.0}, "times": {"mode": "renewal"}}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("verb") / "recording")


@pytest.fixture
def config(toy: Toy, tmp_path: Path) -> Path:
    """A file of options for the toy."""
    path = tmp_path / "options.yaml"
    given = OPTIONS | {"source": str(toy.folder), "sorting": str(toy.sorting), "target": str(tmp_path / "target")}
    path.write_text(yaml.safe_dump(given))
    return path


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """Run the verb; what it printed, to standard error where it failed."""
    capsys.readouterr()
    found = main(["hybrid", *map(str, words)])
    out, err = capsys.readouterr()
    assert found == code, out + err
    return err if code else out


def test_the_whole_way_there_and_back(
    toy: Toy, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    before = {path.name: path.read_bytes() for path in toy.folder.iterdir()}
    assert "a plan of 2 hybrid units" in said(capsys, "plan", "--config", config)
    assert {path.name for path in target.iterdir()} == {"plan.npz", "plan.json"}
    assert "hybrid spikes" in said(capsys, "apply", target)
    hybrid = target / "traces0.GT.bin"
    assert hybrid.read_bytes() != before["traces0.bin"]
    assert {path.name: path.read_bytes() for path in toy.folder.iterdir()} == before

    units, spikes = pd.read_csv(target / "hybrid_units.csv"), pd.read_csv(target / "hybrid_spikes.csv")
    firings = np.load(target / "firings_true.npy")
    assert firings.shape == (3, len(spikes))
    assert firings.dtype == np.int64
    np.testing.assert_array_equal(firings[0], units["peak_channel"].to_numpy()[spikes["unit_id"]])
    np.testing.assert_array_equal(firings[1:], spikes[["sample", "unit_id"]].to_numpy().T)
    opened = open_recording(target, RecordingParams(format="binary"))
    assert opened.get_num_channels() == 24
    truth = read_phy(target / "truth")[0]
    assert truth.unit_ids.tolist() == ["0", "1"]
    measured = np.ptp(truth.templates.values, axis=1)
    assert (measured[[0, 1], units["peak_channel"]] > 0.85 * np.nanmax(measured, axis=1)).all()

    told = json.loads(said(capsys, "score", target, target / "truth", "--json"))
    assert (told["accuracy"], told["recall"], told["n_assigned"]) == (1.0, 1.0, 2)
    scored = pd.read_csv(target / "score" / "units.csv")
    assert (scored["template_correlation"] > 0.9).all()
    assert (scored["template_distance"] < 0.6).all()
    assert {path.name for path in (target / "score").iterdir()} == {
        "units.csv", "confusion.csv", "collisions.csv", "score.json", "score.png",
    }  # fmt: skip

    assert "all bytes as in the source" in said(capsys, "remove", target, "--out", tmp_path / "back")
    assert (tmp_path / "back" / "traces0.bin").read_bytes() == before["traces0.bin"]
    said(capsys, "remove", target)
    assert hybrid.read_bytes() == before["traces0.bin"]


def test_exports(toy: Toy, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pynwb import NWBHDF5IO

    target = tmp_path / "target"
    said(capsys, "plan", "--config", config)
    said(capsys, "apply", target)
    units = pd.read_csv(target / "hybrid_units.csv", dtype={"source_unit": str})
    said(capsys, "export", target, tmp_path / "hf", "--format", "hybridfactory")
    files = sorted(path.name.split("-")[0] for path in (tmp_path / "hf").iterdir())
    assert files == ["annotations", "artificial_units", "dtype", "firings_true.npy", "metadata", "probe"]
    (table,) = (tmp_path / "hf").glob("artificial_units-*.csv")
    artificial = pd.read_csv(table)
    assert list(artificial) == ["timestep", "true_unit", "new_unit", "center_channel"]
    assert set(artificial["new_unit"]) == {4, 5}
    assert set(artificial["center_channel"]) == set(units["peak_channel"])
    firings = np.load(tmp_path / "hf" / "firings_true.npy")
    assert firings.dtype == np.uint64
    assert set(firings[2]) == {int(unit) for unit in units["source_unit"]}
    (table,) = (tmp_path / "hf").glob("annotations-*.csv")
    assert len(pd.read_csv(table)) == len(artificial) + sum(map(len, toy.trains.values()))
    said(capsys, "export", target, tmp_path / "truth.nwb", "--format", "nwb")
    with NWBHDF5IO(tmp_path / "truth.nwb", "r") as io:
        table = io.read().units.to_dataframe()
    assert table["source_unit"].tolist() == units["source_unit"].tolist()
    assert table["peak_channel"].tolist() == units["peak_channel"].tolist()
    assert [len(times) for times in table["spike_times"]] == units["n_spikes"].tolist()
    assert "exists already" in said(capsys, "export", target, tmp_path / "hf", "--format", "phy", code=1)


def test_in_place_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = make_toy(tmp_path / "recording", seconds=4.0, n_files=2, byte_offset=16)
    files = sorted(toy.folder.glob("*.bin"))
    before = [path.read_bytes() for path in files]
    words = [f"--set={key}={value}" for key, value in (("n_units", 1), ("units", "['2']"), ("channels.radius_um", 45))]
    said(capsys, "plan", tmp_path / "t", "--source", toy.folder, "--sorting", toy.sorting, *words)
    assert "changed" in said(capsys, "apply", tmp_path / "t", "--in-place")
    assert [path.read_bytes() for path in files] != before
    assert "is applied already" in said(capsys, "apply", tmp_path / "t", "--in-place", code=1)
    assert "its plan is applied; remove it first" in said(
        capsys, "plan", tmp_path / "t", "--source", toy.folder, "--sorting", toy.sorting, "--force", code=1
    )
    said(capsys, "remove", tmp_path / "t")
    assert [path.read_bytes() for path in files] == before


# Bad input -----------------------------------------------------------------------------------------------------------


def spoil_missing(toy: Toy) -> None:
    (toy.folder / "traces0.bin").unlink()


def spoil_empty(toy: Toy) -> None:
    (toy.folder / "traces0.bin").write_bytes(b"")


def spoil_cut(toy: Toy) -> None:
    with (toy.folder / "traces0.bin").open("r+b") as file:
        file.truncate(24 * 2 * 5000 + 20 * 2)


def spoil_probe(toy: Toy) -> None:
    (toy.folder / "probe.json").unlink()


SPOILED = {
    "missing": (spoil_missing, 1, "traces of no known layout; needed is spikeglx: .*openephys"),
    "empty": (spoil_empty, 1, r"traces0\.bin: 0 bytes; 24 channels of int16 need a multiple of 48"),
    "cut": (spoil_cut, 1, r"need a multiple of 48 .*channel counts that fit: .*\b20, "),
    "no probe": (spoil_probe, 1, r"no probe file beside recording\.json"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_traces(case: str, toy: Toy, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, code, pattern = SPOILED[case]
    shutil.copytree(toy.folder, tmp_path / "copy")
    spoil(Toy(tmp_path / "copy", toy.sorting, toy.trains, toy.positions_um))
    before = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    told = said(capsys, "plan", "--config", config, "--source", tmp_path / "copy", code=code)
    assert told.count("\n") == 1
    assert re.search(pattern, told), told
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == before
    assert not (tmp_path / "target").exists()


BAD_WORDS = {
    "source": (["--source=nowhere"], 1, "nowhere: missing; a recording is needed"),
    "sorting": (["--sorting=nowhere"], 2, "nowhere: no such file or folder"),
    "unknown key": (["--set=relocat.mode=none"], 2, "unknown key 'relocat'; did you mean 'relocate'"),
    "unknown inner key": (["--set=relocate.moed=none"], 2, "unknown key 'relocate.moed'; did you mean 'mode'"),
    "range": (["--set=rank=0"], 2, "rank = 0: input should be greater than or equal to 1"),
    "word": (["--set=rank"], 2, "--set rank: KEY=VALUE is needed"),
    "choice": (["--set=mode=pca"], 2, "mode = 'pca': input should be 'svd' or 'mean'"),
    "low above high": (["--set=amplitude={low: 3, high: 2}"], 2, "low 3 exceeds high 2"),
    "shift": (["--set=relocate.mode=channel_shift"], 2, "mode channel_shift needs channel_shift"),
    "times": (["--set=times.mode=given"], 2, "mode given needs file"),
    "unit": (["--set=units=[17]"], 2, "no unit '17'; there are 3, the nearest: 3, 2, 1"),
    "motion": (["--set=drift.file=nowhere.npz"], 1, "nowhere.npz: missing; a motion"),
    "rank": (["--set=max_events=4", "--set=units=[1]"], 1, "1: 4 events of .*; rank 6 needs as many"),
    "place": (["--set=relocate.min_um=5000"], 1, "no unit can be made a hybrid of .*no place for it"),
    "rate": (["--set=times.rate_hz=900"], 2, "900 Hz with a refractory period of 2 ms leaves no interval"),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_words(case: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, code, pattern = BAD_WORDS[case]
    told = said(capsys, "plan", "--config", config, *words, code=code)
    assert re.search(pattern, told), told
    assert "Traceback" not in told
    assert not (tmp_path / "target").exists()


def test_bad_files(toy: Toy, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    told = said(capsys, "plan", "--config", config, "--sorting", tmp_path / "empty", code=2)
    assert "of no known layout; needed is phy: " in told
    assert "rez: Kilosort's rez.mat; jrclust: " in told
    config.write_text("a: [1,\n")
    assert "options.yaml: not valid YAML" in said(capsys, "plan", "--config", config, code=2)
    config.write_text("- 1\n")
    assert "holds list, a mapping of options is needed" in said(capsys, "plan", "--config", config, code=2)
    assert "missing; a YAML file" in said(capsys, "plan", "--config", tmp_path / "none.yaml", code=2)
    assert "no source: name it by --source" in said(capsys, "plan", tmp_path / "t", code=2)
    assert "no target: " in said(capsys, "plan", "--source", toy.folder, code=2)
    assert "no plan.json" in said(capsys, "apply", tmp_path / "empty", code=1)
    assert "no plan.json" in said(capsys, "remove", tmp_path / "empty", code=1)


def test_plans_and_files_are_kept(toy: Toy, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "target"
    said(capsys, "plan", "--config", config)
    assert "holds a plan already; --force replaces it" in said(capsys, "plan", "--config", config, code=1)
    assert "is not applied" in said(capsys, "score", target, toy.sorting, code=1)
    assert "is not applied" in said(capsys, "remove", target, code=1)
    said(capsys, "apply", target)
    before = (target / "traces0.GT.bin").read_bytes()
    assert "holds traces0.GT.bin already; --force replaces it" in said(capsys, "apply", target, code=1)
    said(capsys, "apply", target, "--force")
    assert (target / "traces0.GT.bin").read_bytes() == before
    assert "is for --in-place" in said(capsys, "apply", target, "--resume", code=2)
    assert "--tolerance-ms 0" in said(capsys, "score", target, toy.sorting, "--tolerance-ms", 0, code=2)
    other = make_toy(tmp_path / "other", seconds=11.0)
    told = said(capsys, "apply", target, "--force", "--source", other.folder, code=1)
    assert "not what the plan was made for" in told
    plan = json.loads((target / "plan.json").read_text())
    (target / "plan.json").write_text(json.dumps(plan | {"version": 99}))
    assert "version 99, 1 is needed" in said(capsys, "apply", target, code=1)
    (target / "plan.json").write_text("{")
    assert "not valid JSON" in said(capsys, "apply", target, code=1)

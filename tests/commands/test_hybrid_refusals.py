"""What the verb ``hybrid`` refuses while it runs: one line, exit code 1, and the recording as it was."""

import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hybrid_data import Toy, make_toy
from spikeprint.cli import main

NAMES = "unit_id,source_unit,peak_channel,x_um,y_um,amplitude_uv,snr,n_spikes,rate_hz,shift_x_um,shift_y_um"


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return make_toy(tmp_path / "recording", seconds=4.0)


@pytest.fixture
def plan(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Plan with further options; what was said, and the code."""

    def run(*words: object, **options: object) -> tuple[int, str]:
        given = {"units": ["1", "3"], "channels": {"radius_um": 45.0}, "times": {"mode": "renewal"}} | options
        (tmp_path / "o.yaml").write_text(yaml.safe_dump(given))
        step = words or ("plan", tmp_path / "t", "--config", tmp_path / "o.yaml", "--source", toy.folder)
        capsys.readouterr()
        more = () if words else ("--sorting", toy.sorting)
        code = main(["hybrid", *map(str, (*step, *more))])
        out, err = capsys.readouterr()
        return code, err if code else out

    return run


def test_samples_beyond_the_type(toy: Toy, plan, tmp_path: Path) -> None:
    before = (toy.folder / "traces0.bin").read_bytes()
    assert plan(amplitude={"low": 150, "high": 200})[0] == 0
    for words in (("apply", tmp_path / "t"), ("apply", tmp_path / "t", "--in-place")):
        code, told = plan(*words)
        assert code == 1
        assert "samples leave the range of int16, first sample" in told
        assert {path.name for path in (tmp_path / "t").iterdir()} == {"plan.npz", "plan.json"}
        assert (toy.folder / "traces0.bin").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": {"min_snr": 1e9}}, "no compact footprint: channel"),
        (
            {"times": {"mode": "given", "file": "times.csv"}},
            "the spike given at sample 5 of traces0.bin crosses its end",
        ),
    ],
)
def test_units_that_cannot_be_planned(
    options: dict, message: str, toy: Toy, plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("times.csv").write_text("unit,sample\n1,5\n1,900\n3,5\n")
    before = (toy.folder / "traces0.bin").read_bytes()
    code, told = plan(**options)
    assert code == 1
    assert message in told
    assert not (tmp_path / "t").exists()
    assert (toy.folder / "traces0.bin").read_bytes() == before


def test_a_run_in_place_without_room_is_undone(toy: Toy, plan, tmp_path: Path) -> None:
    before, target = (toy.folder / "traces0.bin").read_bytes(), tmp_path / "t"
    assert plan()[0] == 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        code, told = plan("apply", target, "--in-place")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert "the journal cannot be written" in told
    assert "make room, then use --resume" in told
    for words in (("apply", target), ("remove", target), ("apply", target, "--in-place")):
        code, told = plan(*words)
        assert code == 1
        assert "applying in place was interrupted" in told
    assert plan("apply", target, "--in-place", "--resume")[0] == 0
    assert (toy.folder / "traces0.bin").read_bytes() != before
    assert plan("remove", target)[0] == 0
    assert (toy.folder / "traces0.bin").read_bytes() == before


def test_floating_point_traces_come_back(plan, tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "floats", seconds=3.0, dtype="float32")
    before = (toy.folder / "traces0.bin").read_bytes()
    words = ("plan", tmp_path / "f", "--config", tmp_path / "o.yaml", "--source", toy.folder, "--sorting", toy.sorting)
    assert plan(*words)[0] == 0
    assert plan("apply", tmp_path / "f", "--in-place")[0] == 0
    assert (tmp_path / "f" / "kept.samples").stat().st_size > 0
    assert (toy.folder / "traces0.bin").read_bytes() != before
    assert plan("remove", tmp_path / "f")[0] == 0
    assert (toy.folder / "traces0.bin").read_bytes() == before


def test_a_tetrode_is_told_what_fits_it(toy: Toy, plan, tmp_path: Path) -> None:
    tetrode = make_toy(tmp_path / "tetrode", n_channels=4, seconds=4.0, n_units=1)
    words = ("plan", tmp_path / "f", "--config", tmp_path / "o.yaml", "--source", tetrode.folder)
    words = (*words, "--sorting", tetrode.sorting, "--set=units=1")
    code, told = plan(*words)
    assert code == 1
    assert "or (few contacts, as a tetrode's) mode none: the same contacts, other times" in told
    assert plan(*words, "--set=relocate.mode=none")[0] == 0
    before = (tetrode.folder / "traces0.bin").read_bytes()
    assert plan("apply", tmp_path / "f", "--in-place")[0] == 0
    assert plan("remove", tmp_path / "f")[0] == 0
    assert (tetrode.folder / "traces0.bin").read_bytes() == before


def test_outputs_have_their_columns_and_others_read_them(plan, tmp_path: Path) -> None:
    from spikeinterface.extractors import read_phy

    assert plan()[0] == 0
    assert plan("apply", tmp_path / "t")[0] == 0
    units = pd.read_csv(tmp_path / "t" / "hybrid_units.csv")
    assert ",".join(units) == NAMES
    truth = read_phy(tmp_path / "t" / "truth")
    firings = np.load(tmp_path / "t" / "firings_true.npy")
    assert truth.get_sampling_frequency() == 20_000
    for unit in truth.unit_ids:
        assert truth.get_unit_spike_train(unit).tolist() == firings[1, firings[2] == unit].tolist()
    assert plan("export", tmp_path / "t", tmp_path / "hf", "--format", "hybridfactory")[0] == 0
    columns = {path.name.split("-")[0]: list(pd.read_csv(path)) for path in (tmp_path / "hf").glob("*.csv")}
    assert columns == {
        "metadata": ["filename", "samples", "start_time"],
        "annotations": ["timestep", "cluster", "template"],
        "artificial_units": ["timestep", "true_unit", "new_unit", "center_channel"],
    }

"""Stages hybrid and score_hybrid: a row of params.yaml becomes a hybrid recording, a real sorter is scored by it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hybrid_data import GAIN_UV, RATE_HZ, make_toy
from spikeprint.cli import main
from spikeprint.core.errors import ConfigError
from spikeprint.core.types import Sorting
from spikeprint.io.arrays import write_sorting
from spikeprint.io.hybrid.plans import read_plan
from spikeprint.stages import hybrid, score_hybrid

ROW = {
    "recording": "small", "units": ["1", "3"], "channels": {"radius_um": 45},
    "times": {"mode": "renewal", "rate_hz": 15}, "amplitude": {"mode": "target_snr", "low": 15, "high": 20},
}  # fmt: skip


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose only recording is there and sorted."""
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["simulate"]["recordings"] = {}
    values["recordings"] = {"small": {"format": "binary", "sorter": "lupin"}}
    values["hybrid"] = {"mix": ROW}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    toy = make_toy(tmp_path / "data" / "raw" / "small")
    trains = list(toy.trains.values())
    write_sorting(
        tmp_path / "data" / "interim" / "sortings" / "small",
        Sorting(
            unit_ids=np.array(list(toy.trains)),
            spike_times=np.concatenate(trains),
            offsets=np.cumsum([0, *map(len, trains)]),
            time_rate_hz=RATE_HZ,
            duration_s=np.full(3, 12.0),
            labels=np.full(3, ""),
        ),
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_row_becomes_a_plan_traces_and_a_figure(project: Path) -> None:
    before = (project / "data/raw/small/traces0.bin").read_bytes()
    hybrid.main(["mix"])
    folder = project / "data" / "hybrid" / "mix"
    assert {path.name for path in (folder / "plan").iterdir()} == {"plan.npz", "plan.json", "hybrid_units.csv"}
    told = json.loads((project / "reports/metrics/hybrid/mix/injected.json").read_text())
    assert (told["n_units"], told["n_dropped"], told["n_clipped"]) == (2, 0, 0)
    assert told["n_spikes"] == pytest.approx(2 * 15 * 12, rel=0.25)
    assert all(14.9 < snr < 20.1 for snr in told["snr"])
    assert told["amplitude_uv"][0] == pytest.approx(told["snr"][0] * 10 * GAIN_UV, rel=0.25)
    assert (project / "reports/hybrid/mix/injected.png").stat().st_size > 10_000
    assert (project / "data/raw/small/traces0.bin").read_bytes() == before
    plan = read_plan(folder / "plan")
    assert plan.source.path == plan.config["source"] == "data/raw/small"  # no path of one machine
    first = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz"}
    shutil.rmtree(folder)
    hybrid.main(["mix"])
    again = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz"}
    assert again == first
    assert main(["hybrid", "remove", str(folder / "recording")]) == 0
    assert (folder / "recording" / "traces0.GT.bin").read_bytes() == before


def test_rows_that_do_not_fit(project: Path) -> None:
    with pytest.raises(ConfigError, match="found mxi, needs one row of hybrid: mix; did you mean 'mix'"):
        hybrid.main(["mxi"])
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["hybrid"]["mix"] = ROW | {"recording": "smal"}
    values["recordings"]["small"] = {"format": "binary"}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"hybrid\.mix\.recording: no row 'smal' .*did you mean 'small'"):
        hybrid.main(["mix"])
    values["hybrid"]["mix"] = ROW
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"hybrid\.mix: recording small has no sorter; set one in this row"):
        score_hybrid.main(["mix"])


@pytest.mark.slow
def test_a_real_sorter_finds_the_large_units(project: Path) -> None:
    hybrid.main(["mix"])
    score_hybrid.main(["mix"])
    reports = project / "reports" / "hybrid" / "mix"
    told = json.loads((project / "reports" / "metrics" / "hybrid" / "mix" / "score.json").read_text())
    assert told["sorter"] == "lupin"
    assert told["n_hybrid"] == 2
    units = pd.read_csv(reports / "units.csv")
    assert units["best_agreement"].max() > 0.8
    assert pd.read_csv(reports / "confusion.csv").shape[0] == 3
    assert (reports / "score.png").stat().st_size > 10_000

"""``spikeprint generate``: each action writes its table, says its numbers, and refuses in one line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spikeprint.cli import main
from spikeprint.core.config import ModelParams
from spikeprint.core.types import UnitTable
from spikeprint.cvae.fit import add_head, fit_cvae
from spikeprint.cvae.units import Units
from spikeprint.io.datasets import write_canonical
from spikeprint.registry.bundle import write_bundle

TINY = {"n_members": 4, "n_hidden": 16, "epochs": 20}
VALUES = [f"v{i:02d}" for i in range(50)]


@pytest.fixture(scope="module")
def workplace(root: Path, units: Units, model_params: ModelParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model, one without a read-out beside it, and 40 canonical units, whole and waveforms alone."""
    folder = tmp_path_factory.mktemp("generate")
    shutil.copyfile(root / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    params = model_params.model_copy(update=TINY)
    fitted = add_head(fit_cvae(units, params, 0), units, params.head, 0)
    write_bundle(folder / "models" / "cvae" / "production", fitted.config, fitted.arrays)
    blind = params.model_copy(update={"classification_weight": 0.0, "epochs": 1, "head": "knn"})
    bare = fit_cvae(Units(units.raw, units.origin, np.full(len(units), "")), blind, 0)
    write_bundle(folder / "bare", bare.config, bare.arrays)
    some = units.take(np.arange(40))
    metadata = pd.DataFrame({"unit_id": [f"u{i}" for i in range(40)], "passes_qc": True, "qc_reason": ""})
    card = {name: str(words[0]) for name, words in some.origin.items()}
    table = UnitTable(
        some.raw["waveform"].astype(np.float32), some.raw["isi"], some.raw["acg"], some.labels, metadata, card
    )
    write_canonical(folder / "units", table)
    nothing = {name: np.full_like(x, np.nan) for name, x in some.raw.items() if name != "waveform"}
    whole = np.where(np.isnan(table.waveform), table.waveform[0], table.waveform)
    write_canonical(folder / "alone", replace(table, waveform=whole, **nothing))
    return folder


@pytest.fixture
def call(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the verb in the project; return its exit code and the table it wrote."""
    monkeypatch.chdir(workplace)

    def run(*words: object) -> tuple[int, pd.DataFrame | None]:
        out = tmp_path / "out.csv"
        code = main(["generate", *map(str, words), "--out", str(out)])
        return code, pd.read_csv(out) if out.exists() else None

    return run


def test_impute(call, capsys: pytest.CaptureFixture[str]) -> None:
    code, frame = call("impute", "units")
    assert code == 0
    assert list(frame.columns) == ["unit_id", "modality", "measured", *VALUES]
    assert frame["modality"].value_counts().to_dict() == {"waveform": 40, "isi": 40, "acg": 40}
    missing = frame[(frame["modality"] == "acg") & ~frame["measured"]]
    assert missing["unit_id"].tolist() == ["u0", "u10", "u20", "u30"]
    assert np.isfinite(missing[VALUES]).all(axis=None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["waveform", "isi", "acg"]
    assert "over 36 units that have it" in lines[2]


def test_impute_of_one_modality_is_drawn(call, tmp_path: Path) -> None:
    code, frame = call("impute", "units", "--modality", "isi", "--figure", tmp_path / "isi.png")
    assert code == 0
    assert set(frame["modality"]) == {"isi"}
    assert (tmp_path / "isi.png").read_bytes().startswith(b"\x89PNG")


def test_swap(call, capsys: pytest.CaptureFixture[str]) -> None:
    code, frame = call("swap", "units", "--to-dataset", "right", "--to-technology", "tetrode")
    assert code == 0
    assert len(frame) == 120
    assert "decoded as of right, tetrode" in capsys.readouterr().out
    _, own = call("swap", "units", "--to-dataset", "left")
    assert not np.allclose(frame[VALUES], own[VALUES])
    assert "changes by 0.0000" in capsys.readouterr().out


def test_interpolate(call, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("--from-type", "PV", "--to-type", "SOM", "--n", 5, "--figure", tmp_path / "way.png")
    code, frame = call("interpolate", *words)
    assert code == 0
    assert frame["unit_id"].unique().tolist() == [f"step_0{i}" for i in range(5)]
    first, last = frame.iloc[0], frame.iloc[4]
    assert first["p_PV"] > 0.5 > last["p_PV"]
    assert last["p_SOM"] > 0.5 > first["p_SOM"]
    assert "P(SOM) along the way" in capsys.readouterr().out


def test_sample(call, capsys: pytest.CaptureFixture[str]) -> None:
    code, frame = call("sample", "--n", 9, "--seed", 4)
    assert code == 0
    assert len(frame) == 27
    assert frame.drop_duplicates("unit_id")["cell_type"].value_counts().to_dict() == {"PV": 3, "SOM": 3, "pyramidal": 3}
    _, same = call("sample", "--n", 9, "--seed", 4)
    pd.testing.assert_frame_equal(frame, same)
    _, one = call("sample", "--n", 3, "--cell-type", "PV", "--dataset", "left")
    assert set(one["cell_type"]) == {"PV"}
    capsys.readouterr()
    assert call("sample", "units", "--n", 30)[0] == 0
    assert "30 samples, 35 real units: coverage" in capsys.readouterr().out


def test_json(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(workplace)
    out = tmp_path / "made.json"
    assert main(["generate", "sample", "--n", "2", "--out", str(out)]) == 0
    assert [row["modality"] for row in json.loads(out.read_text())] == ["waveform"] * 2 + ["isi"] * 2 + ["acg"] * 2
    capsys.readouterr()
    assert main(["generate", "sample", "--n", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["impute"], "PATH is needed"),
        (["impute", "units", "--modality", "wave"], "did you mean 'waveform'?; known: waveform, isi, acg"),
        (["swap", "units"], "to where?"),
        (["swap", "units", "--to-dataset", "rihgt"], "did you mean 'right'?; known: left, right"),
        (["swap", "units", "--to-species", "rat"], "not told the species"),
        (["interpolate", "--from-type", "PV"], "--from-type and --to-type are needed"),
        (["interpolate", "--from-type", "PV", "--to-type", "SOMM"], "did you mean 'SOM'?; known: PV, SOM, pyramidal"),
        (["interpolate", "--from-type", "PV", "--to-type", "SOM", "--model", "bare"], "trained without labels"),
        (["interpolate", "units", "--from-type", "PV", "--to-type", "SOM"], "units is not needed"),
        (["sample", "--n", "0"], "at least 1 unit"),
        (["sample", "--figure", "a.doc"], "--figure a.doc: the name must end in one of .png"),
        (["sample", "--figure", "units"], "--figure units: the name must end in one of .png"),
        (
            ["impute", "alone", "--figure", "a.png"],
            "--figure a.png: nothing to draw; waveform: no unit has it and another",
        ),
        (["sample", "--cell-type", "pv"], "no cell type 'pv'"),
        (["sample", "--dataset", "lefty"], "did you mean 'left'?"),
        (["sample", "--model", "http://127.0.0.1:1"], "a server only classifies"),
        (["sample", "--model", "nowhere"], "no model here"),
    ],
)
def test_refusals_are_one_line(call, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, frame = call(*words)
    said = capsys.readouterr().err.strip().splitlines()
    assert code in (1, 2)
    assert frame is None
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert message in said[0]


def test_an_unknown_action_is_wrong_usage(call, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call("dream")
    assert caught.value.code == 2
    assert "impute" in capsys.readouterr().err

"""``spikeprint classify``: answers are those of the model, told what the folder tells of each unit."""

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
from spikeprint.registry.bundle import open_bundle, write_bundle


def test_a_model_that_is_told_regions_is_told_those_of_the_folder(
    root: Path, units: Units, model_params: ModelParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(root / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    region = np.random.default_rng(0).choice(["CA1", "V1", ""], len(units))
    taught = replace(units, origin={**units.origin, "region": region})
    params = model_params.model_copy(update={"n_members": 2, "n_hidden": 16, "epochs": 3, "conditions": ["region"]})
    fitted = add_head(fit_cvae(taught, params, 0), taught, params.head, 0)
    write_bundle(tmp_path / "bundle", fitted.config, fitted.arrays)
    few = taught.take(np.arange(30))
    metadata = pd.DataFrame(
        {"unit_id": np.arange(30).astype(str), "passes_qc": True, "qc_reason": "", "region": few.origin["region"]}
    )
    card = {name: str(words[0]) for name, words in units.origin.items()}
    traces = [few.raw["waveform"].astype(np.float32), few.raw["isi"], few.raw["acg"]]
    write_canonical(tmp_path / "units", UnitTable(*traces, few.labels, metadata, card))
    monkeypatch.chdir(tmp_path)
    for verb in ("classify", "embed"):
        assert main([verb, "units", "--model", "bundle", "--out", f"{verb}.csv"]) == 0
    predictor = open_bundle(tmp_path / "bundle")
    answer, untold = (predictor.predict(few.raw, words) for words in ({"region": few.origin["region"]}, {}))
    found = pd.read_csv("classify.csv")
    assert np.allclose(found["confidence"], answer.confidence, atol=1e-6)
    assert not np.allclose(answer.confidence, untold.confidence, atol=1e-6)
    assert np.allclose(pd.read_csv("embed.csv").iloc[:, 1:], answer.embedding, atol=1e-5)

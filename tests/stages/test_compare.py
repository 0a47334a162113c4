"""The stage ``compare`` on canonical folders made here."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.core.types import UnitTable
from spikeprint.io.datasets import write_canonical
from spikeprint.stages import compare

COUNTS = {"representation": "counts_1ms"}


def write_dataset(project: Path, name: str, seed: int, classes: list[str]) -> None:
    """A canonical folder of 40 units."""
    rng = np.random.default_rng(seed)
    metadata = pd.DataFrame(
        {
            "unit_id": np.arange(40).astype(str),
            "firing_rate_hz": rng.lognormal(1, 0.5, 40) * (50 if name == "fast" else 1),
            "passes_qc": True,
            "qc_reason": "",
        }
    )
    card = {"dataset": name, "technology": "tetrode", "species": "mouse", "format": "arrays", "source_md5": "0"}
    card |= {"n_units": 40, "missing": {"waveform": 0, "isi": 0, "acg": 40}, "isi": COUNTS, "acg": COUNTS}
    card["waveform"] = {"unit": "uV", "sampling_frequency_hz": 20_000.0}
    waveform, isi = rng.normal(size=(40, 50)).astype(np.float32), rng.poisson(3, (40, 100)).astype(float)
    table = UnitTable(waveform, isi, np.full((40, 201), np.nan), np.resize(classes, 40), metadata, card)
    write_canonical(project / "data" / "canonical" / name, table)


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three datasets of which one fires faster than the others."""
    values = yaml.safe_load((root / "params.yaml").read_text())
    row = next(iter(values["datasets"].values()))
    values["datasets"] = {name: row for name in ("one", "two", "fast")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    for seed, name in enumerate(values["datasets"]):
        write_dataset(tmp_path, name, seed, ["PV", "SOM", "SOM", ""] if name == "one" else ["PV", "SOM"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def keep(project: Path, *names: str) -> None:
    """Leave only these datasets in params.yaml."""
    path = project / "params.yaml"
    values = yaml.safe_load(path.read_text())
    values["datasets"] = {name: values["datasets"][name] for name in names}
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def result(project: Path) -> dict:
    """What the stage wrote."""
    return json.loads((project / "reports" / "metrics" / "comparison.json").read_text())


def test_the_one_that_differs_is_told(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        compare.main([])
    found = result(project)
    assert (found["n_datasets"], found["note"]) == (3, "")
    assert found["datasets"] == {"one": 40, "two": 40, "fast": 40}
    outside = {(row["dataset"], row["column"]) for row in found["outside"]}
    assert {("fast", "firing_rate_hz_ks"), ("fast", "firing_rate_hz_ratio")} <= outside
    rates = {row["dataset"]: row for row in found["columns"] if row["column"] == "firing_rate_hz"}
    assert rates["fast"]["ks"] == 1.0
    assert 20 < rates["fast"]["median_ratio"] < 100
    assert [row["total_variation"] for row in found["classes"]] == [0.166667, 0.166667, 0.0]
    assert {row["column"]: row["success"] for row in found["expectations"]}["firing_rate_hz_ks"] is False
    assert "compare: 3 datasets; not as expected: " in caplog.text
    assert "fast firing_rate_hz_ks 1, " in caplog.text


def test_pages_open_without_a_network_and_name_the_dataset(project: Path) -> None:
    compare.main([])
    docs = project / "reports" / "validation" / "_between"
    index = (docs / "index.html").read_text()
    (page,) = docs.glob("validations/**/*.html")
    assert page.relative_to(docs).as_posix() in index
    assert "firing_rate_hz_ks" in index
    text = page.read_text()
    assert "<script" not in text
    assert ">fast<" in text.replace(" ", "").replace("\n", "")


def test_twice_gives_the_same_bytes(project: Path) -> None:
    path = project / "reports" / "metrics" / "comparison.json"
    compare.main([])
    first = path.read_bytes()
    compare.main([])
    assert path.read_bytes() == first


def test_one_dataset_has_nothing_to_compare(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    compare.main([])
    keep(project, "one")
    with caplog.at_level(logging.INFO):
        compare.main([])
    found = result(project)
    assert found["note"] == "one dataset: nothing to compare with"
    assert (found["expectations"], found["outside"], found["classes"]) == ([], [], [])
    assert {row["ks"] for row in found["columns"]} == {None}
    assert not (project / "reports" / "validation" / "_between").exists()
    assert "nothing to compare" in caplog.text


def test_errors_are_told(project: Path) -> None:
    with pytest.raises(ConfigError, match="compare: 1 arguments; none is needed"):
        compare.main(["one"])
    (project / "data" / "canonical" / "two" / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"two/labels\.csv: missing"):
        compare.main([])

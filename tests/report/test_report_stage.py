"""The stage reads what the pipeline wrote and writes the page and its figures."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from spikeprint.core.config import Params
from spikeprint.core.errors import DataError
from spikeprint.core.files import write_csv, write_json
from spikeprint.io.datasets import write_canonical
from spikeprint.stages.report import main

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {"data.png", "losses.png", "ablations.png", "confusion.png", "map.png", "generative.png"}


@pytest.fixture
def project(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    two_tables: dict,
    metrics_of: Callable,
    losses: pd.DataFrame,
    confusion_of: Callable,
    points_of: Callable,
    generative_of: Callable,
    generated: pd.DataFrame,
    hybrid_of: Callable,
) -> Path:
    """A project whose stages before ``report`` have run."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["datasets"] = {
        name: {"folder": name, "technology": "mea", "species": "rat", "format": "csv"} for name in two_tables
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    params = Params.load(tmp_path / "params.yaml")
    reports, registered = tmp_path / "reports", params.register_.ablation
    for name, table in two_tables.items():
        write_canonical(tmp_path / "data" / "canonical" / name, table)
        write_json(reports / "metrics" / "validation" / f"{name}.json", {"expectations": []})
    write_json(reports / "metrics" / "comparison.json", {"n_datasets": len(two_tables), "outside": []})
    for name in params.ablations:
        write_json(reports / "metrics" / f"{name}.json", metrics_of(name, two_tables, 0.7))
    write_json(reports / "metrics" / "generative.json", generative_of(two_tables))
    for part, told in hybrid_of().items():
        write_json(reports / "metrics" / "hybrid" / "toy_hybrid" / f"{part}.json", told)
    frames = {
        "generated": generated,
        "losses": losses,
        "confusion": confusion_of(two_tables),
        "map": points_of(two_tables),
    }
    for kind, frame in frames.items():
        write_csv(reports / "plots" / kind / f"{registered}.csv", frame)
    return tmp_path


def test_page_and_figures_are_written(project: Path) -> None:
    main([])
    assert {path.name for path in (project / "reports" / "figures").iterdir()} == FIGURES
    page = (project / "reports" / "summary.md").read_text(encoding="utf-8")
    assert set(re.findall(r"figures/(\w+\.png)", page)) == FIGURES


def test_a_second_run_writes_the_same_bytes(project: Path) -> None:
    main([])
    first = {path.name: path.read_bytes() for path in (project / "reports" / "figures").iterdir()}
    main([])
    assert first == {path.name: path.read_bytes() for path in (project / "reports" / "figures").iterdir()}


def test_a_missing_table_is_named(project: Path) -> None:
    registered = Params.load(project / "params.yaml").register_.ablation
    (project / "reports" / "plots" / "map" / f"{registered}.csv").unlink()
    with pytest.raises(DataError, match=f"map/{registered}.csv: missing"):
        main([])

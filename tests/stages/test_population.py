"""The stages of populations, in a project of their own: what each leaves behind, and what it says when it cannot."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from spikeprint.core.config import Params
from spikeprint.core.errors import ConfigError
from spikeprint.core.files import read_arrays, read_json
from spikeprint.population import PopulationEmbedder, read_population
from spikeprint.stages import bin as bin_stage
from spikeprint.stages import contrast, decode, population_report, simulate_population
from support import shrink


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose population stages have run one after another."""
    folder = tmp_path_factory.mktemp("populations")
    values = yaml.safe_load((root / "params.yaml").read_text())
    shrink(values)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "dvc.yaml").write_text("stages: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SPIKEPRINT_WORKERS", "1")
        for name in ("toy_track", "toy_images"):
            simulate_population.main([name])
            bin_stage.main([name])
        contrast.main(["position"])
        decode.main(["toy_images"])
        population_report.main([])
    return folder


def test_every_stage_leaves_what_it_promises(folder: Path) -> None:
    trials = read_population(folder / "data/populations/toy_images")
    assert trials.tensor().shape[1] == 10
    told = read_json(folder / "reports/populations/cleaning/toy_images.json")
    assert told["n_segments"] == told["steps"][-1]["after"] == len(trials.segments)
    model = PopulationEmbedder.load(folder / "models/population/position/model.safetensors")
    embeddings = read_arrays(folder / "models/population/position/embeddings.safetensors")
    track = read_population(folder / "data/populations/toy_track")
    assert np.array_equal(model.transform(track), embeddings["run_0"])
    metrics = read_json(folder / "reports/populations/contrast/position.json")
    assert set(metrics["control"]) == {"data", "shuffle 0"}
    assert len(metrics["consistency_matrix"]) == 6
    assert pd.read_csv(folder / "reports/populations/kshot/toy_images.csv")["top1"].between(0, 1).all()
    page = (folder / "reports/populations/summary.md").read_text()
    for name in ("embeddings", "losses", "consistency", "kshot", "confusion"):
        assert f"figures/{name}.png" in page
        assert (folder / f"reports/populations/figures/{name}.png").stat().st_size > 1000


def test_a_mode_of_a_session_that_is_not_there_is_told(root: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["population"]["modes"]["time"]["session"] = "toy_trak"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"no row 'toy_trak' under population\.sessions; did you mean 'toy_track'"):
        Params.load(tmp_path / "params.yaml")


@pytest.mark.slow
def test_dvc_builds_the_page_and_then_nothing(fresh_project: object, tmp_path: Path) -> None:
    project = fresh_project.copy(tmp_path / "project")  # type: ignore[attr-defined]
    ran = project.repro("population_report")
    assert {"bin@toy_track", "contrast@position", "decode@toy_images", "population_report"} <= ran
    assert project.repro("population_report") == set()

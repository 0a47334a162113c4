"""Stage localize in the real DAG: what makes it run again, and what does not. Real DVC."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from spikeprint.core.config import RawSessionParams
from spikeprint.core.errors import ConfigError
from spikeprint.core.files import read_json
from spikeprint.io.traces.ground_truth import write_recording
from spikeprint.stages import localize
from support import Project


def use_small(values: dict) -> None:
    values["recordings"] = {"small": {"format": "binary"}}
    values["localized"] = {"small": {}}
    values["localize"]["method"] = "monopole"
    row = {"folder": "data/interim/localized/small", "technology": "neuropixels", "species": "mouse"}
    values["datasets"] = {"small": row | {"format": "arrays"}}


@pytest.mark.slow
def test_positions_follow_the_traces_and_lead_to_the_unit_table(fresh_project: Project, tmp_path: Path) -> None:
    project = fresh_project.copy(tmp_path / "project")
    raw = RawSessionParams(
        n_channels=12, n_units=5, duration_s=8, sampling_frequency_hz=25000, noise_uv=6, drift_um=5, drift_period_s=8
    )
    folder = project.folder / "data/raw/small"
    truth = write_recording(folder, raw, 2)
    ends = zip(truth.unit_ids, truth.offsets[:-1], truth.offsets[1:], strict=True)
    np.savez(folder / "units.npz", **{unit: truth.spike_times[a:b] for unit, a, b in ends})
    project.edit_params(use_small)
    assert project.repro("features@small") == {"spikes@small", "snippets@small", "localize@small", "features@small"}
    scores = read_json(project.folder / "reports/metrics/localize/small.json")
    assert scores["median_um"] < 25
    assert project.repro("features@small") == set()
    project.edit_params(lambda values: values["localize"]["motion"].update(bin_s=0.5))
    assert project.repro("localize@small") == {"localize@small"}
    project.edit_params(lambda values: values["snippets"].update(n_components=4))
    assert project.repro("localize@small") == {"snippets@small", "localize@small"}


def test_localize_needs_a_known_row(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with pytest.raises(ConfigError, match=r"found toy, needs one row of localized: toy_recording"):
        localize.main(["toy"])
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["recordings"] = {}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"localized.toy_recording: no row 'toy_recording' under recordings"):
        localize.main(["toy_recording"])

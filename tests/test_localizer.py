"""The estimator, the stage and the verb on one small drifting recording."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from spikeprint import SpikeLocalizer
from spikeprint.cli import main as spikeprint
from spikeprint.core.config import Params, RawSessionParams, RecordingParams
from spikeprint.core.errors import IncompatibleBundle
from spikeprint.core.localize_params import LocalizeParams
from spikeprint.core.production import LOCALIZATION
from spikeprint.io.arrays import read_sorting
from spikeprint.io.positions import read_positions
from spikeprint.io.traces.components import open_components
from spikeprint.io.traces.ground_truth import make_drift
from spikeprint.io.traces.recordings import open_recording
from spikeprint.localizer import NotFittedLocalizer
from spikeprint.stages import localize, simulate_recording, snippets, spikes

ROW = {
    "n_channels": 16, "n_units": 8, "duration_s": 12, "sampling_frequency_hz": 30000, "noise_uv": 6, "drift_um": 6,
    "drift_period_s": 12,
}  # fmt: skip
SHORT = {"n_neighbours": 8, "n_hidden": 16, "n_layers": 1, "n_spikes": 1000, "epochs": 1, "batch_size": 64}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEPRINT_WORKERS", "1")
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small parameters, one simulated recording and its sorting."""
    folder = tmp_path_factory.mktemp("project")
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["simulate"]["recordings"] = {"small": ROW}
    values["recordings"] = {"small": {"format": "binary"}}
    values["localized"] = {"small": {}}
    values["datasets"]["toy_recording"]["folder"] = "data/interim/localized/small"
    values["localize"]["network"].update(SHORT)
    values["localize"]["joint"].update(epochs=1, min_spikes=5, block_bins=6)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "dvc.yaml").write_text("stages: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SPIKEPRINT_WORKERS", "1")
        simulate_recording.main(["small"])
        truth = read_sorting(folder / "data/raw/small/truth")
        ends = zip(truth.unit_ids, truth.offsets[:-1], truth.offsets[1:], strict=True)
        np.savez(folder / "data/raw/small/units.npz", **{unit: truth.spike_times[a:b] for unit, a, b in ends})
        spikes.main(["small"])
        snippets.main(["small"])
        localize.main(["small"])
    return folder


@pytest.fixture(scope="module")
def recording(project: Path) -> Any:
    return open_recording(project / "data/raw/small", RecordingParams(format="binary"))


@pytest.fixture
def params(project: Path) -> LocalizeParams:
    return Params.load(project / "params.yaml").localize


def test_the_stage_leaves_positions_units_a_localiser_and_scores(project: Path) -> None:
    peaks, positions, corrected, motions, card = read_positions(project / "data/interim/positions/small")
    assert card["method"] == "production"
    assert len(peaks) == len(positions.xyz_um) == len(corrected.xyz_um) > 100
    assert positions.alpha_uv_um is not None
    assert np.abs(positions.xyz_um[:, 1] - corrected.xyz_um[:, 1]).max() > 1
    assert [motion.axis for motion in motions] == [1]
    scores = json.loads((project / "reports/metrics/localize/small.json").read_text())
    assert scores["median_um"] < 20
    assert {"rho_soft4", "rho_soft4_collapsed", "drift_mae_um", "purity", "held_out_error"} <= set(scores)
    curves = pd.read_csv(project / "reports/plots/localize/small.csv")
    assert {"position", "reconstruction", "rho", "tether_um2"} <= set(curves["part"])


def test_units_have_the_places_of_their_neurons(project: Path) -> None:
    truth = read_sorting(project / "data/raw/small/truth")
    found = read_sorting(project / "data/interim/localized/small")
    assert {"x_um", "y_um", "z_um", "depth_um"} <= set(found.extra)
    places, true = (np.column_stack([s.extra["x_um"], s.extra["y_um"]]).astype(float) for s in (found, truth))
    away = np.linalg.norm(places - true - np.nanmedian(places - true, axis=0), axis=1)
    assert np.nanmedian(away) < 15


def test_places_reach_the_unit_table(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeprint.io.datasets import read_canonical
    from spikeprint.stages import features

    monkeypatch.chdir(project)
    features.main(["toy_recording"])
    metadata = read_canonical(project / "data/canonical/toy_recording").metadata
    places = read_sorting(project / "data/interim/localized/small").extra
    for name in ("x_um", "y_um", "depth_um"):
        np.testing.assert_allclose(metadata[name].to_numpy(dtype=float), places[name].astype(float), atol=1e-3)


def test_the_same_seed_gives_the_same_positions(
    project: Path, recording: Any, params: LocalizeParams, tmp_path: Path
) -> None:
    localizer = SpikeLocalizer(params, Params.load(project / "params.yaml").spikes, seed=0)
    kept = open_components(project / "data/interim/snippets/small")
    source = kept.join(localizer.open(recording))
    found = localizer.fit_source(source).transform_source(source)
    _, positions, *_ = read_positions(project / "data/interim/positions/small")
    np.testing.assert_array_equal(found.positions.xyz_um, positions.xyz_um)
    localizer.save(tmp_path / "saved")
    loaded = SpikeLocalizer.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.transform_source(source).positions.xyz_um, found.positions.xyz_um)
    again = loaded.transform(recording)  # from the traces: what eight components leave out moves little
    away = np.linalg.norm(again.positions.xyz_um - found.positions.xyz_um, axis=1)
    assert np.median(away) < 2
    assert len(again.to_frame()) == len(found.peaks)


def test_a_network_must_have_learnt(recording: Any) -> None:
    with pytest.raises(NotFittedLocalizer, match=r"call fit\(recording\) or load\(folder\)"):
        SpikeLocalizer().transform(recording)


def test_a_method_without_a_network_needs_no_fit(recording: Any, tmp_path: Path) -> None:
    localizer = SpikeLocalizer(LOCALIZATION.model_copy(update={"method": "monopole"}))
    found = localizer.transform(recording)
    assert np.isfinite(found.positions.xyz_um).all()
    localizer.save(tmp_path / "saved")
    assert SpikeLocalizer.load(tmp_path / "saved").fitted_ is None


@pytest.mark.parametrize("card", ['{"schema_version": 99}', "[]", '{"schema_version": 1, "params": {}}'])
def test_folders_that_are_no_localiser(card: str, tmp_path: Path) -> None:
    (tmp_path / "localizer.json").write_text(card)
    with pytest.raises(IncompatibleBundle, match="train it again"):
        SpikeLocalizer.load(tmp_path)


def test_the_verb_writes_tables(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(project)
    model = project / "models/localizer/small"
    assert spikeprint(["localize", "small", "--out", "out", "--model", str(model), "--json", "-q"]) == 0
    said = json.loads(capsys.readouterr().out)
    table = pd.read_csv(project / "out/spikes.csv")
    assert len(table) == said["n_spikes"]
    assert {"time_s", "x_um", "y_um", "z_um", "y_corrected_um"} <= set(table)
    assert (project / "out/motion.csv").is_file()
    shutil.copytree(project / "data/raw/small", project / "elsewhere")
    words = ["localize", "elsewhere", "--out", "by_path", "--method", "monopole", "-q"]
    assert spikeprint(words) == 0
    assert "rho_soft4_collapsed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smal", "--out", "x"], "smal: neither a row of recordings nor a path; did you mean 'small'?"),
        (["small", "--out", "data"], "--out data: exists"),
    ],
)
def test_wrong_usage(
    words: list[str], message: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(project)
    assert spikeprint(["localize", *words, "-q"]) == 2
    assert message in capsys.readouterr().err


def test_drift_goes_up_and_down() -> None:
    row = RawSessionParams.model_validate({**ROW, "duration_s": 24})
    drift = make_drift(row)
    assert drift.max() == pytest.approx(6.0)
    assert drift.min() == pytest.approx(-6.0)
    assert np.abs(np.diff(drift)).max() == pytest.approx(4 * 6 / 12 / 5)


def test_defaults_are_those_of_params_yaml_but_for_the_length_of_training(root: Path) -> None:
    from spikeprint.localizer import SPIKES

    said = Params.load(root / "params.yaml")
    assert said.spikes == SPIKES
    assert said.localize.model_dump(exclude={"network", "joint"}) == LOCALIZATION.model_dump(
        exclude={"network", "joint"}
    )

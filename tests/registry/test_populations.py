"""Runs of populations: one for each finished stage, once, and only while its results are those of the lock."""

from pathlib import Path

import pandas as pd
import yaml

from spikeprint.core.files import write_csv, write_json
from spikeprint.registry.lock import dvc_md5
from spikeprint.registry.populations import sync_populations
from spikeprint.registry.tracking import connect


def make_project(folder: Path) -> Path:
    """A project in which ``contrast@time`` has run, as far as its lock says."""
    reports = folder / "reports" / "populations"
    write_json(reports / "contrast" / "time.json", {"held_out_bits": 1.5, "control": {"data": {"gap_bits": 0.1}}})
    curve = {"step": [10, 20], "loss": [3.0, 2.0], "temperature": [0.3, 0.3]}
    held = {name: [None, 1.0] for name in ("held_out_loss", "held_out_bits", "held_out_score")}
    write_csv(reports / "losses" / "time.csv", pd.DataFrame({**curve, **held}))
    outs = ["reports/populations/contrast/time.json", "reports/populations/losses/time.csv"]
    entry = {
        "cmd": "x",
        "params": {"params.yaml": {"seed": 0, "population.embed": {"batch_size": 64, "time_offsets": [1, 2]}}},
        "outs": [{"path": path, "md5": dvc_md5(folder / path)} for path in outs],
    }
    (folder / "dvc.lock").write_text(
        yaml.safe_dump({"schema": "2.0", "stages": {"contrast@time": entry, "train@x": {}}})
    )
    return folder


def test_a_finished_mode_becomes_one_run(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (made,) = sync_populations(project)
    assert sync_populations(project) == []
    client = connect(project)
    run = client.get_run(made.run_id)
    assert made.stage == run.info.run_name == "contrast@time"
    assert run.data.metrics["held_out_bits"] == 1.5
    assert run.data.metrics["control.data.gap_bits"] == 0.1
    assert run.data.params["population.embed.time_offsets"] == "[1, 2]"
    assert [point.value for point in client.get_metric_history(made.run_id, "curve/loss")] == [3.0, 2.0]
    assert [point.step for point in client.get_metric_history(made.run_id, "curve/held_out_bits")] == [20]
    assert [item.path for item in client.list_artifacts(made.run_id, "populations/losses")] == [
        "populations/losses/time.csv"
    ]


def test_results_that_have_changed_are_left_out(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    write_json(project / "reports" / "populations" / "contrast" / "time.json", {"held_out_bits": 9})
    assert sync_populations(project) == []

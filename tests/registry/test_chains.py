"""A row of a chain becomes a run of its own, once, with what its stages wrote."""

from pathlib import Path

import pandas as pd
import yaml

from spikeprint.core.files import write_csv, write_json, write_text
from spikeprint.registry.chains import log_chains
from spikeprint.registry.claims import CLAIM_TAG, KEY_TAG
from spikeprint.registry.lock import dvc_md5, read_lock
from spikeprint.registry.runs import SyncedRun
from spikeprint.registry.tracking import EXPERIMENT, connect, sync

ROW = {"recording": "toy_recording", "n_units": 4, "times": {"mode": "renewal"}}


def log(root: Path) -> list[SyncedRun]:
    """Log the chains of a lock, which may have no other rows."""
    client = connect(root)
    return log_chains(client, root, read_lock(root), client.get_experiment_by_name(EXPERIMENT).experiment_id)


METRICS = "reports/metrics/hybrid/toy_hybrid"


def write_hybrid(project: Path, with_score: bool) -> None:
    """Reports of a row, and the lock that fits them."""
    reports, metrics = project / "reports" / "hybrid" / "toy_hybrid", project / METRICS
    write_json(metrics / "injected.json", {"n_units": 4, "n_spikes": 1200, "snr": [5.0, 9.0]})
    write_text(reports / "injected.png", "a figure")
    write_json(metrics / "score.json", {"sorter": "lupin", "recall": 0.75, "recall_by_snr": {"snr_5_8": 0.5}})
    lock = read_lock(project)

    def entry(stage: str, outs: list[str], deps: list[dict]) -> dict:
        folders = {".json": METRICS, ".png": "reports/hybrid/toy_hybrid"}
        paths = [f"{folders[Path(name).suffix]}/{name}" for name in outs]
        params = {"params.yaml": {"hybrid.toy_hybrid": ROW}}
        return {
            "cmd": stage, "params": params, "deps": deps,
            "outs": [{"path": path, "md5": dvc_md5(project / path)} for path in paths] + PLAN,
        }  # fmt: skip

    stages = {**lock, "hybrid@toy_hybrid": entry("hybrid", ["injected.json", "injected.png"], [])}
    if with_score:
        stages["score_hybrid@toy_hybrid"] = entry("score", ["score.json"], PLAN)
    write_text(project / "dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))


PLAN = [{"path": "data/hybrid/toy_hybrid/plan", "md5": "abc.dir"}]


def test_a_row_is_logged_once_with_its_numbers(project: Path) -> None:
    write_hybrid(project, with_score=True)
    new = log(project)
    assert [(run.ablation, run.parent_id) for run in new] == [("hybrid@toy_hybrid", "")]
    run = connect(project).get_run(new[0].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["spikeprint.hybrid"] == "toy_hybrid"
    assert run.data.tags["dvc.out.data/hybrid/toy_hybrid/plan"] == "abc.dir"
    assert run.data.params["hybrid.toy_hybrid.times.mode"] == "renewal"
    wanted = {"injected.n_units": 4.0, "injected.n_spikes": 1200.0, "score.recall": 0.75}
    assert {key: run.data.metrics[key] for key in wanted} == wanted
    assert run.data.metrics["score.recall_by_snr.snr_5_8"] == 0.5
    for folder, names in {"metrics/hybrid": ["injected.json", "score.json"], "hybrid": ["injected.png"]}.items():
        artifacts = [item.path for item in connect(project).list_artifacts(run.info.run_id, f"{folder}/toy_hybrid")]
        assert artifacts == [f"{folder}/toy_hybrid/{name}" for name in names]
    assert log(project) == []


def test_a_sync_that_was_cut_short_completes_its_run(project: Path) -> None:
    write_hybrid(project, with_score=True)
    (run_id,) = [run.run_id for run in sync(project) if run.ablation == "hybrid@toy_hybrid"]
    client = connect(project)
    client.set_tag(run_id, CLAIM_TAG, client.get_run(run_id).data.tags[KEY_TAG])  # as it was before the last step
    client.delete_tag(run_id, KEY_TAG)
    assert [run.run_id for run in sync(project)] == [run_id]
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_score_of_another_plan_does_not_count(project: Path) -> None:
    write_hybrid(project, with_score=False)
    (unscored,) = [run for run in log(project) if run.ablation == "hybrid@toy_hybrid"]
    assert "score.recall" not in connect(project).get_run(unscored.run_id).data.metrics
    (project / METRICS / "injected.json").write_text("{}")
    assert [run for run in log(project) if run.ablation == "hybrid@toy_hybrid"] == []


def test_tables_with_steps_become_curves(tmp_path: Path) -> None:
    reports = tmp_path / "reports" / "populations"
    write_json(reports / "contrast" / "time.json", {"held_out_bits": 1.5, "control": {"data": {"gap_bits": 0.1}}})
    losses = pd.DataFrame({"step": [10, 20], "loss": [3.0, 2.0], "held_out_bits": [None, 1.0]})
    write_csv(reports / "losses" / "time.csv", losses)
    outs = ["reports/populations/contrast/time.json", "reports/populations/losses/time.csv"]
    entry = {
        "cmd": "x",
        "params": {"params.yaml": {"seed": 0, "population.embed": {"batch_size": 64, "time_offsets": [1, 2]}}},
        "outs": [{"path": path, "md5": dvc_md5(tmp_path / path)} for path in outs],
    }
    stages = {"contrast@time": entry, "train@x": {}}
    write_text(tmp_path / "dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))
    (made,) = log(tmp_path)
    assert log(tmp_path) == []
    client = connect(tmp_path)
    run = client.get_run(made.run_id)
    assert made.ablation == run.info.run_name == "contrast@time"
    assert run.data.metrics["held_out_bits"] == 1.5
    assert run.data.metrics["control.data.gap_bits"] == 0.1
    assert run.data.params["population.embed.time_offsets"] == "[1, 2]"
    assert [point.value for point in client.get_metric_history(made.run_id, "curve/loss")] == [3.0, 2.0]
    assert [point.step for point in client.get_metric_history(made.run_id, "curve/held_out_bits")] == [20]


def test_names_in_a_long_table_name_its_curves(tmp_path: Path) -> None:
    table = pd.DataFrame({"epoch": [0, 0, 1], "part": ["nll", "kl", "nll"], "value": [2.0, 0.5, 1.0]})
    write_csv(tmp_path / "reports" / "plots" / "localize" / "toy.csv", table)
    path = "reports/plots/localize/toy.csv"
    entry = {"cmd": "x", "outs": [{"path": path, "md5": dvc_md5(tmp_path / path)}]}
    write_text(tmp_path / "dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": {"localize@toy": entry}}))
    (made,) = log(tmp_path)
    history = connect(tmp_path).get_metric_history(made.run_id, "curve/nll/value")
    assert [(point.step, point.value) for point in history] == [(0, 2.0), (1, 1.0)]

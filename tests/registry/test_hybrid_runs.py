"""A row of ``hybrid`` becomes a run of its own, once, with what the stages wrote."""

from pathlib import Path

import yaml

from spikeprint.core.files import write_json, write_text
from spikeprint.registry.lock import dvc_md5, read_lock
from spikeprint.registry.tracking import connect, sync

ROW = {"recording": "toy_recording", "n_units": 4, "times": {"mode": "renewal"}}


def write_hybrid(project: Path, with_score: bool) -> None:
    """Reports of a row, and the lock that fits them."""
    reports = project / "reports" / "hybrid" / "toy_hybrid"
    write_json(reports / "injected.json", {"n_units": 4, "n_spikes": 1200, "snr": [5.0, 9.0]})
    write_text(reports / "injected.png", "a figure")
    write_json(reports / "score.json", {"sorter": "lupin", "recall": 0.75, "recall_by_snr": {"snr_5_8": 0.5}})
    lock = read_lock(project)

    def entry(stage: str, outs: list[str], deps: list[dict]) -> dict:
        paths = [f"reports/hybrid/toy_hybrid/{name}" for name in outs]
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
    sync(project)
    write_hybrid(project, with_score=True)
    new = sync(project)
    assert [(run.ablation, run.parent_id) for run in new] == [("toy_hybrid", "")]
    run = connect(project).get_run(new[0].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["spikeprint.hybrid"] == "toy_hybrid"
    assert run.data.tags["dvc.out.data/hybrid/toy_hybrid/plan"] == "abc.dir"
    assert run.data.params["times.mode"] == "renewal"
    wanted = {"injected.n_units": 4.0, "injected.n_spikes": 1200.0, "score.recall": 0.75}
    assert {key: run.data.metrics[key] for key in wanted} == wanted
    assert run.data.metrics["score.recall_by_snr.snr_5_8"] == 0.5
    artifacts = [item.path for item in connect(project).list_artifacts(run.info.run_id, "hybrid")]
    assert artifacts == ["hybrid/injected.json", "hybrid/injected.png", "hybrid/score.json"]
    assert sync(project) == []


def test_a_score_of_another_plan_does_not_count(project: Path) -> None:
    write_hybrid(project, with_score=False)
    (unscored,) = [run for run in sync(project) if run.ablation == "toy_hybrid"]
    assert "score.recall" not in connect(project).get_run(unscored.run_id).data.metrics
    (project / "reports" / "hybrid" / "toy_hybrid" / "injected.json").write_text("{}")
    assert [run for run in sync(project) if run.ablation == "toy_hybrid"] == []

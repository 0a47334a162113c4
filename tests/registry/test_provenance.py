import shutil

import pytest
import yaml

from spikeprint.registry.lock import dvc_md5, finished_row, read_lock
from spikeprint.registry.provenance import list_files, trace


def trace_of(project, name="production"):
    stages = read_lock(project)
    return trace(project, finished_row(stages, name), stages)


def test_every_input_down_to_raw_data_is_found(project):
    found = trace_of(project)
    assert found["gaps"] == []
    assert {path: one["md5"] for path, one in found["raw"].items()} == {
        f"data/raw/{name}": dvc_md5(project / "data" / "raw" / name) for name in ("left", "right")
    }
    assert found["raw"]["data/raw/left"]["made_by"] == "data/raw/left.dvc"
    assert set(found["data"]) == {
        "data/canonical",
        "data/canonical/left",
        "data/canonical/right",
        "reports/metrics/validation",
    }
    assert {name.partition("@")[0] for name in found["entries"]} == {
        "train",
        "embed",
        "evaluate",
        "features",
        "validate",
    }


def test_other_rows_are_not_part_of_it(project):
    assert not [name for name in trace_of(project)["entries"] if name.endswith("@baseline")]


def edit_lock(project, change):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    change(lock["stages"])
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))


def test_a_raw_folder_that_a_stage_made_names_the_stage(project):
    md5 = dvc_md5(project / "data" / "raw" / "left")
    made = {"cmd": "x", "outs": [{"path": "data/raw/left", "md5": md5}]}
    edit_lock(project, lambda stages: stages.update({"simulate@left": made}))
    found = trace_of(project)
    assert found["raw"]["data/raw/left"]["made_by"] == "simulate@left"
    assert "simulate@left" in found["entries"]


def test_raw_data_written_again_since_are_a_gap(project):
    made = {"cmd": "x", "outs": [{"path": "data/raw/left", "md5": "f" * 32 + ".dir"}]}
    edit_lock(project, lambda stages: stages.update({"simulate@left": made}))
    (gap,) = trace_of(project)["gaps"]
    assert gap.startswith(f"data/raw/left: simulate@left has written {'f' * 32}.dir since")


def test_features_made_again_since_training_are_a_gap(project):
    (project / "data" / "canonical" / "left" / "acg.csv").write_text("x\n")
    gaps = trace_of(project)["gaps"]
    assert all(gap.startswith("data/canonical: not here as it was read") for gap in gaps)
    assert len(gaps) == 1


def test_features_of_another_run_are_a_gap(project):
    def change(stages):
        stages["features@left"]["outs"][0]["md5"] = "f" * 32 + ".dir"

    edit_lock(project, change)
    told = f"data/canonical/left: not what features@left wrote ({'f' * 32}.dir); run spikeprint run"
    assert told in trace_of(project)["gaps"]


def test_a_dataset_that_was_taken_out_does_not_count(project):
    old = {"cmd": "x", "outs": [{"path": "data/canonical/old", "md5": "f" * 32 + ".dir"}]}
    edit_lock(project, lambda stages: stages.update({"features@old": old}))
    assert trace_of(project)["gaps"] == []


def test_without_a_way_to_raw_data_there_is_a_gap(project):
    edit_lock(project, lambda stages: [stages.pop(f"features@{name}") for name in ("left", "right")])
    assert "dvc.lock leads to no raw data; run the whole pipeline (spikeprint run)" in trace_of(project)["gaps"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_files_of_a_raw_folder_are_those_that_dvc_has_listed(tmp_path, monkeypatch, elsewhere):
    from dvc.repo import Repo

    folder = tmp_path / "project"
    (folder / "raw" / "deep").mkdir(parents=True)
    for name in ("a.csv", "deep/b.csv"):
        (folder / "raw" / name).write_text(name)
    monkeypatch.chdir(folder)
    with Repo.init(str(folder), no_scm=True) as repo:
        if elsewhere:
            with repo.config.edit("local") as config:
                config["cache"] = {"dir": str(tmp_path / "shared-cache")}
    with Repo(str(folder)) as repo:
        repo.add(["raw"])
    md5 = dvc_md5(folder / "raw")
    assert list_files(folder, md5) == {name: dvc_md5(folder / "raw" / name) for name in ("a.csv", "deep/b.csv")}
    shutil.rmtree(tmp_path / "shared-cache" if elsewhere else folder / ".dvc" / "cache")
    assert list_files(folder, md5) is None


def test_a_single_file_lists_itself(tmp_path):
    assert list_files(tmp_path, "a" * 32) == {"": "a" * 32}

"""``spikeprint benchmark``: rows and their schema, what cannot leak, odd folders, errors and exit codes."""

import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.model_selection import StratifiedKFold

from spikeprint.cli import main
from spikeprint.commands import benchmark
from spikeprint.commands._benchmark import find_data, run_trials
from spikeprint.commands._methods import answer, plan_trials, resolve_methods
from spikeprint.core.config import Params
from spikeprint.core.errors import ConfigError
from spikeprint.cvae.units import Units
from spikeprint.evaluate.protocol import plan_folds
from spikeprint.evaluate.splits import make_folds

TYPES = ("PV", "SOM", "EXC")


def write_folder(folder: Path, n: int = 60, acg: bool = True, waveform: bool = True, seed: int = 0) -> Path:
    """A CSV folder of three cell types that differ, with unlabelled and rare units."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    width = np.array([1.5, 3.0, 5.0])[kind][:, None]
    shape = -np.exp(-0.5 * ((np.arange(40) - 16) / width) ** 2) + rng.normal(0, 0.05, (n, 40))
    decay = np.array([5.0, 15.0, 40.0])[kind][:, None]
    arrays = {"waveforms": shape * waveform, "isi_dist": rng.poisson(80 * np.exp(-np.arange(60) / decay))}
    if acg:
        arrays["acg"] = rng.poisson(5 + 20 * (1 - np.exp(-np.abs(np.arange(-100, 101)) / decay)))
    folder.mkdir()
    for name, values in arrays.items():
        header = ",".join(map(str, range(values.shape[1])))
        np.savetxt(folder / f"{name}.csv", values, delimiter=",", header=header, comments="", fmt="%.5g")
    labels = np.array(TYPES, dtype=object)[kind]
    labels[:6], labels[6:10] = "unlabeled", "b'VIP'"
    (folder / "labels.csv").write_text("label\n" + "\n".join(labels) + "\n")
    return folder


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose networks are small and short; the current folder. One process: none has to be started."""
    folder = tmp_path / "project"
    folder.mkdir()
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["model"].update(epochs=3, patience=3, n_hidden=16, n_latent=4)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SPIKEPRINT_WORKERS", "1")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "source")


def bench(*words: str | Path) -> list[dict]:
    """The rows that the verb writes."""
    assert main(["benchmark", *map(str, words), "--json", "out/rows.json"]) == 0
    return json.loads(Path("out/rows.json").read_text())


def test_one_row_per_method_in_the_order_asked_for(
    project: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = bench(source, "--methods", "lda,production,cvae_knn", "--heads", "knn", "--folds", "3")
    assert [row["method"] for row in rows] == ["lda", "production", "production:knn", "cvae_knn"]
    for row in rows:
        assert row["dataset"] == "source"
        assert row["n_units"] == 50
        assert row["classes"] == {"EXC": 17, "PV": 16, "SOM": 17}
        assert row["transductive"] is False
        assert row["seconds"] > 0
        for metric in ("balanced_accuracy", "macro_f1"):
            assert len(row[metric]["folds"]) == 3
            assert row[metric]["mean"] == pytest.approx(np.mean(row[metric]["folds"]))
            assert row[metric]["sd"] == pytest.approx(np.std(row[metric]["folds"], ddof=1))
    assert rows[2]["balanced_accuracy"] == rows[3]["balanced_accuracy"]
    assert rows[0]["balanced_accuracy"]["mean"] > 0.8
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].split()[:4] == ["dataset", "method", "units", "classes"]
    assert len(lines) == 5
    assert "taken as unlabelled: unlabeled 6" in told.err


def test_a_class_that_was_never_learnt_is_told_from_the_others(project: Path, source: Path) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["model"].update(epochs=40, n_members=8)
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    plain, novelty = bench(source, "--methods", "production,lda", "--folds", "2", "--novelty")[::2]
    assert plain["method"] == "production"
    assert {"coverage", "set_size", "calibration_error"} <= set(plain)
    assert novelty["method"] == "production:novelty"
    assert set(novelty["auroc"]["classes"]) == set(TYPES)
    assert novelty["auroc"]["mean"] > 0.65


def test_the_reference_is_what_its_section_says(project: Path, source: Path) -> None:
    small = {"base_width": 4, "n_latent": 4, "pretrain_epochs": 1, "finetune_epochs": 0, "epochs": 1, "device": "cpu"}
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["reference"].update(small)
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    params = Params.load(Path("params.yaml"))
    labels = np.array(TYPES)[np.arange(60) % 3]
    units = Units({"isi": np.ones((60, 100))}, {"dataset": np.full(60, "d")}, labels)
    study = plan_folds("d", labels, np.ones(60, dtype=bool), 2, 42)
    trials = plan_trials(study, units, resolve_methods(["reference"], [], params), params, False)
    assert [trial.model for trial in trials] == [params.reference] * 2
    (row,) = bench(source, "--methods", "reference", "--folds", "2")
    assert row["method"] == "reference"
    assert len(row["balanced_accuracy"]["folds"]) == 2


def test_quiet_prints_the_table_alone(project: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", str(source), "--methods", "lda", "-q"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert len(told.out.splitlines()) == 2


@pytest.mark.parametrize("case", [{"waveform": False}, {"acg": False}], ids=["all-zero waveforms", "no ACG"])
def test_a_missing_modality_changes_nothing_else(case: dict, project: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "odd", **case)
    rows = bench(folder, "--methods", "production,lda", "--folds", "2")
    assert [row["n_units"] for row in rows] == [50, 50]
    assert rows[1]["balanced_accuracy"]["mean"] > 0.8


def test_waveforms_that_are_absent_count_as_waveforms_of_zeros(project: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "odd", waveform=False)
    zeros = bench(folder, "--methods", "production,lda", "--folds", "2")
    (folder / "waveforms.csv").unlink()
    absent = bench(folder, "--methods", "production,lda", "--folds", "2")
    assert [row | {"seconds": 0} for row in absent] == [row | {"seconds": 0} for row in zeros]


def test_transductive_is_said_of_the_methods_that_are(project: Path, source: Path) -> None:
    rows = bench(source, "--methods", "production,lda", "--folds", "2", "--transductive")
    assert [row["transductive"] for row in rows] == [True, False]


def test_a_transfer_scores_shared_classes(project: Path, source: Path, tmp_path: Path) -> None:
    target = write_folder(tmp_path / "target", n=45, seed=1)
    text = (target / "labels.csv").read_text().replace("EXC", "GoC")
    (target / "labels.csv").write_text(text)
    rows = bench(source, "--transfer-to", target, "--methods", "lda,production")
    assert [row["method"] for row in rows] == ["lda", "lda:target_standardised", "production"]
    assert [row["transductive"] for row in rows] == [False, True, False]
    for row in rows:
        assert row["dataset"] == "source -> target"
        assert row["classes"] == {"PV": 11, "SOM": 12}
        assert len(row["balanced_accuracy"]["folds"]) == 1
    assert rows[0]["balanced_accuracy"]["mean"] > 0.8


RATES = {
    "none": ([], [None, None, None]),
    "one for all": (["--sampling-frequency", "30000"], [30000, 30000, 30000]),
    "the target's own": (
        ["--sampling-frequency", "30000", "--transfer-sampling-frequency", "20000"],
        [30000, 30000, 20000],
    ),
    "the target's alone": (["--transfer-sampling-frequency", "20000"], [None, None, 20000]),
    "one for each": (
        ["--sampling-frequency", "30000, 40000", "--transfer-sampling-frequency", "20000"],
        [30000, 40000, 20000],
    ),
}


@pytest.mark.parametrize("case", RATES)
def test_each_folder_has_the_rate_that_the_options_give_it(case: str) -> None:
    options, rates = RATES[case]
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    given = benchmark.list_folders(parser.parse_args(["a", "b", "--transfer-to", "c", *options]))
    assert given == list(zip(map(Path, "abc"), rates, strict=True))


def test_a_target_of_another_rate_is_understood_when_its_rate_is_told(project: Path, tmp_path: Path) -> None:
    """Waveforms tell the types apart, and at twice the rate a narrow spike looks like a wide one."""
    for seed, (name, rate) in enumerate({"slow": 20, "fast": 40}.items()):
        folder = write_folder(tmp_path / name, n=90, acg=False, seed=seed)
        rng, kind = np.random.default_rng(seed), np.arange(90) % 3
        width = rate / 20 * np.array([1.5, 3.0, 6.0])[kind][:, None]
        shape = -np.exp(-0.5 * ((np.arange(60) - 24) / width) ** 2) + rng.normal(0, 0.02, (90, 60))
        np.savetxt(folder / "waveforms.csv", shape, delimiter=",", header=",".join(map(str, range(60))), comments="")
        (folder / "isi_dist.csv").write_text("\n".join(["0,1,2,3,4", *["1,2,3,2,1"] * 90]) + "\n")
    words = [tmp_path / "slow", "--transfer-to", tmp_path / "fast", "--methods", "lda"]
    one_rate, own_rates = (
        bench(*words, "--sampling-frequency", "20000", *more)[0]["balanced_accuracy"]["mean"]
        for more in ([], ["--transfer-sampling-frequency", "40000"])
    )
    assert one_rate < 0.7
    assert own_rates > 0.9


def test_folders_of_one_name_are_told_apart(project: Path, source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copytree(source, tmp_path / name / "units")
    folders = [tmp_path / "a" / "units", source, tmp_path / "b" / "units"]
    names = ["a/units", source.name, "b/units"]
    assert [row["dataset"] for row in bench(*folders, "--methods", "lda")] == names
    (row, _) = bench(folders[0], "--methods", "lda", "--transfer-to", folders[2])
    assert row["dataset"] == "a/units -> b/units"


def test_a_folder_given_twice_is_wrong_usage(project: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = source.parent / "." / source.name
    assert main(["benchmark", str(source), str(again), "--methods", "lda"]) == 2
    assert capsys.readouterr().err.endswith("is given twice; its rows would be the same\n")


def test_a_dataset_of_the_project_brings_its_row(project: Path, source: Path) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    row = {"folder": str(source), "technology": "mea", "species": "rat", "format": "csv", "label_column": "none"}
    values["datasets"]["mine"] = row
    (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    assert main(["benchmark", str(source), "--methods", "lda"]) == 1
    assert bench(source, "--methods", "lda", "--label-column", "label")[0]["dataset"] == "mine"


@pytest.mark.parametrize("leak", [False, True])
def test_regions_of_a_csv_folder_reach_the_model_unless_they_tell_the_class(
    leak: bool, project: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["ablations"]["with_region"] = {"conditions": ["region"]}
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    labels = (source / "labels.csv").read_text().splitlines()[1:]
    layers = {"PV": "L4", "SOM": "L5"}
    told = [layers.get(label, "L6") if leak else f"L{4 + i % 2}" for i, label in enumerate(labels)]
    (source / "super_regions.csv").write_text("region\n" + "\n".join(told) + "\n")
    assert main(["benchmark", str(source), "-q", "--methods", "with_region", "--folds", "2"]) == int(leak)
    said = capsys.readouterr().err
    assert ("condition 'region' and the cell type of dataset 'source' determine each other" in said) is leak
    assert main(["benchmark", str(source), "-q", "--methods", "production", "--folds", "2"]) == 0


# What a method gets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transductive", [False, True])
def test_no_label_of_a_tested_unit_can_influence_its_prediction(
    transductive: bool, project: Path, units: Units
) -> None:
    params = Params.load(project / "params.yaml")
    methods = resolve_methods(["production", "lda", "svm"], ["knn"], params)
    study = plan_folds("x", units.labels, find_data(units), 5, 42)
    other = units.labels.copy()
    rows = np.flatnonzero(study.asked[0])
    other[rows] = np.random.default_rng(0).permutation(["PV", "SOM", "new"])[np.arange(len(rows)) % 3]
    answers = []
    for labels in (units.labels, other):
        trials = plan_trials(study, Units(units.raw, units.origin, labels), methods, params, transductive)
        first = [trial for trial in trials if trial.fold == 0]
        assert all((trial.asked.labels == "").all() for trial in first)
        answers.append({key: found for trial in first for key, found in answer(trial).items()})
    assert set(answers[0]) == {"network", "knn", "lda", "svm"}
    for name, found in answers[0].items():
        assert np.array_equal(found.probabilities, answers[1][name].probabilities), name


def test_units_met_without_label_are_the_unscored_and_the_tested_only_when_asked_for(
    project: Path, units: Units
) -> None:
    params = Params.load(project / "params.yaml")
    methods = resolve_methods(["production", "lda"], [], params)
    study = plan_folds("x", units.labels, find_data(units), 5, 42)
    folds = make_folds(units.labels, 5, 42, 10)
    for transductive in (False, True):
        for trial in plan_trials(study, units, methods, params, transductive):
            n_tested = (folds == trial.fold).sum()
            assert len(trial.asked) == n_tested
            assert len(trial.known) == len(units) - (0 if transductive else n_tested)
            assert (trial.known.labels != "").sum() == ((folds >= 0) & (folds != trial.fold)).sum()


def test_each_network_is_trained_once_per_fold_whatever_its_heads(project: Path, units: Units) -> None:
    params = Params.load(project / "params.yaml")
    methods = resolve_methods(["production", "cvae_knn", "vote", "lda", "baseline"], ["knn", "logistic"], params)
    study = plan_folds("x", units.labels, find_data(units), 2, 42)
    trials = plan_trials(study, units, methods, params, False)
    assert [(trial.row, trial.fold) for trial in trials] == [
        *[("production", 0), ("baseline", 0), ("production", 1), ("baseline", 1)],
        *[("", 0), ("", 1)],
    ]


def test_votes_combine_the_answers_of_all_members(project: Path, units: Units) -> None:
    from spikeprint.evaluate.classical import CLASSICAL, geometric_vote

    params = Params.load(project / "params.yaml")
    study = plan_folds("x", units.labels, find_data(units), 2, 42)
    (trial, _) = plan_trials(study, units, resolve_methods([*CLASSICAL, "vote"], [], params), params, False)
    found = run_trials([trial], "x")["classical", "", 0]
    assert np.allclose(found["vote"].probabilities, geometric_vote([found[name].probabilities for name in CLASSICAL]))


def test_real_folds_are_the_published_ones(shared_datasets: Path, project: Path) -> None:
    """The class counts of the published protocol, and its splitter on them in file order."""
    folder = shared_datasets / "lisberger_macaque"
    (row,) = bench(folder, "--methods", "lda", "--folds", "5")
    assert row["classes"] == {"GoC": 188, "MFB": 86, "MLI": 36, "PkC_cs": 147, "PkC_ss": 211}
    labels = np.array(re.findall(r"b'(\w+)'", (folder / "labels.csv").read_text()))
    kept = labels[labels != "unlabeled"]
    folds = make_folds(np.where(labels == "unlabeled", "", labels), 5, 42, 10)
    for k, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=42).split(kept, kept)):
        assert np.array_equal(np.flatnonzero(folds[labels != "unlabeled"] == k), test)


# Mistakes ------------------------------------------------------------------------------------------------------------

USAGE = {
    "an unknown method": (["--methods", "vot"], "no method 'vot'; did you mean 'vote'"),
    "an unknown head": (["--methods", "lda", "--heads", "kn"], "no head 'kn'; did you mean 'knn'"),
    "an unknown head of a row": (["--methods", "production:kn"], "did you mean 'production:knn'"),
    "no method": (["--methods", ","], "no method is named"),
    "one fold": (["--folds", "1"], "--folds 1: at least 2"),
    "a negative seed": (["--seed", "-1"], "--seed -1"),
    "a technology": (["--technology", "neuropixel"], "did you mean 'neuropixels'"),
    "a rate in kHz": (["--sampling-frequency", "30"], "Hz, not kHz"),
    "a rate that is no number": (["--sampling-frequency", "30000;20000"], "'30000;20000': not a number"),
    "rates for other folders": (["--sampling-frequency", "30000,20000"], "2 rates for 1 folders; give one for all"),
    "a target's rate in kHz": (
        ["--transfer-sampling-frequency", "30"],
        "--transfer-sampling-frequency 30: a rate from",
    ),
    "a rate of no target": (["--transfer-sampling-frequency", "30000"], "--transfer-to, which is not given"),
    "a missing target": (["--transfer-to", "nowhere"], "nowhere: no such"),
    "a folder to write to": (["--json", "."], ".: cannot be written (is a directory)"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_one_line_and_code_2(
    case: str, project: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, message = USAGE[case]
    assert main(["benchmark", str(source), *options]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("error: ")
    assert message in said


def test_folders_of_their_own_rates_need_the_target_s_too(
    project: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [source, source, "--sampling-frequency", "30000,20000", "--transfer-to", project]
    assert main(["benchmark", *map(str, words)]) == 2
    assert "--transfer-sampling-frequency: is needed" in capsys.readouterr().err


def test_a_missing_folder_and_a_transfer_to_itself_are_wrong_usage(
    project: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "nowhere"]) == 2
    assert main(["benchmark", str(source), "--transfer-to", str(source)]) == 2
    said = capsys.readouterr().err
    assert "nowhere: no such file or folder" in said
    assert "is learnt from" in said


LABELS = {
    "no labels": ("unlabeled\n" * 60, "none of 60 units has a label"),
    "one class": ("PV\n" * 60, "one class, 'PV'"),
    "one large class": ("PV\n" * 52 + "SOM\n" * 8, "PV 52, SOM 8; two cell types of at least 10 units"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_cannot_be_scored_are_one_line_and_code_1(
    case: str, project: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, message = LABELS[case]
    (source / "labels.csv").write_text("label\n" + labels)
    assert main(["benchmark", str(source), "-q", "--methods", "lda"]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_outside_a_project_it_says_so(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(source, elsewhere / "data")
    monkeypatch.chdir(elsewhere)
    assert main(["benchmark", "data", "--methods", "lda"]) == 2


def test_a_row_that_is_absent_from_the_project_is_no_method(project: Path) -> None:
    params = Params.load(project / "params.yaml")
    few = params.model_copy(update={"ablations": {"baseline": params.ablations["baseline"]}})
    with pytest.raises(ConfigError, match="no method 'production'"):
        resolve_methods(["production"], [], few)

"""``spikeprint add`` and ``remove`` in a throw-away project with git and DVC."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeprint.commands import add, remove
from spikeprint.core.config import Params
from spikeprint.core.errors import SpikeprintError
from spikeprint.core.types import Sorting, Templates
from spikeprint.io.datasets import write_sorting
from spikeprint.io.readers.phy import read_phy

DVC = [sys.executable, "-m", "dvc"]
GOOD = ["--technology", "silicon_probe", "--species", "mouse"]


@pytest.fixture(scope="module")
def template(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that knows git and DVC, with the parameters of this one."""
    folder = tmp_path_factory.mktemp("template")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([*DVC, "init", "-q"], cwd=folder, check=True)
    for name in ("params.yaml", ".gitignore"):
        shutil.copyfile(root / name, folder / name)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template; the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve units of two classes in the CSV layout, and a file that nobody reads."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "source"
    folder.mkdir()
    for name, values in {"waveforms": rng.normal(size=(12, 40)), "isi_dist": rng.poisson(3, (12, 60))}.items():
        header = ",".join(map(str, range(values.shape[1])))
        np.savetxt(folder / f"{name}.csv", values, delimiter=",", header=header, comments="")
    (folder / "labels.csv").write_text("area,cell\n" + "V1,PV\nCA1,sst\n" * 6)
    (folder / "notes.txt").write_text("x")
    return folder


def call(command: object, *words: str) -> int:
    """Run a verb as the command line would, without its error handling."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def snapshot(project: Path) -> dict[str, bytes]:
    """Every file of the project outside git's and DVC's own folders."""
    files = (path for path in project.rglob("*") if path.is_file() or path.is_symlink())
    kept = (path for path in files if not {".git", ".dvc"} & set(path.relative_to(project).parts))
    return {str(path.relative_to(project)): path.read_bytes() for path in kept}


def test_add_copies_tracks_and_declares(project: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(add, "mine", str(source), *GOOD) == 0
    files = sorted(path.name for path in (project / "data" / "raw" / "mine").iterdir())
    assert files == ["isi_dist.csv", "labels.csv", "waveforms.csv"]
    row = Params.load(project / "params.yaml").datasets["mine"]
    assert (row.technology, row.species, row.format) == ("silicon_probe", "mouse", "csv")
    shown = capsys.readouterr().out
    assert "added mine (csv): 12 units, 12 labelled (PV 6, SOM 6)" in shown
    assert "no acg" in shown
    assert "next: spikeprint run" in shown


def test_dvc_sees_what_was_added(project: Path, source: Path) -> None:
    call(add, "mine", str(source), *GOOD)
    status = subprocess.run([*DVC, "status"], cwd=project, capture_output=True, text=True, check=True)
    assert "up to date" in status.stdout
    shutil.rmtree(project / "data" / "raw" / "mine")
    subprocess.run([*DVC, "checkout", "-q"], cwd=project, check=True)
    assert (project / "data" / "raw" / "mine" / "waveforms.csv").read_bytes() == (source / "waveforms.csv").read_bytes()


def test_the_other_lines_of_params_stay(project: Path, source: Path) -> None:
    before = (project / "params.yaml").read_text().splitlines()
    call(add, "mine", str(source), *GOOD, "--label-column", "area", "--sampling-frequency", "20000")
    after = (project / "params.yaml").read_text().splitlines()
    (line,) = [line for line in after if line not in before]
    assert line == (
        "  mine: {folder: data/raw/mine, technology: silicon_probe, species: mouse, format: csv, label_column: area, "
        "sampling_frequency_hz: 20000.0, representation: legacy}"
    )
    assert [old for old in after if old != line] == before


def test_add_and_remove_give_back_the_project(project: Path, source: Path) -> None:
    before = snapshot(project)
    call(add, "mine", str(source), *GOOD)
    for folder in ("data/canonical/mine", "reports/validation/mine", "reports/metrics/validation"):
        (project / folder).mkdir(parents=True)
    (project / "data" / "canonical" / "mine" / "acg.csv").touch()
    (project / "reports" / "metrics" / "validation" / "mine.json").touch()
    assert call(remove, "mine") == 0
    assert snapshot(project) == before


def test_json_tells_the_same(project: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(add, "mine", str(source), *GOOD, "--label-column", "none", "--json")
    result = json.loads(capsys.readouterr().out)
    assert (result["n_units"], result["n_labelled"], result["classes"]) == (12, 0, {})
    assert result["missing"] == {"waveform": 0, "isi": 0, "acg": 12}


def test_links_stay_links(project: Path, source: Path) -> None:
    call(add, "mine", str(source), *GOOD, "--link")
    link = project / "data" / "raw" / "mine" / "waveforms.csv"
    assert link.is_symlink()
    assert link.resolve() == source / "waveforms.csv"
    call(remove, "mine")
    assert (source / "waveforms.csv").is_file()


def test_a_dataset_whose_links_lead_nowhere_can_be_removed(project: Path, source: Path) -> None:
    before = snapshot(project)
    call(add, "mine", str(source), *GOOD, "--link")
    shutil.rmtree(source)
    assert call(remove, "mine") == 0
    assert snapshot(project) == before


def test_git_forgets_what_was_added_and_removed(project: Path, source: Path) -> None:
    subprocess.run([*DVC, "config", "core.autostage", "true"], cwd=project, check=True)
    call(add, "mine", str(source), *GOOD)
    staged = ["git", "ls-files", "data/raw"]
    assert "data/raw/mine.dvc" in subprocess.run(staged, cwd=project, capture_output=True, text=True).stdout
    call(remove, "mine")
    assert "data/raw/mine.dvc" not in subprocess.run(staged, cwd=project, capture_output=True, text=True).stdout


def test_labels_taken_as_unlabelled_are_told(project: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "labels.csv").write_text("cell\n" + "PV\nSOM\nAxo_\nJuxt\nPV\nAxo_\n" * 2)
    call(add, "mine", str(source), *GOOD)
    shown = capsys.readouterr().out
    assert "  taken as unlabelled: Axo_ 4, Juxt 2 (params.yaml: features.unlabelled_patterns)\n" in shown


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("WARNING: x\nERROR: no such file\n\nHaving any troubles? Hit us up\n", "no such file"),
        ("first\nlast\n\n", "last"),
        ("", ""),
    ],
)
def test_the_reason_of_dvc_is_quoted(stderr: str, line: str) -> None:
    assert add.quote_error(stderr) == line


def test_spike_trains_are_added_too(project: Path, tmp_path: Path) -> None:
    rng, n = np.random.default_rng(0), 4
    trains = [np.sort(rng.integers(0, 20_000 * 60, 200)) for _ in range(n)]
    sorting = Sorting(
        unit_ids=np.array(list("abcd")),
        spike_times=np.concatenate(trains),
        offsets=np.arange(n + 1) * 200,
        templates=Templates(
            rng.normal(size=(n, 60, 3)).astype(np.float32), 20_000.0, positions_um=np.arange(6.0).reshape(3, 2)
        ),
        time_rate_hz=20_000.0,
        duration_s=np.full(n, 60.0),
        labels=np.array(["PV", "PV", "SOM", ""]),
    )
    write_sorting(tmp_path / "trains", sorting)
    call(add, "trains", str(tmp_path / "trains"), *GOOD)
    assert Params.load(project / "params.yaml").datasets["trains"].format == "arrays"
    assert len(list((project / "data" / "raw" / "trains").iterdir())) == 4


@pytest.mark.parametrize("name", ["lakunina_mouse_a1", "lisberger_macaque", "neonatal_slice_mouse"])
def test_real_folders_are_added(name: str, project: Path, shared_datasets: Path) -> None:
    assert call(add, name, str(shared_datasets / name), *GOOD) == 0


def edit(file: str, text: str) -> Callable[[Path, Path], object]:
    """Overwrite a file of the source folder."""
    return lambda project, source: (source / file).write_text(text)


def empty(project: Path, source: Path) -> None:
    """Make every waveform constant and every histogram zero."""
    for name in ("waveforms.csv", "isi_dist.csv"):
        (source / name).write_text("0,1,2,3,4\n" + "0,0,0,0,0\n" * 12)


BAD: dict[str, tuple[Callable[[Path, Path], object] | None, list[str], int, str]] = {
    "bad name": (None, ["My-Mouse"], 2, "dataset name 'My-Mouse': names use a-z, 0-9 and _ only"),
    "taken name": (None, ["toy_silicon"], 2, "'toy_silicon' is taken: params.yaml has datasets.toy_silicon"),
    "taken folder": (lambda p, s: (p / "data/raw/mine").mkdir(parents=True), ["mine"], 2, "data/raw/mine exists"),
    "technology": (None, ["mine", "--technology", "neuropixel"], 2, r"unknown technology 'neuropixel'; did you mean"),
    "frequency": (None, ["mine", "--sampling-frequency", "-1"], 2, "a rate from 1000 to 200000 Hz is needed"),
    "kilohertz": (None, ["mine", "--sampling-frequency", "30"], 2, r"--sampling-frequency 30: .*\(Hz, not kHz\)"),
    "no rate": (None, ["mine", "--sampling-frequency", "nan"], 2, "--sampling-frequency nan: a rate from 1000"),
    "a number as name": (None, ["1e5"], 2, "dataset name '1e5': names use .* start with a letter"),
    "a word of YAML": (None, ["no"], 2, "dataset name 'no': params.yaml reads this word as a value"),
    "long name": (None, ["a" * 65], 2, "dataset name 'a{40}\\.\\.\\.': .* at most 64 characters"),
    "no measurement": (empty, ["mine"], 1, "source: none of 12 units has a usable waveform, isi, acg"),
    "species": (None, ["mine", "--species", " "], 2, "mine.species = '': .* at least 1 character"),
    "label column": (None, ["mine", "--label-column", "cel"], 2, r"no column 'cel'; did you mean 'cell'\?"),
    "no folder": (lambda p, s: shutil.rmtree(s), ["mine"], 2, "source: no such file or folder"),
    "no isi": (lambda p, s: (s / "isi_dist.csv").unlink(), ["mine"], 1, "isi_dist.csv: missing"),
    "text": (
        edit("isi_dist.csv", "0,1\n" + "1,2\n" * 6 + "1,many\n" * 6),
        ["mine"],
        1,
        "row 7, column 2: 'many' is not",
    ),
    "rows": (edit("isi_dist.csv", "0,1\n" + "1,2\n" * 11), ["mine"], 1, "waveforms.csv 12, isi_dist.csv 11"),
    "narrow": (edit("isi_dist.csv", "0,1\n" + "1,2\n" * 12), ["mine"], 1, "mine: isi_dist.csv: 2 columns; at least 5"),
    "one class": (edit("labels.csv", "cell\n" + "PV\n" * 12), ["mine"], 1, "one class, 'PV' .12 units."),
    "bad params": (
        lambda p, s: (p / "params.yaml").write_text((p / "params.yaml").read_text().replace("seed:", "sed:")),
        ["mine"],
        2,
        "unknown key 'sed'",
    ),
    "no dvc": (
        lambda p, s: shutil.rmtree(p / ".dvc"),
        ["mine"],
        2,
        "`dvc add data/raw/mine` failed, nothing was changed",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_added_leaves_no_trace(project: Path, source: Path, case: str) -> None:
    spoil, words, code, message = BAD[case]
    if spoil:
        spoil(project, source)
    before, beside = snapshot(project), sorted(path.name for path in project.parent.iterdir())
    with pytest.raises(SpikeprintError, match=message) as caught:
        call(add, words[0], str(source), *GOOD, *words[1:])
    assert caught.value.exit_code == code
    assert snapshot(project) == before
    assert sorted(path.name for path in project.parent.iterdir()) == beside
    assert (project / "data" / "raw" / "mine").exists() == (case == "taken folder")


def test_the_command_line_prints_one_line_and_the_exit_code(project: Path, source: Path) -> None:
    (source / "labels.csv").write_text("cell\nPV\n")
    words = [sys.executable, "-m", "spikeprint.cli", "add", "mine", str(source), *GOOD]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {source}: row counts differ: waveforms.csv 12, isi_dist.csv 12, labels.csv 1"
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_simulated_session_keeps_its_raw_files(project: Path) -> None:
    (project / "data" / "raw" / "toy_silicon").mkdir(parents=True)
    (project / "data" / "canonical" / "toy_silicon").mkdir(parents=True)
    call(remove, "toy_silicon")
    assert list(Params.load(project / "params.yaml").datasets) == ["toy_neuropixels", "toy_recording"]
    assert (project / "data" / "raw" / "toy_silicon").is_dir()
    assert not (project / "data" / "canonical" / "toy_silicon").exists()


def test_the_last_dataset_stays(project: Path) -> None:
    call(remove, "toy_silicon")
    call(remove, "toy_recording")
    assert Params.load(project / "params.yaml").recordings == {}
    before = snapshot(project)
    with pytest.raises(SpikeprintError, match="'toy_neuropixels' is the only dataset") as caught:
        call(remove, "toy_neuropixels")
    assert caught.value.exit_code == 2
    assert snapshot(project) == before


def test_removing_an_unknown_dataset_suggests(project: Path) -> None:
    with pytest.raises(SpikeprintError, match=r"no dataset 'toy_silicn'; did you mean 'toy_silicon'\?"):
        call(remove, "toy_silicn")


def test_traces_of_several_sessions_lie_beside_their_own_parameters(project: Path, tmp_path: Path) -> None:
    """Two phy folders name traces elsewhere that have one file name."""
    rng = np.random.default_rng(0)
    contents = {}
    for name in ("s1", "s2"):
        folder, data = tmp_path / "multi" / name, tmp_path / "data" / name
        folder.mkdir(parents=True)
        data.mkdir(parents=True)
        contents[name] = rng.integers(-99, 99, (60_000, 4)).astype(np.int16)
        contents[name].tofile(data / "recording.dat")
        np.save(folder / "spike_times.npy", np.arange(100, 59_000, 300))
        np.save(folder / "spike_clusters.npy", np.arange(100, 59_000, 300) % 2)
        np.save(folder / "channel_map.npy", np.arange(4))
        np.save(folder / "channel_positions.npy", np.arange(8.0).reshape(4, 2))
        text = f"dat_path = r'{data / 'recording.dat'}'\nn_channels_dat = 4\ndtype = 'int16'\noffset = 0\n"
        (folder / "params.py").write_text(text + "sample_rate = 30000.\nhp_filtered = False\n")
    assert call(add, "mine", str(tmp_path / "multi"), *GOOD) == 0
    for name, traces in contents.items():
        copied = project / "data" / "raw" / "mine" / name / "recording.dat"
        assert copied.read_bytes() == traces.tobytes()
    shutil.rmtree(tmp_path / "data")
    (sorting, _) = read_phy(project / "data" / "raw" / "mine")
    assert sorting.amplitudes_uv is not None  # measured in the copy, the originals are gone

"""The command line: verbs, help, exit codes, speed of --help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikeprint.cli import VERBS, main


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: spikeprint {verb}" in shown
    assert len(shown.splitlines()) > 6


def test_an_unknown_verb_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clasify"]) == 2
    assert "did you mean 'classify'?" in capsys.readouterr().err


def test_no_verb_is_wrong_usage() -> None:
    assert main([]) == 2


@pytest.mark.parametrize("words", [["--help"], ["nonsense"]])
def test_a_reader_that_has_left_is_no_error(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "spikeprint.cli", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert "BrokenPipe" not in done.stderr
    assert done.returncode == (0 if words == ["--help"] else 2)


def test_outside_a_project_one_line_says_so(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "spikeprint.cli", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "no dvc.yaml here or above" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_imports_no_heavy_library() -> None:
    code = "import json, sys, spikeprint.cli as c; c.main(['--help']); print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    heavy = {"numpy", "pandas", "torch", "mlflow", "pandera", "great_expectations", "pytorch_lightning", "sklearn"}
    assert not heavy & set(loaded)

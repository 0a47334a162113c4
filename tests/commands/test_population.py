"""`spikeprint population`: fit, transform, score, decode; one line and an exit code when it cannot."""

from pathlib import Path

import numpy as np
import pytest

from spikeprint.cli import main
from spikeprint.population import write_population
from spikeprint.population.binning import bin_session, bin_trials
from spikeprint.synth.populations import make_images, make_track_session


def run(*words: object) -> int:
    return main(["population", *map(str, words)])


SMALL = (
    "--set",
    "max_iterations=20",
    "model_architecture=offset5-model",
    "batch_size=64",
    "device=cpu",
    "random_state=0",
)


def test_a_model_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_population(tmp_path / "track", bin_session(make_track_session(8, 40.0), 0.05))
    assert run("fit", tmp_path / "track", tmp_path / "model", "--label", "position", *SMALL) == 0
    assert "held_out_bits" in capsys.readouterr().out
    assert run("transform", tmp_path / "model", tmp_path / "track", tmp_path / "out.npy") == 0
    assert np.load(tmp_path / "out.npy").shape == (800, 8)
    capsys.readouterr()
    assert run("score", tmp_path / "model", tmp_path / "track", "--label", "position") == 0
    assert capsys.readouterr().out.endswith("bits\n")


def test_decoding_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_population(tmp_path / "images", bin_trials(make_images(3, 10, 8), 5))
    assert (
        run("decode", tmp_path / "images", "--models", "poisson_nb", "--shots", 1, 0, "--out", tmp_path / "k.csv") == 0
    )
    out = capsys.readouterr().out
    assert "poisson_nb" in out
    assert "chance 0.333" in out
    assert (tmp_path / "k.csv").is_file()


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.ones((50, 3)))
    assert run("fit", tmp_path / "x.npy", tmp_path / "m", "--set", "max_iteration=3") == 2
    assert "did you mean 'max_iterations'" in capsys.readouterr().err
    assert run("fit", tmp_path / "x.npy", tmp_path / "m", "--set", "hybrid=[") == 2
    assert "--set hybrid=[: not a YAML value" in capsys.readouterr().err
    assert run("fit", tmp_path / "none.npy", tmp_path / "m") == 1
    assert run("decode", tmp_path, "--models", "lstmm") == 2
    assert run("score", tmp_path / "x.npy", tmp_path / "x.npy") == 1
    assert capsys.readouterr().err.count("error:") == 3

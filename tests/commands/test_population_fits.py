"""`spikeprint population train` and `grid`: cebra's options, a table of combinations; what cannot be done is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spikeprint.cli import main
from spikeprint.commands._fits import CEBRA
from spikeprint.population import GridSearch, PopulationEmbedder, write_population
from spikeprint.population.binning import bin_session
from spikeprint.synth.populations import make_track_session

CEBRAS = """
data variant logdir distance temperature-mode temperature min-temperature time-offset delta conditional num-steps
learning-rate model models batch-size num-hidden-units num-output device tqdm save-frequency valid-frequency
train-ratio valid-ratio share-model loss-distance
"""
SHORT = ("--num-steps", 20, "--batch-size", 32, "--model", "offset5-model", "--set", "random_state=0")
SMALL = ("max_iterations=20", "model_architecture=offset5-model", "batch_size=32", "device=cpu")


def run(*words: object) -> int:
    return main(["population", *map(str, words)])


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 rows of 8 units, with position and direction."""
    return write(tmp_path_factory.mktemp("data") / "track", 8, 0)


def write(folder: Path, n_units: int, seed: int) -> Path:
    write_population(folder, bin_session(make_track_session(n_units, 20.0, seed), 0.05))
    return folder


def test_every_option_of_cebra_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("train", "--help")
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    assert [name for name in CEBRAS.split() if f"--{name} " not in told.replace(",", " ")] == []


def test_the_options_of_cebra_train_a_model(track: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data", track, "--logdir", tmp_path / "log", "--label", "position", *SHORT)
    more = ("--loss-distance", "euclidean", "--temperature-mode", "auto", "--min-temperature", 0.2, "--time-offset", 3)
    rest = ("--num-output", 3, "--num-hidden-units", 16, "--learning-rate", 1e-2, "--valid-frequency", 10)
    assert run("train", *words, *more, *rest, "--temperature", 0.5, "--delta", 0.3, "--conditional", "delta") == 0
    assert "rows 0 to 360 of 400" in capsys.readouterr().out
    model = PopulationEmbedder.load(tmp_path / "log" / "model.safetensors")
    wanted = {
        "distance": "euclidean", "temperature_mode": "auto", "min_temperature": 0.2, "time_offsets": 3,
        "output_dimension": 3, "num_hidden_units": 16, "learning_rate": 0.01, "check_every": 10, "temperature": 0.5,
        "delta": 0.3, "conditional": "delta", "max_iterations": 20, "batch_size": 32, "device": "cpu",
        "model_architecture": "offset5-model", "random_state": 0, "verbose": False,
    }  # fmt: skip
    found = model.get_params()
    assert {name: found[name] for name in wanted} == wanted
    assert found["validation_fraction"] == pytest.approx(0.1 / 0.9)
    history = pd.read_csv(tmp_path / "log" / "history.csv")
    assert history["step"].tolist() == list(range(1, 21))
    assert history["loss"].to_numpy() == pytest.approx(model.history_["loss"].to_numpy())
    assert run("transform", tmp_path / "log" / "model.safetensors", track, tmp_path / "out.npy") == 0
    assert np.load(tmp_path / "out.npy").shape == (400, 3)
    assert run("train", *words) == 2
    assert "training does not go on from it" in capsys.readouterr().err


def test_train_is_fit_with_other_names(track: Path, tmp_path: Path) -> None:
    assert (
        run("train", "--data", track, "--logdir", tmp_path, "--conditional", "time", "--train-ratio", 0.7, *SHORT) == 0
    )
    settings = {option.parameter: option.default for option in CEBRA.values()}
    settings |= {"max_iterations": 20, "batch_size": 32, "model_architecture": "offset5-model", "conditional": "time"}
    pairs = [f"{key}={'null' if value is None else value}" for key, value in settings.items()]
    pairs += ["random_state=0", f"validation_fraction={0.1 / (0.7 + 0.1)}"]
    pairs += ["learning_rate=3e-4"]  # text by YAML 1.1
    assert run("fit", track, tmp_path / "other", "--train-ratio", 0.8, "--set", *pairs) == 0
    one, two = (PopulationEmbedder.load(tmp_path / name) for name in ("model.safetensors", "other"))
    assert one.history_["loss"].equals(two.history_["loss"])


def test_the_variants(track: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "second", 6, 1)
    label = ("--label", "position", *SHORT)
    words = ("--variant", "multi-session", *label[:-6], *label[-2:], "--models", "offset5-model", "offset5-model")
    assert (
        run("train", "--data", track, other, "--logdir", tmp_path / "m", *words, "--batch-size", 32, "--share-model")
        == 0
    )
    model = PopulationEmbedder.load(tmp_path / "m" / "model.safetensors")
    assert model.n_features_in_ == [8, 6]
    assert model.shared_trunk
    assert model.model_architecture == "offset5-model"
    hybrid = ("--variant", "single-session-hybrid", *label)
    assert run("train", "--data", track, "--logdir", tmp_path / "h", *hybrid) == 0
    assert PopulationEmbedder.load(tmp_path / "h" / "model.safetensors").hybrid
    full = ("--variant", "single-session-full", "--num-steps", 3, "--conditional", "time")
    assert run("train", "--data", track, "--logdir", tmp_path / "f", *full) == 0
    assert PopulationEmbedder.load(tmp_path / "f" / "model.safetensors").batch_size is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--variant", "unified-session"], "--variant unified-session: not supported"),
        (["--variant", "single-sesion"], "did you mean 'single-session'"),
        (["--variant", "multi-session"], "one recording; give several"),
        (["--variant", "single-session-full", "--batch-size", 5], "leave --batch-size out"),
        (["--share-model"], "of --variant multi-session only"),
        (["--models", "offset1-model"], "in place of --model"),
        (["--save-frequency", 5], "--save-frequency: models on the way are not saved"),
        (["--train-ratio", 0.95], "together at most 1"),
        (["--set", "delta=1"], "say it by --delta"),
        (["--set", "optimiser=sgd"], "did you mean 'optimizer'"),
        (["--conditional", "tme"], "conditional = 'tme'"),
        (["--temperature", 0], "temperature = 0"),
        ([], "conditional = 'time_delta' needs a continuous label"),
    ],
)
def test_what_train_cannot_do_is_one_line(
    words: list, told: str, track: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "--data", track, "--logdir", tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_grid_saves_the_best_and_prints_all(track: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ("--grid", "learning_rate=1e-6,1e-2", "--grid", "output_dimension=3,5", "--seeds", 0, 1)
    words = ("--label", "position", *grid, "--models-dir", tmp_path / "all", "--set", *SMALL)
    assert run("grid", track, tmp_path / "best", *words) == 0
    told = capsys.readouterr().out
    lines = told.splitlines()
    head = next(number for number, line in enumerate(lines) if "held_out_bits" in line)
    rows = lines[head + 1 : head + 9]
    column = lines[head].split().index("held_out_bits")
    bits = [float(row.split()[column]) for row in rows]
    assert bits == sorted(bits, reverse=True)
    results = pd.read_csv(tmp_path / "all" / "results.csv")
    means = results.groupby(["learning_rate", "output_dimension"])["held_out_bits"].mean()
    best = PopulationEmbedder.load(tmp_path / "best")
    assert (best.learning_rate, best.output_dimension) == means.idxmax()
    assert best.time_offsets == 10
    named = f"learning_rate_{best.learning_rate}_output_dimension_{best.output_dimension}_seed_0"
    assert f"wrote {tmp_path / 'best'}: {named}, rows 0 to 320 of 400" in told


def test_what_grid_cannot_do_is_one_line(track: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (("--grid", "temprature=1,2"), "--grid temprature: no such parameter; did you mean 'temperature'"),
        (("--grid", "temperature"), "KEY=VALUE,VALUE is needed"),
        (("--grid", "temperature=[1"), "not a YAML value"),
        (("--grid", "temperature=0,1"), "temperature = 0"),
        (("--grid", "delta=1", "--grid", "delta=2"), "given twice"),
        (("--grid", "delta=1", "--set", "delta=2"), "both name delta"),
        (("--grid", "random_state=1,2"), "say it by --seeds"),
        (("--grid", "delta=1", "--train-ratio", 2), "--train-ratio 2"),
    ):
        assert run("grid", track, tmp_path / "best", *words) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        run("grid", track, tmp_path / "best")
    assert stopped.value.code == 2


def test_a_value_that_is_none_can_be_the_best(track: Path) -> None:
    rows = np.random.default_rng(0).poisson(2, (300, 4))
    params = {"conditional": ["time", None], "max_iterations": 4, "batch_size": 16, "device": "cpu"}
    search = GridSearch().fit_models({"x": rows}, params)
    search.results_["held_out_bits"] = [0.1, 0.2]
    assert search.get_best_model()[1] == "conditional_None_x"

"""`spikeprint population`: fit, transform, score, decode; one line and an exit code when it cannot."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from nwb_sessions import write_nwb
from spikeprint.cli import main
from spikeprint.population import load_data, read_nwb, write_population
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


def test_labels_decode_from_rows_that_the_model_has_not_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_population(tmp_path / "track", bin_session(make_track_session(20, 60.0), 0.05))
    data, model = tmp_path / "track", tmp_path / "model"
    assert run("fit", data, model, "--label", "position", *SMALL) == 0
    assert "rows 0 to 960 of 1200" in capsys.readouterr().out
    words = ("--label", "position", "--label", "direction", "--out", tmp_path / "scores.csv")
    assert run("decode", data, "--model", model, *words) == 0
    told = capsys.readouterr().out
    assert "position: R2 " in told
    assert "direction: accuracy " in told
    table = pd.read_csv(tmp_path / "scores.csv").set_index("label")
    assert table.loc["position", "score"] > table.loc["position", "chance"] + 0.3
    assert table.loc["position", "error"] < table.loc["position", "chance_error"]
    assert run("fit", data, model, "--label", "position", "--train-ratio", 1, *SMALL) == 0
    assert run("decode", data, "--model", model, "--label", "position") == 1  # double dipping
    assert "was fitted on the labels of" in capsys.readouterr().err


def _csv(folder: Path, counts: np.ndarray, place: np.ndarray) -> tuple[Path, list[str]]:
    names = [f"u{i}" for i in range(counts.shape[1])]
    pd.DataFrame(counts, columns=names).assign(place=place).to_csv(folder / "x.csv", index=False)
    return folder / "x.csv", ["--label", "place"]


def _npy(folder: Path, counts: np.ndarray, place: np.ndarray) -> tuple[Path, list[str]]:
    np.save(folder / "x.npy", counts)
    np.save(folder / "place.npy", place)
    return folder / "x.npy", ["--label", str(folder / "place.npy")]


def _npz(folder: Path, counts: np.ndarray, place: np.ndarray) -> tuple[Path, list[str]]:
    np.savez(folder / "x.npz", place=place, other=np.ones((2, 2)), counts=counts)
    return folder / "x.npz", ["--key", "counts", "--label", "place"]


def _h5(folder: Path, counts: np.ndarray, place: np.ndarray) -> tuple[Path, list[str]]:
    with h5py.File(folder / "x.h5", "w") as file:
        file["place"], file["spikes"] = place, counts
    return folder / "x.h5", ["--label", "place"]


def _mat(folder: Path, counts: np.ndarray, place: np.ndarray) -> tuple[Path, list[str]]:
    savemat(folder / "x.mat", {"spikes": counts, "place": place[:, None]})
    return folder / "x.mat", ["--label", "place"]


@pytest.mark.parametrize("write", [_csv, _npy, _npz, _h5, _mat])
def test_counts_and_labels_of_any_kind_of_file(
    write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    track = make_track_session(12, 60.0)
    population = bin_session(track, 0.05)
    path, words = write(tmp_path, np.asarray(population.counts), population.labels["position"])
    assert run("decode", path, *words) == 0
    first = capsys.readouterr().out
    assert "R2" in first
    assert run("fit", path, tmp_path / "model", *words, *SMALL) == 0
    assert "12 units, rows 0 to 960 of 1200" in capsys.readouterr().out


def test_an_nwb_file_in_time_and_in_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nwb, model = tmp_path / "session.nwb", tmp_path / "model"
    write_nwb(nwb, 3, 8, 6)
    assert run("fit", nwb, model, "--bin-width", 0.05, "--label", "running_speed", *SMALL) == 0
    assert "label running_speed: continuous" in capsys.readouterr().out
    assert run("transform", model, nwb, tmp_path / "out.npy") == 0  # the model knows its bins
    assert len(np.load(tmp_path / "out.npy")) == int(capsys.readouterr().out.split(": ")[1].split()[0])
    assert run("transform", model, nwb, tmp_path / "out.npy", "--bin-width", 0.02) == 1
    assert "bins of 0.02 s, but the model was fitted on bins of 0.05 s" in capsys.readouterr().err
    assert run("decode", nwb, "--stimulus", "natural_scenes", "--models", "poisson_nb", "--shots", 1) == 0
    assert "chance 0.333" in capsys.readouterr().out
    assert run("decode", nwb) == 2
    assert "nothing to decode; name a --label" in capsys.readouterr().err
    assert run("decode", nwb, "--label", "pupil") == 1
    assert "no time series 'pupil'; there are: running_speed" in capsys.readouterr().err


def test_an_embedding_goes_back_into_a_copy_of_its_nwb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nwb, model, out = tmp_path / "session.nwb", tmp_path / "model", tmp_path / "out.nwb"
    write_nwb(nwb, 3, 8, 6)
    before = nwb.read_bytes()
    assert run("fit", nwb, model, "--bin-width", 0.05, *SMALL) == 0
    assert run("transform", model, nwb, tmp_path / "out.npy") == 0
    assert run("transform", model, nwb, out) == 0
    assert np.array_equal(load_data(out, key="spikeprint/embedding"), np.load(tmp_path / "out.npy"))
    with h5py.File(out) as file:
        times = file["processing/spikeprint/embedding/timestamps"][:]
    assert np.allclose(times, (np.arange(len(times)) + 0.5) * 0.05)
    assert run("transform", model, nwb, nwb) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert nwb.read_bytes() == before
    words = ("--stimulus", "natural_scenes", "--n-bins", 5)
    assert run("transform", model, nwb, out, "--series", "trials", "--overwrite", *words) == 0
    with h5py.File(out) as file:
        assert list(file["processing/spikeprint"]) == ["trials"]  # a copy of DATA anew
        times = file["processing/spikeprint/trials/timestamps"][:]
        assert times[0] == file["intervals/natural_scenes_presentations/start_time"][0] + 0.025
    write_population(tmp_path / "folder", read_nwb(nwb, bin_width=0.05))
    capsys.readouterr()
    assert run("transform", model, tmp_path / "folder", tmp_path / "no.nwb") == 2
    assert "is no .nwb" in capsys.readouterr().err


def test_whole_numbers_are_classes_unless_said_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.poisson(2, (200, 3)), columns=["a", "b", "c"])
    table.assign(cm=np.arange(200) % 40, side="left").to_csv(tmp_path / "x.csv", index=False)
    words = ("--continuous", "cm", "--discrete", "side", *SMALL)
    assert run("fit", tmp_path / "x.csv", tmp_path / "m", *words) == 0
    told = capsys.readouterr().out
    assert "label cm: continuous" in told
    assert "label side: classes" in told
    assert run("fit", tmp_path / "x.csv", tmp_path / "m", "--label", "cm", *SMALL) == 1
    assert "columns of text among the units: side" in capsys.readouterr().err
    assert run("fit", tmp_path / "x.csv", tmp_path / "m", "--continuous", "side", *SMALL) == 1
    assert "cannot be continuous" in capsys.readouterr().err


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
    assert run("decode", tmp_path, "--label", "x") == 1
    assert "a folder needs one of meta.json" in capsys.readouterr().err
    assert run("decode", tmp_path / "x.npy", "--label", "x") == 1
    assert "label 'x': neither a file nor a label" in capsys.readouterr().err
    assert run("decode", tmp_path / "x.npy", "--last", 2) == 2
    assert "--last 2: a share" in capsys.readouterr().err
    np.save(tmp_path / "y.npy", np.arange(50.0))
    assert run("decode", tmp_path / "x.npy", "--label", tmp_path / "y.npy") == 1
    assert "0 after row 40" in capsys.readouterr().err
    np.save(tmp_path / "short.npy", np.arange(5.0))
    assert run("decode", tmp_path / "x.npy", "--label", tmp_path / "short.npy") == 1
    assert "has 5 rows" in capsys.readouterr().err


def test_figures_and_embeddings_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_population(tmp_path / "track", bin_session(make_track_session(8, 40.0), 0.05))
    for name, seed in (("one", 0), ("two", 1)):
        words = ("--label", "position", *SMALL[:-1], f"random_state={seed}")
        assert run("fit", tmp_path / "track", tmp_path / name, *words) == 0
        assert run("transform", tmp_path / name, tmp_path / "track", tmp_path / f"{name}.npy") == 0
    figure = tmp_path / "one.png"
    assert run("plot", tmp_path / "one", tmp_path / "track", figure, "--label", "position") == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert run("plot", tmp_path / "one", tmp_path / "track", tmp_path / "one.bmp") == 2
    capsys.readouterr()
    both = (tmp_path / "one.npy", tmp_path / "two.npy")
    assert run("compare", *both, "--aligned", tmp_path / "turned", "--ensemble", tmp_path / "mean.npy") == 0
    told = capsys.readouterr().out
    assert "one.npy -> " in told
    assert "dimensions (participation" in told
    first, second = (np.load(path) for path in both)
    turned = np.load(tmp_path / "turned" / "1_two.npy")
    assert np.linalg.norm(turned - first) < np.linalg.norm(second - first)
    assert np.allclose(np.load(tmp_path / "mean.npy"), (first + turned) / 2)
    np.save(tmp_path / "late.npy", second[100:])
    assert run("compare", both[0], tmp_path / "late.npy") == 1
    assert "pass a label of each" in capsys.readouterr().err
    labels = bin_session(make_track_session(8, 40.0), 0.05).labels["position"]
    np.save(tmp_path / "p.npy", labels)
    np.save(tmp_path / "q.npy", labels[100:])
    words = ("--by", tmp_path / "p.npy", tmp_path / "q.npy")
    assert run("compare", both[0], tmp_path / "late.npy", *words) == 0
    assert run("compare", both[0], tmp_path / "late.npy", "--by", tmp_path / "p.npy") == 2


def test_the_next_bin_and_features_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_population(tmp_path / "track", bin_session(make_track_session(8, 60.0), 0.05))
    words = ("--history", 4, "--models", "linear", "--out", tmp_path / "f.csv")
    assert run("forecast", tmp_path / "track", *words) == 0
    assert "bits_per_spike" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "f.csv")["history"].tolist() == [4]
    write_population(tmp_path / "images", bin_trials(make_images(4, 12, 8), 5))
    np.save(tmp_path / "latents.npy", np.eye(4))
    words = ("--features", tmp_path / "latents.npy", "--out", tmp_path / "r.csv")
    assert run("decode", tmp_path / "images", *words) == 0
    assert pd.read_csv(tmp_path / "r.csv")["n_features"].tolist() == [4]
    assert run("decode", tmp_path / "images", *words, "--models", "lda") == 2
    assert "model 'lda' for features: unknown" in capsys.readouterr().err
    np.save(tmp_path / "latents.npy", np.eye(3))
    assert run("decode", tmp_path / "images", *words) == 2
    assert "3 vectors, 4 classes" in capsys.readouterr().err

"""Embed, decode and score a recorded population.

DATA is the folder of a population (data/populations/<session>), a file with one array (rows x units: .npy .npz .h5 .csv
.mat ...), or an .nwb file. Labels are names of a population's labels, or files with one value per row.

  spikeprint population fit DATA MODEL --label position --set max_iterations=2000
  spikeprint population transform MODEL DATA OUT.npy
  spikeprint population score MODEL DATA --label position
  spikeprint population decode DATA --models poisson_nb lda --shots 1 5 0
"""

import argparse
from pathlib import Path
from typing import Any

DEFAULTS = {"model_architecture": "offset10-model", "batch_size": "auto", "time_offsets": 10, "max_iterations": 1000}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True)
    fit = actions.add_parser("fit", help="fit a contrastive embedding and save it")
    fit.add_argument("data", type=Path)
    fit.add_argument("model", type=Path, help="file to write")
    _add_labels(fit)
    fit.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="parameters of PopulationEmbedder")
    transform = actions.add_parser("transform", help="write the embedding of a recording")
    transform.add_argument("model", type=Path)
    transform.add_argument("data", type=Path)
    transform.add_argument("out", type=Path, help=".npy file to write")
    score = actions.add_parser("score", help="print the goodness of fit in bits")
    score.add_argument("model", type=Path)
    score.add_argument("data", type=Path)
    _add_labels(score)
    decode = actions.add_parser("decode", help="print the accuracy of decoders with few examples")
    decode.add_argument("data", type=Path, help="folder of a population in trials")
    decode.add_argument("--models", nargs="+", default=["poisson_nb", "lda"])
    decode.add_argument("--shots", nargs="+", type=int, default=[1, 3, 5, 0], help="0 = all")
    decode.add_argument("--repeats", type=int, default=3)
    decode.add_argument("--by", default="frame", help="column of segments that is decoded")
    decode.add_argument("--out", type=Path, help="CSV of all fits")


def _add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME or FILE", help="may be given several times"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    return {"fit": _fit, "transform": _transform, "score": _score, "decode": _decode}[arguments.action](arguments)


def _fit(arguments: argparse.Namespace) -> int:
    from ..population.embedder import PopulationEmbedder
    from ._hybrid import parse_changes

    settings = {**DEFAULTS, **parse_changes(arguments.set)}
    _check_names(settings)
    data = _read(arguments.data)
    model = PopulationEmbedder(**settings).fit(data, *_labels(arguments.label, data))
    model.save(arguments.model)
    for name, value in model.diagnosis_.items():
        print(f"{name:16} {value:.4g}")
    print(f"wrote {arguments.model}")
    return 0


def _transform(arguments: argparse.Namespace) -> int:
    import numpy as np

    from ..core.files import atomic_path
    from ..population.embedder import PopulationEmbedder

    embedding = PopulationEmbedder.load(arguments.model).transform(_read(arguments.data))
    with atomic_path(arguments.out) as temporary, temporary.open("wb") as file:
        np.save(file, embedding)
    print(f"wrote {arguments.out}: {embedding.shape[0]} rows, {embedding.shape[1]} dimensions")
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from ..population.embedder import PopulationEmbedder

    data = _read(arguments.data)
    model = PopulationEmbedder.load(arguments.model)
    print(f"{model.score(data, *_labels(arguments.label, data)):.4f} bits")
    return 0


def _decode(arguments: argparse.Namespace) -> int:
    from ..core.compute import count_workers
    from ..core.files import write_csv
    from ..population.decoding.kshot import Study, run_kshot, summarise
    from ..population.decoding.models import make_decoder
    from ..population.folder import read_population
    from ..validate.population import RESULTS, check_table

    for name in arguments.models:
        make_decoder(name)  # a misspelt name is told before anything is fitted
    study = Study(
        models=tuple(arguments.models), shots=tuple(arguments.shots), repeats=arguments.repeats, label=arguments.by
    )
    table = run_kshot([read_population(arguments.data)], study, count_workers()).table
    check_table(table, RESULTS, "k-shot")
    shown = summarise(table).pivot(index="model", columns="k", values="top1").rename(columns={0: "all"})
    print(shown.round(3).to_string())
    print(f"chance {table['chance'].iloc[0]:.3f}, {table['n_test'].iloc[0]} test presentations")
    if arguments.out:
        write_csv(arguments.out, table)
    return 0


def _read(path: Path) -> Any:
    from ..io.population.files import load_data
    from ..population.folder import read_population
    from ..population.sources import read_nwb

    if path.is_dir():
        return read_population(path)
    return read_nwb(path) if path.suffix == ".nwb" else load_data(path)


def _labels(given: list[str], data: Any) -> list[Any]:
    from ..io.population.files import load_data

    return [name if name in getattr(data, "labels", {}) else load_data(name).squeeze() for name in given]


def _check_names(settings: dict[str, Any]) -> None:
    from dataclasses import fields

    from ..core.errors import ConfigError, suggest
    from ..population.settings import Settings

    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            raise ConfigError(f"--set {name}: no such parameter{suggest(name, known)}")

"""Embed, decode and score a recorded population.

DATA is one of
  a folder   of a population (data/populations/<session>), of spike trains, or the rat of the hippocampus recording
  a file     with one array of rows x units: .npy .npz .h5 .pt .csv .xlsx .parquet .mat
  .nwb       spike times, binned by --bin-width, or by the presentations of --stimulus
Labels are names of what lies in DATA (labels of the population, series of the .nwb, columns of the table, entries of
the file), or other files with one value per row. Floating-point numbers are continuous, all else classes; --continuous
and --discrete say otherwise.

  spikeprint population fit DATA MODEL --label position --set max_iterations=2000
  spikeprint population train --data DATA --logdir FOLDER --conditional time      (the options of cebra)
  spikeprint population grid DATA BEST --label position --grid temperature=0.1,1 --grid output_dimension=3,8
  spikeprint population transform MODEL DATA OUT.npy
  spikeprint population transform MODEL SESSION.nwb OUT.nwb
  spikeprint population score MODEL DATA --label position --last 0.2
  spikeprint population decode DATA --model MODEL --label position
  spikeprint population decode SESSION.nwb --stimulus natural_scenes --models poisson_nb lda --shots 1 5 0
  spikeprint population decode SESSION.nwb --stimulus natural_scenes --features LATENTS.npy --models linear lstm
  spikeprint population forecast DATA --history 10 --models linear lstm
  spikeprint population plot MODEL DATA FIGURE.png --label position
  spikeprint population compare ONE.npy TWO.npy --by POSITION_ONE.npy POSITION_TWO.npy --aligned FOLDER
"""

import argparse
from pathlib import Path
from typing import Any

from ._embeddings import compare, save_embedding, write
from ._fits import FITS, add_fits
from ._sources import add_action, add_labels, check_share, read

FIGURES = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar=" | ".join(ACTIONS))
    add_fits(actions)
    transform = add_action(actions, "transform", "write the embedding of a recording")
    transform.add_argument("model", type=Path, metavar="MODEL")
    transform.add_argument("data", type=Path, metavar="DATA")
    transform.add_argument(
        "out", type=Path, metavar="OUT", help=".npy, a row for each row of DATA; .nwb, a copy of DATA"
    )
    transform.add_argument("--series", default="embedding", metavar="NAME", help="of OUT.nwb [embedding]")
    transform.add_argument("--overwrite", action="store_true", help="replace OUT.nwb, and a series of this name")
    score = add_action(actions, "score", "print the goodness of fit in bits; 0 = a collapsed embedding")
    score.add_argument("model", type=Path, metavar="MODEL")
    score.add_argument("data", type=Path, metavar="DATA")
    add_labels(score)
    score.add_argument("--last", type=float, default=1.0, metavar="SHARE", help="last rows that are scored [1 = all]")
    decode = add_action(actions, "decode", "decode labels of the last rows, or presentations from few examples")
    decode.add_argument("data", type=Path, metavar="DATA")
    add_labels(decode)
    decode.add_argument("--model", type=Path, help="decode from its embedding, not from the counts")
    decode.add_argument("--last", type=float, default=0.2, metavar="SHARE", help="last rows that are scored [0.2]")
    trials = decode.add_argument_group("presentations (without labels)")
    trials.add_argument("--models", nargs="+", metavar="NAME", help="[poisson_nb lda; with --features linear]")
    trials.add_argument("--shots", nargs="+", type=int, default=[1, 3, 5, 0], metavar="K", help="0 = all [1 3 5 0]")
    trials.add_argument("--repeats", type=int, default=3, metavar="N", help="draws of each number of shots [3]")
    trials.add_argument("--by", default="frame", metavar="COLUMN", help="column of the presentations [frame]")
    trials.add_argument(
        "--features", type=Path, metavar="FILE", help="a vector for each class in its order: they are regressed"
    )
    trials.add_argument(
        "--unseen", type=int, default=0, metavar="N", help="with --features: classes not learnt from [0]"
    )
    decode.add_argument("--out", type=Path, metavar="CSV", help="file to write: one row per fit or label")
    forecast = add_action(actions, "forecast", "foretell the counts of each bin from those before it")
    forecast.add_argument("data", type=Path, metavar="DATA")
    forecast.add_argument("--history", type=int, default=10, metavar="N", help="bins that are looked at [10]")
    forecast.add_argument("--models", nargs="+", default=["linear", "lstm"], metavar="NAME", help="[linear lstm]")
    forecast.add_argument("--out", type=Path, metavar="CSV", help="file to write: one row per model")
    plot = add_action(actions, "plot", "draw loss, temperature and embedding")
    plot.add_argument("model", type=Path, metavar="MODEL")
    plot.add_argument("data", type=Path, metavar="DATA")
    plot.add_argument("out", type=Path, metavar="FIGURE", help="file to write: .png, .pdf or .svg")
    add_labels(plot)
    compare = actions.add_parser("compare", help="turn embeddings onto the first; dimensions, consistency")
    compare.add_argument("embeddings", nargs="+", type=Path, metavar="EMBEDDING", help="files that transform wrote")
    compare.add_argument(
        "--by", nargs="+", type=Path, metavar="FILE", help="a label of each that all share [row by row]"
    )
    compare.add_argument("--aligned", type=Path, metavar="FOLDER", help="where to write them, turned onto the first")
    compare.add_argument(
        "--ensemble", type=Path, metavar="OUT.npy", help="where to write their mean (of one recording)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    return ACTIONS[arguments.action](arguments)


def _transform(arguments: argparse.Namespace) -> int:
    from ..population.embedder import PopulationEmbedder

    model = PopulationEmbedder.load(arguments.model)
    data = read(arguments, model)[0]
    embedding = model.transform(data)
    save_embedding(arguments, embedding, data)
    print(f"wrote {arguments.out}: {embedding.shape[0]} rows, {embedding.shape[1]} dimensions")
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from ..population.embedder import PopulationEmbedder

    check_share("--last", arguments.last)
    model = PopulationEmbedder.load(arguments.model)
    data, names = read(arguments, model)
    data = data.take_rows(int(data.n_rows * (1 - arguments.last)), data.n_rows)
    print(f"{model.score(data, *names):.4f} bits")
    return 0


def _decode(arguments: argparse.Namespace) -> int:
    from ..core.errors import ConfigError
    from ..population.decoding.models import make_decoder

    task = "classify" if arguments.features is None else "features"
    arguments.models = arguments.models or (["linear"] if arguments.features else ["poisson_nb", "lda"])
    for name in arguments.models:
        make_decoder(name, task)  # a misspelt name is told before anything is fitted
    check_share("--last", arguments.last)
    model = None
    if arguments.model:
        from ..population.embedder import PopulationEmbedder

        model = PopulationEmbedder.load(arguments.model)
    data, names = read(arguments, model)
    if model is not None and not names:
        raise ConfigError("--model without a --label: its embedding is decoded for labels only")
    write(arguments.out, _decode_labels(arguments, model, data, names) if names else _decode_trials(arguments, data))
    return 0


def _decode_labels(arguments: argparse.Namespace, model: Any, data: Any, names: list[str]) -> Any:
    from dataclasses import asdict

    import numpy as np
    import pandas as pd

    from ..population.readout import CVDecoder
    from ..population.unseen import decode_last_rows

    features = np.asarray(data.counts, dtype=np.float32) if model is None else model.transform(data)
    rows = []
    for name in names:
        decoder = CVDecoder(period=data.periods.get(name), embedder=model)
        found = decode_last_rows(features, data.labels[name], data.valid, arguments.last, decoder)
        error = "" if found.error is None else f", median error {found.error:.4g} (constant {found.chance_error:.4g})"
        rated = f"{found.measure} {found.score:.3f} (constant {found.chance:.3f}){error}"
        print(f"{name}: {rated}; {found.n_test} rows after {found.n_train}")
        rows.append({"label": name, **asdict(found)})
    return pd.DataFrame(rows)


def _decode_trials(arguments: argparse.Namespace, data: Any) -> Any:
    from ..core.compute import count_workers
    from ..core.errors import ConfigError
    from ..population.decoding.kshot import BLANK, Study, run_kshot, summarise
    from ..validate.population import RESULTS, RETRIEVALS, check_table

    if arguments.by not in data.segments:
        raise ConfigError(
            f"{arguments.data}: nothing to decode; name a --label, or presentations by --stimulus (of an .nwb) and "
            f"--by (columns there: {', '.join(data.segments.columns)})"
        )
    if arguments.features:
        from ..io.population.files import load_data
        from ..population.decoding.retrieval import retrieve

        classes = sorted(set(data.segments[arguments.by]) - {BLANK})
        vectors = load_data(arguments.features)
        if len(vectors) != len(classes):
            raise ConfigError(f"{arguments.features}: {len(vectors)} vectors, {len(classes)} classes; one for each")
        study = Study(label=arguments.by)
        features = dict(zip(classes, vectors, strict=True))
        table = retrieve(data, features, arguments.models, study, arguments.unseen)
        check_table(table, RETRIEVALS, "features")
        print(
            table[["model", "r2", "top1", "top5", "mean_rank", "n_classes", "n_test"]].round(3).to_string(index=False)
        )
        return table
    study = Study(
        models=tuple(arguments.models), shots=tuple(arguments.shots), repeats=arguments.repeats, label=arguments.by
    )
    table = run_kshot([data], study, count_workers()).table
    check_table(table, RESULTS, "k-shot")
    shown = summarise(table).pivot(index="model", columns="k", values="top1").rename(columns={0: "all"})
    print(shown.round(3).to_string())
    print(f"chance {table['chance'].iloc[0]:.3f}, {table['n_test'].iloc[0]} test presentations")
    return table


def _forecast(arguments: argparse.Namespace) -> int:
    from ..population.decoding.forecast import forecast
    from ..validate.population import FORECASTS, check_table

    table = forecast(read(arguments)[0], arguments.models, arguments.history)
    check_table(table, FORECASTS, "forecast")
    print(table[["model", "bits_per_spike", "share_better", "n_train", "n_test"]].round(3).to_string(index=False))
    write(arguments.out, table)
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from ..core.errors import ConfigError
    from ..core.files import atomic_path
    from ..population.embedder import PopulationEmbedder
    from ..population.plots import plot_fit

    if arguments.out.suffix not in FIGURES:
        raise ConfigError(f"{arguments.out}: ending '{arguments.out.suffix}'; one of {', '.join(FIGURES)} is needed")
    model = PopulationEmbedder.load(arguments.model)
    data, names = read(arguments, model)
    label = data.labels[names[0]] if names else "time"
    figure = plot_fit(model, model.transform(data), label, title=names[0] if names else "time")
    with atomic_path(arguments.out) as temporary:
        figure.savefig(temporary, format=arguments.out.suffix[1:], dpi=150)
    print(f"wrote {arguments.out}")
    return 0


ACTIONS = {
    **FITS, "transform": _transform, "score": _score, "decode": _decode, "forecast": _forecast, "plot": _plot,
    "compare": compare,
}  # fmt: skip

"""What trains in `spikeprint population`: fit, train, grid. Enters: options. Leaves: model files, what is printed."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._sources import add_action, add_labels, check_names, check_share, read, read_all

DEFAULTS = {
    "model_architecture": "offset10-model", "batch_size": "auto", "time_offsets": 10, "max_iterations": 1000,
    "learning_rate": 1e-3, "temperature": 0.3,
}  # fmt: skip
MODEL, HISTORY = "model.safetensors", "history.csv"
"""What ``train`` writes to its folder."""


def _flag(text: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"'{text}': true or false is needed")
    return words[text.lower()]


@dataclass(frozen=True)
class Option:
    """An option of cebra's command line.

    Attributes
    ----------
    parameter : of ``PopulationEmbedder``
    default : cebra's
    kind : of its value
    """

    parameter: str
    default: Any
    kind: Any = str


CEBRA = {
    "distance": Option("distance", "cosine"),
    "temperature-mode": Option("temperature_mode", "constant"),
    "temperature": Option("temperature", 1.0, float),
    "min-temperature": Option("min_temperature", None, float),
    "time-offset": Option("time_offsets", 10, int),
    "delta": Option("delta", 0.1, float),
    "conditional": Option("conditional", "time_delta"),
    "num-steps": Option("max_iterations", 1000, int),
    "learning-rate": Option("learning_rate", 3e-4, float),
    "model": Option("model_architecture", "offset10-model"),
    "batch-size": Option("batch_size", 512, int),
    "num-hidden-units": Option("num_hidden_units", 32, int),
    "num-output": Option("output_dimension", 8, int),
    "device": Option("device", "cpu"),
    "tqdm": Option("verbose", False, _flag),
    "valid-frequency": Option("check_every", 100, int),
    "share-model": Option("shared_trunk", False, _flag),
}
"""cebra's option -> our parameter."""
ALIASES = {"distance": ("--loss-distance",)}
VARIANTS: dict[str, dict[str, Any]] = {
    "single-session": {},
    "single-session-hybrid": {"hybrid": True},
    "single-session-full": {"batch_size": None},
    "multi-session": {},
}
"""cebra's variant -> the parameters that make it."""


def add_fits(actions: Any) -> None:
    """Declare the actions that train."""
    fit = add_action(actions, "fit", "fit a contrastive embedding and save it; without a label in time")
    fit.add_argument("data", type=Path, metavar="DATA", help="what is embedded, see spikeprint population --help")
    fit.add_argument("model", type=Path, metavar="MODEL", help="file to write")
    _add_choices(fit)
    _add_train(add_action(actions, "train", "the same by the names and defaults of cebra's options"))
    grid = add_action(actions, "grid", "fit every combination of parameters and save the best on held-out rows")
    grid.add_argument("data", type=Path, metavar="DATA", help="what is embedded, see spikeprint population --help")
    grid.add_argument("model", type=Path, metavar="MODEL", help="file to write: the best model")
    grid.add_argument(
        "--grid", action="append", required=True, metavar="KEY=VALUE,VALUE", help="a parameter and its values"
    )
    grid.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="a fit of each for each [0]")
    grid.add_argument("--models-dir", type=Path, metavar="FOLDER", help="where to write every model and results.csv")
    _add_choices(grid)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    add_labels(parser)
    parser.add_argument(
        "--train-ratio", type=float, default=0.8, metavar="SHARE", help="first rows that are used [0.8]"
    )
    told = ", ".join(f"{name}={value}" for name, value in DEFAULTS.items())
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help=f"parameters of PopulationEmbedder [{told}]"
    )


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("--data", nargs="+", type=Path, required=True, metavar="DATA", help="several: sessions")
    train.add_argument("--logdir", type=Path, required=True, help=f"folder to write: {MODEL}, {HISTORY}")
    train.add_argument("--variant", default="single-session", help=f"{', '.join(VARIANTS)} [single-session]")
    add_labels(train)
    for name, option in CEBRA.items():
        # no default here: what was asked for is told from what was not
        train.add_argument(
            f"--{name}", *ALIASES.get(name, ()), type=option.kind, default=argparse.SUPPRESS, metavar="VALUE",
            help=f"parameter {option.parameter} [{option.default}]", **_bare(option),
        )  # fmt: skip
    train.add_argument("--models", nargs="+", default=[], metavar="NAME", help="one for each session, all the same")
    train.add_argument("--train-ratio", type=float, default=0.8, metavar="SHARE", help="of the rows [0.8]")
    train.add_argument("--valid-ratio", type=float, default=0.1, metavar="SHARE", help="of the rows, held out [0.1]")
    train.add_argument("--save-frequency", type=int, metavar="N", help="refused: the best look is what is saved")
    train.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="parameters that cebra has no option for"
    )


def _bare(option: Option) -> dict[str, Any]:
    """A flag may stand without its value."""
    return {"nargs": "?", "const": True} if option.kind is _flag else {}


def _fit(arguments: argparse.Namespace) -> int:
    from ..population.embedder import PopulationEmbedder
    from ._values import parse_changes

    settings = {**DEFAULTS, **parse_changes(arguments.set)}
    check_names(settings)
    check_share("--train-ratio", arguments.train_ratio)
    data, names = read(arguments)
    cut = int(data.n_rows * arguments.train_ratio)
    _tell_labels(data, names)
    model = PopulationEmbedder(**settings).fit(data.take_rows(0, cut), *names)
    model.save(arguments.model)
    _tell(model)
    print(f"wrote {arguments.model}: {data.n_units} units, rows 0 to {cut} of {data.n_rows}")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from ..core.files import write_csv
    from ..population.embedder import PopulationEmbedder
    from ..population.settings import check_settings

    model = PopulationEmbedder(**_translate(arguments))
    check_settings(model)
    share = arguments.train_ratio + arguments.valid_ratio
    sessions, names = read_all(arguments, arguments.data)
    cuts = [round(data.n_rows * share) for data in sessions]
    _tell_labels(sessions[0], names)
    parts = [data.take_rows(0, cut) for data, cut in zip(sessions, cuts, strict=True)]
    arguments.logdir.mkdir(parents=True, exist_ok=True)
    model.fit(parts if arguments.variant == "multi-session" else parts[0], *names)
    write_csv(arguments.logdir / HISTORY, model.history_)
    model.save(arguments.logdir / MODEL)
    _tell(model)
    for path, data, cut in zip(arguments.data, sessions, cuts, strict=True):
        print(f"{path}: {data.n_units} units, rows 0 to {cut} of {data.n_rows}")
    print(f"wrote {arguments.logdir / MODEL} and {HISTORY}")
    return 0


def _translate(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters that cebra's options mean; ConfigError for what cannot be done."""
    from ..core.errors import ConfigError
    from ._values import parse_changes

    _check_train(arguments)
    options = {name: name.replace("-", "_") for name in CEBRA}
    given = {CEBRA[name].parameter: getattr(arguments, key) for name, key in options.items() if key in arguments}
    variant, others = VARIANTS[arguments.variant], parse_changes(arguments.set)
    check_names(others)
    mapped = {option.parameter: f"--{name}" for name, option in CEBRA.items()} | {
        "validation_fraction": "--valid-ratio"
    }
    for name in others:
        if name in mapped:
            raise ConfigError(f"--set {name}: say it by {mapped[name]}")
    for name in variant:
        if name in given or name in others:
            raise ConfigError(f"--variant {arguments.variant} means {name} = {variant[name]}; leave {mapped[name]} out")
    if arguments.models:
        given["model_architecture"] = arguments.models[0]
    total = arguments.train_ratio + arguments.valid_ratio
    held = {"validation_fraction": arguments.valid_ratio / total}
    return {**{option.parameter: option.default for option in CEBRA.values()}, **given, **held, **variant, **others}


def _check_train(arguments: argparse.Namespace) -> None:
    from ..core.errors import ConfigError, suggest

    variant, n_sessions, models = arguments.variant, len(arguments.data), arguments.models
    train, valid = arguments.train_ratio, arguments.valid_ratio
    if variant not in VARIANTS:
        raise ConfigError(
            f"--variant {variant}: not supported{suggest(variant, VARIANTS)}; supported: {', '.join(VARIANTS)}"
        )
    is_multi = variant == "multi-session"
    refused = {
        f"--data: {n_sessions} recordings, --variant {variant}; several are --variant multi-session": (
            n_sessions > 1 and not is_multi
        ),
        "--variant multi-session: one recording; give several to --data": n_sessions == 1 and is_multi,
        "--share-model: layers are shared by the sessions of --variant multi-session only": (
            getattr(arguments, "share_model", False) and not is_multi
        ),
        f"--models {' '.join(models)}: one for each of {n_sessions} sessions of --variant multi-session, in place of "
        "--model": bool(models) and (not is_multi or len(models) != n_sessions or "model" in arguments),
        f"--models {' '.join(models)}: sessions of one model have one architecture": len(set(models)) > 1,
        "--save-frequency: models on the way are not saved, that of the best look at the held-out rows is; leave it "
        "out": arguments.save_frequency is not None,
        f"--train-ratio {train:g} --valid-ratio {valid:g}: shares above 0 and from 0 on, together at most 1": not (
            train > 0 and valid >= 0 and train + valid <= 1 + 1e-9
        ),
        f"--logdir {arguments.logdir}: a file; a folder is needed": arguments.logdir.is_file(),
        f"--logdir {arguments.logdir}: holds {MODEL}; training does not go on from it, name another folder": (
            arguments.logdir / MODEL
        ).exists(),
    }
    for told, holds in refused.items():
        if holds:
            raise ConfigError(told)


def _grid(arguments: argparse.Namespace) -> int:
    from ..core.errors import ConfigError
    from ..population.search import GridSearch
    from ..population.settings import check_settings
    from ._values import parse_changes, parse_grid

    varied = parse_grid(arguments.grid)
    fixed = parse_changes(arguments.set)
    check_names(varied, "--grid")
    check_names(fixed)
    if twice := sorted({*varied} & {*fixed}):
        raise ConfigError(f"--grid and --set: both name {', '.join(twice)}; one is needed")
    if "random_state" in {**varied, **fixed}:
        raise ConfigError("random_state: say it by --seeds")
    check_share("--train-ratio", arguments.train_ratio)
    # a tuple or list of a parameter's own, such as several time offsets, is one value
    params = {**{name: [value] for name, value in {**DEFAULTS, **fixed}.items()}, **varied}
    for model in GridSearch.generate_models(params)[0].values():
        check_settings(model)
    data, names = read(arguments)
    cut = int(data.n_rows * arguments.train_ratio)
    _tell_labels(data, names)
    datasets = {arguments.data.stem: (data.take_rows(0, cut), *names)}
    search = GridSearch().fit_models(datasets, params, arguments.models_dir, arguments.seeds)
    best, name = search.get_best_model()
    table = search.get_df_results().drop(columns=["model", "name", "dataset"])
    by = "training_bits" if table["held_out_bits"].isna().all() else "held_out_bits"
    print(table.sort_values(by, ascending=False).round(4).to_string(index=False))
    best.save(arguments.model)
    print(f"wrote {arguments.model}: {name.removesuffix(f'_{arguments.data.stem}')}, rows 0 to {cut} of {data.n_rows}")
    return 0


def _tell_labels(data: Any, names: list[str]) -> None:
    for name in names:
        kind = "continuous" if data.labels[name].dtype.kind == "f" else "classes"
        print(f"label {name}: {kind}")


def _tell(model: Any) -> None:
    for name, value in model.diagnosis_.items():
        print(f"{name:16} {value:.4g}")


FITS = {"fit": _fit, "train": _train, "grid": _grid}

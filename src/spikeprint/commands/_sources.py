"""What the verbs of `spikeprint population` share. Enters: options. Leaves: a population and names of its labels."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

KINDS = {"label": None, "continuous": "continuous", "discrete": "discrete"}
"""Option that names a label -> what it is taken for; None = by its values."""


def add_action(actions: Any, name: str, told: str) -> argparse.ArgumentParser:
    """Declare an action and how it reads DATA."""
    parser = actions.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
    reading = parser.add_argument_group("how DATA is read")
    reading.add_argument(
        "--bin-width", type=float, metavar="S", help="of spike times, seconds [that of MODEL, else 0.025]"
    )
    reading.add_argument("--stimulus", metavar="NAME", help="table of presentations of an .nwb")
    reading.add_argument("--n-bins", type=int, default=10, metavar="N", help="bins of one presentation [10]")
    reading.add_argument("--key", metavar="NAME", help="entry of the counts in a file with several arrays")
    return parser


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name labels."""
    told = {"label": "what kind its values say", "continuous": "taken as a number", "discrete": "taken as classes"}
    for option in KINDS:
        parser.add_argument(
            f"--{option}", action="append", default=[], metavar="NAME or FILE",
            help=f"label, {told[option]}; may be given several times",
        )  # fmt: skip


def read(arguments: argparse.Namespace, model: Any = None) -> tuple[Any, list[str]]:
    """The population, binned as the model knows it, and the names of its labels that were asked for."""
    (data,), names = read_all(arguments, [arguments.data], model)
    return data, names


def read_all(arguments: argparse.Namespace, paths: Sequence[Path], model: Any = None) -> tuple[list[Any], list[str]]:
    """The populations at some paths, and the names of the labels that were asked for, which all of them have."""
    from ..population.sources import Reading, as_kind, read_source

    asked = {name: kind for option, kind in KINDS.items() for name in getattr(arguments, option, ())}
    known = model.bin_widths_[0] if model is not None and hasattr(model, "model_") else None
    width = arguments.bin_width or known or Reading.bin_width
    reading = Reading(width, arguments.stimulus, arguments.n_bins, arguments.key)
    found = []
    for path in paths:
        data = read_source(path, list(asked), reading)
        for name, kind in asked.items():
            data = data.with_label(name, as_kind(data.labels[name], kind))
        found.append(data)
    return found, list(asked)


def check_share(option: str, value: float) -> None:
    """Raise ConfigError for what is no share."""
    from ..core.errors import ConfigError

    if not 0 < value <= 1:
        raise ConfigError(f"{option} {value:g}: a share above 0, at most 1")


def check_names(names: Iterable[str], option: str = "--set") -> None:
    """Raise ConfigError for the first name that is no parameter of ``PopulationEmbedder``."""
    from dataclasses import fields

    from ..core.errors import ConfigError, suggest
    from ..population.settings import Settings

    known = [field.name for field in fields(Settings)]
    for name in names:
        if name not in known:
            raise ConfigError(f"{option} {name}: no such parameter{suggest(name, known)}")

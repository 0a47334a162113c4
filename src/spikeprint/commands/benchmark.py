"""Score the model and classical baselines on labelled units, by the published protocol.

FOLDER holds labelled units in any layout that `spikeprint add` reads. Labels are cleaned by the rules of params.yaml,
classes of fewer than 10 units dropped, the rest split into stratified folds in file order. Methods are rows of
`ablations` (NAME, or NAME:HEAD) and lda, logistic, svm, extra_trees, boosting, vote, vote_arithmetic. The protocol and
the published numbers: docs/benchmark.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, suggest
from ..core.files import check_writable, find_root, write_json
from ..core.runtime import LOGGER
from ..core.types import TECHNOLOGIES
from ._raw import count_unlabelled, find_row, list_labels, make_row, read_raw, tell_unlabelled, try_features
from ._units import CARD, check_rate

if TYPE_CHECKING:
    from ..core.config import Params
    from ..core.types import UnitTable

DEFAULT_METHODS = "production,lda,logistic,svm,extra_trees,boosting,vote"
PUBLISHED_FOLDS, PUBLISHED_SEED = 5, 42


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="labelled units, in any layout")
    parser.add_argument("--technology", help=f"one of {', '.join(TECHNOLOGIES)} (default: not told)")
    parser.add_argument(
        "--transductive",
        action="store_true",
        help="networks train on the features of test units too, without their labels",
    )
    parser.add_argument("--folds", type=int, default=PUBLISHED_FOLDS, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--seed", type=int, default=PUBLISHED_SEED, metavar="N", help="of the fold assignment (default: %(default)s)"
    )
    parser.add_argument("--methods", default=DEFAULT_METHODS, metavar="A,B", help="default: %(default)s")
    parser.add_argument("--heads", default="", metavar="A,B", help="read each network out by these heads too")
    parser.add_argument(
        "--transfer-to",
        type=Path,
        metavar="FOLDER",
        help="learn from all of each FOLDER and predict this one; classes of both are scored",
    )
    parser.add_argument(
        "--novelty",
        action="store_true",
        help="also leave each class out of training and score how well its units are told from known types (AUROC)",
    )
    parser.add_argument("--label-column", help="column with the cell types (default: the source's own)")
    parser.add_argument(
        "--sampling-frequency",
        default="",
        metavar="HZ[,HZ]",
        help="rate where the files do not say: one for all, or one for each FOLDER",
    )
    parser.add_argument(
        "--transfer-sampling-frequency", type=float, metavar="HZ", help="the same for the folder that is predicted"
    )
    parser.add_argument("--representation", help="CSV: what the histograms are (default: legacy)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows as a JSON list")


def run(arguments: argparse.Namespace) -> int:
    """Score, print the table and write the rows."""
    from ..core.config import Params
    from ._benchmark import cross_validate, leave_class_out, transfer
    from ._methods import resolve_methods

    _check_options(arguments)
    if arguments.json:
        check_writable(arguments.json)
    root = find_root()
    params = Params.load(root / "params.yaml")
    methods = resolve_methods(_split(arguments.methods), _split(arguments.heads), params)
    if not methods:
        raise ConfigError("--methods: no method is named; leave the option out for the default ones")
    wanted = list_folders(arguments)
    for folder, _ in wanted:
        if not folder.exists():
            raise ConfigError(f"{folder}: no such file or folder; labelled units are needed")
    tables = [_read(folder, rate, arguments, root, params) for folder, rate in wanted]
    names = tell_apart([str(table.card["dataset"]) for table in tables], [folder for folder, _ in wanted])
    tables = [replace(table, card={**table.card, "dataset": name}) for table, name in zip(tables, names, strict=True)]
    rows: list[dict[str, Any]] = []
    for table in tables[: len(arguments.folders)]:
        if arguments.transfer_to:
            rows += transfer(table, tables[-1], methods, params, arguments.transductive)
        else:
            rows += cross_validate(table, methods, params, arguments.folds, arguments.seed, arguments.transductive)
    print(format_rows(rows))
    if arguments.novelty:
        found = [
            leave_class_out(table, method, params, arguments.seed)
            for table in tables[: len(arguments.folders)]
            for method in methods
            if method.solver == "network" and method.variant == "network"
        ]
        for row in found:
            classes = ", ".join(f"{name} {value:.2f}" for name, value in row["auroc"]["classes"].items())
            mean = row["auroc"]["mean"]
            print(f"{row['dataset']}  {row['method']}  AUROC of a class never learnt: {mean:.3f} ({classes})")
        rows += found
    if arguments.json:
        write_json(arguments.json, rows)
        LOGGER.info("wrote %s: %d rows", arguments.json, len(rows))
    return 0


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """One aligned table of the rows of ``evaluate.protocol.make_row``."""
    header = ["dataset", "method", "units", "classes", "balanced accuracy", "macro F1", "seconds", "test features"]
    lines = [header]
    for row in rows:
        scores = [_describe_score(row[metric]) for metric in ("balanced_accuracy", "macro_f1")]
        counts = [str(row["n_units"]), str(len(row["classes"]))]
        met = "met" if row["transductive"] else "unseen"
        lines.append([row["dataset"], row["method"], *counts, *scores, f"{row['seconds']:.1f}", met])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _describe_score(score: dict[str, Any]) -> str:
    return f"{score['mean']:.3f}" + (f" +- {score['sd']:.3f}" if len(score["folds"]) > 1 else "")


def _check_options(arguments: argparse.Namespace) -> None:
    if arguments.technology not in (None, *TECHNOLOGIES):
        hint = suggest(arguments.technology, TECHNOLOGIES)
        raise ConfigError(f"--technology '{arguments.technology}'{hint}; known: {', '.join(TECHNOLOGIES)}")
    if arguments.folds < 2:
        raise ConfigError(f"--folds {arguments.folds}: at least 2 are needed")
    if not 0 <= arguments.seed < 2**32:
        raise ConfigError(f"--seed {arguments.seed}: a number from 0 to 2**32 - 1 is needed")
    if arguments.transfer_to and arguments.transfer_to.resolve() in {folder.resolve() for folder in arguments.folders}:
        raise ConfigError(f"--transfer-to {arguments.transfer_to}: is learnt from; another folder is needed")


def list_folders(arguments: argparse.Namespace) -> list[tuple[Path, float | None]]:
    """Every folder, the one that is predicted last, with the rate that the options give its waveforms.

    Raises
    ------
    ConfigError
        Neither one rate nor as many as folders, one that is none, or the predicted folder's is missing or idle.
    """
    folders, target, target_rate = arguments.folders, arguments.transfer_to, arguments.transfer_sampling_frequency
    words = _split(arguments.sampling_frequency)
    rates: list[float | None] = [_read_rate(word) for word in words] or [None]
    if len(rates) not in (1, len(folders)):
        raise ConfigError(
            f"--sampling-frequency {','.join(words)}: {len(rates)} rates for {len(folders)} folders; give one for all, "
            "or one for each FOLDER in their order"
        )
    check_rate(target_rate, "--transfer-sampling-frequency")
    if target_rate is not None and not target:
        raise ConfigError("--transfer-sampling-frequency: is that of --transfer-to, which is not given")
    pairs = list(zip(folders, rates * len(folders) if len(rates) == 1 else rates, strict=True))
    if not target:
        return pairs
    if target_rate is None and len(rates) > 1:
        raise ConfigError(
            f"--transfer-sampling-frequency: is needed where each FOLDER has its own; give that of {target}"
        )
    return [*pairs, (target, rates[0] if target_rate is None else target_rate)]


def tell_apart(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Return the names of datasets; those that bear one name get as much of their path before it as tells them apart.

    Raises
    ------
    ConfigError
        A folder is given twice.
    """
    paths = [folder.resolve() for folder in folders]
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise ConfigError(f"{folders[i]}: is given twice; its rows would be the same")
    found = []
    for name, path in zip(names, paths, strict=True):
        others = [other for other_name, other in zip(names, paths, strict=True) if other_name == name and other != path]
        n_parts = 1
        while any(other.parts[-n_parts:] == path.parts[-n_parts:] for other in others):
            n_parts += 1
        found.append("/".join(path.parts[-n_parts:]) if n_parts > 1 else name)
    return found


def _read_rate(word: str) -> float:
    try:
        rate = float(word)
    except ValueError:
        raise ConfigError(f"--sampling-frequency '{word}': not a number; a rate in Hz is needed") from None
    check_rate(rate)
    return rate


def _split(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _read(
    path: Path, rate_hz: float | None, arguments: argparse.Namespace, root: Path, params: "Params"
) -> "UnitTable":
    """Canonical units of a folder; a dataset of params.yaml brings what its row says, options win."""
    from ..io.datasets import read_canonical
    from ..io.sources import identify

    told = {"technology": arguments.technology} if arguments.technology else {}
    if (path / CARD).is_file():
        table = read_canonical(path)
        return replace(table, card={**table.card, **told})
    name, declared = find_row(path, root, params)
    found = identify(path, declared.format if declared else "auto")
    if found.is_recording:
        raise ConfigError(f"{path}: holds traces ({found.format}), whose units are not known yet")
    row = make_row(declared, found.format, arguments, rate_hz)
    raw = read_raw(path, row)
    table = try_features(raw, path, name, row, params.features)
    for line in tell_unlabelled(count_unlabelled(list_labels(raw), table.labels)):
        LOGGER.info("%s: %s", name, line.strip())
    neutral = {} if declared else {"technology": "", "species": ""}
    return replace(table, card={**table.card, **neutral, **told})

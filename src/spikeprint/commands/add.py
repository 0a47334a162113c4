"""Add a dataset folder to the project.

FOLDER holds waveforms.csv and isi_dist.csv, and may hold acg.csv, labels.csv and metadata.csv: a header row, one row
per unit, the same order everywhere. One with recording.json holds spike trains and templates (docs/architecture.md).
All is checked before anything changes. Then the files are copied to data/raw/NAME and put under DVC, and params.yaml
gets a row.
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, DataError
from ..core.files import atomic_folder, find_root, write_text
from ._raw import count_unlabelled, read_raw, tell_unlabelled, try_features
from ._units import check_rate
from .run import dvc, environment

if TYPE_CHECKING:
    from ..core.config import Params

YAML_WORDS = ("null", "true", "false", "on", "off", "yes", "no", "y", "n")
"""Words that YAML readers take for a truth value or nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="name of the dataset: a letter, then a-z, 0-9, _")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder with the dataset's files")
    parser.add_argument("--technology", required=True, help="how it was recorded, e.g. neuropixels or silicon_probe")
    parser.add_argument("--species", required=True, help="animal kind, e.g. mouse")
    parser.add_argument("--label-column", help="column of labels.csv (default: the last; none = ignore labels)")
    parser.add_argument("--sampling-frequency", type=float, metavar="HZ", help="rate of waveforms.csv, if known")
    parser.add_argument("--link", action="store_true", help="link the files; DVC takes its copy at the next run")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check, copy, track and declare the dataset; on any failure everything is as before."""
    from ..io.datasets import SORTING_FILES, SOURCE_FILES
    from ..io.rows import insert_row

    root, name, folder = find_root(), arguments.name, arguments.folder
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; a folder with a dataset's files is needed")
    check_rate(arguments.sampling_frequency)
    params_path = root / "params.yaml"
    before = _check_name(root, name)
    is_sorting = (folder / "recording.json").is_file()
    row = {
        "technology": arguments.technology,
        "species": arguments.species.strip().lower(),
        "format": "arrays" if is_sorting else "csv",
        "label_column": arguments.label_column,
        "sampling_frequency_hz": arguments.sampling_frequency,
    }
    text = insert_row(before, name, {key: value for key, value in row.items() if value is not None})
    params = _parse(text)
    raw_units = read_raw(folder, params.datasets[name])
    table = try_features(raw_units, folder, name, params.datasets[name], params.features)
    files = [folder / file for file in (SORTING_FILES if is_sorting else SOURCE_FILES) if (folder / file).is_file()]
    raw = root / "data" / "raw" / name
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, raw, ignore_errors=True)
        _transfer(files, raw, arguments.link)
        undo.callback(write_text, params_path, before)
        write_text(params_path, text)
        undo.callback(raw.with_name(f"{name}.dvc").unlink, missing_ok=True)
        run_dvc(root, "add", *(["--no-commit"] if arguments.link else []), f"data/raw/{name}")
        undo.pop_all()
    card = table.card
    result = {
        "dataset": name,
        "folder": f"data/raw/{name}",
        "n_units": card["n_units"],
        "n_labelled": card["n_labelled"],
        "classes": card["classes"],
        "taken_as_unlabelled": count_unlabelled(raw_units.labels, table.labels),
        "missing": card["missing"],
        "next": "spikeprint run",
    }
    print(json.dumps(result, indent=2) if arguments.json else _describe(result))
    return 0


def run_dvc(root: Path, *words: str) -> None:
    """Run DVC in ``root`` and keep its output (its --quiet would swallow the reason of a failure too).

    Raises
    ------
    ConfigError
        DVC refused; the line that says why is quoted.
    """
    done = subprocess.run(dvc(*words), cwd=root, env=environment(), capture_output=True)
    if done.returncode:
        reason = quote_error(done.stderr.decode(errors="replace")) or f"exit code {done.returncode}"
        raise ConfigError(f"{root}: `dvc {' '.join(words)}` failed, nothing was changed: {reason}")


def quote_error(stderr: str) -> str:
    """Return the line that tells what went wrong: the first that DVC marks as an error, else the last, else nothing."""
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    marked = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    return next(iter([*marked, *reversed(said)]), "")


def _check_name(root: Path, name: str) -> str:
    """The text of params.yaml, if ``name`` can be added to it."""
    from ..core.config import NAME_PATTERN, NAME_RULE, Params
    from ..io.csvs import shorten

    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"dataset name '{shorten(name)}': {NAME_RULE}, e.g. 'my_mouse_v1'")
    if name in YAML_WORDS:
        raise ConfigError(f"dataset name '{name}': params.yaml reads this word as a value; choose another name")
    params = Params.load(root / "params.yaml")
    taken = {
        f"params.yaml has datasets.{name}": name in params.datasets,
        f"params.yaml has simulate.sessions.{name}": name in params.simulate.sessions,
        f"data/raw/{name} exists": (root / "data" / "raw" / name).exists(),
        f"data/raw/{name}.dvc exists": (root / "data" / "raw" / f"{name}.dvc").exists(),
    }
    for what, is_taken in taken.items():
        if is_taken:
            raise ConfigError(f"dataset name '{name}' is taken: {what}; choose another, or `spikeprint remove {name}`")
    return (root / "params.yaml").read_bytes().decode("utf-8")


def _parse(text: str) -> "Params":
    """Parameters of a file that is not written yet."""
    from ..core.config import Params

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "params.yaml"
        write_text(path, text)
        return Params.load(path)


def _transfer(files: list[Path], raw: Path, link: bool) -> None:
    """Fill ``raw`` with copies of ``files``, or links to them."""
    try:
        with atomic_folder(raw) as temporary:
            for file in files:
                if link:
                    (temporary / file.name).symlink_to(file.resolve())
                else:
                    shutil.copyfile(file, temporary / file.name)
    except OSError as error:
        raise DataError(f"{raw}: cannot be written ({error.strerror}); nothing was changed") from None


def _describe(result: dict[str, Any]) -> str:
    """What was added, for people."""
    n_units, missing = result["n_units"], result["missing"]
    classes = ", ".join(f"{name} {count}" for name, count in result["classes"].items()) or "no labels"
    modalities = ", ".join(
        f"{name}{f' (missing in {count} units)' if count else ''}" for name, count in missing.items() if count < n_units
    )
    absent = ", ".join(name for name, count in missing.items() if count == n_units)
    return "\n".join(
        [
            f"added {result['dataset']}: {n_units} units, {result['n_labelled']} labelled ({classes})",
            *tell_unlabelled(result["taken_as_unlabelled"]),
            f"  has {modalities}{f'; no {absent}' if absent else ''}",
            f"  files in {result['folder']}, tracked by DVC; row added to params.yaml",
            f"next: {result['next']}",
        ]
    )

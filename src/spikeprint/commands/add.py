"""Add units or a recording to the project.

PATH holds units (a folder of CSVs, a phy folder, NWB, ACQM or CellExplorer files, a SortingAnalyzer, NumPy arrays) or
raw traces (SpikeGLX, NWB, SpikeInterface, binary and probe), which the pipeline then sorts. docs/sources.md describes
every layout. All is checked before anything changes. Then the files are copied to data/raw/NAME and put under DVC, and
params.yaml gets a row.
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, DataError
from ..core.files import atomic_folder, find_root, write_text
from ._raw import count_unlabelled, list_labels, read_raw, tell_unlabelled, try_features
from ._units import check_rate
from .run import dvc, environment

if TYPE_CHECKING:
    from ..core.config import Params
    from ..io.sources import Found

YAML_WORDS = ("null", "true", "false", "on", "off", "yes", "no", "y", "n")
"""Words that YAML readers take for a truth value or nothing."""
SORTER = "lupin"
"""Sorter of a recording that comes without a sorting; part of SpikeInterface, runs on a CPU."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="name of the dataset: a letter, then a-z, 0-9, _")
    parser.add_argument("path", metavar="PATH", type=Path, help="file or folder with the units or the traces")
    parser.add_argument(
        "--from", dest="source", metavar="FORMAT", default="auto", help="layout of PATH (default: auto)"
    )
    parser.add_argument("--technology", required=True, help="how it was recorded, e.g. neuropixels or silicon_probe")
    parser.add_argument("--species", required=True, help="animal kind, e.g. mouse")
    parser.add_argument("--label-column", help="column with the cell types (default: the source's own; none = ignore)")
    parser.add_argument("--sampling-frequency", type=float, metavar="HZ", help="rate, where the files do not say")
    parser.add_argument("--representation", help="CSV: what the histograms are: counts_1ms, ... (default: legacy)")
    parser.add_argument("--sorter", help=f"sort the traces with this sorter (default for traces alone: {SORTER})")
    parser.add_argument("--sorted", action="store_true", help="traces: use the sorting in PATH instead of a sorter")
    parser.add_argument("--stream", help="traces: the stream of a recording with several")
    parser.add_argument("--link", action="store_true", help="link the files; DVC takes its copy at the next run")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check, copy, track and declare the dataset; on any failure everything is as before."""
    from ..io.sources import identify, keep_places
    from ..io.traces.given import find_given

    root, name = find_root(), arguments.name
    check_rate(arguments.sampling_frequency)
    before = _check_name(root, name)
    as_recording = arguments.sorter is not None or arguments.sorted
    found = identify(arguments.path, arguments.source, as_recording)
    if arguments.sorted:
        given = [file for file in find_given(arguments.path) if file.is_relative_to(arguments.path)]
        found = replace(found, places=found.places | keep_places(arguments.path, given))
    text = _declare(before, name, found, arguments)
    params = _parse(text)
    checked = _check_traces if found.is_recording else _check_units
    result = {"dataset": name, "folder": f"data/raw/{name}", "format": found.format, **checked(found, name, params)}
    _store(root, name, found, arguments.link, (before, text))
    result["next"] = "spikeprint run"
    print(json.dumps(result, indent=2) if arguments.json else _describe(result))
    return 0


def _declare(text: str, name: str, found: "Found", arguments: argparse.Namespace) -> str:
    """The text of params.yaml with the rows of a dataset, and of a recording where it comes from traces."""
    from ..io.rows import insert_row

    folder, format_, representation = f"data/raw/{name}", found.format, arguments.representation
    if found.is_recording:
        sorter = None if arguments.sorted else arguments.sorter or SORTER
        recording = {"format": found.format, "sorter": sorter, "stream": arguments.stream}
        text = insert_row(text, name, _given(recording), "recordings")
        folder, format_ = f"data/interim/sortings/{name}", "arrays"
    elif arguments.stream:
        raise ConfigError(f"--stream {arguments.stream}: {found.path} holds units ({found.format}), not traces")
    if format_ == "csv":
        representation = representation or "legacy"
    elif representation:
        raise ConfigError(
            f"--representation {representation}: features of layout '{found.format}' are computed here as counts_1ms; "
            "the option is for csv folders"
        )
    row = {
        "folder": folder,
        "technology": arguments.technology,
        "species": arguments.species.strip().lower(),
        "format": format_,
        "label_column": arguments.label_column,
        "sampling_frequency_hz": arguments.sampling_frequency,
        "representation": representation,
    }
    return insert_row(text, name, _given(row))


def _given(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _check_units(found: "Found", name: str, params: "Params") -> dict[str, Any]:
    """Read the units and compute their features as the pipeline will; what is worth telling."""
    row = params.datasets[name]
    raw = read_raw(found.path, row)
    table = try_features(raw, found.path, name, row, params.features)
    told = {key: table.card[key] for key in ("n_units", "n_labelled", "classes", "missing")}
    taken = count_unlabelled(list_labels(raw), table.labels)
    return {**told, "taken_as_unlabelled": taken, "representation": row.representation}


def _check_traces(found: "Found", name: str, params: "Params") -> dict[str, Any]:
    """Open the recording; sorting it is the pipeline's work."""
    from ..io.traces.given import read_given
    from ..io.traces.recordings import open_recording

    row = params.recordings[name]
    recording = open_recording(found.path, row)
    if row.sorter is None:
        read_given(found.path, recording)
    return {
        "n_channels": int(recording.get_num_channels()),
        "sampling_frequency_hz": float(recording.get_sampling_frequency()),
        "duration_s": float(recording.get_total_duration()),
        "sorter": row.sorter,
    }


def _store(root: Path, name: str, found: "Found", link: bool, texts: tuple[str, str]) -> None:
    """Copy the files, put them under DVC, write params.yaml (``texts``: before, after); undo all of it on failure."""
    raw, params_path = root / "data" / "raw" / name, root / "params.yaml"
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, raw, ignore_errors=True)
        _transfer(found, raw, link)
        undo.callback(write_text, params_path, texts[0])
        write_text(params_path, texts[1])
        undo.callback(raw.with_name(f"{name}.dvc").unlink, missing_ok=True)
        run_dvc(root, "add", *(["--no-commit"] if link else []), f"data/raw/{name}")
        undo.pop_all()


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
        f"params.yaml has recordings.{name}": name in params.recordings,
        f"params.yaml has simulate.sessions.{name}": name in params.simulate.sessions,
        f"params.yaml has simulate.recordings.{name}": name in params.simulate.recordings,
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


def _transfer(found: "Found", raw: Path, link: bool) -> None:
    """Fill ``raw`` with copies of the files, or links to them; below a folder they keep their places."""
    try:
        with atomic_folder(raw) as temporary:
            for file, place in ((file, place) for file, places in found.places.items() for place in places):
                target = temporary / place
                target.parent.mkdir(parents=True, exist_ok=True)
                if link:
                    target.symlink_to(file.resolve())
                else:
                    shutil.copyfile(file, target)
    except OSError as error:
        raise DataError(f"{raw}: cannot be written ({error.strerror}); nothing was changed") from None


def _describe(result: dict[str, Any]) -> str:
    """What was added, for people."""
    told = _describe_traces(result) if "sorter" in result else _describe_units(result)
    rows = "rows" if "sorter" in result else "row"
    return "\n".join(
        [
            *told,
            f"  files in {result['folder']}, tracked by DVC; {rows} added to params.yaml",
            f"next: {result['next']}",
        ]
    )


def _describe_traces(result: dict[str, Any]) -> list[str]:
    size = f"{result['n_channels']} channels, {result['duration_s']:.1f} s at {result['sampling_frequency_hz']:g} Hz"
    how = f"to be sorted by {result['sorter']}" if result["sorter"] else "with its own sorting"
    return [f"added {result['dataset']}: a recording ({result['format']}) of {size}, {how}"]


def _describe_units(result: dict[str, Any]) -> list[str]:
    n_units, missing = result["n_units"], result["missing"]
    classes = ", ".join(f"{name} {count}" for name, count in result["classes"].items()) or "no labels"
    modalities = ", ".join(
        f"{name}{f' (missing in {count} units)' if count else ''}" for name, count in missing.items() if count < n_units
    )
    absent = ", ".join(name for name, count in missing.items() if count == n_units)
    is_legacy = result["representation"] == "legacy"
    return [
        f"added {result['dataset']} ({result['format']}): {n_units} units, {result['n_labelled']} labelled ({classes})",
        *tell_unlabelled(result["taken_as_unlabelled"]),
        f"  has {modalities}{f'; no {absent}' if absent else ''}",
        *(["  histograms declared as legacy: bins and units unknown (--representation says more)"] * is_legacy),
    ]

"""Download a public dataset, verified by checksum.

Files go to data/downloads/NAME, or to FOLDER. An interrupted download goes on where it stopped; files that are there
are not transferred again. The line of `spikeprint add` that takes the dataset into the project is shown, or run.
"""

import argparse
import json
import os
import shlex
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError
from ..core.files import find_root

if TYPE_CHECKING:
    from ..io.catalog import CatalogDataset, RemoteFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a dataset of --list")
    parser.add_argument("--list", action="store_true", help="show the datasets there are")
    parser.add_argument(
        "--to", metavar="FOLDER", type=Path, help="where to put the files (default: data/downloads/NAME)"
    )
    parser.add_argument("--url", metavar="BASE", help="take BASE/NAME/<file> of a mirror instead of the public address")
    parser.add_argument("--add", action="store_true", help="add the dataset to the project afterwards")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """List the catalog, or download one dataset of it."""
    from ..io.catalog import CATALOG, get_dataset

    if arguments.list:
        rows = list(CATALOG.values())
        print(json.dumps([_summarise(row) for row in rows], indent=2) if arguments.json else _tabulate(rows))
        return 0
    if arguments.name is None:
        raise ConfigError("fetch: no dataset named; `spikeprint fetch --list` shows what there is")
    dataset = get_dataset(arguments.name)
    folder = arguments.to or find_root() / "data" / "downloads" / dataset.name
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file; a folder is needed")
    words = _add_words(dataset, folder)
    result = {
        **_summarise(dataset),
        "folder": str(folder),
        "files": _fetch_files(dataset, folder, arguments.url),
        "next": shlex.join(["spikeprint", "add", *words]),
    }
    if not arguments.json:
        print(_describe(dataset, result, arguments.add))
    if arguments.add:
        result["added"] = _add(words, arguments.json)
    if arguments.json:
        print(json.dumps(result, indent=2))
    return 0


def _fetch_files(dataset: "CatalogDataset", folder: Path, base: str | None) -> list[dict[str, Any]]:
    """Download every file; addresses are looked up first, so that a missing one is told before the first byte."""
    from ..io.catalog import list_urls
    from ..io.download import download

    urls = {file.path: list_urls(dataset, file, base) for file in dataset.files}
    done = []
    for file in dataset.files:
        is_new = download(urls[file.path], folder / file.path, file.sha256, file.size, _progress(file))
        done.append({"path": file.path, "bytes": file.size, "transferred": is_new})
    return done


def _progress(file: "RemoteFile") -> Any:
    """A counter on the terminal; None where nobody looks."""
    if not sys.stderr.isatty() or os.environ.get("SPIKEPRINT_QUIET"):
        return None

    def show(n_bytes: int, size: int) -> None:
        end = "\n" if n_bytes == size else ""
        print(f"\r{file.path}: {n_bytes / 1e6:.1f} of {size / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)

    return show


def _add_words(dataset: "CatalogDataset", folder: Path) -> list[str]:
    """What `spikeprint add` must be told."""
    options = {
        "technology": dataset.technology,
        "species": dataset.species,
        "representation": dataset.representation,
        "label-column": dataset.label_column,
    }
    told = [word for key, value in options.items() if value for word in (f"--{key}", value)]
    return [dataset.name, str(folder), *told]


def _add(words: list[str], as_json: bool) -> Any:
    """Run `add`; its result as a value when JSON is wanted, else it prints for itself."""
    from . import add

    parser = argparse.ArgumentParser(prog="spikeprint add")
    add.add_arguments(parser)
    if not as_json:
        return add.run(parser.parse_args(words))
    with redirect_stdout(StringIO()) as shown:
        add.run(parser.parse_args([*words, "--json"]))
    return json.loads(shown.getvalue())


def _summarise(dataset: "CatalogDataset") -> dict[str, Any]:
    """A row of the catalog as JSON."""
    names = ("title", "n_units", "technology", "species", "representation", "label_column", "label_map")
    return {
        "dataset": dataset.name,
        **{name: getattr(dataset, name) for name in names},
        "bytes": dataset.size,
        "is_public": all(file.urls for file in dataset.files),
        "licence": dataset.licence,
        "citation": dataset.citation,
        "note": dataset.note,
    }


def _tabulate(datasets: list["CatalogDataset"]) -> str:
    """The catalog for people."""
    header = ("name", "units", "MB", "technology", "species", "licence", "what it is")
    rows = [
        (
            row.name,
            str(row.n_units),
            f"{row.size / 1e6:.1f}",
            row.technology,
            row.species,
            row.licence,
            row.title + ("" if all(file.urls for file in row.files) else " (needs --url)"),
        )
        for row in datasets
    ]
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def _describe(dataset: "CatalogDataset", result: dict[str, Any], is_added: bool) -> str:
    """What was fetched, for people."""
    n_new = sum(file["transferred"] for file in result["files"])
    there = len(result["files"]) - n_new
    lines = [
        f"fetched {dataset.name}: {n_new} files{f', {there} were there' if there else ''}, checksums agree",
        f"  files in {result['folder']} ({dataset.size / 1e6:.1f} MB, {dataset.n_units} units)",
        f"  {dataset.licence}; cite {dataset.citation}",
    ]
    return "\n".join([*lines, *([] if is_added else [f"next: {result['next']}"])])

"""Take a dataset out of the project.

Its rows in params.yaml, its files under data/raw and what was computed from them go; DVC's cache keeps the files, so an
earlier commit can still bring them back. A simulated session keeps its raw files, they belong to the section simulate.
"""

import argparse
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

from ..core.errors import ConfigError, suggest
from ..core.files import find_root, write_text
from .add import run_dvc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="a dataset of params.yaml")


def run(arguments: argparse.Namespace) -> int:
    """Drop the row, the tracking and the files of a dataset."""
    from ..core.config import Params
    from ..io.rows import drop_row

    root, name = find_root(), arguments.name
    path = root / "params.yaml"
    params = Params.load(path)
    datasets = params.datasets
    if name not in datasets:
        raise ConfigError(f"params.yaml: no dataset '{name}'{suggest(name, datasets)}; rows: {', '.join(datasets)}")
    if len(datasets) == 1:
        raise ConfigError(f"params.yaml: '{name}' is the only dataset and one is needed; add another one first")
    before = path.read_bytes().decode("utf-8")
    raw = root / "data" / "raw" / name
    is_tracked = raw.with_name(f"{name}.dvc").is_file()
    hybrids = [key for key, row in params.hybrid.items() if row.recording == name]
    with ExitStack() as undo:
        undo.callback(write_text, path, before)
        after = drop_row(before, name)
        if name in params.recordings:
            for hybrid in hybrids:
                after = drop_row(after, hybrid, "hybrid")
            after = drop_row(after, name, "recordings")
        write_text(path, drop_row(after, name, "localized") if name in params.localized else after)
        if is_tracked:
            for link in _dangling(raw):  # DVC stops at one, e.g. when the source of `add --link` has gone
                undo.callback(link.symlink_to, link.readlink())
                link.unlink()
            run_dvc(root, "remove", f"data/raw/{name}.dvc")
            _unstage(root, f"data/raw/{name}.dvc")
        undo.pop_all()
    # later stages read data/canonical and reports/metrics/validation as folders: leftovers would count as data
    places = (
        "data/canonical",
        "data/interim/sortings",
        "data/interim/localized",
        "data/interim/positions",
        "data/interim/snippets",
        "reports/validation",
        "reports/localization",
    )
    derived = [root / place / name for place in places]
    derived += [
        root / place / key for place in ("data/hybrid", "reports/hybrid", "reports/metrics/hybrid") for key in hybrids
    ]
    for folder in [*([raw] if is_tracked else []), *derived]:
        shutil.rmtree(folder, ignore_errors=True)
    for file in (f"metrics/validation/{name}.json", f"explorer/{name}.html"):
        (root / "reports" / file).unlink(missing_ok=True)
    print(f"removed {name}: {'row, tracking and files' if is_tracked else 'row and computed features'}")
    print("next: spikeprint run")
    return 0


def _dangling(folder: Path) -> list[Path]:
    """Links below ``folder`` whose targets do not exist."""
    return [path for path in folder.rglob("*") if path.is_symlink() and not path.exists()]


def _unstage(root: Path, file: str) -> None:
    """Take a deleted file out of git's index too, where DVC's autostage had put it; without git nothing is to do."""
    if shutil.which("git"):
        words = ["git", "rm", "--cached", "--quiet", "--ignore-unmatch", "--", file]
        subprocess.run(words, cwd=root, capture_output=True)

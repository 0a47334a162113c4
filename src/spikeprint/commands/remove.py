"""Take a dataset out of the project.

Its row in params.yaml, its files under data/raw and what was computed from them go; DVC's cache keeps the files, so an
earlier commit can still bring them back. A simulated session keeps its raw files, they belong to simulate.sessions.
"""

import argparse
import shutil
from contextlib import ExitStack

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
    datasets = Params.load(path).datasets
    if name not in datasets:
        raise ConfigError(f"params.yaml: no dataset '{name}'{suggest(name, datasets)}; rows: {', '.join(datasets)}")
    if len(datasets) == 1:
        raise ConfigError(f"params.yaml: '{name}' is the only dataset and one is needed; add another one first")
    before = path.read_bytes().decode("utf-8")
    raw = root / "data" / "raw" / name
    is_tracked = raw.with_name(f"{name}.dvc").is_file()
    with ExitStack() as undo:
        undo.callback(write_text, path, before)
        write_text(path, drop_row(before, name))
        if is_tracked:
            run_dvc(root, "remove", f"data/raw/{name}.dvc")
        undo.pop_all()
    # later stages read data/canonical and reports/metrics/validation as folders: leftovers would count as data
    derived = [root / "data" / "canonical" / name, root / "reports" / "validation" / name]
    for folder in [*([raw] if is_tracked else []), *derived]:
        shutil.rmtree(folder, ignore_errors=True)
    (root / "reports" / "metrics" / "validation" / f"{name}.json").unlink(missing_ok=True)
    print(f"removed {name}: {'row, tracking and files' if is_tracked else 'row and computed features'}")
    print("next: spikeprint run")
    return 0

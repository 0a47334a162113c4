"""Wall time of what users wait for: the help, the whole default pipeline, a repro with nothing to do.

`python benchmarks/pipeline.py` clones the last commit into a temporary folder and runs the real commands there with
this environment; `--quick` leaves the whole pipeline out. `--json OUT` writes the rows. Exit code 1 when a target is
missed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from _common import ROOT, Row, Target, make_parser, make_row, report, seconds

BIN = Path(sys.executable).parent


def wall(words: list[str], folder: Path, repeats: int) -> float:
    """Median wall seconds of a command."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    run = partial(subprocess.run, words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return statistics.median(seconds(run) for _ in range(repeats))


def time_commands(clone: Path, quick: bool) -> Iterator[Row]:
    """What each command takes in a clone of the project."""
    table = [("spikeprint --help", [str(BIN / "spikeprint"), "--help"], 0.5, 5)]
    if not quick:
        table += [
            ("spikeprint run (default data)", [str(BIN / "spikeprint"), "run", "--quiet"], 360, 1),
            ("dvc repro, nothing to do", [str(BIN / "dvc"), "repro", "--quiet"], 6, 3),
        ]
    for name, words, limit, repeats in table:
        yield make_row(name, wall(words, clone, repeats), "s", Target(limit))


def main() -> int:
    """Run the benchmark."""
    arguments = make_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        return report(time_commands(clone, arguments.quick), arguments.json)


if __name__ == "__main__":
    sys.exit(main())

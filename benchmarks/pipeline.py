"""Wall time of what users wait for: the help, the whole default pipeline, a repro with nothing to do.

`python benchmarks/pipeline.py` clones the last commit into a temporary folder and runs the real commands there with
this environment; `--quick` leaves the whole pipeline out. `--json OUT` writes the rows. Exit code 1 when a target is
missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def wall(words: list[str], folder: Path, repeats: int) -> float:
    """Median wall seconds of a command."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(folder: Path, quick: bool) -> list[dict]:
    """One row per command: name, value, unit, target, holds."""
    table = [("spikeprint --help", [str(BIN / "spikeprint"), "--help"], 0.5, 5)]
    if not quick:
        table += [
            ("spikeprint run (default data)", [str(BIN / "spikeprint"), "run", "--quiet"], 360, 1),
            ("dvc repro, nothing to do", [str(BIN / "dvc"), "repro", "--quiet"], 6, 3),
        ]
    rows = []
    for name, words, target, repeats in table:
        value = wall(words, folder, repeats)
        rows.append({"name": name, "value": round(value, 3), "unit": "s", "target": target, "holds": value <= target})
        print(f"{name:<32} {value:8.2f} s   target <= {target} s   {'holds' if rows[-1]['holds'] else 'MISSED'}")
    return rows


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        rows = measure(clone, arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return int(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())

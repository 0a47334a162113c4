"""What all benchmarks share: rows of one form, how they are shown and written, the options, the exit code.

A benchmark is a table of parts, functions that give rows. Each row says what was measured, what it stands beside, and
whether its target holds. `python benchmarks/<topic>.py [--quick] [--only PART ...] [--json OUT]`; exit code 1 when a
target is missed.
"""

import argparse
import json
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
Part = Callable[..., Iterable[Row]]


@dataclass(frozen=True)
class Target:
    """At most, or at least, so much; of the value, or of the ratio to the peer."""

    limit: float
    at_least: bool = False
    of_ratio: bool = False


@dataclass(frozen=True)
class Peer:
    """What ours stands beside, in the same unit, and how many times better ours is, as the benchmark counts it."""

    name: str
    value: float
    ratio: float


def make_row(
    name: str, value: float, unit: str, target: Target | None = None, peer: Peer | None = None, **extra: Any
) -> Row:
    """One line of the table; without a target it holds. ``sd`` and ``load`` among ``extra`` are shown too."""
    found: Row = {"name": name, "value": round(float(value), 4), "unit": unit}
    found |= {"target": None, "sign": None, "target_of": None, "holds": True}
    if target:
        judged = peer.ratio if target.of_ratio and peer else value
        holds = (operator.ge if target.at_least else operator.le)(judged, target.limit)
        found |= {"target": target.limit, "sign": ">=" if target.at_least else "<="}
        found |= {"target_of": "ratio" if target.of_ratio else "value", "holds": bool(holds)}
    told = (peer.name, round(float(peer.value), 4), round(float(peer.ratio), 2)) if peer else (None, None, None)
    return found | dict(zip(("peer", "peer_value", "ratio"), told, strict=True)) | extra


def show(row: Row) -> str:
    """One row for people."""
    measured = f"{_number(row['value'])} {row['unit']}" + (f" +- {row['sd']:.3f}" if "sd" in row else "")
    verdict = against = ""
    if row["target"] is not None:
        what = "ratio " if row["target_of"] == "ratio" else ""
        verdict = f"{'holds' if row['holds'] else 'MISSED'} ({what}{row['sign']} {row['target']:,g})"
    if row["peer"]:
        against = f"{row['peer']}: {_number(row['peer_value'])}, ratio {row['ratio']:,.2f}"
    load = f"load {row['load']}" if "load" in row else ""
    return f"{row['name']:<72} {measured:<34} {verdict:<24} {against}  {load}".rstrip()


def make_parser(description: str | None, parts: Sequence[Part] = ()) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has; a benchmark may add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smoke run of small data: its numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows as a JSON list")
    if parts:
        parser.add_argument("--only", nargs="*", choices=[part.__name__ for part in parts], help="parts to run")
    return parser


def measure(parts: Sequence[Part], only: Sequence[str] | None, *given: Any) -> Iterator[Row]:
    """Yield the rows of each part, or of those named, as they come; each part is called with what is ``given``."""
    for part in parts:
        if not only or part.__name__ in only:
            yield from part(*given)


def report(rows: Iterable[Row], out: Path | None) -> int:
    """Print rows as they come, write them, and return the exit code: 1 when a target is missed."""
    found = []
    for row in rows:
        found.append(row)
        print(show(row), flush=True)
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n")
    return int(not all(row["holds"] for row in found))


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call: of the wall, or of this process's processors with ``time.process_time``."""
    started = clock()
    call()
    return clock() - started


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.3g}"

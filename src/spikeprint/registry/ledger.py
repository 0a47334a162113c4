"""What aliases pointed to, when, and why. Enters: moves of aliases. Leaves: ``reports/promotions.csv``, what it tells.

An alias points to one version and forgets where it pointed before. So every move is a tag of the registered model,
which all clones see, and a line of this file, which git keeps and which outlives the store.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..core.files import write_text

LEDGER = "reports/promotions.csv"

COLUMNS = (
    "at",
    "by",
    "kind",
    "model",
    "version",
    "alias",
    "previous",
    "reason",
    "bundle_sha256",
    "data_md5",
    "git_commit",
    "gates",
)
KINDS = ("promoted", "rolled back", "found")
"""What ``kind`` may be; ``found``: the alias was moved by other means."""
MOVE_TAG = "moved."
"""Prefix of the model's tags that hold a move each; the place in the order follows."""

Move = dict[str, str]
"""One line: a text for each of ``COLUMNS``."""


def write_move(move: Mapping[str, str], place: int) -> tuple[str, str]:
    """Return key and value of the model's tag for a move."""
    return f"{MOVE_TAG}{place:05d}", json.dumps({name: move[name] for name in COLUMNS if name != "model"})


def read_moves(tags: Mapping[str, str], model: str) -> list[Move]:
    """Return the moves that a registered model's tags tell of, oldest first."""
    keys = sorted(key for key in tags if key.startswith(MOVE_TAG))
    return [{**dict.fromkeys(COLUMNS, ""), **json.loads(tags[key]), "model": model} for key in keys]


def find_previous(moves: Iterable[Mapping[str, str]], alias: str) -> str:
    """Return the version that held ``alias`` before the one that does, ``""`` when none.

    A roll back takes the last promotion away, so rolling back twice goes back twice.
    """
    return ["", *_holders(moves, alias)][-2] if _holders(moves, alias) else ""


def last_holder(moves: Iterable[Mapping[str, str]], alias: str) -> str:
    """Return the version that holds ``alias`` by the moves, ``""`` when none."""
    return ["", *_holders(moves, alias)][-1]


def _holders(moves: Iterable[Mapping[str, str]], alias: str) -> list[str]:
    """Versions that hold or held ``alias``, less those that were rolled back."""
    held: list[str] = []
    for move in moves:
        if move["alias"] != alias:
            continue
        if move["kind"] == "rolled back" and held:
            held.pop()
        else:
            held.append(move["version"])
    return held


def read_ledger(root: Path, model: str = "") -> list[Move]:
    """Return the lines of the file, oldest first, of one model or of all; empty without a file.

    Lines written before a column was there have an empty text for it.
    """
    path = root / LEDGER
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        lines = [{name: line.get(name) or "" for name in COLUMNS} for line in csv.DictReader(handle)]
    return [line for line in lines if model in ("", line["model"])]


def add_to_ledger(root: Path, moves: Iterable[Move]) -> None:
    """Add the moves that the file lacks; it is replaced whole and never half written."""
    lines = read_ledger(root)
    known = {_identity(line) for line in lines}
    new = [move for move in moves if _identity(move) not in known]
    if new:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*lines, *new])
        write_text(root / LEDGER, text.getvalue())


def _identity(move: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(move[name] for name in ("at", "model", "version", "alias", "previous"))


def describe_loss(moves: list[Move]) -> str:
    """Say in one line what a store that knows no version has lost, or ``""`` when the ledger has no moves either."""
    if not moves:
        return ""
    lost = f"the store knows no version, {LEDGER} tells of {len(moves)}: version numbers restart at 1"
    held = next((move for move in reversed(moves) if move.get("alias") == "production"), None)
    if held is None:
        return f"{lost}; none held @production"
    return (
        f"{lost}; @production was bundle {(held.get('bundle_sha256') or '')[:12]} "
        f"(version {held.get('version')} of {held.get('at')}, commit {held.get('git_commit')}) "
        "and must be promoted again (spikeprint promote --to production)"
    )

"""``reports/promotions.csv``, which git keeps. Enters: moves of aliases. Leaves: one line each, and what they tell.

An alias points to one version and forgets where it pointed before, and ``mlflow.db`` may be deleted; this remembers.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from ..core.files import write_text

LEDGER = "reports/promotions.csv"

COLUMNS = ("at", "by", "model", "version", "alias", "previous", "bundle_sha256", "data_md5", "git_commit", "gates")


def append_move(root: Path, move: Mapping[str, str]) -> None:
    """Add one line with the keys ``COLUMNS``, header first; the file is replaced whole and never half written."""
    path = root / LEDGER
    before = path.read_text(encoding="utf-8") if path.is_file() else ",".join(COLUMNS) + "\n"
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerow(move)
    write_text(path, before + text.getvalue())


def read_moves(root: Path, model: str) -> list[dict[str, str]]:
    """Return the moves of one model, oldest first; empty without a ledger."""
    path = root / LEDGER
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return [move for move in csv.DictReader(handle) if move.get("model") == model]


def describe_loss(moves: list[dict[str, str]]) -> str:
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

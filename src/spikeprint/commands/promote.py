"""Move a registered version to staging or production, or back.

A version must pass every gate of params.yaml (section gates), and must have held @staging before @production. Every
move is a line in reports/promotions.csv and a tag of the model; --history shows them. A gate can be set aside with
--waive and a reason, and is then marked in the history. --rollback gives the alias back to the version that held it
before, gates or not.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.errors import RegistryError
from ..core.files import find_root, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    default = "for staging the newest, for production the one in staging"
    parser.add_argument("version", nargs="?", metavar="VERSION", help=f"version number (default: {default})")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--to", metavar="STAGE", help="staging or production")
    what.add_argument("--history", action="store_true", help="list all moves instead")
    parser.add_argument("--dry-run", action="store_true", help="show the gates, change nothing")
    parser.add_argument("--rollback", action="store_true", help="give STAGE back to the version that held it before")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, kept in the history")
    parser.add_argument(
        "--waive", action="append", default=[], metavar="GATE", help="let this gate fail (with --reason)"
    )
    parser.add_argument("--page", metavar="FILE", help="also write how the two versions compare, one HTML page")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the gates and what was done; exit code 1 when the version is refused."""
    from ..registry.promote import Wish, carry_out, plan_move, read_history

    root = find_root()
    if arguments.history:
        _print_history(read_history(root), arguments.json)
        return 0
    reason = " ".join(arguments.reason.split())
    wish = Wish(arguments.to.lower(), arguments.version, reason, frozenset(arguments.waive), arguments.rollback)
    plan = plan_move(root, wish)
    if arguments.page:
        write_page(Path(arguments.page), plan, root)
    is_done = plan.is_allowed and not arguments.dry_run
    if is_done:
        carry_out(root, plan)
    if arguments.json:
        told = {
            key: getattr(plan, key) for key in ("name", "version", "alias", "previous", "champion", "kind", "reason")
        }
        told |= {"gates": [asdict(gate) for gate in plan.gates], "is_allowed": plan.is_allowed}
        print(json.dumps({**told, "dry_run": arguments.dry_run}, indent=2))
    else:
        _print_plan(plan, is_done)
    if not arguments.dry_run:
        plan.refuse()
    return int(not plan.is_allowed)


def write_page(path: Path, plan: Any, root: Path) -> None:
    """Write the comparison of a plan's version with its champion.

    Raises
    ------
    RegistryError
        There is no champion, or the two cannot be compared.
    """
    from ..core.config import Params
    from ..evaluate.paired import compare_predictions
    from ..report.duel import render_duel

    challenger, champion = plan.evidence
    if champion is None:
        raise RegistryError(
            f"--page: {plan.name} has no other version in service to compare version {plan.version} with"
        )
    try:
        n_resamples = Params.load(root / "params.yaml").gates.n_resamples
        found = compare_predictions(champion.predictions, challenger.predictions, n_resamples)
    except ValueError as error:
        raise RegistryError(f"--page: versions {champion.number} and {challenger.number}: {error}") from None
    gates = [(gate.name, gate.shown, gate.needed, _verdict(gate), gate.why) for gate in plan.gates]
    facts = {f"version {side.number}": side.facts() for side in (champion, challenger)}
    write_text(path, render_duel(f"{plan.name} @{plan.alias}", found, gates, facts))


def _print_plan(plan: Any, is_done: bool) -> None:
    against = f", compared with version {plan.champion}" if plan.champion else ""
    print(f"{plan.name} version {plan.version} for @{plan.alias}{against}")
    rows = [(gate.name, gate.shown, gate.needed, _verdict(gate), gate.why) for gate in plan.gates]
    rows = [("gate", "found", "limit", "holds", ""), *rows]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for *cells, why in rows:
        print("  ".join([*(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)), why]).rstrip())
    done = "is" if is_done else "would be" if plan.is_allowed else "is not"
    before = f" (was version {plan.previous})" if plan.previous not in ("", plan.version) else ""
    print(f"{plan.name} version {plan.version} {done} @{plan.alias}{before}")


def _verdict(gate: Any) -> str:
    return "yes" if gate.passed else "waived" if gate.waived else "NO"


def _print_history(moves: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(moves, indent=2))
        return
    for move in moves:
        before = f" (was {move['previous']})" if move["previous"] else ""
        why = f": {move['reason']}" if move["reason"] else ""
        print(f"{move['at']}  {move['by']}  version {move['version']} {move['kind']} @{move['alias']}{before}{why}")

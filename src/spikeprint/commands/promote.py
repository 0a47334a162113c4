"""Move a registered version to staging or production.

A version must pass the gates of params.yaml (section register), and must have held @staging before @production. Every
move is a line in reports/promotions.csv; to go back, promote the older version again.
"""

import argparse
import json
from dataclasses import asdict

from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--to", required=True, metavar="STAGE", help="staging or production")
    parser.add_argument("--version", help="version number (default: the one that holds @staging)")
    parser.add_argument("--dry-run", action="store_true", help="show the gates, change nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the gates and what was done; exit code 1 when a dry run finds that the version would be refused."""
    from ..registry.promote import promote

    plan = promote(find_root(), arguments.to, arguments.version, arguments.dry_run)
    if arguments.json:
        print(json.dumps({**asdict(plan), "is_allowed": plan.is_allowed, "dry_run": arguments.dry_run}, indent=2))
    else:
        for gate in plan.gates:
            print(f"{'pass' if gate.passed else 'FAIL'}  {gate}")
        done = "would be" if arguments.dry_run and plan.is_allowed else "is" if plan.is_allowed else "would not be"
        before = f" (was version {plan.previous})" if plan.previous not in ("", plan.version) else ""
        print(f"{plan.name} version {plan.version} {done} @{plan.alias}{before}")
    return int(not plan.is_allowed)

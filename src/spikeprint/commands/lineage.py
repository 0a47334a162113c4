"""Say where a model comes from, or which models saw a raw file.

WHAT is models:/name@alias, models:/name/3, a version number, a bundle folder or a JSON file with answers of the served
model: printed are commit, MD5 of every input down to the raw data, parameters, environment, scores, validation and when
it held which alias. Or WHAT is a file or folder of data/raw (it may have changed or be gone): printed is every run and
version that saw it.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", metavar="WHAT", nargs="?", help="default: the version in production")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what is known."""
    from ..core.config import Params
    from ..registry.lineage import describe, find_evidence, find_users

    root = find_root()
    what = arguments.what or f"models:/{Params.load(root / 'params.yaml').register_.model_name}@production"
    if _is_raw(root, what):
        users = find_users(root, Path(what))
        if arguments.json:
            print(json.dumps(users, indent=2))
        else:
            _print_users(what, users)
        return 0
    found = describe(root, find_evidence(root, what))
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _print_version(found)
    return 0


def _is_raw(root: Path, what: str) -> bool:
    """Whether a path lies in ``data/raw``, there or not."""
    return Path(what).absolute().is_relative_to(root / "data" / "raw")


def _print_users(what: str, users: list[dict[str, Any]]) -> None:
    for row in users:
        held = [" ".join([number, *(f"@{a}" for a in aliases)]) for number, aliases in row["versions"].items()]
        print(
            f"{_date(row['logged_at_ms'])}  {row['ablation']}  run {row['run_id'][:12]}  "
            f"{', '.join(held) or 'not registered'}  {row['path']} {row['md5'][:12]} ({row['state']})"
        )
    n_runs = len({row["run_id"] for row in users})
    n_versions = len({number for row in users for number in row["versions"]})
    print(f"{what}: seen by {n_runs} runs, {n_versions} registered versions")


def _print_version(found: dict[str, Any]) -> None:
    held = " ".join(f"@{alias}" for alias in found["aliases"])
    print(f"{found['model']} version {found['version']} {held}".rstrip())
    metrics, environment = found["metrics"] or {}, found["environment"] or {}
    head = metrics.get("head", "")
    accuracy = metrics.get("overall", {}).get(head, {}).get("balanced_accuracy")
    packages = environment.get("packages", {})
    for name, value in {
        "row": found["ablation"],
        "run": f"{found['run_id']} by {found['by']}",
        "commit": found["commit"] + (" with uncommitted changes" if found["is_dirty"] else ""),
        "bundle": found["bundle_sha256"],
        "score": "" if accuracy is None else f"balanced accuracy {accuracy:.3f} ({head})",
        "python": environment.get("python", ""),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }.items():
        print(f"  {name:<11}{value}")
    for path, one in found["raw"].items():
        print(f"  raw        {path}  {one['md5']}  {one['made_by']}")
    for path, md5 in found["data"].items():
        print(f"  data       {path}  {md5}")
    for dataset, report in (found["validation"] or {}).items():
        missed = sum(not row["success"] for row in report.get("expectations", ()))
        print(f"  validation {dataset}: {report['n_units']} units, {report['failures']} failures, {missed} missed")
    for move in found["history"]:
        print(f"  history    {move['at']} {move['kind']} @{move['alias']} by {move['by']} {move['reason']}".rstrip())
    print(f"  {len(found['params'])} parameters and {len(found['code'])} code files: --json")
    for gap in found["gaps"]:
        print(f"  not known: {gap}")


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")

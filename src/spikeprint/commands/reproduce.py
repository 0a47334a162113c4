"""Train a registered version again and compare: same commit, parameters and data, in a temporary worktree.

On the same kind of processor with the same packages every number should come out equal. The project's own files do not
change; data come from DVC's cache or remote. Exit code 1 when a number differs, or code, commit or data are gone.
"""

import argparse
import json
from typing import Any

from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("version", metavar="VERSION", help="number, models:/name@alias or models:/name/version")
    parser.add_argument("--from-raw", action="store_true", help="make the features anew too, not the model only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Rebuild, print recorded and new numbers where they differ."""
    from ..registry.lineage import find_evidence
    from ._rebuild import rebuild, worktree

    root = find_root()
    version = find_evidence(root, arguments.version)
    commit = version.run.data.tags.get("git.commit", "unknown").removesuffix("-dirty")
    recorded, lineage, environment = version.metrics, version.lineage, version.environment
    with worktree(root, commit) as tree:
        made, digest = rebuild(root, tree, lineage, arguments.from_raw)
    numbers = compare_numbers(recorded, made)
    found = {
        "version": version.name,
        "commit": commit,
        "n_numbers": len(numbers),
        "differ": {key: pair for key, pair in numbers.items() if pair[0] != pair[1]},
        "is_same_bundle": digest == version.version.tags.get("bundle_sha256"),
        "other_packages": _other_packages(environment),
    }
    print(json.dumps(found, indent=2)) if arguments.json else _print(found)
    return int(bool(found["differ"]))


def compare_numbers(recorded: dict[str, Any], made: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return dotted key -> (recorded, made anew) of two files of metrics; lists are taken apart."""
    old, new = _leaves(recorded), _leaves(made)
    return {key: (old.get(key), new.get(key)) for key in [*old, *(key for key in new if key not in old)]}


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {prefix.removesuffix("."): value}
    return {key: leaf for name, inner in items for key, leaf in _leaves(inner, f"{prefix}{name}.").items()}


def _other_packages(recorded: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Packages of another version than when the run was logged: the first suspects when numbers differ."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name, then in recorded.get("packages", {}).items():
        try:
            now = version(name)
        except PackageNotFoundError:
            now = "not installed"
        if now != then:
            found[name] = (then, now)
    return found


def _print(found: dict[str, Any]) -> None:
    if found["differ"]:
        width = max(map(len, found["differ"]))
        print(f"{'number':<{width}}  recorded  made anew")
        for key, (old, new) in found["differ"].items():
            print(f"{key:<{width}}  {old}  {new}")
    for name, (then, now) in found["other_packages"].items():
        print(f"{name} was {then}, is {now}")
    same = "the same bundle, byte for byte" if found["is_same_bundle"] else "another bundle"
    n_equal = found["n_numbers"] - len(found["differ"])
    print(f"{found['version']} from commit {found['commit'][:12]}: {n_equal} of {found['n_numbers']} equal; {same}")

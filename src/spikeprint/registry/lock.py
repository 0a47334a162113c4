"""What ``dvc.lock`` says has run. Enters: a project folder. Leaves: lock entries of finished ablation rows, MD5s."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import RegistryError

STAGES = ("train", "embed", "evaluate")
"""What makes up one ablation row, in order."""

DATA = "data/canonical"

Entry = Mapping[str, Any]
"""One stage in ``dvc.lock``: ``cmd``, ``deps``, ``params``, ``outs``."""


@dataclass(frozen=True)
class FinishedRow:
    """An ablation row as far as ``dvc.lock`` says that it ran; ``entries`` maps stage names to lock entries."""

    ablation: str
    entries: dict[str, Entry]

    @cached_property
    def key(self) -> str:
        """MD5 of the entries: equal key, equal code, data, parameters and results."""
        return hashlib.md5(json.dumps(self.entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def outs(self) -> dict[str, str]:
        """Path relative to the project -> MD5 of everything written."""
        return {path: md5 for entry in self.entries.values() for path, md5 in hashes(entry, "outs").items()}

    @cached_property
    def deps(self) -> dict[str, str]:
        """Path relative to the project -> MD5 of everything read, code included."""
        return {path: md5 for entry in self.entries.values() for path, md5 in hashes(entry, "deps").items()}

    @property
    def is_evaluated(self) -> bool:
        """Whether the last stage has run too."""
        return f"{STAGES[-1]}@{self.ablation}" in self.entries

    @property
    def data_md5(self) -> str:
        """DVC's MD5 of the canonical data the row was trained on."""
        return self.deps.get(DATA, "")

    @cached_property
    def params(self) -> dict[str, Any]:
        """Dotted key of ``params.yaml`` -> the value it had when the row ran."""
        return {
            key: value
            for entry in self.entries.values()
            for key, value in entry.get("params", {}).get("params.yaml", {}).items()
        }


def read_lock(root: Path) -> dict[str, Entry]:
    """Return the entries of ``dvc.lock`` by stage name.

    Raises
    ------
    RegistryError
        The file is missing or not what DVC writes.
    """
    path = Path(root) / "dvc.lock"
    try:
        lock = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RegistryError(f"{path}: missing; run the pipeline first (spikeprint run)") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RegistryError(f"{path}: not valid YAML ({reason}); restore it with git") from None
    if not isinstance(lock, dict) or not isinstance(lock.get("stages"), dict):
        raise RegistryError(f"{path}: no mapping 'stages' found; restore it with git or run the pipeline again")
    return lock["stages"]


def finished_row(stages: Mapping[str, Entry], ablation: str, chain: tuple[str, ...] = STAGES) -> FinishedRow | None:
    """Collect the lock entries of one row of the stages of ``chain``, or None when its first has never run.

    A stage counts only if it read what the stage before it wrote last: after ``dvc repro train@x`` alone, the old
    scores do not belong to the new network.
    """
    entries: dict[str, Entry] = {}
    written: dict[str, str] = {}
    for stage in chain:
        entry = stages.get(f"{stage}@{ablation}")
        if entry is None or any(written.get(path, md5) != md5 for path, md5 in hashes(entry, "deps").items()):
            break
        entries[f"{stage}@{ablation}"] = entry
        written |= hashes(entry, "outs")
    return FinishedRow(ablation, entries) if entries else None


def changed_params(root: Path, row: FinishedRow) -> list[str]:
    """Return the keys of ``params.yaml``, dotted and sorted, whose value is not the one that a stage of ``row`` read.

    A number that one YAML dialect reads as text (``1e-3``) equals that number: DVC and PyYAML differ there.
    """
    now = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    changed: set[str] = set()
    for entry in row.entries.values():
        for key, then in entry.get("params", {}).get("params.yaml", {}).items():
            value = now
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            old, new = flatten({key: then}), flatten({key: value})
            changed |= {leaf for leaf in old.keys() | new.keys() if not _same(old.get(leaf), new.get(leaf))}
    return sorted(changed)


def _same(old: Any, new: Any) -> bool:
    try:
        return old == new or float(old) == float(new)
    except (TypeError, ValueError):
        return False


def hashes(entry: Entry, kind: str) -> dict[str, str]:
    """Return path -> MD5 of the ``deps`` or ``outs`` of a lock entry."""
    return {item["path"]: item["md5"] for item in entry.get(kind, ()) if "md5" in item}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings under dotted keys.

    >>> flatten({"knn": {"balanced_accuracy": {"mean": 0.5}}, "n": 3})
    {'knn.balanced_accuracy.mean': 0.5, 'n': 3}
    """
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def dvc_md5(path: Path) -> str:
    """Return the MD5 that DVC 3 records for a file or (ending in ``.dir``) a folder; ``""`` where nothing is.

    A folder's is the MD5 of the sorted JSON list of its files' MD5s (``dvc_data.hashfile.tree.Tree.as_bytes``), without
    the compiled Python that ``.dvcignore`` leaves out.
    """
    if not path.is_dir():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else ""
    files = [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    listing = [{"md5": dvc_md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    text = json.dumps(sorted(listing, key=lambda item: item["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"

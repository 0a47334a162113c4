"""Where a model comes from. Enters: ``dvc.lock`` and the files it speaks of. Leaves: every input, down to raw data.

A lock entry names only what its own stage read. Here the entries are followed upstream, from ``evaluate@row`` to the
files that no stage wrote, or that ``simulate`` made up; ``lineage.json`` of a run holds what is found.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .lock import Entry, FinishedRow, dvc_md5, hashes

FILE = "lineage.json"
RAW, CODE = "data/raw/", "src/"


def trace(root: Path, row: FinishedRow, stages: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the inputs of a finished row as JSON values.

    Returns
    -------
    ``entries`` : stage -> lock entry, the row's own and all upstream, enough to run it again
    ``raw`` : path -> ``md5``, ``made_by`` (a stage, or the ``.dvc`` file that git keeps) and ``files`` (relative path
    -> MD5; null where DVC's cache does not hold the list)
    ``data``, ``code`` : path -> MD5 of everything else that was read
    ``gaps`` : reasons why this is not the whole truth
    """
    entries = dict(row.entries)
    now = cache(lambda path: dvc_md5(root / path))
    read, gaps = dict(row.deps), list[str]()
    waiting = list(row.deps.items())
    while waiting:
        path, md5 = waiting.pop()
        if path.startswith(CODE):
            continue
        for name, entry in _writers(path, row, stages).items():
            gaps += _find_gap(now, (path, md5), (name, entry))
            if name not in entries:
                entries[name] = entry
                waiting += hashes(entry, "deps").items()
                read |= hashes(entry, "deps")
    written = {path: name for name, entry in entries.items() for path in hashes(entry, "outs")}
    raw = {path: md5 for path, md5 in sorted(read.items()) if path.startswith(RAW)}
    if not raw:
        gaps.append("dvc.lock leads to no raw data; run the whole pipeline (spikeprint run)")
    own = row.outs
    data = {p: md5 for p, md5 in read.items() if not p.startswith((RAW, CODE)) and p not in own}
    return {
        "ablation": row.ablation,
        "entries": entries,
        "raw": {
            path: {"md5": md5, "made_by": written.get(path) or f"{path}.dvc", "files": list_files(root, md5)}
            for path, md5 in raw.items()
        },
        "data": dict(sorted(data.items())),
        "code": {path: md5 for path, md5 in sorted(read.items()) if path.startswith(CODE)},
        "gaps": sorted(set(gaps)),
    }


def list_files(root: Path, md5: str) -> dict[str, str] | None:
    """Return relative path -> MD5 of the files of a folder as DVC's cache lists them; None where it does not.

    A single file lists itself under ``""``.
    """
    if not md5.endswith(".dir"):
        return {"": md5}
    path = cache_folder(root) / "files" / "md5" / md5[:2] / md5[2:]
    if not path.is_file():
        return None
    return {item["relpath"]: item["md5"] for item in json.loads(path.read_text(encoding="utf-8"))}


def cache_folder(root: Path) -> Path:
    """Return the folder of DVC's cache: the project's own, or the one that ``dvc cache dir`` has set."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return Path(repo.cache.local.path).parents[1]  # <cache>/files/md5
    except NotDvcRepoError:
        return Path(root) / ".dvc" / "cache"


def _writers(path: str, row: FinishedRow, stages: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the stages that wrote a path, or something below it, of the datasets that the row was told of."""
    datasets = row.params.get("datasets")
    found = {}
    for name, entry in stages.items():
        outs = hashes(entry, "outs")
        below = [out for out in outs if out.startswith(f"{path}/")]
        dataset = name.partition("@")[2]
        # DVC keeps the entries of datasets that were taken out of params.yaml
        if path in outs or (below and (datasets is None or dataset in datasets)):
            found[name] = entry
    return found


def _find_gap(now: Callable[[str], str], read: tuple[str, str], writer: tuple[str, Entry]) -> list[str]:
    """Say where what was read is not what the stage upstream says it wrote."""
    path, md5 = read
    name, entry = writer
    outs = hashes(entry, "outs")
    if path in outs:
        if outs[path] == md5:
            return []
        return [f"{path}: {name} has written {outs[path]} since, {md5} was read; run spikeprint run"]
    if now(path) != md5:
        return [f"{path}: not here as it was read ({md5}), so it cannot be told from which files it came; dvc pull"]
    wrong = [out for out in outs if out.startswith(f"{path}/") and now(out) != outs[out]]
    return [f"{out}: not what {name} wrote ({outs[out]}); run spikeprint run" for out in wrong]

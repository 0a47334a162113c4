"""Train a row again as it was. Enters: a commit, what ``lineage.json`` recorded. Leaves: the numbers made anew.

Everything happens in a temporary git worktree with DVC's cache of the project: neither its files nor its cache change.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import ModelError, RegistryError
from ..core.files import read_json
from ..registry.bundle import bundle_digest
from ..registry.lock import STAGES, FinishedRow, changed_params, dvc_md5, hashes
from ..registry.provenance import cache_folder
from .run import dvc, environment

REPORTS = "validate@"
"""Stages whose output git keeps, perhaps in a later commit, and DVC does not: they are run again."""

GRACE_S = 5.0
"""How long a stage that is stopped may take to end by itself."""


@contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """Yield the project's folder in a new worktree at ``commit``; it is removed however the block ends.

    Raises
    ------
    RegistryError
        The repository does not hold the commit.
    """
    known = git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    if known.returncode:
        raise RegistryError(
            f"commit {commit}: not in this repository ({_line(known.stderr)}); git fetch --all, or it is gone"
        )
    inside = git(root, "rev-parse", "--show-prefix").stdout.strip()
    folder = Path(tempfile.mkdtemp(prefix="spikeprint-"))
    with _terminated_as_interrupt():
        try:
            made = git(root, "worktree", "add", "--quiet", "--detach", str(folder / "tree"), commit)
            if made.returncode:
                raise RegistryError(f"commit {commit}: git cannot check it out ({_line(made.stderr)})")
            yield folder / "tree" / inside
        finally:
            git(root, "worktree", "remove", "--force", str(folder / "tree"))
            shutil.rmtree(folder, ignore_errors=True)
            git(root, "worktree", "prune")


def rebuild(root: Path, tree: Path, lineage: Mapping[str, Any], from_raw: bool) -> tuple[dict[str, Any], str]:
    """Bring code, parameters and data to what they were, train and evaluate; return metrics and the bundle's digest.

    Parameters
    ----------
    root, tree : the project, and its worktree
    lineage : content of ``lineage.json``
    from_raw : whether everything after the raw data is made anew, not the model only

    Raises
    ------
    RegistryError
        Code or parameters at the commit are not those that were used, or data are nowhere to be found.
    ModelError
        A stage failed.
    """
    name = lineage["ablation"]
    own = {stage: entry for stage, entry in lineage["entries"].items() if stage.partition("@")[0] in STAGES}
    again = {*own, *(stage for stage in lineage["entries"] if stage.startswith(REPORTS))}
    upstream = {} if from_raw else {s: entry for s, entry in lineage["entries"].items() if s not in again}
    check_sources(tree, lineage, FinishedRow(name, own))
    _share_cache(root, tree)
    (tree / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": upstream}), encoding="utf-8")
    _fetch(tree, lineage, upstream)
    run_stages(tree, "--allow-missing", "--no-run-cache", "--no-commit", f"evaluate@{name}")
    return read_json(tree / "reports" / "metrics" / f"{name}.json"), bundle_digest(tree / "models" / "cvae" / name)


def check_sources(tree: Path, lineage: Mapping[str, Any], row: FinishedRow) -> None:
    """Raise RegistryError unless code and parameters in ``tree`` are those of the run: it may have been uncommitted."""
    other = [path for path, md5 in lineage["code"].items() if dvc_md5(tree / path) != md5]
    other += [f"params.yaml: {key}" for key in changed_params(tree, row)]
    if other:
        listed = ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
        raise RegistryError(
            f"{row.ablation}: was trained with code or parameters that its commit does not hold ({listed}); they were "
            "never committed, so it cannot be reproduced"
        )


def run_stages(tree: Path, *words: str) -> None:
    """Run ``dvc repro``; what it prints goes to standard error. Its processes end with this one."""
    command = dvc("repro", *words)
    process = subprocess.Popen(command, cwd=tree, env=environment(), stdout=sys.stderr, start_new_session=True)
    try:
        code = process.wait()
    finally:
        if process.poll() is None:
            _stop(process)
    if code:
        raise ModelError(f"dvc repro stopped with exit code {code}; the stage's own message is above")


def git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder; the caller looks at the exit code."""
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)


def _share_cache(root: Path, tree: Path) -> None:
    """Give the worktree the project's cache and remotes, which git does not keep."""
    from dvc.repo import Repo

    cache = cache_folder(root)
    with Repo(str(root)) as repo:
        remotes = {name: dict(remote) for name, remote in repo.config["remote"].items()}
        default = repo.config["core"].get("remote")
    with Repo(str(tree)) as repo, repo.config.edit("local") as local:
        local["cache"]["dir"] = str(cache)
        local["remote"] = {name: {k: str(v) for k, v in remote.items()} for name, remote in remotes.items()}
        if default:
            local["core"]["remote"] = default


def _fetch(tree: Path, lineage: Mapping[str, Any], upstream: Mapping[str, Any]) -> None:
    """Put the recorded data in place; raw data that no stage can make must come from cache or remote."""
    kept = {path: one for path, one in lineage["raw"].items() if one["made_by"].endswith(".dvc")}
    for one in kept.values():
        pointer = tree / one["made_by"]
        outs = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"] if pointer.is_file() else []
        if one["md5"] not in [out.get("md5") for out in outs]:
            found = outs[0].get("md5") if outs else "nothing"
            raise RegistryError(
                f"{one['made_by']}: says {found} at this commit, the model was trained on {one['md5']}; it was never "
                "committed, so it cannot be reproduced"
            )
    targets = [*(one["made_by"] for one in kept.values()), *upstream]
    if not targets:
        return
    verb = "pull" if _has_remote(tree) else "checkout"
    done = subprocess.run(
        dvc(verb, "--quiet", "--allow-missing", *targets), cwd=tree, env=environment(), capture_output=True, text=True
    )
    lacking = [out for entry in upstream.values() for out in hashes(entry, "outs") if not (tree / out).exists()]
    gone = [f"{path} ({one['md5']})" for path, one in kept.items() if not (tree / path).exists()]
    needs_raw = not upstream or any(out.startswith("data/canonical/") for out in lacking)
    if gone and needs_raw:
        raise RegistryError(
            f"{', '.join(gone)}: neither in DVC's cache nor in a remote, so the data are gone; where they are, run dvc "
            f"push{f' (dvc {verb}: {_line(done.stderr)})' if done.stderr else ''}"
        )


def _has_remote(tree: Path) -> bool:
    from dvc.repo import Repo

    with Repo(str(tree)) as repo:
        return bool(repo.config["core"].get("remote"))


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the stack like Ctrl-C does, so that what was made is removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(process: subprocess.Popen) -> None:
    """End a process and all that it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _line(text: str) -> str:
    return " ".join(text.split())[:300]

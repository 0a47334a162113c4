"""Every shell block of the README runs, in order, in one throw-away project with small parameters."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support import Project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
SERVERS = {"make ui": "http://127.0.0.1:{port}/health", "spikeprint serve": "http://127.0.0.1:5001/ping"}
"""Last line of a block that keeps running -> the address that answers when it is up."""
NOT_HERE = "make test"
"""Would call itself; `.ci/run` is what runs it."""


@pytest.fixture(scope="module")
def readme_project(fresh_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose ``.venv`` is this environment, and a folder of CSVs to bring."""
    stamps = list(Path(sys.prefix).glob(".ready-*"))
    if not stamps:
        pytest.skip("this environment was not made by `make`, which the README's blocks would do again")
    project = fresh_project.copy(tmp_path_factory.mktemp("readme") / "project")
    (project.folder / ".venv").symlink_to(sys.prefix)
    for name in ("pyproject.toml", "constraints.txt"):  # newer than the stamp, `make` would install this copy instead
        os.utime(project.folder / name, (0, 0))
    project.environment |= {"XDG_DATA_HOME": str(project.folder.parent / "data-home"), "TORCH": stamps[0].name[7:]}
    return project


def wait_for(url: str) -> None:
    for _ in range(240):
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.25)
    raise TimeoutError(url)


def test_ci_runs_the_readmes_test_command() -> None:
    assert f"{NOT_HERE}\n" in BLOCKS
    assert NOT_HERE in (ROOT / ".ci" / "run").read_text()


def test_every_block_runs(readme_project: Project) -> None:
    servers: list[subprocess.Popen] = []
    try:
        for block in BLOCKS:
            if NOT_HERE not in block:
                _run(readme_project, block, servers)
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def _run(project: Project, block: str, servers: list[subprocess.Popen]) -> None:
    if "path/to/folder" in block and not (project.folder / "path/to/folder").exists():
        _make_folder(project)
    if "curl " in block and not shutil.which("curl"):
        return
    last = block.strip().splitlines()[-1]
    server = next((url for start, url in SERVERS.items() if last.startswith(start)), None)
    words = ["bash", "-e", "-c", block]
    if server is None:
        done = project.run(*words)
        if "curl " in block:
            assert '"label"' in done.stdout
        return
    environment = project.environment | {"PORT": "5999"}
    process = subprocess.Popen(words, cwd=project.folder, env=environment, start_new_session=True)
    servers.append(process)
    wait_for(server.format(port=5999))


def _make_folder(project: Project) -> None:
    """A dataset such as a lab would bring, made of simulated units."""
    folder = project.folder / "path" / "to" / "folder"
    folder.mkdir(parents=True)
    for name in ("waveforms.csv", "isi_dist.csv", "labels.csv"):
        shutil.copy(project.folder / "data/canonical/toy_silicon" / name, folder / name)

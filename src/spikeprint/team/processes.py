"""Servers that outlive the command that started them. Enters: a command. Leaves: a process, its id and log on disk."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import psutil

from ..core.errors import ConfigError, RegistryError
from ..core.files import write_private

STOP_S = 15
POLL_S = 0.1


@contextmanager
def home_lock(home: Path) -> Iterator[None]:
    """Let one command at a time start, stop or change the servers of a home folder."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)  # PostgreSQL, which is not root, passes through
    with open(home / ".lock", "w", encoding="utf-8") as handle:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{home}: another spikeprint team command is at work here; try again") from None
        yield


def start_process(home: Path, name: str, command: list[str], environment: Mapping[str, str]) -> None:
    """Start a server that goes on after this process; nothing is done when it runs already.

    Its id is kept in ``<home>/<name>.pid`` and its output in ``<home>/<name>.log``.
    """
    if running(home, name):
        return
    log = os.open(home / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            command, cwd=home, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(log)
    card = {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
    write_private(home / f"{name}.pid", json.dumps(card))


def running(home: Path, name: str) -> psutil.Process | None:
    """Return the process that ``start_process`` started, unless it has ended (its number may be another's by now)."""
    try:
        card = json.loads((home / f"{name}.pid").read_text(encoding="utf-8"))
        process = psutil.Process(card["pid"])
        is_same = abs(process.create_time() - card["created"]) < 1
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, json.JSONDecodeError, psutil.NoSuchProcess):
        return None


def stop_process(home: Path, name: str) -> bool:
    """End a server and its workers, kindly first; return whether it was running."""
    process = running(home, name)
    if process is not None:
        family = [process, *process.children(recursive=True)]
        _signal(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=STOP_S)
        if alive:
            _signal(process.pid, signal.SIGKILL)
            psutil.wait_procs(alive, timeout=STOP_S)
    (home / f"{name}.pid").unlink(missing_ok=True)
    return process is not None


def wait_until_ready(home: Path, name: str, url: str, timeout_s: float) -> None:
    """Wait for an HTTP answer below 500 at ``url``.

    Raises
    ------
    RegistryError
        The server has ended or does not answer in time; the message names its log.
    """
    deadline = time.monotonic() + timeout_s
    while not answers(url):
        if running(home, name) is None:
            raise RegistryError(
                f"{name}: the server ended while starting ({_last_line(home, name)}); see {home / name}.log"
            )
        if time.monotonic() > deadline:
            raise RegistryError(f"{name}: no answer at {url} within {timeout_s:.0f} s; see {home / name}.log")
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    """Whether an HTTP server answers there and is not failing."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _signal(pid: int, number: int) -> None:
    """Signal a whole session: ``start_process`` made its server the leader of one."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _last_line(home: Path, name: str) -> str:
    lines = (home / f"{name}.log").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

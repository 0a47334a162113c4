"""Behind one address, always a worker. Enters: a listening socket, a way to find the version. Leaves: a served model.

The socket is bound once and inherited by every worker, so a connection that comes while workers change waits in it. A
new worker must answer before the old one is told to go, and that one leaves no connection unanswered (``worker``):
promotion, rollback and restart cost no request. A version that does not open leaves the old one in its place.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from ..core.errors import RegistryError

LOGGER = logging.getLogger(__name__)

START_S = 120.0
"""A worker that does not answer after this is given up."""
DRAIN_S = 60.0
"""A worker that is told to go waits no longer than this for its connections."""
PAUSE_S = 1.0
"""Between two starts of workers that die."""


@dataclass(frozen=True)
class Target:
    """A version to serve: its folder and what GET /version tells of it."""

    folder: Path
    card: dict[str, str]


@dataclass(frozen=True)
class Task:
    """What a worker is started with; a line on ``ready_fd`` says that it answers, or why it cannot."""

    folder: str
    card: dict[str, str]
    max_body_bytes: int
    socket_fd: int
    ready_fd: int


class Supervisor:
    """Keeps workers of one version behind ``listener``.

    Parameters
    ----------
    listener : bound; the first worker makes it listen
    find : gives the version to serve now; None = still the one that was found last
    follow_s : how often it is asked, in seconds; 0 = only on SIGHUP
    max_body_bytes : limit of a request
    n_workers : processes that share the socket
    """

    def __init__(
        self,
        listener: socket.socket,
        find: Callable[[], Target | None],
        follow_s: float,
        max_body_bytes: int,
        n_workers: int = 1,
    ) -> None:
        self.listener, self.find, self.follow_s = listener, find, follow_s
        self.max_body_bytes, self.n_workers = max_body_bytes, n_workers
        self.workers: list[subprocess.Popen[bytes]] = []
        self.leaving: list[subprocess.Popen[bytes]] = []
        self.target: Target | None = None
        self.wants_restart = self.is_told_to_stop = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. SIGHUP starts the workers anew.

        Raises
        ------
        RegistryError
            The first version cannot be found or opened.
        """
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, self._hear)
        try:
            self.target = self.find()
            self._replace()
            asked = time.monotonic()
            while not self.is_told_to_stop:
                time.sleep(0.1)
                is_due = self.follow_s > 0 and time.monotonic() - asked >= self.follow_s
                if is_due or self.wants_restart:
                    asked = time.monotonic()
                    self._follow()
                self._tend()
        finally:
            self._stop()

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.wants_restart = True
        else:
            self.is_told_to_stop = True

    def _follow(self) -> None:
        """Serve what the registry names now; whatever goes wrong, the old version stays."""
        before, is_restart, self.wants_restart = self.target, self.wants_restart, False
        try:
            found = self.find()
            if found is None and not is_restart:
                return
            self.target = found or before
            self._replace()
        except RegistryError as error:
            LOGGER.warning("still the version of before: %s", error)
            self.target = before

    def _tend(self) -> None:
        """Forget those that have left, replace those that died."""
        self.leaving = [worker for worker in self.leaving if worker.poll() is None]
        died = [worker for worker in self.workers if worker.poll() is not None]
        if died and not self.is_told_to_stop:
            LOGGER.warning(
                "%d of %d workers died (exit %s); starting anew", len(died), self.n_workers, died[0].returncode
            )
            try:
                self._replace()
            except RegistryError as error:
                LOGGER.warning("%s", error)
                time.sleep(PAUSE_S)

    def _replace(self) -> None:
        """Start workers of the target; when all of them answer, tell those of before to go."""
        started = [self._start() for _ in range(self.n_workers)]
        workers = [worker for worker, _ in started]
        try:
            for _, ready_fd in started:
                self._await_ready(ready_fd)
        except RegistryError:
            _end(workers)
            raise
        finally:
            for _, ready_fd in started:
                os.close(ready_fd)
        for worker in self.workers:
            worker.terminate()
        self.leaving, self.workers = self.leaving + self.workers, workers

    def _start(self) -> tuple["subprocess.Popen[bytes]", int]:
        if self.target is None:
            raise RegistryError("no version to serve")
        ready_fd, told_fd = os.pipe()
        fds = (self.listener.fileno(), told_fd)
        task = Task(str(self.target.folder), self.target.card, self.max_body_bytes, *fds)
        words = [sys.executable, "-m", "spikeprint.registry.worker", json.dumps(asdict(task))]
        worker = subprocess.Popen(words, pass_fds=fds)
        os.close(told_fd)
        return worker, ready_fd

    def _await_ready(self, ready_fd: int) -> None:
        card = self.target.card if self.target else {}
        name = f"{card.get('model')} version {card.get('model_version')}"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.is_told_to_stop:
                return
            if select.select([ready_fd], [], [], 0.1)[0]:
                said = os.read(ready_fd, 4096).decode()
                if said != "\n":
                    raise RegistryError(f"{name} is not served: {said.strip() or 'its worker died, see its log above'}")
                LOGGER.info("%s answers", name)
                return
        raise RegistryError(f"{name} is not served: its worker does not answer")

    def _stop(self) -> None:
        for worker in self.workers:
            worker.terminate()
        _end([*self.workers, *self.leaving], DRAIN_S + 5)
        self.listener.close()


def _end(workers: list["subprocess.Popen[bytes]"], patience_s: float = 0.0) -> None:
    """Wait for workers that were told to go; kill those that do not."""
    deadline = time.monotonic() + patience_s
    for worker in workers:
        try:
            worker.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()

"""The process that serves one version. Enters: a listening socket, a folder. Leaves: answers, until told to go.

``python -m spikeprint.registry.worker JSON`` is started by ``supervisor`` alone, with the fields of a ``Task``. On
SIGTERM it stops accepting, and goes when every connection that it holds has ended: an idle one is closed as always, an
active one after its next answer.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import torch
import uvicorn

from ..core.errors import SpikeprintError
from ..core.runtime import setup_logging
from .server import App, open_served
from .supervisor import DRAIN_S, Task

KEEP_ALIVE_S = 5
"""A connection that is idle for so long is closed."""


class DrainingServer(uvicorn.Server):
    """Says when it is ready, and leaves no request unanswered when it goes: uvicorn's own would close idle connections
    at once, on which a request may be under way.
    """

    def __init__(self, config: uvicorn.Config, app: App, ready_fd: int) -> None:
        super().__init__(config)
        self.app, self.ready_fd, self.supervisor = app, ready_fd, os.getppid()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept."""
        await super().startup(sockets)
        os.write(self.ready_fd, b"\n")
        os.close(self.ready_fd)

    async def on_tick(self, counter: int) -> bool:
        """Say whether to go: when told to, and when nobody is left who would."""
        return await super().on_tick(counter) or os.getppid() != self.supervisor

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what comes on the connections that are there, then stop."""
        self.app.drain()
        for listener in self.servers:
            listener.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_S
        while self.server_state.connections and loop.time() < deadline and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def main() -> int:
    """Serve until SIGTERM; exit code 1 when the model cannot be opened."""
    setup_logging()
    task = Task(**json.loads(sys.argv[1]))
    torch.set_num_threads(1)
    try:
        app = App(open_served(Path(task.folder), task.card), task.max_body_bytes)
    except SpikeprintError as error:
        os.write(task.ready_fd, f"{error}\n".encode())
        return 1
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, timeout_keep_alive=KEEP_ALIVE_S, server_header=False
    )
    DrainingServer(config, app, task.ready_fd).run(sockets=[socket.socket(fileno=task.socket_fd)])
    return 0


if __name__ == "__main__":
    sys.exit(main())

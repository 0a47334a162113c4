"""Serve a registered model over HTTP: POST /invocations, GET /ping, /health, /version.

A model that is named by an alias is followed: after a promotion or a rollback the new version takes over without
losing a request, and so does a fresh process after `kill -HUP`. There is no authentication: keep it local, see
docs/serving.md.
"""

import argparse
import os
import socket

from ..core.errors import ConfigError
from ..core.files import find_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", metavar="URI", help="models:/name@alias or models:/name/version (default: production)"
    )
    parser.add_argument("--port", type=int, default=5001, help="port (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that answer (default: 1)")
    parser.add_argument(
        "--max-mb", type=float, default=32.0, metavar="MB", help="largest request (default: %(default)g)"
    )
    text = "how often to ask where the alias points, in seconds; 0 = never (default: %(default)g)"
    parser.add_argument("--follow", type=float, default=5.0, metavar="S", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted, once the version is known to exist and the port to be free."""
    from ..core.config import Params
    from ..registry.remote import tracking_uri
    from ..registry.supervisor import Supervisor
    from ..registry.versions import Follower

    root = find_root()
    uri = arguments.model or f"models:/{Params.load(root / 'params.yaml').register_.model_name}@production"
    check_options(arguments)
    follower = Follower(root, uri)
    version = follower.resolve()
    listener = bind(arguments.host, arguments.port)
    print(f"serving {version.name} version {version.version} on http://{arguments.host}:{arguments.port}", flush=True)
    os.environ |= {
        "MLFLOW_TRACKING_URI": tracking_uri(root),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    max_body_bytes = int(arguments.max_mb * 1e6)
    Supervisor(listener, follower.find, arguments.follow, max_body_bytes, arguments.workers).run()
    return 0


def check_options(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for a number that makes no sense."""
    if not 0.01 <= arguments.max_mb <= 1024:
        raise ConfigError(f"--max-mb {arguments.max_mb:g}: a number from 0.01 to 1024 is needed")
    if not 1 <= arguments.workers <= 64:
        raise ConfigError(f"--workers {arguments.workers}: a number from 1 to 64 is needed")
    if not 0 <= arguments.follow <= 86400:
        raise ConfigError(f"--follow {arguments.follow:g}: a number from 0 to 86400 s is needed")


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that has an address. It listens once a worker is ready: until then connections are refused.

    Raises
    ------
    ConfigError
        Nothing can listen there.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port {port}: a number from 1 to 65535 is needed")
    listener = None
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        return listener
    except OSError as error:
        if listener:
            listener.close()
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}); give another --port or --host"
        ) from None

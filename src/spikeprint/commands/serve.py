"""Serve a registered model over HTTP: POST /invocations, GET /ping. There is no authentication: keep it local."""

import argparse
import os
import socket
import sys

from ..core.errors import ConfigError
from ..core.files import find_root
from .run import environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", metavar="URI", help="models:/name@alias or models:/name/version (default: production)"
    )
    parser.add_argument("--port", type=int, default=5001, help="port (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")


def run(arguments: argparse.Namespace) -> int:
    """Become MLflow's scoring server, once the version is known to exist and the port to be free."""
    from ..core.config import Params
    from ..registry.tracking import connect, store_errors, tracking_uri
    from ..registry.versions import resolve_version

    root = find_root()
    uri = arguments.model or f"models:/{Params.load(root / 'params.yaml').register_.model_name}@production"
    with store_errors(f"model '{uri}'"):
        version = resolve_version(connect(root), uri)
    check_address(arguments.host, arguments.port)
    print(f"serving {version.name} version {version.version} on http://{arguments.host}:{arguments.port}", flush=True)
    variables = {
        "MLFLOW_TRACKING_URI": tracking_uri(root),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    where = ["--host", arguments.host, "--port", str(arguments.port), "--env-manager", "local"]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri, *where]
    os.execve(sys.executable, command, environment() | variables)


def check_address(host: str, port: int) -> None:
    """Raise ConfigError unless a server can listen there; MLflow would say so in a trace, after starting."""
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port {port}: a number from 1 to 65535 is needed")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address, family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # without the address, which stands before it
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({reason}); give another --port or --host"
        ) from None

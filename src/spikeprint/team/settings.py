"""What a team's servers are and who may use them. Enters: a home folder. Leaves: ``Settings``, in one private file.

The home folder is no part of a project: it belongs to the machine, as a database does.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from ..core.access import Access
from ..core.errors import ConfigError
from ..core.files import read_json, write_private

Role = Literal["reader", "member", "admin"]
"""A reader looks and pulls; a member logs, registers, promotes and pushes; an admin also manages users."""

ROLES: tuple[str, ...] = get_args(Role)

FILE = "settings.json"
ARTIFACTS, DATA = "mlflow", "dvc"
"""Buckets of the local store: MLflow's, which only its server may touch, and DVC's."""

EVERYWHERE = ("0.0.0.0", "::", "")
"""Addresses that mean every network of this machine; nobody can be sent to them."""

SERVER_KEY = "mlflow-server"
"""Access key of the MLflow server at the local store."""


@dataclass(frozen=True)
class User:
    """A member of the team; the keys are of the local store, ``""`` where the store is not ours."""

    role: str
    access_key: str = ""
    secret_key: str = ""


@dataclass(frozen=True)
class Settings:
    """Everything that ``spikeprint team up`` needs to know.

    Attributes
    ----------
    host, port : where MLflow listens; the local S3 store and PostgreSQL listen on the next two ports
    url, store_url : how clients reach MLflow and the local store, when not by host and port (a TLS proxy in front)
    database : ``postgresql://user@host/name`` without a password; ``""`` = a local PostgreSQL
    database_password : of that database, ``""`` = left to libpq (``~/.pgpass``)
    artifacts, data, endpoint : ``s3://bucket/prefix`` of MLflow and of DVC and where; ``""`` = the local store
    access_key, secret_key : the server's own at the S3 store; ``""`` = left to the AWS client library
    admin_password, session_key : of MLflow
    users : name -> ``User``
    """

    host: str = "127.0.0.1"
    port: int = 5080
    url: str = ""
    store_url: str = ""
    database: str = ""
    database_password: str = ""
    artifacts: str = ""
    data: str = ""
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    admin_password: str = ""
    session_key: str = ""
    users: dict[str, User] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show no secret, wherever this is logged."""
        return f"Settings({self.tracking_uri}, {len(self.users)} users)"

    @property
    def tracking_uri(self) -> str:
        """Address of MLflow, as clients see it."""
        return self.url or f"http://{self.host}:{self.port}"

    @property
    def local_host(self) -> str:
        """Where this machine reaches what listens on ``host``."""
        return "127.0.0.1" if self.host in EVERYWHERE else self.host

    @property
    def has_local_store(self) -> bool:
        """Whether the S3 store is started here."""
        return not self.artifacts

    @property
    def store_endpoint(self) -> str:
        """Address of the S3 store; ``""`` for Amazon's own."""
        return f"http://{self.local_host}:{self.port + 1}" if self.has_local_store else self.endpoint

    @property
    def store_artifacts(self) -> str:
        """Where MLflow keeps artifacts."""
        return self.artifacts or f"s3://{ARTIFACTS}"

    @property
    def store_data(self) -> str:
        """Where DVC keeps data."""
        return self.data or (f"s3://{DATA}" if self.has_local_store else f"{self.artifacts.rstrip('/')}/{DATA}")

    def access(self, name: str, password: str) -> Access:
        """Return what a user needs to reach the servers."""
        keys = self.users.get(name, User("admin"))
        where = {"data": self.store_data, "endpoint": self.store_url or self.store_endpoint}
        return Access(
            self.tracking_uri, name, password, **where, access_key=keys.access_key, secret_key=keys.secret_key
        )


def default_home() -> Path:
    """Return where a machine keeps its team's servers; PostgreSQL, which root cannot run, must reach it."""
    if chosen := os.environ.get("SPIKEPRINT_TEAM_HOME"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/spikeprint-team")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "spikeprint" / "team"


def new_secret() -> str:
    """Return 32 random characters that need no quoting anywhere: URL, INI file, shell."""
    return secrets.token_hex(16)


def new_settings() -> Settings:
    """Return settings with fresh secrets."""
    names = ("admin_password", "session_key", "database_password", "secret_key")
    return replace(Settings(access_key=SERVER_KEY), **{name: new_secret() for name in names})  # type: ignore[arg-type]


def load_settings(home: Path) -> Settings:
    """Read the settings of a home folder.

    Raises
    ------
    ConfigError
        No servers were ever set up there, or the file is damaged.
    """
    path = home / FILE
    if not path.is_file():
        raise ConfigError(f"{home}: no team servers were set up here; run spikeprint team up, or give --home")
    try:
        values = read_json(path)
        return Settings(**values | {"users": {name: User(**user) for name, user in values["users"].items()}})
    except (TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}: not settings of this version ({error}); restore it from a backup") from None


def save_settings(home: Path, settings: Settings) -> None:
    """Write the settings; only the owner can read them."""
    write_private(home / FILE, json.dumps(asdict(settings), indent=2) + "\n")

"""Share one MLflow server and one data store among several people.

up           start MLflow (with users and passwords), PostgreSQL and an S3 store on this machine, or use yours
down         stop what `up` started; nothing is lost
status       show what runs where, and the users
add-user     make a user; writes the file NAME.env that you hand over (secrets: send it safely)
remove-user  take all rights from a user
join         in a clone: use the servers of such a file for runs, models and data
leave        in a clone: go back to the local store

See docs/team.md.
"""

import argparse
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..core.access import FILE as ACCESS_FILE
from ..core.access import read_access, write_access
from ..core.errors import ConfigError
from ..core.files import find_root
from ..team.settings import EVERYWHERE, FILE, ROLES, Settings, default_home, load_settings, new_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs of the verb."""
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT", title="what to do")
    up = verbs.add_parser("up", help="start the servers")
    up.add_argument("--host", help="address to listen on (default: 127.0.0.1, this machine only)")
    up.add_argument(
        "--port", type=int, help="port of MLflow (default: 5080); the store and PostgreSQL take the next two"
    )
    up.add_argument("--url", help="how clients reach MLflow when not by host and port, e.g. through a TLS proxy")
    up.add_argument("--store-url", help="the same for the local S3 store")
    up.add_argument(
        "--database", help="your PostgreSQL: postgresql://user@host/name; password in PGPASSWORD or ~/.pgpass"
    )
    up.add_argument("--artifacts", help="your S3 store: s3://bucket/prefix; keys in AWS_... or ~/.aws")
    up.add_argument("--data", help="where DVC keeps data there (default: ARTIFACTS/dvc)")
    up.add_argument("--endpoint", help="address of that store (default: Amazon S3)")
    down = verbs.add_parser("down", help="stop the servers")
    status = verbs.add_parser("status", help="show the servers and users")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    add = verbs.add_parser("add-user", help="make a user")
    add.add_argument("name")
    add.add_argument("--role", choices=ROLES, default="member", help="default: %(default)s")
    add.add_argument("--reset", action="store_true", help="new password, keys and role for a known user")
    add.add_argument("--out", type=Path, help="file to write (default: NAME.env in the current folder)")
    remove = verbs.add_parser("remove-user", help="take all rights from a user")
    remove.add_argument("name")
    for verb in (up, down, status, add, remove):
        verb.add_argument("--home", type=Path, help=f"folder of the servers (default: {default_home()})")
    join = verbs.add_parser("join", help="use a team's servers in this clone")
    join.add_argument("file", type=Path, help="the file by add-user")
    verbs.add_parser("leave", help="use the local store again in this clone")


def run(arguments: argparse.Namespace) -> int:
    """Do one of the verbs."""
    return VERBS[arguments.what](arguments)


def _up(arguments: argparse.Namespace) -> int:
    from ..team.server import bring_up

    home = _home(arguments)
    settings = _change(load_settings(home) if (home / FILE).is_file() else new_settings(), arguments)
    states = bring_up(home, settings)
    for state in states:
        print(f"{state.name:<9} {state.address}")
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"{settings.host} is not this machine alone and HTTP is not encrypted: put a TLS proxy in front")
    print(f"admin's access: {home / 'admin.env'} (spikeprint team join it); others: spikeprint team add-user NAME")
    return 0


def _change(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """Take over the options that were given, and the secrets that belong to them, from the environment."""
    names = ("host", "port", "url", "store_url", "database", "artifacts", "data", "endpoint")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if (url := given.get("database")) and (not url.startswith("postgresql://") or urlsplit(url).password):
        raise ConfigError(
            "--database: postgresql://user@host/name without a password is needed; every user of this machine can read "
            "a command line: put the password into PGPASSWORD or ~/.pgpass"
        )
    for name in ("artifacts", "data"):
        if given.get(name) and not given[name].startswith("s3://"):
            raise ConfigError(f"--{name} {given[name]}: s3://bucket/prefix is needed")
    if not given.get("artifacts", settings.artifacts) and (given.get("data") or given.get("endpoint")):
        raise ConfigError("--data and --endpoint belong to a store of yours: give --artifacts s3://bucket/prefix too")
    if "database" in given:
        given["database_password"] = os.environ.get("PGPASSWORD", "")
    if "artifacts" in given:
        given["access_key"] = os.environ.get("AWS_ACCESS_KEY_ID", "")
        given["secret_key"] = os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    changed = replace(settings, **given)
    if changed.host in EVERYWHERE and not (changed.url and (changed.store_url or changed.artifacts)):
        raise ConfigError(
            f"--host {changed.host}: clients need addresses to go to: give --url http://name:port, and --store-url too"
        )
    return changed


def _down(arguments: argparse.Namespace) -> int:
    from ..team.server import bring_down

    stopped = bring_down(_home(arguments))
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from ..team.server import describe

    home = _home(arguments)
    settings = load_settings(home)
    states = describe(home, settings)
    users = {name: user.role for name, user in sorted(settings.users.items())}
    if arguments.json:
        print(json.dumps({"home": str(home), "servers": [asdict(state) for state in states], "users": users}, indent=2))
    else:
        for state in states:
            print(f"{state.name:<9} {'up' if state.is_up else 'DOWN':<5} {state.address}")
        print(f"users     admin, {', '.join(f'{name} ({role})' for name, role in users.items())}".rstrip(", "))
    return int(not all(state.is_up for state in states))


def _add_user(arguments: argparse.Namespace) -> int:
    from ..team.server import add_user

    path = arguments.out or Path(f"{arguments.name}.env")
    write_access(path, add_user(_home(arguments), arguments.name, arguments.role, arguments.reset))
    print(f"{arguments.name} ({arguments.role}): hand over {path}, then delete it; `spikeprint team join` takes it")
    return 0


def _remove_user(arguments: argparse.Namespace) -> int:
    from ..team.server import remove_user

    remove_user(_home(arguments), arguments.name)
    print(f"{arguments.name} has no rights any more")
    return 0


def _join(arguments: argparse.Namespace) -> int:
    from ..registry.remote import check_server

    root, access = find_root(), read_access(arguments.file)
    check_server(access)
    write_access(root / ACCESS_FILE, access)
    print(f"runs and models: {access.tracking_uri} as {access.username}")
    if access.data:
        _set_remote(root, {"url": access.data, **_dvc_options(access.endpoint, access.access_key, access.secret_key)})
        print(f"data: {access.data} (dvc push, dvc pull)")
    return 0


def _leave(arguments: argparse.Namespace) -> int:
    root = find_root()
    (root / ACCESS_FILE).unlink(missing_ok=True)
    _set_remote(root, None)
    print("this clone uses its local store again")
    return 0


REMOTE = "team"
TIMEOUTS_S = {"connect_timeout": 10, "read_timeout": 60}


def _dvc_options(endpoint: str, access_key: str, secret_key: str) -> dict[str, str]:
    options = {"endpointurl": endpoint, "access_key_id": access_key, "secret_access_key": secret_key}
    return {name: value for name, value in options.items() if value}


def _set_remote(root: Path, options: dict[str, str] | None) -> None:
    """Write or remove the remote in ``.dvc/config.local``, by DVC itself but not by its command line: it holds keys."""
    from dvc.config import Config

    config = Config(str(root / ".dvc"))
    with config.edit("local") as local:
        if options is None:
            local["remote"].pop(REMOTE, None)
            if local["core"].pop("remote", None) == REMOTE and local["remote"]:
                local["core"]["remote"] = next(iter(local["remote"]))  # what `make setup` had made the default
        else:
            local["remote"][REMOTE] = {**options, **TIMEOUTS_S}
            local["core"]["remote"] = REMOTE
    (root / ".dvc" / "config.local").chmod(0o600)


def _home(arguments: argparse.Namespace) -> Path:
    return (arguments.home or default_home()).expanduser().resolve()


VERBS = {
    "up": _up, "down": _down, "status": _status, "add-user": _add_user, "remove-user": _remove_user,
    "join": _join, "leave": _leave,
}  # fmt: skip

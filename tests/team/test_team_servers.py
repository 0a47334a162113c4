"""The team's servers for real: PostgreSQL, S3, MLflow with users; two clones of a project, people of every role."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from spikeprint.cli import main
from spikeprint.core.access import read_access
from spikeprint.registry.claims import clone_id, open_run
from spikeprint.registry.tracking import connect
from support import Project, free_ports

pytestmark = pytest.mark.slow

for module in ("nanio", "flask_wtf", "psycopg", "boto3", "dvc_s3"):
    pytest.importorskip(module, reason="the extra `team` is not installed")

helpers = runpy.run_path(str(Path(__file__).parents[1] / "registry" / "conftest.py"))
MODEL = "spikeprint-cvae"
GUIDE = Path(__file__).parents[2] / "docs" / "team.md"


class Said(NamedTuple):
    """What a verb printed, and its exit code."""

    code: int
    out: str
    err: str


def call(folder: Path, *words: str | Path, ok: bool = True) -> Said:
    """Run a verb in this process: a process of its own needs two seconds for imports."""
    out, err, before = StringIO(), StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(word) for word in words])
    finally:
        os.chdir(before)
    said = Said(code, out.getvalue(), err.getvalue())
    assert not ok or code == 0, said
    return said


class Team:
    """Servers in a folder of their own and the files of their users."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.folder = folder
        self.port = free_ports(3)

    def call(self, *words: str | Path, ok: bool = True) -> Said:
        return call(self.folder, "team", *words, "--home", self.home, ok=ok)

    def up(self) -> str:
        return self.call("up", "--port", str(self.port)).out

    def kill_all(self) -> None:
        """End all servers and their workers as a power cut does."""
        pids = [json.loads(path.read_text())["pid"] for path in self.home.glob("*.pid")]
        pids.append(int((self.home / "postgres" / "postmaster.pid").read_text().split()[0]))
        family = [psutil.Process(pid) for pid in pids]
        family += [child for process in family for child in process.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    """Servers with alice and bob, members, and rita, a reader. PostgreSQL is not root: no private temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="spikeprint-team-"))
    folder.chmod(0o755)
    team = Team(folder)
    try:
        team.up()
        for name, role in {"alice": "member", "bob": "member", "rita": "reader"}.items():
            team.call("add-user", name, "--role", role)
        yield team
    finally:
        team.call("down")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def clones(team: Team, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """One clone per user, of a project that has run; each has joined."""
    origin = Project(helpers["make_project"](tmp_path_factory.mktemp("team") / "origin"))
    (origin.folder / ".gitignore").write_text("/mlflow.db*\n*.env\n.mlflow.lock\n")
    origin.run(sys.executable, "-m", "dvc", "init", "-q")
    origin.commit("start")
    made = {}
    for name in ("alice", "bob", "rita"):
        made[name] = origin.copy(origin.folder.parent / name)
        spikeprint(made[name], "team", "join", team.folder / f"{name}.env")
    return made


@pytest.fixture(autouse=True)
def _own_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb hands user and password to MLflow by the environment: no test may leave its own to the next."""
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")


def spikeprint(clone: Project, *words: str | Path, ok: bool = True) -> Said:
    return call(clone.folder, *words, ok=ok)


def dvc(clone: Project, *words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    return clone.run(sys.executable, "-m", "dvc", *words, ok=ok)


def only_error(said: Said) -> str:
    """The one line on standard error of a verb that has failed."""
    assert (said.code, said.err.count("\n"), said.err[:7]) == (1, 1, "error: "), said
    return said.err


def at_once(
    clones: dict[str, Project], words: dict[str, list[str]], ok: bool = True
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run a verb in each clone, all at the same time, each in a process of its own; return what became of them."""
    command = [sys.executable, "-m", "spikeprint.cli"]
    with ThreadPoolExecutor(len(words)) as pool:
        done = pool.map(lambda name: clones[name].run(*command, *words[name], ok=ok), words)
    return dict(zip(words, done, strict=True))


def new_results(clones: dict[str, Project], seed: int) -> None:
    """The production row was trained again, with the same outcome in every clone."""
    for clone in clones.values():
        helpers["write_results"](clone.folder, "production", seed)
        helpers["write_lock"](clone.folder)


def runs(clone: Project, view: int = 1) -> list:
    """All runs but those that hold others together; ``view`` 1 = those that are not deleted, 3 = all."""
    client = connect(clone.folder)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], run_view_type=view)
    return [run for run in found if "spikeprint.pipeline" not in run.data.tags]


def complete(clone: Project) -> list[str]:
    return [run.data.tags["dvc.stage_md5"] for run in runs(clone) if "dvc.stage_md5" in run.data.tags]


# The servers ---------------------------------------------------------------------------------------------------------


def test_up_is_done_once_and_status_tells(team):
    pids = {path.name: path.read_text() for path in team.home.glob("*.pid")}
    assert f"http://127.0.0.1:{team.port}" in team.up()
    assert {path.name: path.read_text() for path in team.home.glob("*.pid")} == pids
    told = json.loads(team.call("status", "--json").out)
    assert {server["name"]: server["is_up"] for server in told["servers"]} == dict.fromkeys(
        ("mlflow", "objects", "postgres"), True
    )
    assert told["users"] == {"alice": "member", "bob": "member", "rita": "reader"}


def test_secrets_are_private_and_on_no_command_line_and_in_no_log(team):
    settings = json.loads((team.home / "settings.json").read_text())
    secrets = [settings[name] for name in ("admin_password", "database_password", "secret_key", "session_key")]
    secrets += [user["secret_key"] for user in settings["users"].values()]
    secrets.append(read_access(team.folder / "alice.env").password)
    assert all(len(secret) == 32 for secret in secrets)
    seen = " ".join(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    assert "mlflow server" in seen
    seen += "".join(path.read_text() for path in team.home.glob("*.log"))
    assert not [secret for secret in secrets if secret in seen]
    private = [
        *team.home.glob("*.json"),
        *team.home.glob("*.env"),
        *team.home.glob("*.ini"),
        *team.folder.glob("*.env"),
    ]
    assert len(private) == 6
    assert {path.stat().st_mode & 0o077 for path in [*private, *team.home.glob("*.log")]} == {0}


def test_nobody_gets_in_without_a_password(team):
    import psycopg

    url = f"http://127.0.0.1:{team.port}/api/2.0/mlflow/experiments/search"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=10)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{team.port + 1}/dvc", timeout=10)
    for password in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://spikeprint:{password}@127.0.0.1:{team.port + 2}/postgres", connect_timeout=5)


def test_servers_listen_on_loopback_only(team):
    listening = {c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    ours = {(where.ip, where.port) for where in listening if team.port <= where.port < team.port + 3}
    assert ours == {("127.0.0.1", team.port + i) for i in range(3)}


# Data ----------------------------------------------------------------------------------------------------------------


def test_data_travels_from_clone_to_clone_and_a_reader_only_pulls(team, clones):
    alice, bob, rita = (clones[name] for name in ("alice", "bob", "rita"))
    content = os.urandom(2_000_000)
    (alice.folder / "raw.bin").write_bytes(content)
    dvc(alice, "add", "-q", "raw.bin")
    dvc(alice, "push")
    for clone in (bob, rita):
        shutil.copy(alice.folder / "raw.bin.dvc", clone.folder)
        dvc(clone, "pull")
        assert (clone.folder / "raw.bin").read_bytes() == content
    (rita.folder / "mine.bin").write_bytes(b"new")
    dvc(rita, "add", "-q", "mine.bin")
    assert "this key has no right to do that" in dvc(rita, "push", ok=False).stderr


@pytest.mark.parametrize("copied", ["mlflow/secret", "dvc/../mlflow/secret"])
def test_members_reach_artifacts_by_mlflow_only(team, clones, copied):
    import boto3
    from botocore.exceptions import ClientError

    access = read_access(team.folder / "alice.env")
    (team.home / "objects" / "mlflow" / "secret").write_text("x")
    keys = {"aws_access_key_id": access.access_key, "aws_secret_access_key": access.secret_key}
    client = boto3.client("s3", endpoint_url=access.endpoint, region_name="us-east-1", **keys)
    for ask in (
        lambda: client.get_object(Bucket="mlflow", Key="secret"),
        lambda: client.copy_object(Bucket="dvc", Key="stolen", CopySource=copied),
        lambda: client.get_object(Bucket="dvc", Key="../mlflow/secret"),
        lambda: client.delete_bucket(Bucket="mlflow"),
    ):
        with pytest.raises(ClientError, match=r"AccessDenied|InvalidArgument|NoSuchKey|KeyTooLong|Invalid"):
            ask()
    assert not (team.home / "objects" / "dvc" / "stolen").exists()
    assert (team.home / "objects" / "mlflow" / "secret").exists()


# Runs, versions, promotions ------------------------------------------------------------------------------------------


def test_clones_that_sync_at_once_make_each_run_once(clones):
    done = at_once(clones, {"alice": ["sync"], "bob": ["sync"]})
    said = "".join(process.stdout for process in done.values())
    assert len(complete(clones["alice"])) == len(set(complete(clones["alice"]))) == 2
    assert said.count(": run ") == 2
    assert [run for run in runs(clones["alice"]) if run.info.status != "FINISHED"] == []
    assert spikeprint(clones["bob"], "sync").out.startswith("0 new runs")


def test_clones_that_register_and_promote_at_once_leave_one_version_in_production(clones):
    at_once(clones, {"alice": ["register"], "bob": ["register"]})
    client = connect(clones["alice"].folder)
    (first,) = client.search_model_versions(f"name = '{MODEL}'")
    assert client.get_registered_model(MODEL).aliases == {"staging": first.version}
    new_results({"bob": clones["bob"]}, seed=5)
    spikeprint(clones["bob"], "register")
    second, _ = client.search_model_versions(f"name = '{MODEL}'", order_by=["version_number DESC"])
    words = {"alice": first.version, "bob": second.version}
    asked = {name: ["promote", str(version), "--to", "production"] for name, version in words.items()}
    done = at_once(clones, asked, ok=False)
    won = {name for name, process in done.items() if process.returncode == 0}
    assert won, done
    assert client.get_registered_model(MODEL).aliases["production"] in {words[name] for name in won}
    for name in won:
        assert client.get_model_version(MODEL, words[name]).tags["promoted.production.by"] == name
    for name in words.keys() - won:
        assert done[name].stderr.startswith("error: ")  # moved meanwhile, or no better than who came first
        assert done[name].stderr.count("\n") == 1


def test_a_member_is_named_where_the_history_is_kept(clones):
    (made,) = {run.data.tags["mlflow.user"] for run in runs(clones["alice"]) if run.info.run_name == "baseline"}
    assert made in ("alice", "bob")


def test_a_reader_classifies_with_a_model_of_the_shared_registry(clones):
    said = spikeprint(clones["rita"], "classify", "data/canonical/left", "--model", f"models:/{MODEL}@production")
    assert said.out.startswith("unit_id,label,confidence")


def test_a_reader_is_refused_in_one_line(clones):
    client = connect(clones["rita"].folder)
    aliases = client.get_registered_model(MODEL).aliases
    found = client.search_model_versions(f"name = '{MODEL}'")
    other = next(version.version for version in found if version.version != aliases["staging"])
    new_results({"rita": clones["rita"]}, seed=9)
    waived = ("--waive", "against the incumbent", "--reason", "rights come first")
    for words in (("sync",), ("promote", str(other), "--to", "staging", *waived)):
        assert "user rita has no right to do that; ask the team's admin" in only_error(
            spikeprint(clones["rita"], *words, ok=False)
        )
    assert client.get_registered_model(MODEL).aliases == aliases


def test_the_guide_runs(team, clones):
    blocks = re.findall(r"^```(sh(?: clone)?)\n(.*?)^```", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for kind, block in blocks:
        text = block.replace("alice", "dora").replace("rita", "rolf").replace("../", f"{team.folder}/")
        words = [line for line in text.splitlines() if not line.startswith("pip install")]
        place = clones["alice"] if kind.endswith("clone") else Project(team.folder)
        place.run("bash", "-e", "-c", "\n".join(words), SPIKEPRINT_TEAM_HOME=str(team.home))
    spikeprint(clones["alice"], "team", "join", team.folder / "alice.env")


# Trouble -------------------------------------------------------------------------------------------------------------


class Cutter(BaseHTTPRequestHandler):
    """Stands between client and server, and ends the server when the first artifact comes."""

    team: Team
    is_armed = True

    def _pass_on(self) -> None:
        if Cutter.is_armed and "/mlflow-artifacts/" in self.path and self.command == "PUT":
            Cutter.is_armed = False
            Cutter.team.kill_all()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Connection")}
        request = urllib.request.Request(
            f"http://127.0.0.1:{Cutter.team.port}{self.path}", body, headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                code, told = response.status, response.read()
        except urllib.error.HTTPError as error:
            code, told = error.code, error.read()
        except OSError:
            self.close_connection = True
            return
        self.send_response(code)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def test_a_run_cut_short_by_the_servers_end_is_completed_by_the_next_sync(team, clones):
    new_results(clones, seed=11)
    before = len(complete(clones["alice"]))
    Cutter.team = team
    cutter = ThreadingHTTPServer(("127.0.0.1", 0), Cutter)
    threading.Thread(target=cutter.serve_forever, daemon=True).start()
    access = read_access(team.folder / "alice.env")
    login = {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": access.password}
    through = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{cutter.server_port}"}
    command = [sys.executable, "-m", "spikeprint.cli", "sync"]  # MLflow remembers a run's address: a process of its own
    try:
        done = clones["alice"].run(*command, ok=False, **login, **through)
    finally:
        cutter.shutdown()
        cutter.server_close()
    error = only_error(Said(done.returncode, done.stdout, done.stderr))
    assert "the server stopped answering; nothing is lost" in error
    assert "no server answers (" in only_error(spikeprint(clones["bob"], "sync", ok=False))
    assert team.call("status", ok=False).out.count("DOWN") == 3
    team.up()
    (cut,) = [run for run in runs(clones["alice"]) if run.info.status == "RUNNING"]
    assert spikeprint(clones["alice"], "sync").out.startswith(f"production: run {cut.info.run_id}\n1 new run")
    client = connect(clones["alice"].folder)
    assert client.get_run(cut.info.run_id).info.status == "FINISHED"
    curve = client.get_metric_history(cut.info.run_id, "val/total")
    assert [point.step for point in curve] == sorted({point.step for point in curve})
    assert len(complete(clones["alice"])) == before + 1
    assert spikeprint(clones["bob"], "sync").out.startswith("0 new runs")


def test_a_run_that_nobody_needs_any_more_is_marked_failed(clones):
    client = connect(clones["alice"].folder)
    experiment = client.get_experiment_by_name("spikeprint").experiment_id
    left = open_run(client, experiment, "0" * 32, "production", clone_id(clones["alice"].folder))
    spikeprint(clones["bob"], "sync")
    assert client.get_run(left.info.run_id).info.status == "RUNNING"  # it may live: it is not bob's
    spikeprint(clones["alice"], "sync")
    assert client.get_run(left.info.run_id).info.status == "FAILED"


def test_old_credentials_are_refused_in_one_line_and_new_ones_join(team, clones):
    team.call("add-user", "bob", "--reset")
    told = only_error(spikeprint(clones["bob"], "sync", ok=False))
    assert "login refused for user bob: not known there, or the password is wrong or has expired" in told
    (clones["bob"].folder / "late.bin").write_bytes(b"late")
    dvc(clones["bob"], "add", "-q", "late.bin")
    assert re.search("403|signature", dvc(clones["bob"], "push", ok=False).stderr)
    spikeprint(clones["bob"], "team", "join", team.folder / "bob.env")
    assert spikeprint(clones["bob"], "sync").out.startswith("0 new runs")
    team.call("remove-user", "bob")
    assert "login refused" in only_error(spikeprint(clones["bob"], "sync", ok=False))


def test_down_keeps_everything_and_a_clone_can_leave(team, clones):
    assert team.call("down").out == "stopped: mlflow, objects, postgres\n"
    assert team.call("down").out == "nothing was running\n"
    spikeprint(clones["alice"], "team", "leave")
    assert "in sqlite:" in spikeprint(clones["alice"], "sync").out
    assert not (clones["alice"].folder / "team.env").exists()

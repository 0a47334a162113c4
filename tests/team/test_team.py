"""What needs no server: settings, files of access, rights, refusals in one line."""

import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from spikeprint.cli import main
from spikeprint.core.access import Access, read_access, write_access
from spikeprint.core.errors import ConfigError, RegistryError
from spikeprint.registry.remote import check_server, explain, team_access
from spikeprint.team import server
from spikeprint.team.processes import home_lock, running, start_process, stop_process
from spikeprint.team.settings import Settings, User, load_settings, new_settings, save_settings


@pytest.fixture(autouse=True)
def _no_home_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEPRINT_TEAM_HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


ALICE = Access("http://127.0.0.1:5080", "alice", "pa=ss #1", "s3://dvc", "http://127.0.0.1:5081", "alice", "key")


def test_access_is_read_back_and_private(tmp_path):
    write_access(tmp_path / "alice.env", ALICE)
    assert read_access(tmp_path / "alice.env") == ALICE
    assert (tmp_path / "alice.env").stat().st_mode & 0o777 == 0o600
    assert "pa=ss" not in repr(ALICE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD in it"),
        ("MLFLOW_TRACKING_URI=http://x\nMLFLOW_TRACKING_USERNAME=a\n", "no MLFLOW_TRACKING_PASSWORD in it"),
        ("\0\xff", "cannot be read (not text)"),
    ],
)
def test_a_file_that_is_no_access_is_refused(tmp_path, text, reason):
    (tmp_path / "x.env").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"x\.env") as refused:
        read_access(tmp_path / "x.env")
    assert reason in str(refused.value)


def test_the_environment_wins_over_the_clones_file(tmp_path, monkeypatch):
    assert team_access(tmp_path) is None
    write_access(tmp_path / "team.env", ALICE)
    assert team_access(tmp_path) == ALICE
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other")
    assert team_access(tmp_path) is None


def test_settings_are_private_and_show_no_secret(tmp_path):
    settings = replace(new_settings(), users={"alice": User("member", "alice", "secret-of-alice")})
    save_settings(tmp_path, settings)
    assert load_settings(tmp_path) == settings
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600
    assert settings.admin_password not in repr(settings)
    assert "secret-of-alice" not in repr(settings)


def test_damaged_settings_are_told(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"users": {}, "colour": "red"}))
    with pytest.raises(ConfigError, match=r"not settings of this version .*colour"):
        load_settings(tmp_path)


def test_a_percent_sign_in_a_password_survives_mlflows_file(tmp_path):
    import configparser

    settings = Settings(database="postgresql://me@db.example.org/mlflow", database_password="50%/@:x")
    config = configparser.ConfigParser()
    config.read_string(server._auth_ini(settings))
    assert config["mlflow"]["database_uri"] == "postgresql+psycopg://me:50%25%2F%40%3Ax@db.example.org/mlflow"


def test_data_of_a_store_of_ones_own_lies_beside_the_artifacts():
    settings = Settings(
        artifacts="s3://lab/spikeprint/", endpoint="https://s3.example.org", users={"a": User("member")}
    )
    access = settings.access("a", "x")
    assert (access.data, access.endpoint, access.access_key) == (
        "s3://lab/spikeprint/dvc",
        "https://s3.example.org",
        "",
    )


WRONG = {
    "a password for all to see": (["--database", "postgresql://me:pw@h/d"], "put the password into PGPASSWORD"),
    "another database": (["--database", "mysql://me@h/d"], "postgresql://user@host/name without a password"),
    "a folder as a store": (["--artifacts", "/data"], "--artifacts /data: s3://bucket/prefix is needed"),
    "half a store": (["--endpoint", "http://x"], "give --artifacts s3://bucket/prefix too"),
    "a port too low": (["--port", "80"], "three free ports from 1024 to 65535"),
    "every network": (["--host", "0.0.0.0"], "give --url http://name:port"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_are_refused_before_anything_starts(tmp_path, capsys, what):
    pytest.importorskip("nanio", reason="the extra `team` is not installed")
    words, reason = WRONG[what]
    assert main(["team", "up", *words]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert told.count("\n") == 1
    assert not (tmp_path / "home" / "settings.json").exists()


@pytest.mark.parametrize("words", [["status"], ["down"], ["add-user", "a"], ["remove-user", "a"]])
def test_without_servers_up_is_named(capsys, tmp_path, words):
    assert main(["team", *words]) == 2
    assert "no team servers were set up here; run spikeprint team up" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["admin", "", "a b", "a/b", "ü"])
def test_names_that_cannot_be_used(tmp_path, name):
    with pytest.raises(ConfigError, match="letters, digits"):
        server.add_user(tmp_path, name, "member")


def test_a_taken_port_is_told(tmp_path, capsys):
    pytest.importorskip("nanio", reason="the extra `team` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if port > 65000:
            port -= 1  # the store's, then
        assert main(["team", "up", "--port", str(port)]) == 2
    assert "is taken on 127.0.0.1; give another" in capsys.readouterr().err


def test_one_command_at_a_time(tmp_path):
    with home_lock(tmp_path), pytest.raises(ConfigError, match="another spikeprint team command"), home_lock(tmp_path):
        pass


def test_a_process_is_stopped_and_a_strangers_is_not(tmp_path):
    start_process(tmp_path, "sleep", ["sleep", "60"], os.environ)
    process = running(tmp_path, "sleep")
    assert process is not None
    card = json.loads((tmp_path / "sleep.pid").read_text())
    (tmp_path / "sleep.pid").write_text(json.dumps(card | {"created": card["created"] - 100}))
    assert not stop_process(tmp_path, "sleep")  # its number belongs to another process now
    assert process.is_running()
    (tmp_path / "sleep.pid").write_text(json.dumps(card))
    assert stop_process(tmp_path, "sleep")
    assert running(tmp_path, "sleep") is None


def test_a_server_that_does_not_answer_is_given_up_in_seconds(monkeypatch):
    monkeypatch.setattr("spikeprint.registry.remote.TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(RegistryError, match=r"no server answers \(timed out\)"):
            check_server(Access(f"http://127.0.0.1:{silent.getsockname()[1]}", "a", "b"))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "http://:x", "http://", "http://nowhere.invalid"])
def test_an_address_without_a_server_is_told_in_one_line(uri):
    with pytest.raises(RegistryError, match="no server answers") as refused:
        check_server(Access(uri, "a", "b"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("API request to endpoint /x failed with error code 401 != 200", "login refused for user alice"),
        ("API request to endpoint /x failed with error code 403 != 200", "user alice has no right to do that"),
        ("API request to http://x failed with exception HTTPConnectionPool", "the server stopped answering"),
        ("INTERNAL: something\n else", "INTERNAL: something else"),
    ],
)
def test_reasons_are_in_words(told, reason):
    assert explain(told, "alice").startswith(reason)

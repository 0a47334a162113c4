"""Real processes behind a real socket: no request is lost while versions, workers and processes change."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from spikeprint.registry.tracking import connect
from spikeprint.registry.versions import fetch_model

pytestmark = pytest.mark.slow

NAME = "spikeprint-cvae"
ROW = {"waveform": [1.0, 2.0] * 25, "isi": [1.0] * 100}
BODY = json.dumps({"inputs": [ROW]}).encode()
HEADERS = {"Content-Type": "application/json"}
PATIENCE_S = 180


class Server:
    """``spikeprint serve`` in a process of its own."""

    def __init__(self, folder, log):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "spikeprint.cli",
            "serve",
            "--model",
            f"models:/{NAME}@production",
        ]
        words += ["--port", str(self.port), "--follow", "0.3"]
        self.log = log
        self.process = subprocess.Popen(words, cwd=folder, stdout=log.open("wb"), stderr=subprocess.STDOUT)
        wait(lambda: "answers" in log.read_text() or self.process.poll() is not None, "a worker")

    def ask(self, connection=None):
        """Version that answers one unit, on a connection of its own or on one that is kept."""
        if connection is None:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/invocations", BODY, HEADERS)
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return json.load(response)["predictions"][0]["model_version"]
        connection.request("POST", "/invocations", BODY, HEADERS)
        response = connection.getresponse()
        assert response.status == 200
        return json.load(response)["predictions"][0]["model_version"]

    def workers(self):
        listed = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return {int(number) for number in listed.stdout.split()}


class Clients:
    """Threads that ask without a pause: one on connections of their own, one on connections that it keeps."""

    def __init__(self, server):
        self.server, self.seen, self.failures, self.is_over = server, [], [], threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(keeps,)) for keeps in (False, True)]
        for thread in self.threads:
            thread.start()

    def _ask(self, keeps):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE_S) if keeps else None
        while not self.is_over.is_set():
            try:
                self.seen.append(self.server.ask(connection))
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(f"keeps={keeps}: {error!r}")
                return
            time.sleep(0.005)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()


def wait(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.1)


def add_version(folder, number, damage=False):
    """Register a copy of version 1 as another one."""
    client = connect(folder)
    first = client.get_model_version(NAME, "1")
    copy = shutil.copytree(fetch_model(folder, f"models:/{NAME}/1"), folder / f"version-{number}")
    if damage:
        (copy / "artifacts" / "bundle" / "weights.safetensors").write_bytes(b"no weights")
    model = client.create_logged_model(client.get_run(first.run_id).info.experiment_id, source_run_id=first.run_id)
    client.log_model_artifacts(model.model_id, str(copy))
    client.finalize_logged_model(model.model_id, "READY")
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)
    made = client.create_model_version(NAME, f"models:/{model.model_id}", first.run_id, model_id=model.model_id)
    assert str(made.version) == number


def test_nothing_is_lost_while_versions_and_processes_change(registered, tmp_path):
    registry = connect(registered)
    add_version(registered, "2")
    add_version(registered, "3", damage=True)
    registry.set_registered_model_alias(NAME, "production", "1")
    server = Server(registered, tmp_path / "log")
    try:
        assert server.ask() == "1"
        clients = Clients(server)
        try:
            registry.set_registered_model_alias(NAME, "production", "2")
            wait(lambda: clients.seen[-1:] == ["2"], "the promoted version")
            first = server.workers()
            registry.set_registered_model_alias(NAME, "production", "3")
            wait(lambda: "weights.safetensors: changed" in server.log.read_text(), "the refusal of a damaged version")
            server.process.send_signal(signal.SIGHUP)
            wait(lambda: server.workers().isdisjoint(first), "a fresh process")
            registry.set_registered_model_alias(NAME, "production", "1")
            wait(lambda: clients.seen[-2:] == ["1", "1"], "the version before, again")
        finally:
            clients.stop()
        assert clients.failures == []
        assert {"1", "2"} == set(clients.seen)
        for worker in server.workers():  # a crash is no handover: what is under way is lost, the server is not
            os.kill(worker, signal.SIGKILL)
        assert server.ask() == "1"
    finally:
        server.process.terminate()
        assert server.process.wait(PATIENCE_S) == 0
    assert server.workers() == set()
    assert "Traceback" not in server.log.read_text()


def test_a_version_that_does_not_open_is_told_in_one_line(registered, tmp_path):
    registry = connect(registered)
    add_version(registered, "2", damage=True)
    registry.set_registered_model_alias(NAME, "production", "2")
    server = Server(registered, tmp_path / "log")
    assert server.process.wait(PATIENCE_S) == 1
    last = server.log.read_text().splitlines()[-1]
    assert last.startswith(f"error: {NAME} version 2 is not served: ")
    assert last.endswith("weights.safetensors: changed since the bundle was written; fetch or train it again")


def test_workers_do_not_outlive_a_supervisor_that_is_killed(registered, tmp_path):
    connect(registered).set_registered_model_alias(NAME, "production", "1")
    server = Server(registered, tmp_path / "log")
    (worker,) = server.workers()
    server.process.kill()
    server.process.wait(PATIENCE_S)

    def is_gone():
        status = Path(f"/proc/{worker}/status")
        return not status.is_file() or "State:\tZ" in status.read_text()

    wait(is_gone, "the worker's end")
    with socket.create_server(("127.0.0.1", server.port)):
        pass  # the address is free again

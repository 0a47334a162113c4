"""Speed, memory and losses of the served model, beside MLflow's own scoring server in the same run.

A model of production's size is registered in a store of its own and served by `spikeprint serve` and by
`mlflow models serve`; clients on the loopback ask both the same. Rates and latencies are of the clock; as other work on
the machine disturbs those, each comes with what the servers took of the processor. `--seconds` is the length of the
load under which memory must stay flat (600 for the record). `--quick` is a smoke run: its numbers mean nothing.
`--json OUT` writes the rows. Exit code 1 when a target is missed.
"""

import http.client
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _common import ROOT, Peer, Row, Target, make_parser, make_row, measure, report

from spikeprint.core.config import Params
from spikeprint.cvae.fit import add_head, fit_cvae
from spikeprint.cvae.predictor import Predictor
from spikeprint.cvae.units import Units
from spikeprint.registry.bundle import open_bundle, write_bundle
from spikeprint.registry.remote import tracking_uri
from spikeprint.registry.tracking import connect
from spikeprint.registry.versions import create_version

NAME = "spikeprint-cvae"
JSON = {"Content-Type": "application/json"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
TIMEOUT_S = 300


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    n_alone: int = 1_000
    n_batches: int = 100
    n_in_process: int = 50_000
    n_calls: int = 9
    seconds: float = 150.0
    n_handovers: int = 3


QUICK = Size(10, 2, 600, 2, 2.0, 1)


@dataclass(frozen=True)
class Service:
    """A server that answers on ``port``; ``starting_s`` on the clock and of the processor, until its first answer."""

    process: subprocess.Popen
    port: int
    starting_s: float
    starting_cpu_s: float

    def pids(self) -> list[int]:
        """The server and what it has started."""
        found = [self.process.pid]
        for pid in found:  # grows
            children = Path(f"/proc/{pid}/task/{pid}/children")
            with suppress(FileNotFoundError):  # it has left meanwhile
                found += [int(child) for child in children.read_text().split()]
        return found

    def cpu_s(self) -> float:
        """Processor time so far."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Resident memory of all its processes."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def row(
    name: str, value: float, unit: str, target: float, least: bool = False, peer: float | None = None, **more
) -> Row:
    """One line of the report; ``least``: the value must be at least the target."""
    beside = Peer("mlflow models serve", peer, value / peer if least else peer / value) if peer is not None else None
    return make_row(name, value, unit, Target(target, at_least=least), beside, load=os.getloadavg()[0], **more)


def draw(n_units: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Units that look like such; values have two digits, as counts and microvolts of files do."""
    rng = np.random.default_rng(seed)
    half = rng.poisson(20, (n_units, 100)).astype(float)
    trough = -np.exp(-0.5 * ((np.arange(50) - 20) / rng.uniform(1.5, 5, (n_units, 1))) ** 2)
    return {
        "waveform": np.round(100 * trough + rng.normal(0, 3, (n_units, 50)), 2),
        "isi": rng.poisson(20, (n_units, 100)).astype(float),
        "acg": np.hstack([half[:, ::-1], np.zeros((n_units, 1)), half]),
    }


def make_project(folder: Path, n_versions: int) -> Path:
    """A store with versions of one model of production's shape; hardly trained, which changes no speed."""
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    params = Params.load(ROOT / "params.yaml").ablation("production")
    params = params.model_copy(update={"epochs": 1, "device": "cpu"})
    n = 200
    told = {"technology": "neuropixels", "species": "mouse", "representation": "1ms"}
    origin = {"dataset": np.array(["a", "b", "c"])[np.arange(n) % 3]} | {k: np.full(n, v) for k, v in told.items()}
    units = Units(draw(n), origin, np.array(["NGF", "PV", "SOM", "VIP", "pyramidal"])[np.arange(n) % 5])
    fitted = add_head(fit_cvae(units, params, seed=0), units, "network", seed=0)
    write_bundle(folder / "bundle", fitted.config, fitted.arrays)
    client = connect(folder)
    run = client.create_run(client.create_experiment("serving", (folder / "mlruns").as_uri()))
    for _ in range(n_versions):
        create_version(client, run, NAME, folder / "bundle", draw(2), {"data_md5": "0" * 32})
    client.set_registered_model_alias(NAME, "production", "1")
    return folder


@contextmanager
def serve(words: list[str], project: Path) -> Iterator[Service]:
    """Start a server on a free port and wait for its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri(project), "PYTHONPATH": str(ROOT / "src")}
    environment |= {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    started = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", *words, "--port", str(port)]
    process = subprocess.Popen(command, cwd=project, env=environment, start_new_session=True, **quiet)
    try:
        while not is_healthy(port):
            if process.poll() is not None or time.perf_counter() - started > TIMEOUT_S:
                raise RuntimeError(f"{words}: no answer, exit code {process.poll()}")
            time.sleep(0.05)
        service = Service(process, port, time.perf_counter() - started, 0.0)
        yield Service(process, port, service.starting_s, service.cpu_s())
    finally:
        for pid in Service(process, port, 0, 0).pids()[::-1] if process.poll() is None else []:
            os.kill(pid, 15)
        process.wait(TIMEOUT_S)


def is_healthy(port: int) -> bool:
    """Whether GET /ping is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def ours(project: Path):
    """Start `spikeprint serve`."""
    return serve(["spikeprint.cli", "serve", "--follow", "0.5"], project)


def theirs(project: Path):
    """Start `mlflow models serve`."""
    return serve(["mlflow", "models", "serve", "-m", f"models:/{NAME}@production", "--env-manager", "local"], project)


def ask(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> bytes:
    """Post one body; the answer must be 200."""
    connection.request("POST", "/invocations", body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {content[:200]!r}")
    return content


def as_json(units: dict[str, np.ndarray]) -> bytes:
    """The ``inputs`` form."""
    return json.dumps({"inputs": {name: values.tolist() for name, values in units.items()}}).encode()


def as_parquet(units: dict[str, np.ndarray]) -> bytes:
    """A parquet body."""
    body = io.BytesIO()
    pd.DataFrame({name: list(values) for name, values in units.items()}).to_parquet(body, compression=None)
    return body.getvalue()


def latencies(service: Service, n: int) -> tuple[float, float, float]:
    """Median and 99th percentile of one unit in ms on the clock, and ms of the server's processor."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT_S)
    body, took = as_json(draw(1)), []
    for _ in range(min(n, 20)):
        ask(connection, body, JSON)
    before = service.cpu_s()
    for _ in range(n):
        started = time.perf_counter()
        ask(connection, body, JSON)
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took), float(np.quantile(took, 0.99)), 1e3 * (service.cpu_s() - before) / n


def rate(service: Service, body: bytes, headers: dict[str, str], n_units: int, n_batches: int) -> tuple[float, float]:
    """Units per second on the clock, and per second of the server's processor; two clients."""
    per_client = max(n_batches // 2, 1)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT_S)
        for _ in range(per_client):
            ask(connection, body, headers)

    threads = [threading.Thread(target=client) for _ in range(2)]
    before, started = service.cpu_s(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    n = 2 * per_client * n_units
    return n / (time.perf_counter() - started), n / max(service.cpu_s() - before, 1e-9)


def measure_requests(project: Path, size: Size) -> list[dict]:
    """Cold start, one unit, batches: ours, and MLflow's own route."""
    batch, bulk = as_json(draw(256)), as_parquet(draw(2048))
    found = []
    for start in (ours, theirs):
        with start(project) as service:
            one = latencies(service, size.n_alone)
            many = rate(service, batch, JSON, 256, size.n_batches if start is ours else max(size.n_batches // 5, 2))
            packed = rate(service, bulk, PARQUET, 2048, max(size.n_batches // (4 if start is ours else 20), 2))
            found.append((service, one, many, packed))
    (own, one, many, packed), (other, one_, many_, packed_) = found
    return [
        row("cold start", own.starting_s, "s", 10, peer=other.starting_s, cpu=own.starting_cpu_s),
        row("one unit, median", one[0], "ms", 6, peer=one_[0], cpu=one[2], peer_cpu=one_[2]),
        row("one unit, 99th percentile", one[1], "ms", 15, peer=one_[1]),
        row("JSON, 256 units", many[0], "units/s", 8_000, True, many_[0], cpu=many[1], peer_cpu=many_[1]),
        row("parquet, 2048 units", packed[0], "units/s", 20_000, True, packed_[0], cpu=packed[1], peer_cpu=packed_[1]),
    ]


def measure_in_process(project: Path, size: Size) -> list[dict]:
    """The predictor alone on every core, as Python users and `spikeprint classify` call it."""
    predictor: Predictor = open_bundle(project / "bundle")
    units = draw(size.n_in_process)
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    predictor.predict(units)
    rates, used = [], time.process_time()
    for _ in range(size.n_calls):
        started = time.perf_counter()
        predictor.predict(units)
        rates.append(size.n_in_process / (time.perf_counter() - started))
    cpu = size.n_calls * size.n_in_process / (time.process_time() - used)
    torch.set_num_threads(before)
    spread = {"slowest": min(rates), "fastest": max(rates), "cpu": cpu}
    return [
        row("in process, the middle of several calls", statistics.median(rates), "units/s", 200_000, True, **spread)
    ]


def measure_endurance(project: Path, size: Size) -> list[dict]:
    """Memory under load: of the last tenth of the time against that of the second."""
    with ours(project) as service:
        bodies = [(as_json(draw(n)), JSON) for n in (1, 256, 17)] + [(as_parquet(draw(512)), PARQUET)]
        bodies.append((b'{"inputs": [', JSON))  # refusals must not cost memory either
        over = time.monotonic() + size.seconds
        counts = [0, 0]

        def client(which: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT_S)
            while time.monotonic() < over:
                body, headers = bodies[counts[which] % len(bodies)]
                connection.request("POST", "/invocations", body, headers)
                connection.getresponse().read()
                counts[which] += 1

        threads = [threading.Thread(target=client, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        memory = []
        while time.monotonic() < over:
            time.sleep(size.seconds / 100)
            memory.append(service.memory_mb())
        for thread in threads:
            thread.join()
    tenth = max(len(memory) // 10, 1)
    growth = statistics.median(memory[-tenth:]) - statistics.median(memory[tenth : 2 * tenth] or memory)
    return [
        row(f"memory gained in {size.seconds:g} s of load", growth, "MB", 10, n_requests=sum(counts)),
        row("memory, supervisor and worker", max(memory), "MB", 1000),
    ]


def measure_handover(project: Path, size: Size) -> list[dict]:
    """Requests lost while the alias moves to another version and back, and the processes are started anew."""
    registry = connect(project)
    failures: list[str] = []
    n_asked, n_changes, is_over = [0, 0], 0, threading.Event()
    with ours(project) as service:
        body = as_json(draw(4))

        def client(which: int) -> None:
            kept = http.client.HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT_S)
            while not is_over.is_set():
                connection = kept if which else http.client.HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT_S)
                try:
                    ask(connection, body, JSON)
                except (OSError, http.client.HTTPException, RuntimeError) as error:
                    failures.append(repr(error))
                n_asked[which] += 1

        threads = [threading.Thread(target=client, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(size.n_handovers):
                for act in _changes(registry, service):
                    before = set(service.pids())
                    act()
                    wait(lambda before=before: not before - {service.process.pid} <= set(service.pids()))
                    n_changes += 1
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    more = {"n_requests": sum(n_asked), "n_changes": n_changes, "first": failures[:1]}
    return [row("requests lost in handovers", len(failures), "", 0, **more)]


def _changes(registry, service: Service) -> list[Callable[[], None]]:
    return [
        lambda: registry.set_registered_model_alias(NAME, "production", "2"),
        lambda: os.kill(service.process.pid, 1),  # SIGHUP
        lambda: registry.set_registered_model_alias(NAME, "production", "1"),
    ]


def wait(condition: Callable[[], bool]) -> None:
    """Wait until an old worker has left."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("no handover")
        time.sleep(0.1)


PARTS = (measure_requests, measure_in_process, measure_endurance, measure_handover)


def main() -> int:
    """Run the benchmark."""
    parser = make_parser(__doc__, PARTS)
    parser.add_argument("--seconds", type=float, help="length of the load under which memory is watched")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    size = QUICK if arguments.quick else Size()
    if arguments.seconds:
        size = replace(size, seconds=arguments.seconds)
    with tempfile.TemporaryDirectory() as temporary:
        torch.set_num_threads(1)  # as the server does
        project = make_project(Path(temporary) / "project", 2)
        return report(measure(PARTS, arguments.only, project, size), arguments.json)


if __name__ == "__main__":
    sys.exit(main())

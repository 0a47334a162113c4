"""Speed, memory and quality of population embeddings and binning, side by side with the cebra package in one run.

Times are CPU seconds of this process on one thread, so other work on the machine hardly counts; ours and cebra take
turns, and a ratio is the median of such pairs. Quality: time-contrastive and label-driven models on three tasks
(`torus`, `track`, and `rat` on the linear track where its recording is there), scored on the last fifth of time. Both
have the same encoder, batch, learning rate, temperature and time offset; the rest is each one's default. Ours takes the
mean of neighbouring rows in `transform`: both are told with and without. cebra is stopped at several numbers of steps
and counts with the one that is best on the test rows. The generator of the torus was made while looking at these
scores; the defaults were chosen on other seeds of it and on other blocks of the rat, see docs/populations.md. All of it
takes about 25 minutes of one quiet core. `--quick` is a smoke run: its numbers mean
nothing. `--json OUT` writes the rows. Exit code 1 when a target is missed.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _common import ROOT, Row, Target, make_parser, make_row, measure, report, seconds
from cebra import CEBRA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from spikeprint.core.compute import count_workers
from spikeprint.io.population.hippocampus import read_hippocampus
from spikeprint.population import PopulationEmbedder
from spikeprint.population.binning import bin_presentations, bin_session, bin_trials
from spikeprint.population.decoding.kshot import Study, run_kshot
from spikeprint.population.segments import make_segments
from spikeprint.population.smoothing import smooth_rows
from spikeprint.synth.populations import make_images, make_torus, make_track
from spikeprint.validate.population import RESULTS, check_table

RAT = ROOT.parent / "shared" / "recordings" / "hippocampus_linear_track"
MODEL = "offset10-model"
NEIGHBOURS = (1, 5, 15, 35, 75)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    n_rows: int = 15_000
    n_track_rows: int = 6_000
    n_steps: int = 80
    n_reference_steps: int = 10
    repeats: int = 3
    seeds: int = 3
    reference_seeds: int = 3
    train_steps: int = 2000
    reference_steps: tuple[int, ...] = (250, 500, 1000)
    n_spikes: int = 4_200_000
    n_presentations: int = 5_950
    n_sessions: int = 20


QUICK = Size(1_200, 1_200, 4, 2, 1, 2, 1, 20, (20,), 20_000, 60, 2)


def row(name: str, value: float, unit: str, target: str = "", note: str = "") -> Row:
    """One line of the table; a target is a sign and a number."""
    sign, _, limit = target.partition(" ")
    return make_row(name, value, unit, Target(float(limit), at_least=sign == ">=") if target else None, note=note)


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of a piece of work."""
    return seconds(work, time.process_time)


def per_step(make: Callable[[int], Any], n: int) -> float:
    """CPU milliseconds of one more step, set-up left out."""
    return 1e3 * (cpu(lambda: make(n + 2)) - cpu(lambda: make(2))) / n


def speed(size: Size) -> list[dict[str, Any]]:
    """Steps per second in three modes and two batches, the step over all rows, and the peak of its memory."""
    data = make_torus(size.n_rows)
    label = np.concatenate([np.cos(data.latent), np.sin(data.latent)], axis=1)
    few = data.counts[:, :90]
    modes = {
        "time": (data.counts, (), 3.5),
        "time_delta": (data.counts, (label,), 4.0),
        "two sessions": ([data.counts, few], ([label, label],), 4.0),
    }
    rows = []
    for batch in (512, 1024):
        for name, (X, y, target) in modes.items():
            conditional = "time" if name == "time" else "time_delta"
            shared = {
                "batch_size": batch,
                "temperature": 0.3,
                "learning_rate": 1e-3,
                "time_offsets": 10,
                "device": "cpu",
            }
            theirs_X = [x.astype(np.float32) for x in X] if isinstance(X, list) else X.astype(np.float32)

            def theirs(n: int, X: Any = theirs_X, y: Any = y, kw: Any = shared, c: str = conditional) -> None:
                CEBRA(MODEL, conditional=c, max_iterations=n, **kw).fit(X, *y)

            def ours(n: int, X: Any = X, y: Any = y, kw: Any = shared, c: str = conditional) -> None:
                PopulationEmbedder(MODEL, conditional=c, max_iterations=n, random_state=0, **kw).fit(X, *y)

            pairs = [
                (per_step(theirs, size.n_reference_steps), per_step(ours, size.n_steps)) for _ in range(size.repeats)
            ]
            ratio = statistics.median(a / b for a, b in pairs)
            a, b = (statistics.median(values) for values in zip(*pairs, strict=True))
            note = f"cebra {a:.1f} ms, ours {b:.1f} ms"
            rows.append(row(f"step, {name}, batch {batch}", ratio, "x cebra", f">= {target}", note))
    return rows + full_batch(size)


FULL = """
import sys, time
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
X = np.random.default_rng(0).poisson(0.3, (int(sys.argv[2]), 120))
if sys.argv[1] == "cebra":
    from cebra import CEBRA
    make = lambda n: CEBRA("offset10-model", batch_size=None, conditional="time", time_offsets=10, max_iterations=n,
                           device="cpu").fit(X.astype(np.float32))
else:
    from spikeprint.population import PopulationEmbedder
    make = lambda n: PopulationEmbedder("offset10-model", batch_size=None, conditional="time", time_offsets=10,
                                        max_iterations=n, device="cpu", random_state=0, validation_fraction=0).fit(X)
make(1)  # imports what it needs
spent, more = [], 2 if sys.argv[1] == "cebra" else 10
for n in (1, 1 + more):
    start = time.process_time(); make(n); spent.append(time.process_time() - start)
status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak where that is higher
print((spent[1] - spent[0]) / more, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


def full_batch(size: Size) -> list[dict[str, Any]]:
    """One step over all rows, each in a process of its own."""
    measured = {}
    for who in ("ours", "cebra"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-W", "ignore", "-c", FULL, who, str(size.n_rows)]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        measured[who] = [float(word) for word in done.stdout.split()]
    ratio = measured["cebra"][0] / measured["ours"][0]
    note = f"cebra {measured['cebra'][0]:.2f} s and {measured['cebra'][1]:.0f} MB, ours {measured['ours'][0]:.2f} s"
    return [
        row("step over all rows", ratio, "x cebra", ">= 10", note),
        row("peak memory of it", measured["ours"][1] / 1000, "GB", "<= 1", "the whole process, imports included"),
    ]


@dataclass(frozen=True)
class Task:
    """Counts and what they are about; the last fifth of time is the test, of it the rows that ``scored`` marks."""

    name: str
    counts: np.ndarray
    label: np.ndarray
    target: np.ndarray
    scored: np.ndarray | None = None

    @property
    def cut(self) -> int:
        """First row of the test, less a gap."""
        return len(self.counts) * 4 // 5


def torus(size: Size) -> Iterator[Row]:
    """Two angles and five nuisances, known; three runs, for their consistency."""
    data = make_torus(size.n_rows)
    circles = np.concatenate([np.cos(data.latent), np.sin(data.latent)], axis=1)
    yield from quality(Task("torus", data.counts, circles, circles), size, {"time": 0.905, "time_delta": 0.925})


def track(size: Size) -> Iterator[Row]:
    """A simulated animal on a track; drift, pauses, fields that depend on the direction."""
    data = make_track(size.n_track_rows)
    yield from quality(Task("track", data.counts, data.latent, data.latent[:, :1]), size)


def rat(size: Size) -> Iterator[Row]:
    """The recording of the hippocampus."""
    if size is QUICK or not RAT.is_dir():
        return
    found = bin_session(read_hippocampus(RAT), 0.1)
    position = found.labels["position"][:, None]
    label = np.concatenate([position, found.labels["direction"][:, None].astype(float)], axis=1)
    runs = found.labels["speed"] > 0.05  # lengths of the track per second: place cells tell where it runs
    yield from quality(Task("rat", np.asarray(found.counts), label, position, runs), size)


def decode(embedding: np.ndarray, task: Task) -> tuple[float, float]:
    """R2 and median error of kNN on the test rows; the number of neighbours is chosen inside the training rows."""
    cut, inner = task.cut, task.cut * 4 // 5
    test = np.arange(cut + 100, len(task.counts))
    test = test if task.scored is None else test[task.scored[test]]

    def fit(k: int, stop: int) -> KNeighborsRegressor:
        return KNeighborsRegressor(k, metric="cosine").fit(embedding[:stop:2], task.target[:stop:2])

    k = max(NEIGHBOURS, key=lambda k: fit(k, inner - 100).score(embedding[inner:cut:3], task.target[inner:cut:3]))
    model = fit(k, cut)
    error = np.abs(model.predict(embedding[test]) - task.target[test]).mean(axis=1)
    return float(model.score(embedding[test], task.target[test])), float(np.median(error))


def consistency(embeddings: list[np.ndarray], task: Task) -> float:
    """Mean R2 of linear maps between runs on the test rows."""
    test = [embedding[task.cut + 100 :] for embedding in embeddings]
    scores = [LinearRegression().fit(a, b).score(a, b) for a in test for b in test if a is not b]
    return float(np.mean(scores)) if scores else float("nan")


def quality(task: Task, size: Size, limits: Mapping[str, float] | None = None) -> Iterator[Row]:
    """Both models on one task, with and without labels, and the shuffle control."""
    for mode in ("time", "time_delta"):
        shared = {
            "temperature": 0.3,
            "learning_rate": 1e-3,
            "time_offsets": 10,
            "device": "cpu",
            "conditional": mode,
        }
        y = () if mode == "time" else (task.label[: task.cut],)
        theirs: dict[int, list[tuple[float, ...]]] = {n: [] for n in size.reference_steps}
        for seed in range(size.reference_seeds):
            for n, scores in train_cebra(task, y, size, seed, shared):
                theirs[n].append(scores)
        scored = {n: np.mean(values, axis=0) for n, values in theirs.items()}
        n_best = max(scored, key=lambda n: scored[n][0])
        best, spent_theirs = scored[n_best], scored[max(scored)][2]
        least_error = min(values[1] for values in scored.values())
        ours, embeddings = [], []
        for seed in range(size.seeds):
            model = PopulationEmbedder(
                MODEL, batch_size=512, max_iterations=size.train_steps, random_state=seed, **shared
            )
            spent = cpu(lambda m=model, x=task.counts[: task.cut], y=y: m.fit(x, *y))
            embedding = model.transform(task.counts)
            embeddings.append(embedding)
            ours.append((*decode(embedding, task), spent, *decode(plain(model, task), task)))
        r2, error, spent, r2_plain, error_plain = np.mean(ours, axis=0)
        name = f"{task.name}, {mode}"
        limit = (limits or {}).get(mode, round(best[0], 4))
        yield row(f"{name}: R2", r2, "", f">= {limit}", f"runs {spread(ours)}; cebra {tell(scored, 0)}")
        yield row(f"{name}: median error", error, "", f"<= {least_error:.4f}", f"cebra {tell(scored, 1)}")
        note = f"error {error_plain:.4f}; cebra at its best {best[0]:.3f}, runs {spread(theirs[n_best])}"
        yield row(f"{name}: R2, not smoothed", r2_plain, "", "", note)
        note = f"error {best[4]:.4f}"
        yield row(f"{name}: R2 of cebra, smoothed alike", best[3], "", "", note)
        yield row(f"{name}: CPU", spent, "s", f"<= {spent_theirs:.2f}", f"cebra {tell(scored, 2)}")
        agreed = consistency(embeddings, task)
        yield row(f"{name}: consistency", agreed, "", ">= 0.88" if name == "torus, time" else "")
    yield shuffled(task, size)


def train_cebra(task: Task, y: tuple, size: Size, seed: int, shared: dict[str, Any]) -> Iterator[tuple[int, tuple]]:
    """Train cebra and stop at every number of steps to decode.

    Scores: R2, median error, CPU seconds so far, and R2 and median error once smoothed as ours.
    """
    torch.manual_seed(seed)
    model, spent, done = CEBRA(MODEL, batch_size=512, **shared), 0.0, 0
    counts = task.counts.astype(np.float32)
    for n in size.reference_steps:
        model.max_iterations = n - done
        spent += cpu(lambda: model.partial_fit(counts[: task.cut], *y))  # goes on from its weights
        done = n
        embedding = model.transform(counts)
        smooth = smooth_rows(
            embedding, make_segments([len(counts)]), np.ones(len(counts), dtype=bool), shared["time_offsets"], True
        )
        yield n, (*decode(embedding, task), spent, *decode(smooth, task))


def plain(model: PopulationEmbedder, task: Task) -> np.ndarray:
    """The embedding of a model before rows are smoothed."""
    reach, model.smoothing_ = model.smoothing_, 1
    embedding = model.transform(task.counts)
    model.smoothing_ = reach
    return embedding


def spread(runs: list[tuple[float, ...]]) -> str:
    """R2 of every run."""
    return ", ".join(f"{values[0]:.3f}" for values in runs)


def tell(scored: dict[int, np.ndarray], at: int) -> str:
    """The reference at each number of steps."""
    return ", ".join(f"{n}: {values[at]:.3f}" for n, values in scored.items())


def shuffled(task: Task, size: Size) -> dict[str, Any]:
    """A model whose rows of counts were permuted against the labels must decode nothing."""
    order = np.random.default_rng(0).permutation(task.cut)
    model = PopulationEmbedder(
        MODEL, batch_size=512, max_iterations=size.train_steps // 4, random_state=0, device="cpu", temperature=0.3,
        learning_rate=1e-3, time_offsets=10,
    ).fit(task.counts[: task.cut][order], task.label[: task.cut])  # fmt: skip
    mixed = Task(
        task.name, np.concatenate([task.counts[: task.cut][order], task.counts[task.cut :]]), task.label, task.target
    )
    return row(f"{task.name}, shuffled: R2", decode(model.transform(mixed.counts), mixed)[0], "", "<= 0.05")


def binning(size: Size) -> list[dict[str, Any]]:
    """Counting spikes in presentations."""
    rng = np.random.default_rng(0)
    n_units = 200
    onsets = 10 + np.arange(size.n_presentations) * 0.25
    trains = [np.sort(rng.uniform(0, onsets[-1] + 10, size.n_spikes // n_units)) for _ in range(n_units)]
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    spikes = np.concatenate(trains)
    spent = min(cpu(lambda: bin_presentations(spikes, offsets, onsets, 0.25, 10)) for _ in range(5))
    return [row(f"binning {size.n_spikes / 1e6:.1f} M spikes", spent, "CPU s", "<= 0.15")]


IMPORT = """
import time
import torch, cebra
start = time.process_time()
import spikeprint.population
from spikeprint.population import Population, PopulationEmbedder
print(time.process_time() - start)
"""


def imports(size: Size) -> list[dict[str, Any]]:
    """What importing the package adds to torch and cebra."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-W", "ignore", "-c", IMPORT]
    spent = min(
        float(subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout)
        for _ in range(size.repeats)
    )
    return [row("import beyond torch and cebra", spent, "CPU s", "<= 1")]


def kshot(size: Size) -> list[dict[str, Any]]:
    """The k-shot table of many sessions through ``core/compute``."""
    populations = [
        bin_trials(make_images(8, 20, 40, seed=seed, session_id=f"s{seed:02d}")) for seed in range(size.n_sessions)
    ]
    study = Study(models=("poisson_nb", "lda"), shots=(1, 3, 5, 0), repeats=3)
    start = time.perf_counter()
    table = check_table(run_kshot(populations, study, count_workers()).table, RESULTS, "k-shot")
    spent = time.perf_counter() - start
    means = table.groupby(["model", "k"])["top1"].mean()
    note = ", ".join(f"{model} {means[model, 1]:.2f} at 1, {means[model, 0]:.2f} at all" for model in study.models)
    return [row(f"k-shot of {size.n_sessions} sessions", spent, "wall s", "", f"{len(table)} fits; top-1 {note}")]


PARTS = (kshot, binning, imports, speed, torus, track, rat)


def main() -> int:
    """Measure, print the table, write the rows."""
    arguments = make_parser(__doc__, PARTS).parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    size = QUICK if arguments.quick else Size()
    code = report(measure(PARTS, arguments.only, size), arguments.json)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Size, speed and memory of the model, side by side with the published architecture in one run.

The published network, training and preprocessing are those of `cvae/reference.py`, which works on whole arrays where
the published code loops over units. Times are seconds of this process on the processor, so other work on the machine
hardly counts. Ours and the reference take turns, and a ratio is the median of such pairs; a target of an epoch and of
embedding is for the ratio. The reference does a part of the work, in batches as large as those of the whole, and its
time is scaled up. An epoch is what a longer training takes more than a shorter one, its validation included.
`--quick` is a smoke run of small data: its numbers mean nothing. `--json OUT` writes the rows. Exit code 1 when a
target is missed.
"""

import argparse
import json
import operator
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from spikeprint.core.config import ModelParams, Params
from spikeprint.cvae.fit import FittedCVAE, fit_cvae
from spikeprint.cvae.predictor import Predictor
from spikeprint.cvae.reference import PHASES, FittedReference, ReferenceParams, fit_reference
from spikeprint.cvae.reference_data import reference_inputs
from spikeprint.cvae.resnet import ReferenceNetwork, ReferenceShape
from spikeprint.cvae.units import Units
from spikeprint.features.transforms import normalise
from spikeprint.registry.bundle import write_bundle

ROOT = Path(__file__).resolve().parents[1]
CLASSES, SOURCES = ("granule", "MLI", "Golgi", "Purkinje", "mossy"), ("a", "b", "c", "d")


@dataclass(frozen=True)
class Size:
    """How much is measured. The reference trains on two batches of 128 and 28 units of validation."""

    n_units: int = 4_000
    n_reference: int = 284
    n_embedded: int = 60_000
    n_reference_embedded: int = 1_024
    n_normalised: int = 60_000
    n_epochs: int = 4
    base_width: int = 64
    repeats: int = 3


QUICK = Size(60, 20, 200, 20, 200, 1, 8, 1)


def row(
    name: str,
    value: float,
    unit: str,
    target: float,
    peer_value: float,
    least: bool = False,
    ratio: float | None = None,
) -> dict:
    """One line of the report; ``least``: the value, or the ratio if one is given, must be at least the target."""
    holds = (operator.ge if least else operator.le)(value if ratio is None else ratio, target)
    found = {"name": name, "value": round(value, 4), "unit": unit, "target": target, "holds": bool(holds)}
    if ratio is None:
        ratio = value / peer_value if least else peer_value / value
    return found | {"peer": "reference", "peer_value": round(peer_value, 4), "ratio": round(ratio, 2)}


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call, of all threads."""
    started = time.process_time()
    call()
    return time.process_time() - started


def draw_units(n_units: int) -> Units:
    """Units of noise, all sources and classes among them; how long a step takes does not depend on values."""
    rng = np.random.default_rng(0)
    half = rng.poisson(20, (n_units, 100)).astype(float)
    which = np.arange(n_units)
    dataset = np.array(SOURCES)[which % len(SOURCES)]
    told = {"technology": "neuropixels", "species": "mouse", "representation": "1ms"}
    return Units(
        {
            "waveform": rng.normal(size=(n_units, 50)),
            "isi": rng.poisson(20, (n_units, 100)).astype(float),
            "acg": np.hstack([half[:, ::-1], np.zeros((n_units, 1)), half]),
        },
        {"dataset": dataset} | {key: np.full(n_units, word) for key, word in told.items()},
        np.array(CLASSES)[which % len(CLASSES)],
    )


def model_params(n_epochs: int) -> ModelParams:
    """The production row of params.yaml, for exactly so many epochs."""
    production = Params.load(ROOT / "params.yaml").ablation("production")
    return production.model_copy(update={"epochs": n_epochs, "patience": n_epochs, "device": "cpu"})


def reference_params(n_epochs: int, size: Size) -> ReferenceParams:
    """The published pretraining, for exactly so many epochs."""
    shape = replace(ReferenceShape(), base_width=size.base_width)
    return ReferenceParams(shape, (replace(PHASES[0], epochs=n_epochs),), patience=n_epochs, device="cpu")


def fit_ours(size: Size, n_epochs: int = 1) -> FittedCVAE:
    """Ours, trained on all units."""
    return fit_cvae(draw_units(size.n_units), model_params(n_epochs), seed=0)


def fit_theirs(size: Size, n_epochs: int = 1) -> FittedReference:
    """The reference, trained on its part of the units."""
    return fit_reference(draw_units(size.n_reference), reference_params(n_epochs, size), seed=0)


def untrained(size: Size) -> FittedReference:
    """The reference as it starts: as large and as fast as a trained one."""
    shape = replace(ReferenceShape(), base_width=size.base_width, n_sources=len(SOURCES), n_classes=len(CLASSES))
    return FittedReference(ReferenceNetwork(shape).eval(), SOURCES, CLASSES, {})


def measure_size(size: Size) -> list[dict]:
    """Numbers in the network, and the bundle on disk: weights, configuration and code, without folds and head."""
    ours, theirs = fit_ours(size), untrained(size).network
    n_ours = sum(array.size for name, array in ours.arrays.items() if name.startswith("network."))
    n_theirs = sum(parameter.numel() for parameter in theirs.parameters())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        write_bundle(folder, ours.config, ours.arrays)
        n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [
        row("parameters, running statistics included", n_ours / 1e6, "million", 0.5, n_theirs / 1e6),
        row("bundle", n_bytes / 1e6, "MB", 5.0, 4 * n_theirs / 1e6),
    ]


def measure_epoch(size: Size) -> list[dict]:
    """One epoch of training and validation."""
    n, scale = size.n_epochs, size.n_units / size.n_reference

    def epoch(fit: Callable[[Size, int], object], n_epochs: int) -> float:
        short = seconds(lambda: fit(size, 1))
        return (seconds(lambda: fit(size, 1 + n_epochs)) - short) / n_epochs

    pairs = [(epoch(fit_ours, n), scale * epoch(fit_theirs, 1)) for _ in range(size.repeats)]
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    return [row(f"an epoch of {size.n_units:,} units", own, "s", 25.0, other, least=True, ratio=ratio)]


def measure_rates(size: Size) -> list[dict]:
    """Units embedded from raw modalities, and units preprocessed, in a second."""
    fitted, reference = fit_ours(size), untrained(size)
    predictor, lengths = Predictor(fitted.config, fitted.arrays), reference.network.shape.lengths
    units, part = draw_units(size.n_embedded), draw_units(size.n_reference_embedded)
    many = draw_units(size.n_normalised)

    def compare(ours: Callable[[], object], n: int, theirs: Callable[[], object], n_part: int) -> list[float]:
        ours(), theirs()
        pairs = [(n / seconds(ours), n_part / seconds(theirs)) for _ in range(size.repeats)]
        own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        return [own, other, statistics.median(mine / other for mine, other in pairs)]

    own, other, ratio = compare(
        lambda: predictor.embed(units.raw, units.origin),
        len(units),
        lambda: reference.embed(part.raw, part.origin["dataset"]),
        len(part),
    )
    rows = [row("embedding, preprocessing included", own, "units/s", 50.0, other, least=True, ratio=ratio)]
    own, other, _ = compare(
        lambda: normalise(many.raw), len(many), lambda: reference_inputs(many.raw, lengths), len(many)
    )
    return [*rows, row("preprocessing", own, "units/s", 100_000.0, other, least=True)]


def measure_memory(size: Size) -> list[dict]:
    """Peak of a process that trains and embeds; the reference's does not depend on the number of its units."""
    peaks = [_peak(which, size) for which in ("ours", "reference")]
    return [row("peak memory, training and embedding", peaks[0], "GB", 1.0, peaks[1])]


def _peak(which: str, size: Size) -> float:
    words = [sys.executable, __file__, "--peak-of", which, *(["--quick"] if size == QUICK else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def work_for_peak(which: str, size: Size) -> float:
    """Train an epoch and embed in this process, which was started for it; return its peak memory in GB."""
    import resource

    if which == "ours":
        fitted, units = fit_ours(size), draw_units(size.n_units)
        Predictor(fitted.config, fitted.arrays).embed(units.raw, units.origin)
    else:
        units = draw_units(size.n_reference_embedded)
        fit_theirs(size).embed(units.raw, units.origin["dataset"])
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform != "darwin" else 1024)
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: a new program inherits the ru_maxrss of the process that started it, but not this
        kibibytes = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return kibibytes * 1024 / 1e9


PARTS = (measure_size, measure_epoch, measure_rates, measure_memory)


def show(found: dict) -> str:
    """One row for people."""
    against = f"reference {found['peer_value']:,.4g} {found['unit']}, {found['ratio']:,.1f} x"
    measured = f"{found['value']:12,.4g} {found['unit']:<8} {'holds' if found['holds'] else 'MISSED'}"
    return f"{found['name']:<42} {measured:<30} (target {found['target']:g})  {against}"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of small data")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows as JSON")
    parser.add_argument("--only", nargs="*", choices=[part.__name__ for part in PARTS], help="parts to run")
    parser.add_argument("--peak-of", choices=["ours", "reference"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    size = QUICK if arguments.quick else Size()
    if arguments.peak_of:
        print(work_for_peak(arguments.peak_of, size))
        return 0
    rows: list[dict] = []
    for part in PARTS:
        if not arguments.only or part.__name__ in arguments.only:
            for found in part(size):
                rows.append(found)
                print(show(found), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return int(not all(found["holds"] for found in rows))


if __name__ == "__main__":
    sys.exit(main())

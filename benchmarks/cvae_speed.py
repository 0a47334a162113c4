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
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _common import ROOT, Peer, Row, Target, make_parser, make_row, measure, report, seconds

from spikeprint.core.config import ModelParams, Params
from spikeprint.core.reference_params import ReferenceParams
from spikeprint.cvae.fit import FittedCVAE, fit_cvae
from spikeprint.cvae.predictor import Predictor
from spikeprint.cvae.reference import FittedReference, fit_reference, make_shape
from spikeprint.cvae.reference_data import reference_inputs
from spikeprint.cvae.resnet import ReferenceNetwork
from spikeprint.cvae.units import Units
from spikeprint.features.transforms import normalise
from spikeprint.registry.bundle import write_bundle

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


def published(theirs: float, ratio: float) -> Peer:
    """The published model beside ours."""
    return Peer("reference", theirs, ratio)


def cpu_seconds(call: Callable[[], object]) -> float:
    """Processor time of one call, of all threads."""
    return seconds(call, time.process_time)


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
    epochs = {"pretrain_epochs": n_epochs, "finetune_epochs": 0, "epochs": 0, "patience": n_epochs}
    section = Params.load(ROOT / "params.yaml").reference
    return section.model_copy(update={**epochs, "base_width": size.base_width, "device": "cpu"})


def fit_ours(size: Size, n_epochs: int = 1) -> FittedCVAE:
    """Ours, trained on all units."""
    return fit_cvae(draw_units(size.n_units), model_params(n_epochs), seed=0)


def fit_theirs(size: Size, n_epochs: int = 1) -> FittedReference:
    """The reference, trained on its part of the units."""
    return fit_reference(draw_units(size.n_reference), reference_params(n_epochs, size), seed=0)


def untrained(size: Size) -> FittedReference:
    """The reference as it starts: as large and as fast as a trained one."""
    shape = make_shape(reference_params(1, size), len(SOURCES), len(CLASSES))
    return FittedReference(ReferenceNetwork(shape).eval(), SOURCES, CLASSES, {})


def measure_size(size: Size) -> list[Row]:
    """Numbers in the network, and the bundle on disk: weights, configuration and code, without folds and head."""
    ours, theirs = fit_ours(size), untrained(size).network
    n_ours = sum(array.size for name, array in ours.arrays.items() if name.startswith("network."))
    n_theirs = sum(parameter.numel() for parameter in theirs.parameters())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        write_bundle(folder, ours.config, ours.arrays)
        n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [
        make_row(
            "parameters, running statistics included",
            n_ours / 1e6,
            "million",
            Target(0.5),
            published(n_theirs / 1e6, n_theirs / n_ours),
        ),
        make_row("bundle", n_bytes / 1e6, "MB", Target(5.0), published(4 * n_theirs / 1e6, 4 * n_theirs / n_bytes)),
    ]


def measure_epoch(size: Size) -> list[Row]:
    """One epoch of training and validation."""
    n, scale = size.n_epochs, size.n_units / size.n_reference

    def epoch(fit: Callable[[Size, int], object], n_epochs: int) -> float:
        short = cpu_seconds(lambda: fit(size, 1))
        return (cpu_seconds(lambda: fit(size, 1 + n_epochs)) - short) / n_epochs

    pairs = [(epoch(fit_ours, n), scale * epoch(fit_theirs, 1)) for _ in range(size.repeats)]
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    target = Target(25.0, at_least=True, of_ratio=True)
    return [make_row(f"an epoch of {size.n_units:,} units", own, "s", target, published(other, ratio))]


def measure_rates(size: Size) -> list[Row]:
    """Units embedded from raw modalities, and units preprocessed, in a second."""
    fitted, reference = fit_ours(size), untrained(size)
    predictor, lengths = Predictor(fitted.config, fitted.arrays), reference.network.shape.lengths
    units, part = draw_units(size.n_embedded), draw_units(size.n_reference_embedded)
    many = draw_units(size.n_normalised)

    def compare(ours: Callable[[], object], n: int, theirs: Callable[[], object], n_part: int) -> list[float]:
        ours(), theirs()
        pairs = [(n / cpu_seconds(ours), n_part / cpu_seconds(theirs)) for _ in range(size.repeats)]
        own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        return [own, other, statistics.median(mine / other for mine, other in pairs)]

    own, other, ratio = compare(
        lambda: predictor.embed(units.raw, units.origin),
        len(units),
        lambda: reference.embed(part.raw, part.origin["dataset"]),
        len(part),
    )
    target = Target(50.0, at_least=True, of_ratio=True)
    rows = [make_row("embedding, preprocessing included", own, "units/s", target, published(other, ratio))]
    own, other, ratio = compare(
        lambda: normalise(many.raw), len(many), lambda: reference_inputs(many.raw, lengths), len(many)
    )
    target = Target(100_000.0, at_least=True)
    return [*rows, make_row("preprocessing", own, "units/s", target, published(other, ratio))]


def measure_memory(size: Size) -> list[Row]:
    """Peak of a process that trains and embeds; the reference's does not depend on the number of its units."""
    own, other = (_peak(which, size) for which in ("ours", "reference"))
    return [make_row("peak memory, training and embedding", own, "GB", Target(1.0), published(other, other / own))]


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


def main() -> int:
    """Run the benchmark."""
    parser = make_parser(__doc__, PARTS)
    parser.add_argument("--peak-of", choices=["ours", "reference"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    size = QUICK if arguments.quick else Size()
    if arguments.peak_of:
        print(work_for_peak(arguments.peak_of, size))
        return 0
    return report(measure(PARTS, arguments.only, size), arguments.json)


if __name__ == "__main__":
    sys.exit(main())

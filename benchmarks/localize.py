"""Localisers and drift against truth, side by side on one simulated recording, and what they cost.

The recording is that of SpikeInterface's drifting generator: Neuropixels 1.0, 128 contacts, noise of 6 to 8 uV, a
zig-zag of 20 um. A second one has neurons of a family that training does not know: a soma and a dendrite of opposite,
later current, point sources along a line. Times are CPU seconds of one process. `--quick` is a smoke run of small data:
its numbers mean nothing. `--json OUT` writes the rows; every score of every localiser goes to standard error. Exit
code 1 when a target is missed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("SPIKEPRINT_WORKERS", "1")

import numpy as np
import torch
from _common import Peer, Row, Target, make_parser, make_row, measure, report

from spikeprint.core.config import SnippetParams
from spikeprint.core.production import LOCALIZATION
from spikeprint.core.spikes import GroundTruth, Motion, Neighbourhoods, Positions, Source
from spikeprint.io.traces.components import open_components, write_components
from spikeprint.io.traces.snippets import iter_snippets, open_source
from spikeprint.localize.assess import assess
from spikeprint.localize.fit import fit_localizer
from spikeprint.localize.geometry import find_neighbourhoods
from spikeprint.localize.held_out import score_held_out
from spikeprint.localize.histograms import Grid, score_repeats
from spikeprint.localize.joint import fit_joint
from spikeprint.localize.localizers import LOCALIZERS, localise
from spikeprint.localize.motion import estimate_motion, estimate_motions
from spikeprint.localize.reference import Recipe, fit_reference
from spikeprint.localize.score import match_peaks, score_motion, score_positions

N_LIBRARY = 4_000
"""Spikes that the library's monopole fits when only its cost and error matter."""
PUBLISHED_GAIN = 0.095
JOINT = "production+joint"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    n_channels: int = 128
    n_units: int = 60
    duration_s: float = 100.0
    n_spikes: int = LOCALIZATION.network.n_spikes
    epochs: int = LOCALIZATION.network.epochs
    joint_epochs: int = LOCALIZATION.joint.epochs
    n_reference: int = 16_000
    reference_epochs: int = 4
    n_histogram: int = 2_500_000
    memory_s: tuple[float, float] = (100.0, 1_000.0)
    seeds: int = 1


QUICK = Size(16, 6, 8.0, 500, 1, 1, 400, 1, 20_000, (4.0, 8.0))


@dataclass(frozen=True)
class Scene:
    """A simulated recording."""

    source: Source
    truth: GroundTruth


def row(name: str, value: float, unit: str, target: float, least: bool = False, peer: Peer | None = None) -> Row:
    """One line of the report; ``least``: the value must be at least the target. A peer's target is for the ratio."""
    load = round(os.getloadavg()[0], 2)  # of the last minute: what else ran, besides this
    return make_row(name, value, unit, Target(target, least, of_ratio=bool(peer)), peer, load=load)


def cpu(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its CPU seconds."""
    started = time.process_time()
    found = call()
    return found, time.process_time() - started


def make_scene(size: Size, seed: int, family: str, folder: Path, reach_um: tuple[float, float] = (0.0, 20.0)) -> Scene:
    """Simulate, save and open a recording; ``family``: ellipsoid (SpikeInterface's) or dendrite.

    Its tissue moves between ``reach_um`` (x, y) and its opposite.
    """
    from probeinterface.neuropixels_tools import build_neuropixels_probe
    from spikeinterface.generation import drifting_generator, generate_drifting_recording

    probe = build_neuropixels_probe("NP1000").get_slice(np.arange(size.n_channels))
    probe.set_device_channel_indices(np.arange(size.n_channels))
    zigzag = {"drift_mode": "zigzag", "non_rigid_gradient": None, "t_start_drift": 0.12 * size.duration_s}
    drift = {
        "displacement_sampling_frequency": 5.0,
        "drift_start_um": list(reach_um),
        "drift_stop_um": [-reach_um[0], -reach_um[1]],
        "drift_step_um": 1,
        "motion_list": [{**zigzag, "t_end_drift": None, "period_s": size.duration_s / 2}],
    }
    original = drifting_generator.generate_templates
    if family == "dendrite":
        drifting_generator.generate_templates = make_dendrites
    try:
        _, moving, sorting, extra = generate_drifting_recording(
            probe=probe,
            num_units=size.n_units,
            duration=size.duration_s,
            extra_outputs=True,
            seed=seed,
            generate_displacement_vector_kwargs=drift,
            generate_sorting_kwargs={"firing_rates": (3.0, 13.0), "refractory_period_ms": 4.0},
            amplitude_std=0.05,
        )
    finally:
        drifting_generator.generate_templates = original
    options = {"dtype": "float32", "n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}
    saved = moving.save(folder=folder, overwrite=True, **options)
    trains = [sorting.get_unit_spike_train(unit, segment_index=0) for unit in sorting.unit_ids]
    samples, units = np.concatenate(trains), np.repeat(np.arange(len(trains)), [len(train) for train in trains])
    order = np.argsort(samples, kind="stable")
    truth = GroundTruth(
        samples[order].astype(np.int64),
        units[order],
        np.asarray(extra["unit_locations"], dtype=np.float64),
        np.asarray(extra["unit_displacements"], dtype=np.float64),
        float(extra["displacement_sampling_frequency"]),
    )
    return Scene(open_source(saved, LOCALIZATION.detect, None), truth)


def make_dendrites(
    channel_locations: np.ndarray, units_locations: np.ndarray, sampling_frequency: float, seed: int, **options: Any
) -> np.ndarray:
    """Templates (n_units, n_samples, n_channels) of a soma and a dendrite, point sources in a uniform medium.

    The soma takes the current of the spike in; the dendrite, 80 to 250 um in any direction, gives it back later.
    """
    from spikeinterface.core.generate import generate_single_fake_waveform

    before, after = options["ms_before"], options["ms_after"]
    contacts = np.column_stack([channel_locations[:, :2], np.zeros(len(channel_locations))])
    found = []
    for unit, soma in enumerate(units_locations):
        rng = np.random.default_rng([seed, unit])
        wave = generate_single_fake_waveform(
            sampling_frequency,
            before,
            after,
            depolarization_ms=rng.uniform(0.09, 0.14),
            repolarization_ms=rng.uniform(0.5, 0.8),
            recovery_ms=rng.uniform(1.0, 1.5),
            positive_amplitude=rng.uniform(0.1, 0.25),
        )
        later = np.roll(wave, round(rng.uniform(0.05, 0.25) * sampling_frequency / 1000))
        way = rng.normal(size=3) * [1, 1, 0.5]
        reach = np.linspace(15, rng.uniform(80, 250), 20)[:, None] * way / np.linalg.norm(way)
        weights = np.exp(-np.linspace(0, 2, 20))
        at_soma = 1 / np.linalg.norm(contacts - soma, axis=1)
        far = np.linalg.norm(contacts[:, None] - (soma + reach)[None], axis=2)
        at_dendrite = (1 / np.maximum(far, 5)) @ (weights / weights.sum())
        template = wave[:, None] * at_soma - rng.uniform(0.4, 0.9) * later[:, None] * at_dendrite
        found.append(template * rng.uniform(1_500, 6_000))
    return np.array(found, dtype=np.float32)


def follow(scene: Scene, positions: Positions) -> tuple[dict[str, float], Motion]:
    """All scores of positions, with their own motion."""
    motion = estimate_motion(scene.source.recording, scene.source.peaks, positions, LOCALIZATION.motion)
    return assess(scene.source, positions, [motion], scene.truth), motion


def sizes(size: Size) -> dict[str, Any]:
    """The production's network and joint phase at this size."""
    network = LOCALIZATION.network.model_copy(update={"n_spikes": size.n_spikes, "epochs": size.epochs})
    least = 50 if size.duration_s > 50 else 5
    joint = LOCALIZATION.joint.model_copy(update={"epochs": size.joint_epochs, "min_spikes": least})
    return {"network": network, "joint": joint}


def score_all(scene: Scene, size: Size, seed: int, names: list[str]) -> dict[str, dict[str, float]]:
    """Scores and costs of localisers on a scene; ``production+joint``, after ``production``, adds the joint phase."""
    table, fitted = {}, {}
    recipe = Recipe("monopole", size.n_reference, size.reference_epochs)
    n = len(scene.source.peaks)
    for name in (name for name in names if name != JOINT):
        started = time.process_time()
        if name in ("cnn", "transformer"):
            fitted[name] = fit_reference(scene.source, name, recipe, seed)
        elif name == "production":
            fitted[name] = fit_localizer(scene.source, sizes(size)["network"], seed)
        training = time.process_time() - started
        part, own = _part(scene, name)
        positions, spent = cpu(lambda name=name, part=part: localise(name, part.source, fitted.get(name)))
        table[name] = follow(part, positions)[0] | {"ms": spent / own * 1000, "training_s": training, "n_spikes": own}
        tell(name, table[name])
    if JOINT in names:
        (later, _), training = cpu(
            lambda: fit_joint(fitted["production"], scene.source, sizes(size)["joint"], LOCALIZATION.motion, seed)
        )
        table[JOINT] = follow(scene, localise("production", scene.source, later))[0]
        table[JOINT] |= score_held_out(scene.source, later) | {"training_s": training, "n_spikes": n}
        tell(JOINT, table[JOINT])
    return table


def _part(scene: Scene, name: str) -> tuple[Scene, int]:
    """The scene; for the library's monopole, some of its spikes."""
    n = len(scene.source.peaks)
    if name != "monopole_library" or n <= N_LIBRARY:
        return scene, n
    rows = np.sort(np.random.default_rng(0).choice(n, N_LIBRARY, replace=False))
    return Scene(replace(scene.source, peaks=scene.source.peaks.take(rows)), scene.truth), N_LIBRARY


def tell(name: str, scores: dict[str, float]) -> None:
    """One line of the table, to standard error."""
    print(f"  {name:<18}", " ".join(f"{key}={value:.3f}" for key, value in scores.items()), file=sys.stderr, flush=True)


def measure_accuracy(size: Size) -> list[Row]:
    """Errors against truth on unseen neurons, all localisers, one recording."""
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(size, 7, "ellipsoid", Path(folder) / "scene")
        table = score_all(scene, size, 0, [name for name in LOCALIZERS if name != "transformer"] + [JOINT])
    ours, later, mono = table["production"], table[JOINT], table["monopole"]
    library = table["monopole_library"]
    rows = [
        row("production, median error", ours["median_um"], "um", 3.5),
        row("production, 90th percentile", ours["p90_um"], "um", 10.0),
        row("production, z error", ours["mae_z_um"], "um", 7.0),
        row("production, drift error", ours["drift_mae_um"], "um", 0.25),
        row("production + joint, median error", later["median_um"], "um", ours["median_um"] * 1.001),
        row("production + joint, z error", later["mae_z_um"], "um", max(7.0, ours["mae_z_um"] * 1.02)),
        row("production + joint, drift error", later["drift_mae_um"], "um", 0.25),
        row("production + joint, gain of rho_soft4 over monopole + DREDge", later["rho_soft4"] - mono["rho_soft4"], "1",
            PUBLISHED_GAIN, least=True),
        *compare_purity(table),
        row("production, snippets and forward", ours["ms"], "ms/spike", 0.2),
        row("monopole, snippets and fit, CPU", mono["ms"], "ms/spike", 30.0, least=True,
            peer=Peer("spikeinterface monopolar_triangulation", library["ms"], library["ms"] / mono["ms"])),
        row("monopole, median error over the library's", mono["median_um"] / library["median_um"], "1", 1.05),
        row("training on 100,000 simulated spikes", ours["training_s"] / (size.n_spikes * size.epochs) * 1e5 / 60,
            "CPU min", 5.0),
    ]  # fmt: skip
    return rows


def compare_purity(table: dict[str, dict[str, float]]) -> list[Row]:
    """Rows: neighbour purity of the production in the plane and in space, less that of the best other localiser."""
    rows = []
    for ours in (name for name in ("production", JOINT) if name in table):
        for key, axes in (("purity", "(x, y)"), ("purity_xyz", "(x, y, z)")):
            # the library's monopole is measured on some of the spikes, whose neighbours are farther
            others = {
                name: scores[key]
                for name, scores in table.items()
                if name not in ("production", JOINT, "monopole_library") and key in scores
            }
            best = max(others, key=others.__getitem__)
            name = f"{ours}, purity in {axes} less that of {best} ({others[best]:.3f})"
            rows.append(row(name, table[ours][key] - others[best], "1", 0.0, least=True))
    return rows


def measure_seeds(size: Size) -> list[Row]:
    """Mean and interval of the production's errors over recordings, networks and neurons of several seeds."""
    found = []
    short = replace(size, duration_s=min(size.duration_s, 40.0))
    for seed in range(max(size.seeds, 2)):
        with tempfile.TemporaryDirectory() as folder:
            scene = make_scene(short, 100 + seed, "ellipsoid", Path(folder) / "scene")
            fitted = fit_localizer(scene.source, sizes(size)["network"], seed)
            found.append(follow(scene, localise("production", scene.source, fitted))[0])
            exact = estimate_motion(
                scene.source.recording, scene.source.peaks, place_exactly(scene), LOCALIZATION.motion
            )
            found[-1]["exact_drift_mae_um"] = score_motion(exact, scene.truth)["drift_mae_um"]
            tell(f"seed {seed}", found[-1])
    return [
        interval(found, key, target) for key, target in (("median_um", 3.5), ("p90_um", 10.0), ("drift_mae_um", 0.25))
    ]


def place_exactly(scene: Scene) -> Positions:
    """The truth as a localiser would tell it; a peak that is no true spike is at its contact."""
    source = scene.source
    matches = match_peaks(source.peaks, source.contacts_um, scene.truth)
    contacts = np.column_stack([source.contacts_um[source.peaks.channels], np.zeros(len(source.peaks))])
    return Positions(np.where(matches.units[:, None] >= 0, matches.xyz_um, contacts).astype(np.float32))


def interval(found: list[dict[str, float]], key: str, target: float) -> Row:
    """A row with a mean and its 95 % interval (Student's t)."""
    from scipy.stats import t

    values = np.array([scores[key] for scores in found])
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return row(f"production, {key}, mean of {len(values)} seeds (+- {half:.2f})", values.mean(), "um", target)


def measure_unseen(size: Size) -> list[Row]:
    """Errors on a family of neurons that the training does not contain."""
    short = replace(size, duration_s=min(size.duration_s, 40.0))
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(short, 11, "dendrite", Path(folder) / "scene")
        table = score_all(scene, size, 1, ["grid_convolution", "monopole_library", "monopole", "production"])
    library, ours = table["monopole_library"]["median_um"], table["production"]["median_um"]
    return [
        row("unseen family: production, median error", ours, "um", 4.5),
        row("unseen family: production over the library's monopole", ours / library, "1", 1.0),
    ]


def measure_purity(size: Size) -> list[Row]:
    """Neighbour purity with many units, where it can still rank."""
    crowded = replace(size, n_units=round(size.n_units * 2.5), duration_s=min(size.duration_s, 40.0))
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(crowded, 13, "ellipsoid", Path(folder) / "scene")
        names = ["peak_channel", "center_of_mass", "grid_convolution", "monopole", "cnn", "production"]
        table = score_all(scene, crowded, 2, names)
    return [each | {"name": f"{crowded.n_units} units: {each['name']}"} for each in compare_purity(table)]


def measure_cache(size: Size) -> list[Row]:
    """Temporal components on disk against the traces: what they cost and lose, and what localisers make of them.

    The tissue rests, so that all spikes of a neuron are alike but for noise and 5 % of size.
    """
    short = replace(size, duration_s=min(size.duration_s, 40.0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scene = make_scene(short, 19, "ellipsoid", folder / "scene", (0.0, 0.0))
        source, peaks = scene.source, scene.source.peaks
        around = find_neighbourhoods(source.contacts_um, LOCALIZATION.network.n_neighbours)
        params = SnippetParams(n_components=8, n_fit=5_000)
        card, writing = cpu(lambda: write_components(folder / "kept", source, around, params, 0))
        kept = open_components(folder / "kept").join(source)
        ways = {"kept": kept, "saved traces": source, "traces filtered as they are read": _filtered(source)}
        spent = {
            name: cpu(lambda way=way: [0 for _ in way.read(around, peaks)])[1] * 1e6 / len(peaks)
            for name, way in ways.items()
        }
        matches = match_peaks(peaks, source.contacts_um, scene.truth)
        error = {
            name: _spread_of_waves(way, around, matches.units)
            for name, way in ways.items()
            if way is not ways["traces filtered as they are read"]
        }
        fitted = fit_localizer(source, sizes(size)["network"], 0)
        said = {
            (method, name): score_positions(localise(method, way, fitted), matches)
            for method in ("monopole", "production")
            for name, way in (("kept", kept), ("saved traces", source))
        }
    for key, scores in said.items():
        tell(" ".join(key), scores)
    tell(
        "kept",
        {key: value for key, value in card.items() if isinstance(value, float)}
        | {"writing_us": writing * 1e6 / len(peaks)}
        | {f"us from {name}": value for name, value in spent.items()},
    )
    length = source.n_before + source.n_after
    rows = [
        row(
            "kept bytes per spike over those of a float32 snippet",
            card["bytes_per_spike"] / (4 * length * around.channels.shape[1]),
            "1",
            1 / 20,
        ),
        row("noise of a wave, kept over recorded", error["kept"] / error["saved traces"], "1", 0.5),
        *(
            row(
                f"reading a kept spike over one from {name} ({spent[name]:.0f} us)",
                spent["kept"] / spent[name],
                "1",
                0.5,
            )
            for name in list(ways)[1:]
        ),
    ]
    for method in ("monopole", "production"):
        for key in ("median_um", "p90_um"):
            a, b = said[method, "kept"][key], said[method, "saved traces"][key]
            rows.append(
                row(f"{method} of kept spikes, {key} ({a:.2f}) over that from traces ({b:.2f})", a / b, "1", 1.02)
            )
    return rows


def _filtered(source: Source) -> Source:
    """The same, but the traces go through a filter each time they are read, as those of a raw recording do."""
    from spikeinterface.preprocessing import bandpass_filter, common_reference

    lazy = common_reference(bandpass_filter(source.recording, freq_min=300, freq_max=6000))
    window = {"n_before": source.n_before, "n_after": source.n_after, "chunk_s": 1.0}
    return replace(source, read=partial(iter_snippets, lazy, **window))


def _spread_of_waves(source: Source, around: Neighbourhoods, units: np.ndarray) -> float:
    """RMS of what the peak contacts saw less the mean of their neuron at that contact, µV."""
    own = around.own[source.peaks.channels]
    waves = np.concatenate([part[np.arange(len(part)), own[rows]] for rows, part in source.read(around, source.peaks)])
    rest = []
    for key in np.unique(np.column_stack([units, source.peaks.channels])[units >= 0], axis=0):
        mine = waves[(units == key[0]) & (source.peaks.channels == key[1])]
        if len(mine) >= 30:
            rest.append(((mine - mine.mean(axis=0)) ** 2).ravel())
    return float(np.sqrt(np.concatenate(rest).mean()))


def measure_lateral(size: Size) -> list[Row]:
    """Tissue that moves +-8 um across the shank and not along it: what lateral motion says of it."""
    short = replace(size, duration_s=min(size.duration_s, 40.0))
    params = LOCALIZATION.motion.model_copy(update={"lateral": True})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(short, 17, "ellipsoid", Path(folder) / "scene", (8.0, 0.0))
        fitted = fit_localizer(scene.source, sizes(size)["network"], 3)
        for name in ("monopole", "production"):
            positions = localise(name, scene.source, fitted if name == "production" else None)
            _, across = estimate_motions(scene.source.recording, scene.source.peaks, positions, params)
            moved = scene.truth.displacement_um[:, :, 0].mean(axis=1)
            times = np.arange(len(moved)) / scene.truth.displacement_hz
            true = np.interp(across.times_s, times, moved)
            found = across.displacement_um.mean(axis=1)
            slope = np.polyfit(true, found, 1)[0]
            rest = (found - true) - np.median(found - true)
            tell(
                name,
                {
                    "slope": slope,
                    "lateral_mae_um": np.abs(rest).mean(),
                    "without_um": np.abs(true - np.median(true)).mean(),
                },
            )
            rows.append(row(f"{name}, lateral um told per um of +-8 um", slope, "1", 0.75, least=True))
    return rows


def measure_histograms(size: Size) -> list[Row]:
    """The scoreboard's soft histogram of 2.5 million spikes of 33 minutes on its published grid."""
    rng = np.random.default_rng(0)
    n, duration_s = size.n_histogram, size.n_histogram / 1264
    xy, times = rng.uniform([-20, 0], [60, 3840], (n, 2)), np.sort(rng.uniform(0, duration_s, n))
    grid = {"soft4": Grid((-40.0, 0.0), (80.0, 3840.0), 4.0, 4.0)}
    _, spent = cpu(lambda: score_repeats(xy, times, duration_s, grid))
    return [row(f"rho_soft4 and H_soft4 of {n:,} spikes, CPU", spent, "s", 60.0)]


MEMORY = """
import json, resource, sys
from pathlib import Path
import numpy as np
import torch
from probeinterface.neuropixels_tools import build_neuropixels_probe
from spikeinterface.core import BinaryRecordingExtractor, concatenate_recordings
from spikeprint.core.config import SnippetParams
from spikeprint.core.production import LOCALIZATION
from spikeprint.io.traces.components import open_components, write_components
from spikeprint.io.traces.snippets import iter_snippets, open_source
from spikeprint.localize.localizers import localise
from spikeprint.localizer import SpikeLocalizer

if __name__ == "__main__":
    block, n_blocks, n_channels, model = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    part = BinaryRecordingExtractor([block] * n_blocks, 30000.0, "float32", num_channels=n_channels, gain_to_uV=1,
                                    offset_to_uV=0)
    probe = build_neuropixels_probe("NP1000").get_slice(np.arange(n_channels))
    probe.set_device_channel_indices(np.arange(n_channels))
    recording = concatenate_recordings([part])
    recording.set_probe(probe)
    source = open_source(recording, LOCALIZATION.detect, None)
    localizer = SpikeLocalizer.load(model)
    found = localise("production", source, localizer.fitted_)
    status = Path("/proc/self/status")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if status.is_file():
        peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak": peak, "n": len(found.xyz_um)}))
"""
"""Runs in a process of its own: the peak of this one's memory says nothing about the recording."""


def measure_memory(size: Size) -> list[Row]:
    """Peak memory of detecting and localising a recording, and one ten times as long (the same seconds again)."""
    from spikeprint.localizer import SpikeLocalizer

    small = replace(size, duration_s=4.0, n_units=20)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scene = make_scene(small, 5, "ellipsoid", folder / "scene")
        localizer = SpikeLocalizer()
        short = LOCALIZATION.network.model_copy(update={"n_spikes": 1_000, "epochs": 1})
        localizer.fitted_ = fit_localizer(scene.source, short, 0)
        localizer.save(folder / "model")
        script = folder / "memory.py"
        script.write_text(MEMORY)
        block = folder / "scene" / "traces_cached_seg0.raw"
        peaks, counts = [], []
        for seconds in size.memory_s:
            words = [sys.executable, script, block, round(seconds / 4), size.n_channels, folder / "model"]
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
            said = json.loads(done.stdout.splitlines()[-1])
            peaks.append(said["peak"] / 1024)
            counts.append(said["n"])
    first, last = size.memory_s
    name = f"peak memory of {last:g} s ({peaks[1]:.0f} MiB) over that of {first:g} s ({peaks[0]:.0f} MiB)"
    more = (peaks[1] - peaks[0]) * 2**20 / (counts[1] - counts[0])
    # a spike leaves 20 bytes as a peak and 28 as an answer; the detector holds 32 of its own, and copies to sort
    return [row(name, peaks[1] / peaks[0], "1", 1.1), row("peak memory per further spike", more, "byte", 250.0)]


PARTS = (
    measure_accuracy,
    measure_unseen,
    measure_purity,
    measure_seeds,
    measure_cache,
    measure_lateral,
    measure_histograms,
    measure_memory,
)
QUICK_PARTS = (measure_accuracy, measure_histograms)
"""The rest is made of the same calls, or needs processes of its own."""


def main() -> int:
    """Run the benchmark."""
    parser = make_parser(__doc__, PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="recordings of measure_seeds")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    parts = QUICK_PARTS if arguments.quick and not arguments.only else PARTS
    size = QUICK if arguments.quick else Size(seeds=arguments.seeds)
    return report(measure(parts, arguments.only, size), arguments.json)


if __name__ == "__main__":
    sys.exit(main())

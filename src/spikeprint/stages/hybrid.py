"""Stage ``hybrid``: neurons of known truth in a recording. Enters: traces, sorting. Leaves: ``data/hybrid/<row>/``.

The plan is small and versioned; the traces can be made again from source and plan, so DVC does not keep a copy.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.compute import count_workers
from ..core.config import Params
from ..core.files import find_root, write_csv, write_json
from ..core.hybrid_params import HybridParams, HybridRow
from ..core.hybrid_plan import Plan
from ..core.runtime import timed
from ..hybrid.files import apply
from ..hybrid.make import make_plan
from ..hybrid.templates import measure_before_after
from ..io.hybrid.motion import read_motion
from ..io.hybrid.outputs import UNITS, name_hybrid, tabulate_units, write_outputs
from ..io.hybrid.plans import write_plan
from ..io.hybrid.sortings import Trains, read_given_times, read_trains
from ..io.hybrid.source import RawSource, open_source, reopen
from ..report.hybrid import Change, plot_plan, save_figure
from . import pick_row, require_recording, run_stage

LOGGER = logging.getLogger(__name__)
SNIPPET_MS = 40.0


def main(argv: list[str]) -> None:
    """Plan and inject the hybrid units of the row of ``hybrid`` named by the only word of ``argv``.

    Raises
    ------
    ConfigError
        No such row, or options that do not fit.
    DataError
        The recording or its sorting cannot be used, or no unit is fit to be copied.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.hybrid, "hybrid")
    row = params.hybrid[name]
    require_recording(row.recording, params.recordings, f"hybrid.{name}.recording")
    source, trains, plan = _plan(root, row)
    folder = root / "data" / "hybrid" / name
    with timed(f"hybrid {name}"):
        write_plan(folder / "plan", plan)
        write_csv(folder / "plan" / UNITS, tabulate_units(plan))
        traces = folder / "recording"
        traces.mkdir(parents=True, exist_ok=True)
        write_plan(traces, plan)
        names = [name_hybrid(file, source.format == "spikeglx") for file in source.names()]
        started = time.perf_counter()
        report = apply(plan, source, traces, names, n_threads=count_workers() if source.files else 1, force=True)
        spent = time.perf_counter() - started
        write_outputs(traces, plan, report.files, source)
    n_bytes = sum(path.stat().st_size for path in report.files)
    LOGGER.info("  %d spikes of %d units, %.0f MB/s", len(plan.spikes), len(plan.units), n_bytes / 1e6 / spent)
    write_json(
        root / "reports" / "metrics" / "hybrid" / name / "injected.json",
        {
            "n_units": len(plan.units),
            "n_dropped": len(plan.dropped),
            "n_spikes": len(plan.spikes),
            "n_clipped": report.n_clipped,
            "snr": [unit.snr for unit in plan.units],
            "amplitude_uv": [unit.amplitude_uv for unit in plan.units],
        },
    )
    change = _measure(plan, source, trains, reopen(plan.source, report.files))
    save_figure(plot_plan(plan, change), root / "reports" / "hybrid" / name / "injected.png")


def _plan(root: Path, row: HybridRow) -> tuple[RawSource, Trains, Plan]:
    """The source, its sorting, and a plan that names both relative to the project."""
    places = {"source": f"data/raw/{row.recording}", "sorting": f"data/interim/sortings/{row.recording}"}
    source = open_source(root / places["source"], row)
    trains = read_trains(root / places["sorting"], source, row.one_based)
    motion = None if row.drift is None else read_motion(root / row.drift.file)
    given = None if row.times.file is None else read_given_times(root / row.times.file)
    plan = make_plan(source, trains, row, motion, given)
    config = {key: value for key, value in plan.config.items() if key in HybridParams.model_fields}
    return source, trains, replace(plan, config=config | places, source=replace(plan.source, path=places["source"]))


def _measure(plan: Plan, source: RawSource, trains: Trains, hybrid: RawSource) -> Change:
    """What is drawn: waveforms before and after, and the 40 ms of the first segment with most hybrid spikes."""
    length = min(round(SNIPPET_MS * source.sampling_frequency_hz / 1000), source.counts[0])
    samples = plan.spikes["sample"][plan.of_segment(0)]
    edges = np.arange(0, source.counts[0] + length, length)
    first = int(edges[np.histogram(samples, edges)[0].argmax()])
    stop = min(first + length, source.counts[0])
    waveforms = measure_before_after(plan, source, trains, hybrid)
    return Change(*waveforms, source.read(0, first, stop), hybrid.read(0, first, stop), first)


if __name__ == "__main__":
    run_stage(main)

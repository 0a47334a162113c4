"""Put artificial neurons of known spike times into a real recording, and score sorters by them.

plan    choose units of a sorting, and where, when and how large copies of them will be; nothing is changed
apply   write a copy of the recording with them in it (or change the recording itself: --in-place)
remove  take them out again, bit for bit
score   compare a sorting of the hybrid recording with what was put in
export  write the truth as hybridfactory's files, NWB or a phy folder

TARGET is the folder of the plan. Options of a plan stand in a YAML file (docs/hybrid.md), or follow --set.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError, DataError
from ..core.files import atomic_folder, write_csv, write_json
from ._hybrid import apply_plan, make, open_hybrid, open_of, params_of, score_sorting, without_place
from ._values import parse_changes

FORMATS = ("hybridfactory", "nwb", "phy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the steps and their options."""
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    plan = steps.add_parser("plan", help="choose units, places and times")
    plan.add_argument("target", type=Path, nargs="?", help="folder for the plan (default: `target` of the file)")
    plan.add_argument("--config", type=Path, metavar="FILE.yaml", help="options")
    plan.add_argument("--source", help="recording: folder, file or glob")
    plan.add_argument("--sorting", help="its sorting, of any layout that `spikeprint add` reads")
    plan.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option, e.g. n_units=5 or relocate.mode=interpolate; docs/params.md lists them",
    )
    plan.add_argument("--force", action="store_true", help="replace the plan that is there")
    apply = steps.add_parser("apply", help="write the recording with the hybrid units")
    apply.add_argument("target", type=Path, help="folder of the plan")
    apply.add_argument("--source", help="the recording, where it is no longer where the plan found it")
    apply.add_argument("--in-place", action="store_true", help="change the recording itself; remove takes it back")
    apply.add_argument("--resume", action="store_true", help="go on with a run in place that was interrupted")
    apply.add_argument("--force", action="store_true", help="replace the files that are there")
    remove = steps.add_parser("remove", help="take the hybrid units out again")
    remove.add_argument("target", type=Path, help="folder of the plan")
    remove.add_argument("--out", type=Path, metavar="FOLDER", help="write the source anew there; the hybrid stays")
    remove.add_argument("--resume", action="store_true", help="also after a run in place that was interrupted")
    score = steps.add_parser("score", help="compare a sorting with the truth")
    score.add_argument("target", type=Path, help="folder of the plan")
    score.add_argument("sorting", type=Path, help="sorting of the hybrid recording, of any layout")
    score.add_argument(
        "--tolerance-ms", type=float, default=0.4, metavar="MS", help="spikes so near are one (default 0.4)"
    )
    score.add_argument("--out", type=Path, metavar="FOLDER", help="default: TARGET/score")
    export = steps.add_parser("export", help="write the truth in another layout")
    export.add_argument("target", type=Path, help="folder of the plan")
    export.add_argument("out", type=Path, help="folder, or .nwb file, to write")
    export.add_argument("--format", choices=FORMATS, required=True)
    for step in (plan, apply, remove, score, export):
        step.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Run one step and say what came of it."""
    told, lines = STEPS[arguments.step](arguments)
    print(json.dumps(told, indent=2, default=str) if arguments.json else "\n".join(lines))
    return 0


Told = tuple[dict[str, Any], list[str]]


def _plan(arguments: argparse.Namespace) -> Told:
    from ..core.hybrid_config import load_hybrid_params
    from ..io.hybrid.plans import PLAN_JSON, read_state, write_plan

    changes = parse_changes(arguments.set)
    changes |= {name: value for name in ("source", "sorting") if (value := getattr(arguments, name))}
    params = load_hybrid_params(arguments.config, changes)
    if arguments.target is None and params.target is None:
        raise ConfigError("no target: name the folder for the plan, or `target` in the file of options")
    folder = Path(arguments.target or params.target or "")
    if (folder / PLAN_JSON).exists() and not arguments.force:
        raise DataError(f"{folder}: holds a plan already; --force replaces it")
    if (stage := read_state(folder).stage) not in ("planned", "removed"):
        raise DataError(f"{folder}: its plan is {stage}; remove it first, a new plan could not undo it")
    params = without_place(params, folder)
    plan, _ = make(params)
    write_plan(folder, plan)
    told = {
        "target": str(folder),
        "n_units": len(plan.units),
        "n_spikes": len(plan.spikes),
        "units": [unit.source_unit for unit in plan.units],
        "dropped": plan.dropped,
        "notes": list(plan.notes),
    }
    lines = [f"wrote {folder}: a plan of {len(plan.units)} hybrid units, {len(plan.spikes):,} spikes"]
    lines += [
        f"  {unit.unit_id}: unit {unit.source_unit} to channel {unit.peak_channel}, {unit.amplitude_uv:.0f} µV, "
        f"SNR {unit.snr:.1f}, {unit.n_spikes:,} spikes"
        for unit in plan.units
    ]
    lines += [f"  left out, unit {unit}: {reason}" for unit, reason in plan.dropped.items()]
    return told, [*lines, *(f"  {note}" for note in plan.notes)]


def _apply(arguments: argparse.Namespace) -> Told:
    from ..hybrid.files import apply_in_place
    from ..io.hybrid.outputs import write_outputs
    from ..io.hybrid.plans import read_plan

    folder = arguments.target
    plan = read_plan(folder)
    source = open_of(plan, arguments.source)
    if arguments.resume and not arguments.in_place:
        raise ConfigError("--resume is for --in-place; a copy that was interrupted is written anew")
    if arguments.in_place:
        report = apply_in_place(plan, source, folder, arguments.resume)
        write_outputs(folder, plan, report.files, source)
    else:
        report = apply_plan(plan, source, folder, arguments.force)
    told = {"files": report.files, "n_spikes": report.n_spikes, "n_clipped": report.n_clipped}
    how = "changed" if arguments.in_place else "wrote"
    clipped = f", {report.n_clipped:,} samples clipped" if report.n_clipped else ""
    return told, [f"{how} {', '.join(map(str, report.files))}: {report.n_spikes:,} hybrid spikes{clipped}"]


def _remove(arguments: argparse.Namespace) -> Told:
    from ..core.compute import count_workers
    from ..hybrid.files import copy_without, remove
    from ..io.hybrid.plans import read_plan

    folder = arguments.target
    plan = read_plan(folder)
    hybrid = open_hybrid(plan, folder)
    if arguments.out is None:
        report = remove(plan, hybrid, folder, arguments.resume)
    else:
        arguments.out.mkdir(parents=True, exist_ok=True)
        targets = [arguments.out / segment.name for segment in plan.source.segments]
        report = copy_without(plan, hybrid, folder, targets, count_workers())
    files = ", ".join(map(str, report.files))
    checked = "all bytes" if all(segment.full for segment in plan.source.segments) else "parts"
    return {"files": report.files, "checked": checked}, [f"restored {files}: {checked} as in the source"]


def _score(arguments: argparse.Namespace) -> Told:
    from ..io.hybrid.plans import read_plan
    from ..report.hybrid import plot_score, save_figure

    if not 0 < arguments.tolerance_ms < 1000:
        raise ConfigError(f"--tolerance-ms {arguments.tolerance_ms:g}: a value above 0, in ms, is needed")
    plan = read_plan(arguments.target)
    score = score_sorting(plan, arguments.target, arguments.sorting, arguments.tolerance_ms)
    with atomic_folder(arguments.out or arguments.target / "score") as folder:
        write_csv(folder / "units.csv", score.units)
        score.confusion.to_csv(folder / "confusion.csv")
        write_csv(folder / "collisions.csv", score.lags)
        write_json(folder / "score.json", {**score.summary, "fits": score.fits})
        save_figure(plot_score(score.units, score.confusion, score.lags, score.fits), folder / "score.png")
    summary = score.summary
    lines = [
        f"{summary['n_assigned']} of {summary['n_hybrid']} hybrid units found in {summary['n_sorted']} sorted ones"
    ]
    lines += [
        f"  {row['unit_id']}: {'unit ' + row['sorted_unit'] if row['sorted_unit'] else 'not found'}, "
        f"accuracy {row['accuracy']:.3f}, recall {row['recall']:.3f}, SNR {row['snr']:.1f}"
        for row in score.units.to_dict("records")
    ]
    return {**summary, "fits": score.fits}, lines


def _export(arguments: argparse.Namespace) -> Told:
    from ..io.hybrid.exports import export_hybridfactory, export_nwb
    from ..io.hybrid.outputs import write_truth
    from ..io.hybrid.plans import read_plan, read_state
    from ..io.hybrid.sortings import read_trains

    plan, out = read_plan(arguments.target), arguments.out
    files = [path.absolute() for path in read_state(arguments.target).paths(arguments.target)]
    if out.exists():
        raise DataError(f"{out}: exists already; name a new one")
    if arguments.format == "nwb":
        export_nwb(out, plan)
    elif arguments.format == "phy":
        write_truth(out, plan, files)
    else:
        params = params_of(plan)
        trains = read_trains(Path(params.sorting or ""), open_of(plan), params.one_based)
        names = [path.name for path in files] or [segment.name for segment in plan.source.segments]
        export_hybridfactory(out, plan, trains, names)
    return {"out": out, "format": arguments.format}, [f"wrote {out} ({arguments.format})"]


STEPS: dict[str, Callable[[argparse.Namespace], Told]] = {
    "plan": _plan,
    "apply": _apply,
    "remove": _remove,
    "score": _score,
    "export": _export,
}
"""Step -> what it does; returns what is told as JSON and as lines."""

"""What the steps of ``hybrid`` share: a plan and its source by the target folder, a plan made, applied, scored."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ..core.hybrid_params import HybridParams
    from ..core.hybrid_plan import Plan
    from ..hybrid.files import Report
    from ..hybrid.score import Score
    from ..io.hybrid.source import RawSource


def make(params: "HybridParams", recording: Any = None) -> "tuple[Plan, RawSource]":
    """Open what ``params`` name and plan.

    Parameters
    ----------
    recording : opened before, instead of ``params.source``

    Raises
    ------
    ConfigError
        Source or sorting is not named.
    """
    from ..hybrid.make import make_plan
    from ..io.hybrid.motion import read_motion
    from ..io.hybrid.sortings import read_given_times, read_trains
    from ..io.hybrid.source import open_source

    for name in ("source", "sorting"):
        if getattr(params, name) is None:
            raise ConfigError(f"no {name}: name it by --{name}, or as `{name}` in the file of options")
    source = recording or open_source(params.source or "", params)
    trains = read_trains(Path(params.sorting or ""), source, params.one_based)
    motion = None if params.drift is None else read_motion(Path(params.drift.file))
    given = None if params.times.file is None else read_given_times(Path(params.times.file))
    return make_plan(source, trains, params, motion, given), source


def params_of(plan: "Plan", source: str | None = None) -> "HybridParams":
    """Return the options that a plan was made with; ``source`` instead of the recording it was made for."""
    from ..core.hybrid_params import HybridParams

    known = HybridParams.model_fields
    config = {name: value for name, value in plan.config.items() if name in known}
    return HybridParams.model_validate(config | ({} if source is None else {"source": source}))


def open_of(plan: "Plan", source: str | None = None) -> "RawSource":
    """Open the source of a plan."""
    from ..io.hybrid.source import open_source

    params = params_of(plan, source)
    return open_source(params.source or plan.source.path, params)


def open_hybrid(plan: "Plan", folder: Path) -> "RawSource":
    """Open the files that hold the hybrid units.

    Raises
    ------
    DataError
        The plan is not applied, or a file is missing.
    """
    from ..io.hybrid.plans import read_state
    from ..io.hybrid.source import reopen

    state = read_state(folder)
    if not state.files:
        raise DataError(f"{folder}: its plan is not applied; run `spikeprint hybrid apply {folder}`")
    return reopen(plan.source, state.paths(folder))


def apply_plan(plan: "Plan", source: "RawSource", folder: Path, force: bool = False) -> "Report":
    """Write the hybrid copy and what lies beside it.

    Raises
    ------
    DataError
        See ``hybrid.files.apply``.
    """
    from ..core.compute import count_workers
    from ..hybrid.files import apply
    from ..io.hybrid.outputs import name_hybrid, write_outputs

    names = [name_hybrid(name, source.format == "spikeglx") for name in source.names()]
    report = apply(plan, source, folder, names, n_threads=count_workers() if source.files else 1, force=force)
    write_outputs(folder, plan, report.files, source)
    return report


def score_sorting(plan: "Plan", folder: Path, sorting: Path, tolerance_ms: float) -> "Score":
    """Score a sorting of the hybrid recording.

    Raises
    ------
    DataError
        The sorting cannot be read, or is of another recording.
    """
    from dataclasses import replace

    from ..hybrid.score import score
    from ..hybrid.templates import compare_found
    from ..io.hybrid.sortings import read_trains

    hybrid = open_hybrid(plan, folder)
    trains = read_trains(sorting, hybrid)
    told = score(plan, trains, tolerance_ms)
    return replace(told, units=told.units.join(compare_found(plan, hybrid, trains, told.matching.assigned)))


def without_place(params: "HybridParams", folder: Path) -> "HybridParams":
    """Return the options with absolute paths, so that a plan can be applied from any folder."""

    def absolute(path: str) -> str:
        return os.path.abspath(path)

    source = params.source
    named = [absolute(part) for part in source] if isinstance(source, list) else source and absolute(source)
    changes: dict[str, Any] = {"source": named, "target": str(folder.absolute())}
    if params.sorting:
        changes["sorting"] = absolute(params.sorting)
    return params.model_copy(update=changes)

"""Plans over files: apply, remove. Enters: a plan, its source. Leaves: files with or without the hybrid units.

The files themselves are opened in ``io.hybrid``; here it is decided what is done to them, and in which order, so that a
kill at any moment leaves something that can be continued or undone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.hybrid_plan import Plan
from ..io.hybrid.fingerprint import check_source, hash_parts, hash_segment
from ..io.hybrid.journal import Mapped, close_journal, recover, run_in_place
from ..io.hybrid.ledger import append_to, write_ledger
from ..io.hybrid.plans import CLIPPED, KEPT, KeptFile, State, read_state, write_state
from ..io.hybrid.source import RawSource
from ..io.hybrid.stream import copy_changed
from .inject import LOST, NOTHING_LOST, Injector

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What ``apply`` or ``remove`` has done.

    Attributes
    ----------
    files : written or changed
    n_spikes, n_clipped : in them
    """

    files: tuple[Path, ...]
    n_spikes: int
    n_clipped: int


def apply(
    plan: Plan,
    source: RawSource,
    folder: Path,
    names: Sequence[str],
    block_rows: int | None = None,
    n_threads: int = 1,
    force: bool = False,
) -> Report:
    """Write a copy of the source with the hybrid units in it.

    Parameters
    ----------
    source : the traces of the plan, not touched
    folder : of the plan; gets the files and the state
    names : of the files, one per segment
    block_rows : samples per block; the result does not depend on it, nor on ``n_threads``
    force : replace files that are there

    Raises
    ------
    DataError
        Another source, files that exist, no space, or samples beyond the sample type under ``on_clip: error``; in all
        cases nothing is left behind.
    """
    state = read_state(folder)
    refuse_unfinished(folder, state)
    check_source(plan, source)
    targets = [folder / name for name in names]
    there = [path.name for path in targets if path.exists()]
    if there and not force:
        raise DataError(f"{folder}: holds {', '.join(there)} already; --force replaces it")
    if state.stage == "applied" and state.in_place:
        raise DataError(f"{folder}: its plan is applied in place to {', '.join(state.files)}; remove it first")
    injector = _make_injector(plan, source.dtype, folder, is_new=True)

    def change(block: np.ndarray, segment: int, first: int) -> np.ndarray:
        lost = injector.add(block, segment, first)
        if len(lost) and not _may_clip(plan):
            refuse_clip(plan, len(lost), lost, source.n_channels)
        return lost

    parts = copy_changed(source, targets, change, block_rows, n_threads)
    lost = np.concatenate([NOTHING_LOST, *(part for part in parts if len(part))])
    write_ledger(folder / CLIPPED, lost)
    write_state(folder, State("applied", tuple(names), False, len(lost)))
    return Report(tuple(targets), len(plan.spikes), len(lost))


def apply_in_place(plan: Plan, source: RawSource, folder: Path, resume: bool = False) -> Report:
    """Add the hybrid units to the source's own files.

    Parameters
    ----------
    folder : of the plan; gets the journal and the state
    resume : continue a run that was interrupted

    Raises
    ------
    DataError
        Another source, one that is no flat binary, samples beyond the sample type under ``on_clip: error`` (found
        before anything is changed), or an interrupted run and ``resume`` is not set.
    """
    _require_flat(source)
    state = read_state(folder)
    if state.stage in ("applying", "removing"):
        if not resume:
            refuse_unfinished(folder, state)
        return _go_in_place(
            plan, source, folder, replace(state, stage="applying"), _settle(plan, source, folder, state)
        )
    if state.stage == "applied":
        raise DataError(f"{folder}: its plan is applied already to {', '.join(state.files)}; remove it first")
    check_source(plan, source)
    if not _may_clip(plan) and source.dtype.kind in "iu":
        _check_clip(plan, source)
    _make_injector(plan, source.dtype, folder, is_new=True)
    write_ledger(folder / CLIPPED, NOTHING_LOST)
    close_journal(folder)
    files = tuple(str(path.absolute()) for path in source.files)
    return _go_in_place(plan, source, folder, State("applying", files, True), 0)


def remove(plan: Plan, hybrid: RawSource, folder: Path, resume: bool = False) -> Report:
    """Take the hybrid units out of the files they were put into, bit for bit, and check the result.

    Parameters
    ----------
    hybrid : the files of ``state.json``, opened
    resume : also go on with a run that was interrupted, whether it was adding or removing

    Raises
    ------
    DataError
        The plan is not applied, a run was interrupted and ``resume`` is not set, or the result is not the source: the
        files were changed by something else.
    """
    _require_flat(hybrid)
    state = read_state(folder)
    if state.stage in ("planned", "removed"):
        raise DataError(f"{folder}: its plan is {state.stage}, not applied; there is nothing to remove")
    if state.stage in ("applying", "removing") and not resume:
        refuse_unfinished(folder, state)
    done = len(plan.spikes) if state.stage == "applied" else _settle(plan, hybrid, folder, state)
    report = _go_in_place(plan, hybrid, folder, replace(state, stage="removing"), done)
    verify(plan, hybrid)
    return report


def copy_without(plan: Plan, hybrid: RawSource, folder: Path, targets: Sequence[Path], n_threads: int = 1) -> Report:
    """Write the source anew from the files with the hybrid units, which stay; the result is checked.

    Raises
    ------
    DataError
        As for ``remove``, or files that exist.
    """
    state = read_state(folder)
    refuse_unfinished(folder, state)
    if state.stage != "applied":
        raise DataError(f"{folder}: its plan is {state.stage}, not applied; there is nothing to remove")
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise DataError(f"{', '.join(there)}: there already; name another folder")
    injector = _make_injector(plan, hybrid.dtype, folder)
    ledger = read_ledger(folder)
    copy_changed(
        hybrid, targets, lambda block, segment, first: injector.remove(block, segment, first, ledger), None, n_threads
    )
    try:
        verify(plan, replace(hybrid, files=tuple(targets)))
    except DataError:
        for path in targets:
            path.unlink()
        raise
    return Report(tuple(targets), len(plan.spikes), 0)


def verify(plan: Plan, restored: RawSource) -> None:
    """Check that files are the source of the plan: all of their bytes, or parts where the plan knows no more.

    Raises
    ------
    DataError
        They are not.
    """
    for k, segment in enumerate(plan.source.segments):
        found, known = (hash_segment, segment.full) if segment.full else (hash_parts, segment.quick)
        if found(restored, k) != known:
            raise DataError(
                f"{restored.names()[k]}: without the hybrid units it is not {segment.name}, which the plan was made "
                "for: something else has changed it; copy the source again"
            )


def refuse_unfinished(folder: Path, state: State) -> None:
    """Raise DataError where a run in place was interrupted."""
    if state.stage in ("applying", "removing"):
        raise DataError(
            f"{folder}: {state.stage} in place was interrupted, {', '.join(state.files)} hold a part of the hybrid "
            "units; --resume goes on, `spikeprint hybrid remove --resume` takes them away"
        )


def read_ledger(folder: Path) -> np.ndarray:
    """(n_clipped,) of ``LOST``."""
    path = folder / CLIPPED
    return np.fromfile(path, LOST) if path.is_file() else np.empty(0, LOST)


def refuse_clip(plan: Plan, n_clipped: int, lost: np.ndarray, n_channels: int) -> None:
    """Raise DataError that names the first sample that would be clipped."""
    sample, channel = divmod(int(lost["index"][0]), n_channels)
    unit = plan.units[plan.spikes["unit"][lost["spike"][0]]].unit_id
    raise DataError(
        f"{plan.source.segments[int(lost['segment'][0])].name}: at least {n_clipped} samples leave the range of "
        f"{plan.source.dtype}, first sample {sample} of channel {channel} (unit {unit}); set on_clip: clip, "
        "which keeps what is lost, or make the units smaller (amplitude)"
    )


# In place ------------------------------------------------------------------------------------------------------------


def _go_in_place(plan: Plan, source: RawSource, folder: Path, state: State, done: int) -> Report:
    """Run from ``done`` spikes to all or none, and note it."""
    is_removal = state.stage == "removing"
    injector = _make_injector(plan, source.dtype, folder)
    ledger = read_ledger(folder)
    ledger = ledger[ledger["spike"] < done]
    write_ledger(folder / CLIPPED, ledger)
    write_state(folder, state)
    mapped = _map(plan, source)
    n_clipped = len(ledger)
    with append_to(folder / CLIPPED) as note:

        def change(block: np.ndarray, first: int, spikes: slice) -> None:
            nonlocal n_clipped
            segment = int(plan.spikes["segment"][spikes.start])
            if is_removal:
                injector.remove(block, segment, first, ledger, spikes)
                return
            lost = injector.add(block, segment, first, spikes)
            n_clipped += len(lost)
            note(lost)

        run_in_place(mapped, folder, injector, change, done, is_removal)
    final = replace(state, stage="removed" if is_removal else "applied", n_clipped=0 if is_removal else n_clipped)
    write_state(folder, final)
    close_journal(folder)
    return Report(tuple(state.paths(folder)), len(plan.spikes), final.n_clipped)


def _settle(plan: Plan, source: RawSource, folder: Path, state: State) -> int:
    """Undo the batch that was under way when a run was interrupted; return how many spikes are in the files."""
    injector = _make_injector(plan, source.dtype, folder)
    shape = (plan.n_samples, plan.channels.shape[1])
    done = recover(_map(plan, source), folder, injector, shape)
    if done is None:
        done = 0 if state.stage == "applying" else len(plan.spikes)
    LOGGER.info("%s was interrupted after %d of %d spikes", state.stage, done, len(plan.spikes))
    return done


def _map(plan: Plan, source: RawSource) -> Mapped:
    first = plan.spikes["sample"] - plan.before
    return Mapped(
        source.files,
        source.counts,
        source.dtype,
        source.n_channels,
        source.byte_offset,
        plan.spikes["segment"],
        first,
        first + plan.n_samples,
    )


def _check_clip(plan: Plan, source: RawSource) -> None:
    """Find out whether a sample would be clipped: by a bound, and where that is too near on copies of the rows."""
    injector = Injector(plan)
    mapped = _map(plan, source)
    for spikes in mapped.cut(0, len(plan.spikes)):
        segment = int(plan.spikes["segment"][spikes.start])
        block, start = mapped.open_rows(spikes, writable=False)
        if injector.surely_fits(block, start, spikes):
            continue
        stop = start + len(block)
        lost = injector.add(source.read(segment, start, stop), segment, start)
        if len(lost):
            refuse_clip(plan, len(lost), lost, source.n_channels)


def _require_flat(source: RawSource) -> None:
    if not source.files:
        raise DataError(f"{source.path}: {source.format} cannot be changed in place; apply makes a flat binary of it")


def _may_clip(plan: Plan) -> bool:
    return plan.config.get("on_clip") == "clip"


def _make_injector(plan: Plan, dtype: np.dtype, folder: Path, is_new: bool = False) -> Injector:
    """The injector; floating point traces need a file for what was there."""
    if dtype.kind != "f":
        return Injector(plan)
    kept = KeptFile(folder / KEPT, dtype, (len(plan.spikes), plan.n_samples, plan.channels.shape[1]))
    if is_new:
        kept.create()
    return Injector(plan, kept)

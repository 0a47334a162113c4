"""Plans on disk. Enters: a ``Plan``, or a folder. Leaves: ``plan.npz`` and ``plan.json``, or the plan.

A target folder also holds ``state.json`` (what has been done to which files), ``clipped.ledger`` (what saturation has
cut off) and, for floating point traces, ``kept.samples`` (the samples under the spikes as they were).
"""

import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.errors import DataError
from ...core.files import atomic_path, read_json, write_json
from ...core.hybrid_plan import SPIKE, VERSION, HybridUnit, Plan, SegmentInfo, SourceInfo

PLAN, PLAN_JSON, STATE = "plan.npz", "plan.json", "state.json"
CLIPPED, KEPT = "clipped.ledger", "kept.samples"
_ARRAYS = ("waveforms", "channels", "gains_uv", "positions_um", "shanks")
Stage = Literal["planned", "applying", "applied", "removing", "removed"]


@dataclass(frozen=True)
class State:
    """What has been done with a plan.

    Attributes
    ----------
    stage : applying and removing = a run in place was begun and not finished
    files : that hold the hybrid; relative to the folder where they lie in it
    in_place : the files are the source's own
    n_clipped : samples that were clipped
    """

    stage: Stage = "planned"
    files: tuple[str, ...] = ()
    in_place: bool = False
    n_clipped: int = 0

    def paths(self, folder: Path) -> list[Path]:
        """Return the files by their paths."""
        return [folder / name for name in self.files]


def write_plan(folder: Path, plan: Plan) -> None:
    """Write a plan; ``plan.json`` last, which is needed to read it."""
    arrays: dict[str, Any] = {name: plan.spikes[name] for name in SPIKE.names or ()}
    arrays |= {"waveforms": plan.waveforms, "channels": plan.channels}
    arrays |= {"gains_uv": plan.source.gains_uv, "positions_um": plan.source.positions_um, "shanks": plan.source.shanks}
    with atomic_path(folder / PLAN) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    source = {
        name: value for name, value in asdict(plan.source).items() if name not in ("gains_uv", "positions_um", "shanks")
    }
    write_json(
        folder / PLAN_JSON,
        {
            "version": VERSION,
            "seed": plan.seed,
            "before": plan.before,
            "drift_step_um": plan.drift_step_um,
            "source": source,
            "units": [asdict(unit) for unit in plan.units],
            "dropped": plan.dropped,
            "notes": list(plan.notes),
            "clipped": CLIPPED,
            "config": plan.config,
        },
    )


def read_plan(folder: Path) -> Plan:
    """Read a plan.

    Raises
    ------
    DataError
        It is missing, damaged or of another version.
    """
    if not (folder / PLAN_JSON).is_file():
        raise DataError(f"{folder}: no {PLAN_JSON}; the target folder of `spikeprint hybrid plan` is needed")
    content = read_json(folder / PLAN_JSON)
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{folder / PLAN_JSON}: version {found}, {VERSION} is needed; make the plan again")
    try:
        with np.load(folder / PLAN, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        spikes = np.zeros(len(arrays["sample"]), dtype=SPIKE)
        for name in SPIKE.names or ():
            spikes[name] = arrays[name]
        source = content["source"]
        segments = tuple(SegmentInfo(**segment) for segment in source.pop("segments"))
        of_source = {name: arrays[name] for name in _ARRAYS[2:]}
        units: list[dict[str, Any]] = [
            {k: np.nan if v is None else v for k, v in unit.items()} for unit in content["units"]
        ]
        return Plan(
            spikes=spikes,
            waveforms=arrays["waveforms"],
            channels=arrays["channels"],
            before=content["before"],
            units=tuple(HybridUnit(**unit) for unit in units),
            source=SourceInfo(**source, segments=segments, **of_source),
            config=content["config"],
            seed=content["seed"],
            dropped=content["dropped"],
            drift_step_um=content["drift_step_um"],
            notes=tuple(content["notes"]),
        )
    except FileNotFoundError:
        raise DataError(f"{folder / PLAN}: missing; make the plan again") from None
    except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder}: not a whole plan ({error}); make it again") from None


def write_state(folder: Path, state: State) -> None:
    """Note what has been done."""
    write_json(folder / STATE, asdict(state))


def read_state(folder: Path) -> State:
    """Return what has been done; ``planned`` where nothing is noted.

    Raises
    ------
    DataError
        The file is damaged.
    """
    if not (folder / STATE).is_file():
        return State()
    try:
        content = read_json(folder / STATE)
        return State(**(content | {"files": tuple(content["files"])}))
    except (TypeError, KeyError) as error:
        raise DataError(f"{folder / STATE}: damaged ({error}); apply the plan again from its source") from None


@dataclass(frozen=True)
class KeptFile:
    """Samples under the spikes, (n_spikes, n_samples, width), on disk; only the part in use is mapped."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, int, int]

    def create(self) -> None:
        """Make the file, full of zeros."""
        with self.path.open("wb") as file:
            file.truncate(int(np.prod(self.shape)) * self.dtype.itemsize)

    def __getitem__(self, spikes: slice) -> np.ndarray:
        """Map the samples of some spikes for reading and writing."""
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        shape = (spikes.stop - spikes.start, *self.shape[1:])
        return np.memmap(self.path, self.dtype, "r+", offset=spikes.start * size, shape=shape).view(np.ndarray)

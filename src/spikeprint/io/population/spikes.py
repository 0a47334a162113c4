"""The folder of a recorded session. Enters: a ``SpikeSession``. Leaves: arrays, CSVs and ``session.json``; and back."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ...core.errors import DataError
from ...core.files import atomic_folder, read_json, write_csv, write_json
from ...core.sessions import Series, SpikeSession
from ..readers.shared import one_line
from .hippocampus import read_hippocampus
from .nwb import read_nwb_session

TEXT = {"unit_id": str, "probe": str, "region": str, "quality": str}


def write_spikes(folder: Path, session: SpikeSession) -> None:
    """Write the folder of a session, whole or not at all."""
    with atomic_folder(folder) as temporary:
        np.save(temporary / "spike_times_s.npy", session.spike_times_s, allow_pickle=False)
        np.save(temporary / "offsets.npy", session.offsets, allow_pickle=False)
        write_csv(temporary / "units.csv", session.units)
        if session.presentations is not None:
            write_csv(temporary / "presentations.csv", session.presentations)
        write_csv(
            temporary / "invalid.csv",
            session.invalid.assign(tags=[json.dumps(list(t)) for t in session.invalid["tags"]]),
        )
        for name, series in session.series.items():
            np.savez(temporary / f"series_{name}.npz", times_s=series.times_s, values=series.values)
        periods = {name: series.period for name, series in session.series.items()}
        told = {"session_id": session.session_id, "t_start": session.t_start, "t_stop": session.t_stop}
        write_json(temporary / "session.json", {**told, "series": periods})


def read_spikes(folder: Path) -> SpikeSession:
    """Read what ``write_spikes`` wrote.

    Raises
    ------
    DataError
        A file is missing or damaged.
    """
    folder = Path(folder)
    card = read_json(folder / "session.json")
    try:
        times = np.load(folder / "spike_times_s.npy", allow_pickle=False)
        offsets = np.load(folder / "offsets.npy", allow_pickle=False)
        units = pd.read_csv(folder / "units.csv", dtype=TEXT)
        shown = folder / "presentations.csv"
        presentations = pd.read_csv(shown) if shown.is_file() else None
        invalid = pd.read_csv(folder / "invalid.csv")
        invalid = invalid.assign(tags=[json.loads(tags) for tags in invalid["tags"]])
        series = {name: _read_series(folder / f"series_{name}.npz", period) for name, period in card["series"].items()}
    except (OSError, ValueError, KeyError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{folder}: not a whole session folder ({one_line(error)})") from None
    span = (float(card["t_start"]), float(card["t_stop"]))
    return SpikeSession(card["session_id"], times, offsets, units, *span, presentations, invalid, series)


def _read_series(path: Path, period: float | None) -> Series:
    with np.load(path, allow_pickle=False) as archive:
        return Series(archive["times_s"], archive["values"], period)


READERS: dict[str, Callable[..., SpikeSession]] = {
    "spikes": lambda path, stimulus, labels: read_spikes(path),
    "hippocampus": lambda path, stimulus, labels: read_hippocampus(path),
    "nwb": lambda path, stimulus, labels: read_nwb_session(path, stimulus, labels),
}
"""Format of a row of ``population.sessions`` -> its reader."""

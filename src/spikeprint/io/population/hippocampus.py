"""A rat on a linear track. Enters: ``spikes.mat`` and a position file. Leaves: a ``SpikeSession`` of the run.

Spike times of clusters of tetrodes stand in structs, seconds in ``time``. The position file is a text header up to
``<End settings>``, then packed ``uint32 time`` at the clock rate of the header and four ``uint16``.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ...core.errors import DataError
from ...core.sessions import Series, SpikeSession
from ..readers.mats import read_mat

SPIKES, END = "spikes.mat", b"<End settings>\n"
POSITION = "*.videoPositionTracking"
RECORD = np.dtype([("time", "<u4"), ("x", "<u2"), ("y", "<u2"), ("x2", "<u2"), ("y2", "<u2")])
MOVING_PX = 5
"""The animal rests for good once it stays within so many pixels until the end."""


def read_hippocampus(folder: Path) -> SpikeSession:
    """Read the running part of the recording.

    Series: ``position`` (0 to 1 along the track, on the axis of largest variance) and ``direction`` (1 or -1, the sign
    of the smoothed speed).

    Raises
    ------
    DataError
        A file is missing or damaged.
    """
    folder = Path(folder)
    trains, names = _read_clusters(folder / SPIKES)
    times, xy = _read_position(folder)
    away = np.flatnonzero(np.abs(xy - xy[-1]).max(axis=1) > MOVING_PX)
    moving = slice(0, int(away[-1]) + 1 if len(away) else len(xy))
    times, xy = times[moving], xy[moving]
    position = _along_track(xy)
    speed = np.gradient(_smooth(position, times, 0.5), times)
    series = {
        "position": Series(times, position),
        "direction": Series(times, np.where(speed >= 0, 1, -1).astype(np.int64)),
        "speed": Series(times, np.abs(speed)),
    }
    t_start, t_stop = float(times[0]), float(times[-1])
    trains = [train[(train >= t_start) & (train < t_stop)] for train in trains]
    kept = [i for i, train in enumerate(trains) if len(train)]
    offsets = np.concatenate([[0], np.cumsum([len(trains[i]) for i in kept])])
    units = pd.DataFrame({"unit_id": [names[i] for i in kept], "probe": [names[i].split("c")[0] for i in kept]})
    spikes = np.concatenate([trains[i] for i in kept])
    return SpikeSession(folder.name, spikes, offsets, units, t_start, t_stop, series=series)


def _read_clusters(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Spike times of each cluster, seconds, and its name ``t<tetrode>c<cluster>``."""
    content = read_mat(path).get("spikes")
    while isinstance(content, list) and len(content) == 1:  # days and epochs around the tetrodes
        content = content[0]
    if not isinstance(content, list):
        raise DataError(f"{path}: no cell array 'spikes'; tetrodes with clusters are needed")
    trains, names = [], []
    for tetrode, clusters in enumerate(content):
        clusters = clusters if isinstance(clusters, list) else [clusters]
        for number, cluster in enumerate(clusters):
            if isinstance(cluster, dict) and np.size(cluster.get("time", ())):
                trains.append(np.sort(np.ravel(cluster["time"]).astype(float)))
                names.append(f"t{tetrode:02d}c{number:02d}")
    if not trains:
        raise DataError(f"{path}: no cluster with spike times")
    return trains, names


def _read_position(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,), seconds, and positions (n, 2), pixels; repeated times are dropped."""
    found = sorted(folder.glob(POSITION))
    if not found:
        raise DataError(f"{folder}: no {POSITION} file beside {SPIKES}")
    content = found[0].read_bytes()
    at = content.find(END)
    header = content[:at].decode("ascii", errors="replace") if at >= 0 else ""
    settings = dict(line.split(": ", 1) for line in header.splitlines() if ": " in line)
    if at < 0 or not settings.get("clockrate", "").strip().isdigit():
        raise DataError(f"{found[0]}: no header with 'clockrate' that ends with {END.decode().strip()}")
    body = content[at + len(END) :]
    rows = np.frombuffer(body[: len(body) // RECORD.itemsize * RECORD.itemsize], dtype=RECORD)
    if len(rows) < 2:
        raise DataError(f"{found[0]}: {len(rows)} positions; a trajectory is needed")
    times = rows["time"] / float(settings["clockrate"])
    fresh = np.concatenate([[True], np.diff(times) > 0])
    return times[fresh], np.stack([rows["x"], rows["y"]], axis=1)[fresh].astype(float)


def _along_track(xy: np.ndarray) -> np.ndarray:
    """Project on the axis of largest variance; 0 and 1 are the 0.5 and 99.5 percentiles, beyond is clipped."""
    centred = xy - np.median(xy, axis=0)
    axis = np.linalg.svd(centred - centred.mean(axis=0), full_matrices=False)[2][0]
    along = centred @ (axis if axis[np.argmax(np.abs(axis))] > 0 else -axis)
    low, high = np.percentile(along, [0.5, 99.5])
    return np.clip((along - low) / (high - low), 0, 1)


def _smooth(values: np.ndarray, times: np.ndarray, width_s: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(values, width_s / float(np.median(np.diff(times))))

"""Raw traces as blocks of stored samples. Enters: a recording of any layout. Leaves: a ``RawSource``.

Flat binaries (also those of SpikeGLX) are read and changed as files, sync channels included. Everything else comes
block by block through SpikeInterface and is written as a flat binary.
"""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ...core.config import RecordingParams
from ...core.errors import ConfigError, DataError
from ...core.hybrid_params import HybridParams
from ...core.hybrid_plan import SourceInfo
from ..sources import RECORDINGS
from ..traces.probes import find_probe, read_probe
from ..traces.recordings import LAYOUT_FILE, open_recording, read_layout
from ..traces.spikeglx import check_run, find_metas, read_positions
from ..traces.windows import BinaryLayout
from .neo_formats import NEO_FORMATS, find_neo, open_neo
from .probes import ProbeTable, make_probe, table_of

TRACES = (".bin", ".dat", ".raw")


@dataclass(frozen=True)
class RawSource:
    """Stored samples of one recording, read a block at a time.

    Attributes
    ----------
    path, format : where it is and its layout
    files : flat binaries, one a segment; empty where ``recording`` hands the samples on
    counts : samples per channel of each segment
    starts : sample of the sorter's clock at which each segment begins
    dtype : of the stored samples
    gains_uv : (n_channels,), NaN = not known
    probe : contacts by channel
    recording : spikeinterface BaseRecording, None for flat binaries
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    counts: tuple[int, ...]
    starts: tuple[int, ...]
    dtype: np.dtype
    n_channels: int
    sampling_frequency_hz: float
    byte_offset: int
    gains_uv: np.ndarray
    probe: ProbeTable
    recording: Any = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.n_channels * self.dtype.itemsize

    def read(self, segment: int, start: int, stop: int) -> np.ndarray:
        """(stop - start, n_channels) stored samples of a segment."""
        if self.recording is not None:
            return np.asarray(self.recording.get_traces(segment_index=segment, start_frame=start, end_frame=stop))
        offset = self.byte_offset + start * self.row_bytes
        flat = np.fromfile(self.files[segment], self.dtype, (stop - start) * self.n_channels, offset=offset)
        return flat.reshape(-1, self.n_channels)

    def names(self) -> list[str]:
        """Return the name of each segment's file, ``segment0.bin`` and so on where there is none."""
        return [path.name for path in self.files] or [f"segment{k}.bin" for k in range(len(self.counts))]


def open_source(given: str | list[str] | Path, params: HybridParams) -> RawSource:
    """Open the traces of a plan; only headers are read.

    Parameters
    ----------
    given : folder, file, glob or list of files
    params : ``dtype``, ``layout`` and ``stream``, where the files do not say

    Raises
    ------
    ConfigError
        Options are missing or do not fit.
    DataError
        Files are missing, empty, damaged or of no known layout, or there are no contact positions.
    """
    paths = _resolve(given)
    path = paths[0]
    if len(paths) > 1 or (path.is_file() and path.suffix in TRACES and not path.with_suffix(".meta").is_file()):
        return _open_files(paths, params)
    for name, traces in RECORDINGS.items():
        if traces.find(path):
            if name == "binary":
                return _open_folder(path, params)
            if name == "spikeglx":
                return _open_spikeglx(path, params)
            row = RecordingParams(format=name, stream=params.stream)  # type: ignore[arg-type]
            return from_recording(open_recording(path, row), path, name)
    for name in NEO_FORMATS:
        if find_neo(path, name):
            return from_recording(open_neo(path, name, params.stream), path, name)
    if path.is_dir() and (found := sorted(file for file in path.iterdir() if file.suffix in TRACES)):
        return _open_files(found, params)
    layouts = [f"{name}: {traces.description}" for name, traces in RECORDINGS.items()]
    layouts += [f"{name}: {spec.description}" for name, spec in NEO_FORMATS.items()]
    raise DataError(f"{path}: traces of no known layout; needed is {'; '.join(layouts)}; or *.bin, *.dat, *.raw files")


def from_recording(recording: Any, path: Path, format_: str = "spikeinterface") -> RawSource:
    """Return a SpikeInterface recording as a source."""
    counts = tuple(recording.get_num_samples(k) for k in range(recording.get_num_segments()))
    n_channels = recording.get_num_channels()
    gains = recording.get_channel_gains()
    if not recording.has_probe():
        raise DataError(f"{path}: no contact positions; add a probe file, probe.json of probeinterface")
    groups = recording.get_channel_groups()
    positions = np.asarray(recording.get_channel_locations(), dtype=np.float64)[:, :2]
    return RawSource(
        path=path,
        format=format_,
        files=(),
        counts=counts,
        starts=_follow(counts),
        dtype=np.dtype(recording.get_dtype()),
        n_channels=n_channels,
        sampling_frequency_hz=float(recording.get_sampling_frequency()),
        byte_offset=0,
        gains_uv=np.full(n_channels, np.nan) if gains is None else np.asarray(gains, dtype=np.float64),
        probe=ProbeTable(positions, np.unique(groups, return_inverse=True)[1].astype(np.int64)),
        recording=recording,
    )


def _resolve(given: str | list[str] | Path) -> list[Path]:
    """The files or the folder that were named; a glob gives its files by the numbers in their names."""
    words = [str(word) for word in given] if isinstance(given, list) else [str(given)]
    paths: list[Path] = []
    for word in words:
        is_pattern = any(sign in word for sign in "*?[") and not Path(word).exists()
        found = [Path(name) for name in glob.glob(word)] if is_pattern else [Path(word)]
        paths += sorted(found, key=_by_number)
    if not paths:
        raise DataError(f"{', '.join(words)}: no file fits; a recording is needed")
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: missing; a recording is needed")
    return paths


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Name with its numbers as numbers, so that t10 comes after t9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _open_files(paths: list[Path], params: HybridParams) -> RawSource:
    """Flat binaries, told by the options what they are."""
    layout = params.layout
    missing = [name for name in ("n_channels", "sampling_frequency_hz") if getattr(layout, name) is None]
    if missing:
        raise ConfigError(f"{paths[0]}: a flat binary; set {' and '.join(f'layout.{name}' for name in missing)}")
    binary = BinaryLayout(
        paths=tuple(paths),
        sampling_frequency_hz=layout.sampling_frequency_hz or 0.0,
        n_channels=layout.n_channels or 0,
        dtype=params.dtype,
        gain_uv=layout.gain_uv,
        byte_offset=layout.byte_offset,
    )
    given = layout.probe if layout.probe is not None else find_probe(paths[0].parent)
    if given is None:
        raise DataError(
            f"{paths[0].parent}: no probe file; add probe.json (probeinterface) or a Kilosort chanMap, or set "
            "layout.probe"
        )
    return _from_layout(paths[0], "binary", binary, make_probe(given, binary.n_channels), params)


def _open_folder(folder: Path, params: HybridParams) -> RawSource:
    """A folder with ``recording.json``."""
    binary = read_layout(folder)
    given = params.layout.probe if params.layout.probe is not None else find_probe(folder)
    if given is None:
        raise DataError(f"{folder}: no probe file beside {LAYOUT_FILE}; add probe.json, or set layout.probe")
    if isinstance(given, Path):
        probe = table_of(read_probe(given, binary.n_channels), binary.n_channels)
    else:
        probe = make_probe(given, binary.n_channels)
    return _from_layout(folder, "binary", binary, probe, params)


def _open_spikeglx(path: Path, params: HybridParams) -> RawSource:
    """The files of one stream of a SpikeGLX run, the saved sync channel included."""
    metas = find_metas(path if path.is_dir() else path.parent)
    runs = [check_run(meta) for meta in metas if meta.with_suffix(".bin").is_file()]
    runs = [run for run in runs if path.is_dir() or run.path.with_suffix("") == path.with_suffix("")]
    names = sorted({run.name for run in runs})
    preferred = params.stream or next((name for name in names if name.endswith("ap")), names[0])
    if preferred not in names:
        raise ConfigError(f"{path}: no stream '{preferred}'; there are: {', '.join(names)}")
    chosen = sorted((run for run in runs if run.name == preferred), key=lambda run: _by_number(run.path))
    head = chosen[0]
    binary = BinaryLayout(
        tuple(run.path.with_suffix(".bin") for run in chosen), head.sampling_frequency_hz, head.n_channels, "int16"
    )
    positions = np.full((head.n_channels, 2), np.nan)
    found = read_positions(head.path)
    if params.layout.probe is not None:
        probe = make_probe(params.layout.probe, head.n_channels)
    elif found is None or len(found) > head.n_channels:
        raise DataError(f"{head.path}: its probe is not known; set layout.probe")
    else:
        positions[: len(found)] = found
        # shanks lie farther apart than any constellation reaches, so their number is not needed
        probe = ProbeTable(positions, np.zeros(head.n_channels, dtype=np.int64))
    source = _from_layout(path, "spikeglx", binary, probe, params)
    gains = np.full(head.n_channels, np.nan)
    gains[: head.n_neural] = head.gains_uv
    return replace(source, gains_uv=gains)


def _from_layout(path: Path, format_: str, binary: BinaryLayout, probe: ProbeTable, params: HybridParams) -> RawSource:
    """A source of flat binaries."""
    counts = tuple(_count(binary))
    gain = np.nan if binary.gain_uv is None else binary.gain_uv
    return RawSource(
        path=path,
        format=format_,
        files=binary.paths,
        counts=counts,
        starts=_place(binary.paths, counts, params.layout.starts),
        dtype=np.dtype(binary.dtype).newbyteorder("<"),
        n_channels=binary.n_channels,
        sampling_frequency_hz=binary.sampling_frequency_hz,
        byte_offset=binary.byte_offset,
        gains_uv=np.full(binary.n_channels, gain),
        probe=probe,
    )


def _count(binary: BinaryLayout) -> list[int]:
    """Samples of each file; a size that does not fit is told with the numbers of channels that would."""
    try:
        return binary.count_samples()
    except DataError as error:
        size = np.dtype(binary.dtype).itemsize
        for path in binary.paths:
            n_bytes = path.stat().st_size - binary.byte_offset if path.is_file() else 0
            row = binary.n_channels * size
            if n_bytes > 0 and n_bytes % row:
                fits = [n for n in range(1, 1025) if n_bytes % (n * size) == 0]
                near = sorted(sorted(fits, key=lambda n: abs(n - binary.n_channels))[:8])
                raise DataError(f"{error}; channel counts that fit: {', '.join(map(str, near)) or 'none'}") from None
        raise


def _follow(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Starts of segments that follow one another without a gap."""
    return tuple(accumulate(counts[:-1], initial=0))


def _place(paths: tuple[Path, ...], counts: tuple[int, ...], starts: list[int] | None) -> tuple[int, ...]:
    """Starts as given, checked; else without gaps."""
    if starts is None:
        return _follow(counts)
    if len(starts) != len(counts):
        raise ConfigError(f"layout.starts: {len(starts)} values for {len(counts)} files; one per file is needed")
    for k in range(1, len(counts)):
        if starts[k] < starts[k - 1] + counts[k - 1]:
            raise ConfigError(
                f"layout.starts: {paths[k].name} begins at {starts[k]}, before {paths[k - 1].name} ends "
                f"({starts[k - 1] + counts[k - 1]}); files may not overlap"
            )
    return tuple(starts)


def reopen(info: SourceInfo, files: Sequence[Path]) -> RawSource:
    """Return the files that hold the hybrid units of a plan, flat binaries whatever its source was.

    Raises
    ------
    DataError
        A file is missing.
    """
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: missing; it held the hybrid units, apply the plan again")
    counts = tuple(segment.n_samples for segment in info.segments)
    return RawSource(
        path=files[0].parent,
        format="binary",
        files=tuple(files),
        counts=counts,
        starts=tuple(segment.start for segment in info.segments),
        dtype=np.dtype(info.dtype).newbyteorder("<"),
        n_channels=info.n_channels,
        sampling_frequency_hz=info.sampling_frequency_hz,
        byte_offset=info.byte_offset,
        gains_uv=info.gains_uv,
        probe=ProbeTable(info.positions_um, info.shanks),
    )

"""Raw recordings of every layout. Enters: a folder with traces. Leaves: a SpikeInterface recording with its probe.

Nothing is read but headers: SpikeInterface maps the traces and hands them on chunk by chunk.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...core.config import RecordingParams
from ...core.errors import ConfigError, DataError, suggest
from ...core.files import read_json
from ..csvs import require_names
from ..readers.safe import Parts, check_description, is_provenance, refuse_code
from .probes import find_probe, read_probe
from .spikeglx import SpikeGLXMeta, check_run, find_metas, read_meta
from .windows import BinaryLayout

LAYOUT_FILE = "recording.json"
_TRACES = (".bin", ".dat", ".raw")
_SAVED = ("si_folder.json", ".zattrs", "zarr.json")
"""Files that SpikeInterface leaves in a folder it saved."""
_NEEDED = ("sampling_frequency_hz", "n_channels", "dtype")
_CLASS = re.compile(r'"(?:class|module)"\s*:\s*"([^"]+)"')
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, IndexError)
"""What SpikeInterface and the libraries below it raise at files they cannot read."""


def find_binary(path: Path) -> list[Path]:
    """Return traces, layout and probe of a folder with ``recording.json`` and ``*.bin``, ``*.dat`` or ``*.raw``."""
    if not path.is_dir() or not (path / LAYOUT_FILE).is_file():
        return []
    traces, probe = _list_traces(path), find_probe(path)
    return [*traces, path / LAYOUT_FILE, *([probe] if probe else [])] if traces else []


def find_spikeglx(path: Path) -> list[Path]:
    """Return the ``.meta`` and ``.bin`` files of SpikeGLX runs below a folder, or of the run that a file belongs to."""
    metas = find_metas(path if path.is_dir() else path.parent)
    metas = [meta for meta in metas if path.is_dir() or meta.stem == path.stem]
    binaries = [binary for meta in metas if (binary := meta.with_suffix(".bin")).is_file()]
    return [*metas, *binaries] if binaries else []


def find_saved(path: Path) -> list[Path]:
    """Return the files of a recording that SpikeInterface saved: a folder, a zarr, or a .json that describes one."""
    if path.is_file():
        return [path, *_list_described(path)] if path.suffix == ".json" and _describes_recording(path) else []
    if not path.is_dir():
        return []
    root = _find_saved_root(path)
    return sorted(file for file in path.rglob("*") if file.is_file()) if root else []


def open_recording(folder: Path, row: RecordingParams) -> Any:
    """Open a raw recording.

    Parameters
    ----------
    folder : the traces and what belongs to them; also a file of SpikeGLX or NWB, or a .json of SpikeInterface
    row : its row of ``recordings``: layout and stream

    Returns
    -------
    spikeinterface BaseRecording, traces as stored (gains and offsets known where the source tells them), with probe

    Raises
    ------
    ConfigError
        The recording has several streams and none is chosen, or the chosen one is not among them.
    DataError
        Files are missing, damaged, contradict each other, or would run code when opened, or there is no probe.
    """
    if not folder.exists():
        raise DataError(f"{folder}: missing; a folder with a recording is needed")
    recording = _OPEN[row.format](folder, row)
    if not recording.has_probe():
        raise DataError(f"{folder}: no contact positions; add a probe file, probe.json of probeinterface")
    return recording


def read_layout(folder: Path) -> BinaryLayout:
    """Read ``recording.json`` of a folder with flat binaries.

    Raises
    ------
    DataError
        It is missing, lacks a key, has a value that cannot be, or there are no traces beside it.
    """
    path = folder / LAYOUT_FILE
    content = read_json(path)
    require_names(path, content if isinstance(content, dict) else (), _NEEDED)
    traces = _list_traces(folder)
    if not traces:
        raise DataError(f"{folder}: no traces; a file *.bin, *.dat or *.raw is needed beside {LAYOUT_FILE}")
    gain = content.get("gain_uv")
    try:
        layout = BinaryLayout(
            paths=tuple(traces),
            sampling_frequency_hz=float(content["sampling_frequency_hz"]),
            n_channels=int(content["n_channels"]),
            dtype=str(content["dtype"]),
            gain_uv=None if gain is None else float(gain),
            offset_uv=float(content.get("offset_uv") or 0.0),
            byte_offset=int(content.get("byte_offset", 0)),
            is_filtered=content.get("is_filtered", False) is True,
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {', '.join(_NEEDED[:2])}, gain_uv, offset_uv must be numbers ({error})") from None
    except DataError as error:
        raise DataError(f"{path}: {str(error).partition(': ')[2]}") from None
    if gain is not None and not float(gain) > 0:
        raise DataError(f"{path}: gain_uv = {gain}; µV per bit above 0, or null where it is not known")
    return layout


def _open_binary(folder: Path, row: RecordingParams) -> Any:
    """Flat binaries, each file a segment."""
    from spikeinterface.core import BinaryRecordingExtractor

    layout = read_layout(folder)
    layout.count_samples()
    probe_file = find_probe(folder)
    if probe_file is None:
        raise DataError(f"{folder}: no probe file; probe.json (probeinterface) or a Kilosort chanMap is needed")
    probes = read_probe(probe_file, layout.n_channels)
    recording = BinaryRecordingExtractor(
        [str(path) for path in layout.paths],
        sampling_frequency=layout.sampling_frequency_hz,
        dtype=layout.dtype,
        num_channels=layout.n_channels,
        file_offset=layout.byte_offset,
        gain_to_uV=layout.gain_uv,
        offset_to_uV=None if layout.gain_uv is None else layout.offset_uv,
        is_filtered=layout.is_filtered,
    )
    # channels without a contact (sync, disconnected) are left behind
    return recording.select_channels_with_probegroup(probes)


def _open_spikeglx(folder: Path, row: RecordingParams) -> Any:
    """One stream of a SpikeGLX run; default the first ap stream."""
    from spikeinterface.extractors import read_spikeglx

    path, folder = folder, folder.parent if folder.is_file() else folder
    metas = [read_meta(meta) for meta in find_metas(folder)]
    if path != folder:
        metas = _pick_run(path, metas)
    if not metas:
        raise DataError(f"{folder}: no SpikeGLX .meta file (run_g0_t0.imec0.ap.meta); it stands beside the .bin")
    names = sorted({meta.name for meta in metas})
    chosen = _choose(folder, row.stream, names, [name for name in names if name.endswith("ap")])
    for meta in metas:
        if meta.name == chosen:
            check_run(meta.path)
    return _call(folder, read_spikeglx, str(folder), stream_id=chosen)


def _pick_run(path: Path, metas: list[SpikeGLXMeta]) -> list[SpikeGLXMeta]:
    """The meta that a .bin or .meta belongs to."""
    found = [meta for meta in metas if meta.path.with_suffix("") == path.with_suffix("")]
    same = [meta for meta in metas if found and meta.name == found[0].name]
    if len(same) > 1:
        raise DataError(
            f"{path}: {len(same)} runs of stream {same[0].name} lie in its folder; move this one to a folder of its own"
        )
    return found


def _open_nwb(folder: Path, row: RecordingParams) -> Any:
    """The raw ElectricalSeries of an NWB file, default the only one under acquisition; conversion and offset known."""
    from spikeinterface.extractors import read_nwb_recording

    files = [folder] if folder.is_file() else sorted(folder.rglob("*.nwb"))
    if len(files) != 1:
        found = ", ".join(path.name for path in files[:5]) or "none"
        raise DataError(f"{folder}: {len(files)} .nwb files ({found}); one recording is one file")
    series = _call(files[0], read_nwb_recording.fetch_available_electrical_series_paths, str(files[0]))
    if not series:
        raise DataError(f"{files[0]}: no ElectricalSeries; raw traces are needed (acquisition/ElectricalSeries)")
    acquired = [name for name in series if name.startswith("acquisition/")]
    chosen = _choose(files[0], row.stream, series, acquired if len(acquired) == 1 else [])
    return _call(files[0], read_nwb_recording, str(files[0]), electrical_series_path=chosen)


def _open_saved(folder: Path, row: RecordingParams) -> Any:
    """What SpikeInterface saved; a pickle would run code and is refused."""
    from spikeinterface.core import BinaryFolderRecording, load
    from spikeinterface.core.zarrextractors import read_zarr_recording

    root = _find_saved_root(folder)
    if root is None:
        pickles = sorted([*folder.rglob("*.pkl"), *folder.rglob("*.pickle")])
        hint = (
            f"; {pickles[0].name} is a pickle, which runs code when opened: save as folder, zarr or json"
            if pickles
            else ""
        )
        raise DataError(f"{folder}: no recording saved by SpikeInterface (recording.save(folder=...)){hint}")
    if root.is_file():
        check_description(root)
        return _call(root, load, root, base_folder=True)
    refuse_code(root, _is_unopened)
    if _is_zarr(root):
        return _call(root, read_zarr_recording, root)
    if (root / "binary.json").is_file():
        check_description(root / "binary.json")
    # not `load`, which would look for other kinds of objects in the folder and open their pickles
    return _call(root, BinaryFolderRecording, root)


_OPEN: dict[str, Callable[[Path, RecordingParams], Any]] = {
    "binary": _open_binary,
    "spikeglx": _open_spikeglx,
    "nwb": _open_nwb,
    "spikeinterface": _open_saved,
}
"""``RecordingParams.format`` -> how a folder is opened."""


def _choose(path: Path, wanted: str | None, streams: Sequence[str], preferred: Sequence[str]) -> str:
    """The stream asked for, else the first preferred one, else the only one."""
    if wanted is not None and wanted not in streams:
        hint = suggest(wanted, streams)
        raise ConfigError(f"{path}: no stream '{wanted}'{hint}; there are: {', '.join(streams)}")
    if wanted is not None:
        return wanted
    if preferred:
        return preferred[0]
    if len(streams) == 1:
        return streams[0]
    raise ConfigError(f"{path}: {len(streams)} streams; set `stream` to one of {', '.join(streams)}")


def _call(path: Path, read: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """Call a reader; what it says of a file it cannot read becomes one line."""
    try:
        return read(*values, **options)
    except _UNREADABLE as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not readable as a recording ({said}); copy or save it again") from None


def _list_traces(folder: Path) -> list[Path]:
    """Files with traces, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.suffix in _TRACES and path.is_file())


def _find_saved_root(path: Path) -> Path | None:
    """The folder or .json that ``spikeinterface.load`` takes: the path itself, or one level below it."""
    if path.is_file():
        return path
    for folder in (path, *sorted(sub for sub in path.iterdir() if sub.is_dir())):
        if any((folder / name).is_file() for name in _SAVED) and _holds_recording(folder):
            return folder
    return next((file for file in sorted(path.glob("*.json")) if _describes_recording(file)), None)


def _is_zarr(folder: Path) -> bool:
    """Whether a folder is the root of a zarr, whatever its name."""
    return (folder / ".zattrs").is_file() or (folder / "zarr.json").is_file()


def _holds_recording(folder: Path) -> bool:
    """Whether a folder saved by SpikeInterface holds traces rather than a sorting or an analyzer."""
    if _is_zarr(folder):
        return (folder / "channel_ids").is_dir() and not (folder / "unit_ids").exists()
    return any(folder.glob("traces_cached_seg*")) or (folder / "binary.json").is_file()


def _describes_recording(path: Path) -> bool:
    """Whether a .json is SpikeInterface's description of a recording; its first bytes tell."""
    try:
        head = path.read_bytes()[:4096].decode("utf-8", errors="replace")
    except OSError:
        return False
    return any("Recording" in name for name in _CLASS.findall(head))


def _list_described(path: Path) -> list[Path]:
    """The files that a description refers to; none where it cannot be opened, which opening it will tell."""
    try:
        targets = check_description(path)
    except DataError:
        return []
    return sorted({file for target in targets for file in (target, *target.rglob("*")) if file.is_file()})


def _is_unopened(parts: Parts) -> bool:
    """Whether a file of a saved recording's folder is not the recording's: a sorting, or where it came from."""
    return parts[0] in ("sorting", "phy") or is_provenance(parts)

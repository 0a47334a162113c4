"""Further layouts that SpikeInterface reads. Enters: a folder or file. Leaves: a SpikeInterface recording."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, DataError

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, IndexError)


@dataclass(frozen=True)
class NeoFormat:
    """A layout: names of its files, the reader of ``spikeinterface.extractors``, whether that wants the folder."""

    description: str
    patterns: tuple[str, ...]
    reader: str
    takes_folder: bool


NEO_FORMATS: dict[str, NeoFormat] = {
    "openephys": NeoFormat("Open Ephys binary (structure.oebin)", ("structure.oebin",), "read_openephys", True),
    "intan": NeoFormat("Intan (*.rhd, *.rhs)", ("*.rhd", "*.rhs"), "read_intan", False),
    "blackrock": NeoFormat("Blackrock (*.ns5, *.ns6)", ("*.ns5", "*.ns6"), "read_blackrock", False),
}


def find_neo(path: Path, name: str) -> list[Path]:
    """Return the files by which a layout is recognised."""
    patterns = NEO_FORMATS[name].patterns
    if path.is_file():
        return [path] if any(path.match(pattern) for pattern in patterns) else []
    return sorted(file for pattern in patterns for file in path.rglob(pattern))


def open_neo(path: Path, name: str, stream: str | None) -> Any:
    """Open a recording.

    Raises
    ------
    ConfigError
        There are several streams and none is chosen.
    DataError
        It cannot be read.
    """
    import spikeinterface.extractors as extractors

    spec = NEO_FORMATS[name]
    read: Callable[..., Any] = getattr(extractors, spec.reader)
    where = path if spec.takes_folder and path.is_dir() else find_neo(path, name)[0]
    if spec.takes_folder and where.is_file():
        where = where.parent
    try:
        return _attach_probe(read(str(where), **({} if stream is None else {"stream_name": stream})), path)
    except ConfigError:
        raise
    except _UNREADABLE as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "stream" in said:
            raise ConfigError(f"{path}: set `stream`: {said}") from None
        raise DataError(f"{path}: not readable as {name} ({said}); copy it again") from None


def _attach_probe(recording: Any, path: Path) -> Any:
    """The recording with the probe file beside it, where it brings none."""
    from ..traces.probes import find_probe, read_probe

    folder = path if path.is_dir() else path.parent
    if recording.has_probe() or (file := find_probe(folder)) is None:
        return recording
    return recording.select_channels_with_probegroup(read_probe(file, recording.get_num_channels()))

"""Every layout in which units or traces arrive, as two tables. Enters: a file or folder. Leaves: what it is, its units.

A reader takes (path, sampling frequency in Hz where the files do not say, label column) and imports its library when it
is called, so that a folder of CSVs never waits for SpikeInterface.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import ConfigError, suggest
from ..core.types import Sorting, SourceTable
from .datasets import find_csv, read_source_table
from .readers.acqm import find_acqm, read_acqm
from .readers.alf import find_alf, read_alf
from .readers.analyzer import find_analyzer, read_analyzer
from .readers.cellexplorer import find_cellexplorer, read_cellexplorer
from .readers.matlab_sorters import find_jrclust, find_rez, read_jrclust, read_rez
from .readers.nwb import find_nwb, find_nwb_traces, read_nwb
from .readers.phy import find_phy, places_phy, read_phy
from .readers.trains import find_arrays, read_arrays_source
from .traces.recordings import find_binary, find_saved, find_spikeglx

Find = Callable[[Path], list[Path]]
"""Path -> the files that belong to the dataset; none when the path is not of this layout. Foreign files never raise."""
Units = list[Sorting] | SourceTable


Places = dict[Path, list[Path]]
"""File -> its places in the dataset's folder; more than one where several sessions share it."""


@dataclass(frozen=True)
class Source:
    """A layout that holds units: how it is recognised, how it is read, and where its files go where not as they lie."""

    description: str
    find: Find
    read: Callable[[Path, float | None, str | None], Units]
    place: Callable[[Path], Places] | None = None


@dataclass(frozen=True)
class Traces:
    """A layout that holds traces; ``io.recordings.open_recording`` reads it."""

    description: str
    find: Find


SOURCES: dict[str, Source] = {
    "phy": Source("Kilosort or phy folder (spike_times.npy, spike_clusters.npy)", find_phy, read_phy, places_phy),
    "spikeinterface": Source("SortingAnalyzer, folder or zarr", find_analyzer, read_analyzer),
    "alf": Source("IBL/ALF folder (spikes.times, spikes.clusters)", find_alf, read_alf),
    "nwb": Source("NWB files with a units table", find_nwb, read_nwb),
    "acqm": Source("ACQM zip files (qm.npz)", find_acqm, read_acqm),
    "cellexplorer": Source("*.cell_metrics.cellinfo.mat files, v5 or v7.3", find_cellexplorer, read_cellexplorer),
    "rez": Source("Kilosort's rez.mat", find_rez, read_rez),
    "jrclust": Source("JRCLUST's *_jrc.mat or *_res.mat", find_jrclust, read_jrclust),
    "arrays": Source("spike trains as NumPy or MATLAB arrays", find_arrays, read_arrays_source),
    "csv": Source("folder with waveforms.csv and isi_dist.csv", find_csv, lambda p, _, c: read_source_table(p, c)),
}
"""Format -> source, in the order in which ``auto`` asks."""

RECORDINGS: dict[str, Traces] = {
    "spikeglx": Traces("SpikeGLX run (.ap.bin and .ap.meta)", find_spikeglx),
    "nwb": Traces("NWB file with a raw ElectricalSeries", find_nwb_traces),
    "spikeinterface": Traces("recording saved by SpikeInterface", find_saved),
    "binary": Traces("raw binary with recording.json and a probe file", find_binary),
}
"""Format -> traces; asked after ``SOURCES``, a file with both is read for its units."""

FORMATS = ("auto", *dict.fromkeys([*SOURCES, *RECORDINGS]))
"""What ``--from`` takes."""


@dataclass(frozen=True)
class Found:
    """What lies at a path: its format, whether it holds traces rather than units, and the files that belong to it."""

    path: Path
    format: str
    is_recording: bool
    places: Places


def identify(path: Path, wanted: str = "auto", as_recording: bool = False) -> Found:
    """Tell of which layout a file or folder is.

    Parameters
    ----------
    path : file or folder
    wanted : one of ``FORMATS``; auto = the first that fits
    as_recording : take the traces of a source that holds units too

    Raises
    ------
    ConfigError
        There is no such path or format, or the path is not of this layout, or of none.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; a dataset or a recording is needed")
    if wanted not in FORMATS:
        raise ConfigError(f"--from '{wanted}'{suggest(wanted, FORMATS)}; known: {', '.join(FORMATS)}")
    asked = [(name, traces.find, True) for name, traces in RECORDINGS.items()]
    if not as_recording:
        asked = [*((name, source.find, False) for name, source in SOURCES.items()), *asked]
    for name, find, is_recording in asked:
        if wanted in ("auto", name) and (files := find(path)):
            place = None if is_recording else SOURCES[name].place
            return Found(path, name, is_recording, place(path) if place else keep_places(path, files))
    entries = [(name, traces.description) for name, traces in RECORDINGS.items()]
    if not as_recording:
        entries = [*((name, source.description) for name, source in SOURCES.items()), *entries]
    layouts = "; ".join(f"{name}: {text}" for name, text in entries if wanted in ("auto", name))
    what = "of no known layout" if wanted == "auto" else f"not of layout '{wanted}'"
    raise ConfigError(f"{path}: {what}{' that holds traces' if as_recording else ''}; needed is {layouts}")


def keep_places(path: Path, files: Iterable[Path]) -> Places:
    """Return where files go that keep their place below the folder ``path``; others go to the top."""
    is_folder = path.is_dir()
    return {f: [f.relative_to(path) if is_folder and f.is_relative_to(path) else Path(f.name)] for f in files}


def read_units(path: Path, format_: str, sampling_frequency_hz: float | None, label_column: str | None) -> Units:
    """Read the units of a source.

    Returns
    -------
    One ``Sorting`` per session, or a ``SourceTable`` for a folder of CSVs

    Raises
    ------
    DataError, ConfigError
        Files or a label column that cannot be used.
    """
    return SOURCES[format_].read(path, sampling_frequency_hz, label_column)

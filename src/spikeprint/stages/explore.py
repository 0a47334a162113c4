"""Stage ``explore@recording``: what ``localize`` wrote, and the traces -> a page to look around in, and figures."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from ..core.config import Params
from ..core.files import atomic_folder, find_root, read_json, write_text
from ..core.localize_params import LocalizerName
from ..core.runtime import timed
from ..core.spikes import AXES, GroundTruth, Peaks, Source
from ..core.types import Sorting
from ..io.arrays import read_sorting
from ..io.positions import read_positions
from ..io.traces.components import open_components
from ..io.traces.recordings import open_recording
from ..io.traces.truth import find_truth, read_truth
from ..localize.geometry import find_neighbourhoods
from ..localize.localizers import LOCALIZERS, MONOPOLE_CONTACTS, localise
from ..localize.score import match_peaks
from ..localizer import Localised, SpikeLocalizer
from ..report.explorer import N_SHOWN, Snippets, SpikeView, choose_rows, make_payload, render
from ..report.localized import Located, draw_figures, make_film
from ..report.movie import can_write_movies
from . import pick_row, require_recording, run_stage

LOGGER = logging.getLogger(__name__)
MAX_SECONDS = 120
"""Seconds of the recording that spikes with waveforms come from."""
SHOWN_SCORES = ("median_um", "drift_mae_um", "rho_soft4")
BASELINE: LocalizerName = "monopole"
INSTEAD: LocalizerName = "center_of_mass"
"""What a method is drawn beside; the second where it is the first."""
DPI = 110


def main(argv: list[str]) -> None:
    """Write ``reports/explorer/<recording>.html`` and ``reports/localization/<recording>/*.png``.

    Raises
    ------
    ConfigError
        No such row under ``localized``, or none under ``recordings``.
    DataError
        The recording is not the one that was localised.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.localized, "localized")
    require_recording(name, params.recordings, f"localized.{name}")
    folder, interim, reports = root / "data" / "raw" / name, root / "data" / "interim", root / "reports"
    peaks, positions, corrected, motions, card = read_positions(interim / "positions" / name)
    localizer = SpikeLocalizer.load(root / "models" / "localizer" / name)
    with timed(f"explore {name}"):
        source = localizer.open(open_recording(folder, params.recordings[name]), peaks)
        kept = open_components(interim / "snippets" / name).join(source)
        found = Localised(kept, positions, motions, corrected)
        truth = read_truth(folder) if find_truth(folder) else None
        scores = read_json(reports / "metrics" / "localize" / f"{name}.json")
        about = {key: float(scores[key]) for key in SHOWN_SCORES if key in scores}
        view = SpikeView(
            title=name,
            method=str(card["method"]),
            contacts_um=source.contacts_um,
            peaks=peaks,
            positions=positions,
            corrected=corrected,
            motions=motions,
            snippets=cut_snippets(source, kept, localizer, params.seed),
            units=match_units(read_sorting(interim / "localized" / name), peaks, source.contacts_um),
            truth_um=None if truth is None else match_peaks(peaks, source.contacts_um, truth).xyz_um,
            about=about,
        )
        page = render(make_payload(view, seed=params.seed))
        write_text(reports / "explorer" / f"{name}.html", page)
        _write_figures(reports / "localization" / name, found, localizer, truth)
    LOGGER.info("  wrote reports/explorer/%s.html, %.1f MB", name, len(page.encode()) / 1e6)


def cut_snippets(source: Source, kept: Source, localizer: SpikeLocalizer, seed: int) -> Snippets:
    """Read the waveforms of some spikes, and what is kept of them; ask every localiser that can where they are."""
    rows = choose_shown(source.peaks, seed)
    some = replace(kept, peaks=source.peaks.take(rows))
    around = find_neighbourhoods(source.contacts_um, MONOPOLE_CONTACTS)
    raw, smooth = (np.concatenate([part for _, part in one.read(around, some.peaks)]) for one in (source, kept))
    kind = None if localizer.fitted_ is None else localizer.fitted_.config["kind"]
    able = [name for name in get_args(LocalizerName) if not LOCALIZERS[name].is_trained or name == kind]
    estimates = {name: localise(name, some, localizer.fitted_).xyz_um for name in able}
    channels = around.channels[some.peaks.channels]
    return Snippets(rows, channels, raw, smooth, source.n_before, estimates)


def choose_shown(peaks: Peaks, seed: int) -> np.ndarray:
    """Return rows of the spikes that get waveforms, rising; of few seconds: a long recording is read in part."""
    seconds = peaks.times_s.astype(np.int64)
    there = np.unique(seconds)
    inside = np.flatnonzero(np.isin(seconds, there[choose_rows(len(there), MAX_SECONDS, seed)]))
    return inside[choose_rows(len(inside), N_SHOWN, seed)]


def match_units(sorting: Sorting, peaks: Peaks, contacts_um: np.ndarray) -> np.ndarray:
    """Return the sorted unit of each peak, -1 = none: (n,) int64; units that have no place take none."""
    samples = np.rint(np.asarray(sorting.spike_times) / sorting.time_rate_hz * peaks.fs_hz).astype(np.int64)
    order = np.argsort(samples, kind="stable")
    units = np.repeat(np.arange(len(sorting.unit_ids)), sorting.n_spikes)
    places = np.column_stack([np.asarray(sorting.extra[f"{axis}_um"], dtype=np.float64) for axis in AXES])
    still = np.zeros((1, len(places), 2))
    return match_peaks(peaks, contacts_um, GroundTruth(samples[order], units[order], places, still, 1.0)).units


def _write_figures(folder: Path, found: Localised, localizer: SpikeLocalizer, truth: GroundTruth | None) -> None:
    """The method beside a simple one with a motion of its own."""
    method = localizer.params.method
    other = BASELINE if method != BASELINE else INSTEAD
    params = localizer.params.model_copy(update={"method": other})
    baseline = SpikeLocalizer(params, localizer.spikes, localizer.seed).transform_source(found.source)
    methods: dict[str, Located] = {
        name: Located(one.positions, one.corrected, one.motions) for name, one in ((other, baseline), (method, found))
    }
    figures = draw_figures(found.peaks, found.source.contacts_um, methods, localizer.curves_, truth)
    with atomic_folder(folder) as temporary:
        for name, figure in figures.items():
            figure.savefig(temporary / f"{name}.png", dpi=DPI, metadata={"Software": None})
        if can_write_movies():
            make_film(found.peaks, found.source.contacts_um, methods[method]).write(temporary / "movie.mp4")
        else:
            LOGGER.info("  no ffmpeg on this machine: no movie")


if __name__ == "__main__":
    run_stage(main)

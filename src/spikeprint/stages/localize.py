"""Stage ``localize@recording``: snippets, units, traces -> positions of spikes and units, motion, localiser, scores."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import find_root, write_csv, write_json
from ..core.resume import find_store, forget
from ..core.runtime import timed
from ..core.spikes import AXES
from ..io.arrays import read_sorting, write_sorting
from ..io.positions import write_positions
from ..io.traces.components import open_components
from ..io.traces.recordings import open_recording
from ..io.traces.truth import find_truth, read_truth
from ..localize.held_out import score_held_out
from ..localize.localizers import localise
from ..localize.units import locate_units
from ..localizer import Localised, SpikeLocalizer
from . import pick_row, require_recording, run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Localise the spikes and units of the recording named by the only word of ``argv``.

    Raises
    ------
    ConfigError
        No such row under ``localized``, or none under ``recordings``.
    DataError
        The recording cannot be read, or its spikes cannot be localised.

    A training that was killed goes on after its last whole epoch.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.localized, "localized")
    require_recording(name, params.recordings, f"localized.{name}")
    folder = root / "data" / "raw" / name
    store = find_store(root, f"localize-{name}")
    localizer = SpikeLocalizer(params.localize, params.spikes, params.seed)
    with timed(f"localize {name}"):
        kept = open_components(root / "data" / "interim" / "snippets" / name)
        source = kept.join(localizer.open(open_recording(folder, params.recordings[name]), kept.peaks))
        found = localizer.fit_source(source, store).transform_source(source)
        scores: dict[str, Any] = found.score(read_truth(folder) if find_truth(folder) else None)
        if params.localize.method == "production" and localizer.fitted_ is not None:
            scores |= score_held_out(found.source, localizer.fitted_, params.seed)
        _write(root, name, localizer, found, scores)
    forget(store)
    said = {key: round(scores[key], 2) for key in ("median_um", "drift_mae_um", "rho_soft4") if key in scores}
    LOGGER.info("  %d spikes by %s: %s", len(found.peaks), params.localize.method, said)


def _write(root: Path, name: str, localizer: SpikeLocalizer, found: Localised, scores: dict[str, Any]) -> None:
    localizer.save(root / "models" / "localizer" / name)
    card = {"recording": name, "method": localizer.params.method, "contacts_um": found.source.contacts_um}
    interim = root / "data" / "interim"
    write_positions(interim / "positions" / name, found.peaks, found.positions, found.corrected, found.motions, card)
    sorting = read_sorting(interim / "sortings" / name)
    method, fitted = localizer.params.method, localizer.fitted_
    places = locate_units(sorting, found.source, lambda source: localise(method, source, fitted), found.motions)
    extra = {f"{axis}_um": places[:, i] for i, axis in enumerate(AXES)} | {"depth_um": places[:, 1]}
    write_sorting(interim / "localized" / name, replace(sorting, extra={**sorting.extra, **extra}))
    LOGGER.info("  %d of %d units placed", np.isfinite(places[:, 0]).sum(), len(places))
    write_json(root / "reports" / "metrics" / "localize" / f"{name}.json", scores)
    curves = pd.DataFrame([vars(point) for point in localizer.curves_], columns=["epoch", "split", "part", "value"])
    write_csv(root / "reports" / "plots" / "localize" / f"{name}.csv", curves)


if __name__ == "__main__":
    run_stage(main)

"""Stage ``score_hybrid``: a sorter against known truth. Enters: ``data/hybrid/<row>/``. Leaves: ``reports/hybrid/``."""

import logging

from ..core.config import Params, RecordingParams
from ..core.errors import ConfigError
from ..core.files import find_root, write_csv, write_json
from ..core.runtime import timed
from ..hybrid.score import score
from ..hybrid.templates import compare_found
from ..io.hybrid.plans import read_plan, read_state
from ..io.hybrid.sortings import from_spikeinterface
from ..io.hybrid.source import reopen
from ..io.traces.recordings import open_recording
from ..io.traces.sorters import preprocess, sort
from ..report.hybrid import plot_score, save_figure
from . import pick_row, run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Sort the hybrid recording of the row named by the only word of ``argv`` and score what was found.

    Raises
    ------
    ConfigError
        No such row, or no sorter is named.
    DataError
        The hybrid recording cannot be read or sorted.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.hybrid, "hybrid")
    row = params.hybrid[name]
    sorter = row.sorter or params.recordings[row.recording].sorter
    if sorter is None:
        raise ConfigError(f"params.yaml: hybrid.{name}: recording {row.recording} has no sorter; set one in this row")
    folder = root / "data" / "hybrid" / name
    plan = read_plan(folder / "plan")
    with timed(f"score_hybrid {name}"):
        layout = RecordingParams(format="spikeglx" if plan.source.format == "spikeglx" else "binary")
        raw = open_recording(folder / "recording", layout)
        found = from_spikeinterface(sort(preprocess(raw, params.spikes), sorter, params.seed))
        told = score(plan, found, row.tolerance_ms)
        files = read_state(folder / "recording").paths(folder / "recording")
        templates = compare_found(plan, reopen(plan.source, files), found, told.matching.assigned)
    reports = root / "reports" / "hybrid" / name
    write_csv(reports / "units.csv", told.units.join(templates))
    write_csv(reports / "confusion.csv", told.confusion.rename_axis("truth").reset_index())
    metrics = root / "reports" / "metrics" / "hybrid" / name
    write_json(metrics / "score.json", {"sorter": sorter, **told.summary, "fits": told.fits})
    save_figure(plot_score(told.units, told.confusion, told.lags, told.fits), reports / "score.png")
    summary = told.summary
    LOGGER.info("  %s found %d of %d", sorter, summary.get("n_assigned", 0), summary["n_hybrid"])


if __name__ == "__main__":
    run_stage(main)

"""Stage ``bin@session``: a recorded session -> the folder of its population, and how much each rule left."""

from typing import Any

from ..core.config import Params
from ..core.files import find_root, hash_path, write_json
from ..core.population_params import CleaningParams, PopulationSessionParams
from ..core.runtime import LOGGER, timed
from ..core.sessions import SpikeSession
from ..io.population.spikes import READERS
from ..population.binning import Window, bin_session, bin_trials_with_report
from ..population.cleaning import Step, select_by_quality, take_units
from ..population.data import Population
from ..population.folder import write_population
from . import pick_row, run_stage


def main(argv: list[str]) -> None:
    """Bin the row of ``population.sessions`` named by the only word of ``argv``."""
    root = find_root()
    params = Params.load(root / "params.yaml").population
    name = pick_row(argv, params.sessions, "population.sessions")
    row = params.sessions[name]
    with timed(f"bin@{name}"):
        session = READERS[row.format](root / row.folder, row.stimulus, row.labels)
        population, steps = bin_with_rules(session, row, params.cleaning)
        write_population(root / "data" / "populations" / name, population, hash_path(root / row.folder))
    told: dict[str, Any] = {
        "n_units": population.n_units, "n_rows": population.n_rows, "n_segments": len(population.segments),
        "n_spikes": int(population.counts.sum(dtype="int64")), "steps": [step.as_row() for step in steps],
    }  # fmt: skip
    write_json(root / "reports" / "populations" / "cleaning" / f"{name}.json", told)
    LOGGER.info("  %d units, %d bins, %d segments", population.n_units, population.n_rows, len(population.segments))


def bin_with_rules(
    session: SpikeSession, row: PopulationSessionParams, cleaning: CleaningParams
) -> tuple[Population, list[Step]]:
    """Return the population of a session after the rules on units and presentations."""
    limits = {
        "isi_violations": cleaning.max_isi_violations,
        "amplitude_cutoff": cleaning.max_amplitude_cutoff,
        "presence_ratio": cleaning.min_presence_ratio,
    }
    keep, steps = select_by_quality(session.units, limits)
    session = take_units(session, keep)
    if row.stimulus is None:
        return bin_session(session, row.bin_width_s), steps
    window = Window(row.n_bins, lag_s=row.lag_s)
    population, more = bin_trials_with_report(session, window, probe_invalid=cleaning.probe_invalid)
    return population, steps + more


if __name__ == "__main__":
    run_stage(main)

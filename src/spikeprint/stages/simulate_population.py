"""Stage ``simulate_population@session``: a session with known latents -> ``data/raw/<session>/``."""

from ..core.config import Params
from ..core.files import find_root
from ..core.population_params import SimulatedPopulationParams
from ..core.runtime import timed
from ..core.sessions import SpikeSession
from ..io.population.spikes import write_spikes
from ..synth.populations import make_images, make_track_session
from . import pick_row, run_stage


def main(argv: list[str]) -> None:
    """Simulate the row of ``population.simulate`` named by the only word of ``argv``."""
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.population.simulate, "population.simulate")
    with timed(f"simulate_population@{name}"):
        write_spikes(root / "data" / "raw" / name, simulate(params.population.simulate[name], params.seed, name))


def simulate(row: SimulatedPopulationParams, seed: int, name: str) -> SpikeSession:
    """Return the session of a row."""
    if row.kind == "track":
        return make_track_session(row.n_units, row.duration_s, seed, name)
    return make_images(row.n_images, row.n_repeats, row.n_units, seed, name)


if __name__ == "__main__":
    run_stage(main)

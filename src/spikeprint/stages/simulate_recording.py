"""Stage ``simulate_recording``: traces of known truth. Enters: ``params.yaml``. Leaves: ``data/raw/<recording>/``."""

import logging

from ..core.config import Params
from ..core.files import find_root
from ..core.runtime import timed
from ..io.traces.ground_truth import write_recording
from . import pick_row, run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Simulate and write the raw recording named by the only word of ``argv``.

    Raises
    ------
    ConfigError
        No such row under ``simulate.recordings``.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.simulate.recordings, "simulate.recordings")
    row = params.simulate.recordings[name]
    with timed(f"simulate_recording {name}"):
        truth = write_recording(root / "data" / "raw" / name, row, params.seed)
    LOGGER.info("  %d channels, %d units, %d spikes", row.n_channels, len(truth.unit_ids), truth.offsets[-1])


if __name__ == "__main__":
    run_stage(main)

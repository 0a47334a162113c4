"""Stage ``simulate_recording``: traces of known truth. Enters: ``params.yaml``. Leaves: ``data/raw/<recording>/``."""

import logging

from ..core.config import Params
from ..core.errors import ConfigError, suggest
from ..core.files import find_root
from ..core.runtime import timed
from ..io.traces.ground_truth import write_recording
from . import run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Simulate and write the raw recordings named by ``argv``, without words every row of ``simulate.recordings``.

    Raises
    ------
    ConfigError
        ``params.yaml`` is missing or wrong, or has no such recording.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    rows = params.simulate.recordings
    for name in argv or rows:
        if name not in rows:
            known = ", ".join(rows) or "none"
            raise ConfigError(f"params.yaml: no simulate.recordings.{name}{suggest(name, rows)}; rows: {known}")
        with timed(f"simulate_recording {name}"):
            truth = write_recording(root / "data" / "raw" / name, rows[name], params.seed)
        LOGGER.info("  %d channels, %d units, %d spikes", rows[name].n_channels, len(truth.unit_ids), truth.offsets[-1])


if __name__ == "__main__":
    run_stage(main)

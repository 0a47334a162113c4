"""Stage ``simulate``: sessions of known truth. Enters: ``params.yaml``. Leaves: ``data/raw/<session>/``."""

import logging

from ..core.config import Params
from ..core.errors import ConfigError, suggest
from ..core.files import find_root
from ..core.runtime import timed
from ..io.arrays import write_sorting
from ..synth.toy import simulate_session
from . import run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Simulate and write the sessions named by ``argv``, without words every row of ``simulate.sessions``.

    Raises
    ------
    ConfigError
        ``params.yaml`` is missing or wrong, or has no such session.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    sessions = params.simulate.sessions
    for name in argv or sessions:
        if name not in sessions:
            known = ", ".join(sessions) or "none"
            raise ConfigError(f"params.yaml: no simulate.sessions.{name}{suggest(name, sessions)}; rows: {known}")
        with timed(f"simulate {name}"):
            sorting = simulate_session(name, sessions[name], params.simulate.variability, params.seed)
            write_sorting(root / "data" / "raw" / name, sorting)
        LOGGER.info("  %d units, %d spikes", len(sorting.unit_ids), len(sorting.spike_times))


if __name__ == "__main__":
    run_stage(main)

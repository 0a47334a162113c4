"""Stage ``spikes@recording``: from traces to units. Enters: ``data/raw/<recording>/``. Leaves: ``data/interim/``."""

import logging

from ..core.config import Params
from ..core.files import find_root
from ..core.runtime import timed
from ..io.arrays import write_sorting
from ..io.traces.given import read_given
from ..io.traces.recordings import open_recording
from ..io.traces.sorters import measure, preprocess, sort
from . import pick_row, run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Find and measure the units of the recording named by the only word of ``argv``.

    Raises
    ------
    ConfigError
        No such row under ``recordings``, a sorter that is not installed, or neither a sorter nor a sorting.
    DataError
        The recording cannot be read or sorted.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.recordings, "recordings")
    row = params.recordings[name]
    folder = root / "data" / "raw" / name
    with timed(f"spikes {name}"):
        raw = open_recording(folder, row)
        LOGGER.info(
            "  %d channels, %.1f s at %g Hz", raw.get_num_channels(), raw.get_total_duration(), raw.sampling_frequency
        )
        recording = preprocess(raw, params.spikes)
        found = read_given(folder, raw) if row.sorter is None else sort(recording, row.sorter, params.seed)
        sorting = measure(recording, found, params.spikes, params.seed)
        write_sorting(root / "data" / "interim" / "sortings" / name, sorting)
    LOGGER.info(
        "  %d units, %d spikes by %s", len(sorting.unit_ids), sorting.offsets[-1], row.sorter or "its own sorting"
    )


if __name__ == "__main__":
    run_stage(main)

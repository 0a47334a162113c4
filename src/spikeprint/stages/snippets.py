"""Stage ``snippets@recording``: traces -> the spikes in them, and the temporal components of what contacts saw."""

import logging

from ..core.config import Params
from ..core.files import find_root
from ..core.runtime import timed
from ..io.traces.components import write_components
from ..io.traces.recordings import open_recording
from ..localize.geometry import find_neighbourhoods
from ..localize.localizers import MONOPOLE_CONTACTS
from ..localizer import SpikeLocalizer
from . import pick_row, require_recording, run_stage

LOGGER = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Detect and keep the spikes of the recording named by the only word of ``argv``: ``data/interim/snippets``.

    Raises
    ------
    ConfigError
        No such row under ``localized``, or none under ``recordings``.
    DataError
        The recording cannot be read, or has no spikes.
    """
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.localized, "localized")
    require_recording(name, params.recordings, f"localized.{name}")
    with timed(f"snippets {name}"):
        recording = open_recording(root / "data" / "raw" / name, params.recordings[name])
        source = SpikeLocalizer(params.localize, params.spikes, params.seed).open(recording)
        n_contacts = max(params.localize.network.n_neighbours, MONOPOLE_CONTACTS)
        around = find_neighbourhoods(source.contacts_um, n_contacts)
        folder = root / "data" / "interim" / "snippets" / name
        card = write_components(folder, source, around, params.snippets, params.seed)
    LOGGER.info(
        "  %d spikes, %d bytes each: %.1f %% of the variance, %.1f %% on peak contacts",
        *(card["n_spikes"], card["bytes_per_spike"], 100 * card["explained"], 100 * card["explained_peak"]),
    )


if __name__ == "__main__":
    run_stage(main)

"""A trained localiser at work. Enters: a source and a fitted network. Leaves: the positions of all its peaks.

Snippets are read, compressed and answered chunk by chunk; only the answers are kept.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.errors import ModelError
from ..core.spikes import Positions, Source
from .fit import FittedLocalizer, iter_rows, make_reader, thaw
from .geometry import find_neighbourhoods
from .joint import BATCH, Answers
from .networks import REFERENCE_NEIGHBOURS, RelativeXYZNet, TransformerSLN

REFERENCES: dict[str, type[nn.Module]] = {"cnn": RelativeXYZNet, "transformer": TransformerSLN}
"""Kind of a reference network -> its class."""
WAVEFORM_SCALE_UV, CLIP = 100.0, 10.0
"""Input of the reference networks: µV divided by the one, held within the other."""


def locate_by_source_net(source: Source, fitted: FittedLocalizer) -> Positions:
    """Localise the peaks of a source with a production network.

    Raises
    ------
    ModelError
        It was trained for another sampling rate or window.
    """
    check_window(source, fitted.config)
    network = thaw(fitted)
    reader = make_reader(source, fitted.config["n_neighbours"])
    found = Answers(source.contacts_um[source.peaks.channels])
    for rows, snippets in source.read(reader.around, source.peaks):
        channels = source.peaks.channels[rows]
        for part in iter_rows(len(snippets), BATCH):
            now = slice(rows.start + part.start, rows.start + part.stop)
            found.fill(now, network, reader.read(network, snippets[part], channels[part]))
    return found.positions()


def locate_by_reference(source: Source, fitted: FittedLocalizer) -> Positions:
    """Localise the peaks of a source with a reference network; its answers count from the anchor."""
    check_window(source, fitted.config)
    network = REFERENCES[fitted.config["kind"]]()
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in fitted.arrays.items()})
    network.eval()
    around = find_neighbourhoods(source.contacts_um, REFERENCE_NEIGHBOURS)
    xyz = np.empty((len(source.peaks), 3), dtype=np.float32)
    with torch.no_grad():
        for rows, snippets in source.read(around, source.peaks):
            anchors = torch.from_numpy(around.anchors_um[source.peaks.channels[rows]])
            for part in iter_rows(len(snippets), BATCH):
                now = slice(rows.start + part.start, rows.start + part.stop)
                xyz[now] = network(scale_snippets(snippets[part]), anchors[part]).numpy()
    xyz[:, :2] += around.anchors_um[source.peaks.channels]
    return Positions(xyz)


def scale_snippets(snippets: np.ndarray) -> torch.Tensor:
    """(n, 10, 90) µV -> what a reference network takes"""
    return torch.from_numpy(np.clip(snippets / WAVEFORM_SCALE_UV, -CLIP, CLIP).astype(np.float32))


def check_window(source: Source, config: dict[str, Any]) -> None:
    """Raise ModelError unless the snippets of a source are as long and as dense as those of the training."""
    mine = {"n_before": source.n_before, "n_after": source.n_after, "fs_hz": source.peaks.fs_hz}
    wrong = [
        f"{name} {config[name]:g}, the recording {value:g}" for name, value in mine.items() if config[name] != value
    ]
    if wrong:
        raise ModelError(f"localizer: trained for {'; '.join(wrong)}; train one on this recording (fit)")

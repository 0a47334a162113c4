"""Write the embedding of every unit at a path.

PATH is anything that `spikeprint add` reads as units (CSV files of any width, a phy folder, NWB, spike trains and
templates, ...) or canonical features (representation.json). Labels in it are never read.
"""

import argparse

from . import _units


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _units.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print or write unit_id, e000, e001, ...; a unit without data gets empty cells."""
    import numpy as np
    import pandas as pd

    request = _units.load_request(arguments)
    embedding = np.full((len(request.has_data), request.predictor.n_latent), np.nan, dtype=np.float32)
    embedding[request.has_data] = request.predictor.embed(request.inputs, request.origin)
    frame = pd.DataFrame(embedding, columns=[f"e{i:03d}" for i in range(embedding.shape[1])])
    frame.insert(0, "unit_id", request.table.unit_ids)
    _units.deliver(frame, arguments)
    return 0

"""Write the embedding of every unit at a path.

PATH is anything that `spikeprint add` reads as units (CSV files of any width, a phy folder, NWB, spike trains and
templates, ...) or canonical features (representation.json). Labels in it are never read.
"""

import argparse

from . import _units


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _units.add_arguments(parser)
    parser.add_argument("--umap", action="store_true", help="add umap_x and umap_y, a map to look at")
    parser.add_argument("--clusters", action="store_true", help="add cluster: groups by density (HDBSCAN), -1 = none")


def run(arguments: argparse.Namespace) -> int:
    """Print or write unit_id, e000, e001, ..., a map and clusters if asked for; without data, empty cells."""
    import numpy as np
    import pandas as pd

    request = _units.load_request(arguments)
    embedding = np.full((len(request.has_data), request.predictor.n_latent), np.nan, dtype=np.float32)
    embedding[request.has_data] = request.predictor.embed(request.inputs, request.origin)
    frame = pd.DataFrame(embedding, columns=[f"e{i:03d}" for i in range(embedding.shape[1])])
    frame.insert(0, "unit_id", request.table.unit_ids)
    if arguments.umap or arguments.clusters:
        from ..evaluate.clusters import find_clusters, map_umap

        rows = request.has_data
        if arguments.umap:
            layout = np.full((len(rows), 2), np.nan)
            layout[rows] = map_umap(embedding[rows], seed=0)
            frame["umap_x"], frame["umap_y"] = layout.T
        if arguments.clusters:
            frame["cluster"] = -1
            frame.loc[rows, "cluster"] = find_clusters(embedding[rows])
    _units.deliver(frame, arguments)
    return 0

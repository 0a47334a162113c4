"""Predict the cell type of every unit at a path.

`prediction_set` lists the types that cannot be ruled out at the coverage chosen in training; it may be empty. A
`novelty` above 1 means: unlike every type that the model knows. Probabilities take all types as equally frequent.

PATH is anything that `spikeprint add` reads as units (CSV files of any width, a phy folder, NWB, spike trains and
templates, ...) or canonical features (representation.json). Labels in it are never read.
"""

import argparse

from ..core.errors import ModelError
from . import _units


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _units.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print or write unit_id, label, confidence, a probability per class, prediction_set, novelty, passes_qc."""
    import numpy as np
    import pandas as pd

    request = _units.load_request(arguments)
    classes = request.predictor.classes
    if not classes:
        raise ModelError("this model was trained without labels: it cannot classify; use spikeprint embed")
    answer = request.predictor.predict(request.inputs, request.origin)
    n_units, rows = len(request.has_data), request.has_data
    labels, confidence = np.full(n_units, "", dtype=object), np.full(n_units, np.nan)
    probabilities = np.full((n_units, len(classes)), np.nan)
    labels[rows], confidence[rows], probabilities[rows] = answer.labels, answer.confidence, answer.probabilities
    frame = pd.DataFrame({"unit_id": request.table.unit_ids, "label": labels, "confidence": confidence})
    frame[[f"p_{name}" for name in classes]] = probabilities
    if answer.sets is not None and answer.novelty is not None:
        words, novelty = np.full(n_units, "", dtype=object), np.full(n_units, np.nan)
        words[rows] = ["|".join(np.array(classes)[row]) for row in answer.sets]
        novelty[rows] = answer.novelty
        frame["prediction_set"], frame["novelty"] = words, novelty
    frame["passes_qc"] = request.table.metadata["passes_qc"].to_numpy()
    _units.deliver(frame, arguments)
    return 0

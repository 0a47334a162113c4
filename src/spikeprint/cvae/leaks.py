"""Refuse conditions that tell the class. Enters: words about units and their labels. Leaves: nothing, or the reason.

In the published results a condition that was a function of the cell type (the cortical layer of classes named by layer)
reached the encoder, also for test units, and with it the answer. A condition is refused when, within a dataset, it and
the label determine each other beyond what chance allows.
"""

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import mutual_info_score

from ..core.errors import ModelError
from ..core.types import UNLABELLED

LIMIT = 0.5
"""Largest share of the smaller entropy of condition and label that the other may explain, chance subtracted."""
N_SHUFFLES = 20


def refuse_leaks(conditions: Mapping[str, np.ndarray], datasets: np.ndarray, labels: np.ndarray) -> None:
    """Raise ModelError when a condition tells, within any dataset, most of a unit's class or the class tells it.

    A condition that is the same for all units of a dataset tells nothing there and always passes.

    Parameters
    ----------
    conditions : name -> (n_units,) str
    datasets, labels : (n_units,) str; ``""`` = unlabelled, which is not looked at
    """
    for name, words in conditions.items():
        for dataset in np.unique(datasets):
            rows = (datasets == dataset) & (labels != UNLABELLED)
            share = explained_share(words[rows], labels[rows])
            if share > LIMIT:
                raise ModelError(
                    f"condition '{name}' and the cell type of dataset '{dataset}' determine each other ({share:.0%} of "
                    f"the information, above chance): told to the encoder it would hand over the answer; take '{name}' "
                    "out of conditions"
                )


def explained_share(words: np.ndarray, labels: np.ndarray) -> float:
    """Return how much of the smaller of two entropies is shared, less what shuffled labels share; 0 if one is constant.

    1 means that one of the two is a function of the other. Shapes: (n,), (n,) str.

    >>> label = np.array(["E_L4", "E_L5", "SOM"] * 20)
    >>> explained_share(np.array(["L4", "L5", "?"] * 20), label) > 0.9, explained_share(np.array(["L4"] * 60), label)
    (True, 0.0)
    """
    if len(set(words)) < 2 or len(set(labels)) < 2:
        return 0.0
    smaller = min(mutual_info_score(words, words), mutual_info_score(labels, labels))
    rng = np.random.default_rng(0)
    chance = np.mean([mutual_info_score(words, rng.permutation(labels)) for _ in range(N_SHUFFLES)])
    return float((mutual_info_score(words, labels) - chance) / max(smaller - chance, 1e-12))

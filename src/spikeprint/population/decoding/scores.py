"""How well trials are told apart. Enters: probabilities and the truth. Leaves: fractions in [0, 1], and a rank."""

import numpy as np
from scipy.stats import binom

TOP = 5
CONFIDENCE = 0.95


def score_trials(probabilities: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Return the scores of test trials.

    Parameters
    ----------
    probabilities : (n, n_classes); codes : (n,) true class

    Returns
    -------
    ``top1`` with its interval (bootstrap over trials, which for a share is binomial), ``top5``, ``balanced`` accuracy,
    ``chance`` and ``mean_rank`` of the true class (1 is best; equal scores share their ranks)
    """
    n, n_classes = probabilities.shape
    own = probabilities[np.arange(n), codes][:, None]
    rank = (probabilities > own).sum(axis=1) + ((probabilities == own).sum(axis=1) + 1) / 2
    right = probabilities.argmax(axis=1) == codes
    low, high = binom.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], n, right.mean()) / n
    return {
        "top1": float(right.mean()),
        "top1_low": float(low),
        "top1_high": float(high),
        "top5": float((rank <= TOP).mean()),
        "balanced": float(np.mean([right[codes == code].mean() for code in np.unique(codes)])),
        "chance": 1 / n_classes,
        "mean_rank": float(rank.mean()),
    }


def permutation_p(predicted: np.ndarray, codes: np.ndarray, blocks: np.ndarray, n: int = 1000, seed: int = 0) -> float:
    """Return the share of label permutations within blocks that are told as well as the truth is."""
    rng = np.random.default_rng(seed)
    truth, as_good = (predicted == codes).mean(), 0
    ordered = predicted[np.argsort(blocks, kind="stable")]
    for _ in range(n):
        mixed = codes[np.lexsort((rng.random(len(codes)), blocks))]
        as_good += (ordered == mixed).mean() >= truth
    return (as_good + 1) / (n + 1)

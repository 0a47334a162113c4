"""What an embedding shows without labels. Enters: embeddings, labels. Leaves: a map, clusters, how well they agree."""

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score, homogeneity_completeness_v_measure, normalized_mutual_info_score

from ..core.types import UNLABELLED

NOISE = -1
"""Cluster of the units in no cluster."""


def map_umap(embedding: np.ndarray, seed: int, n_neighbors: int = 30, min_dist: float = 0.1) -> np.ndarray:
    """Lay the embedding out in two dimensions by UMAP (McInnes et al. 2018) on cosine distance.

    For looking at only: nothing is scored on it. Fewer than four units have no neighbourhoods to show: all are at 0.

    Parameters
    ----------
    embedding : (n_units, n_latent) float
    seed : the same seed gives the same map
    n_neighbors : size of a neighbourhood, at most all other units; min_dist : how tightly points may lie

    Returns
    -------
    (n_units, 2) float64
    """
    n_units = len(embedding)
    if n_units < 4:
        return np.zeros((n_units, 2))
    from umap import UMAP  # compiles for seconds

    layout = UMAP(
        n_neighbors=min(n_neighbors, n_units - 1), min_dist=min_dist, metric="cosine", random_state=seed, n_jobs=1
    )
    return layout.fit_transform(np.asarray(embedding, dtype=np.float64)).astype(np.float64)


def find_clusters(embedding: np.ndarray, min_cluster_size: int = 5) -> np.ndarray:
    """Cluster by density (HDBSCAN, Campello et al. 2013) on Euclidean distance.

    Parameters
    ----------
    embedding : (n_units, n_dimensions) float, latents or a map
    min_cluster_size : smaller groups are noise; at least 2

    Returns
    -------
    (n_units,) int64, clusters from 0, -1 = noise. All are noise where there are too few units or no two clusters.
    """
    if len(embedding) < min_cluster_size:
        return np.full(len(embedding), NOISE, dtype=np.int64)
    return HDBSCAN(min_cluster_size=min_cluster_size, copy=True).fit_predict(embedding).astype(np.int64)


def score_clusters(clusters: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return how many clusters there are and how well they agree with the labels.

    Parameters
    ----------
    clusters : (n_units,) int, -1 = noise, which counts as one more cluster where it is compared with labels
    labels : (n_units,) str, ``""`` = unlabelled: left out of the comparison

    Returns
    -------
    ``n_clusters`` without noise, ``noise_frac`` of all units; ``adjusted_rand``, ``normalised_mutual_information``,
    ``homogeneity``, ``completeness``: absent when no unit is labelled
    """
    scores = {
        "n_clusters": len(np.unique(clusters[clusters != NOISE])),
        "noise_frac": float(np.mean(clusters == NOISE)) if len(clusters) else 0.0,
    }
    known = labels != UNLABELLED
    if not known.any():
        return scores
    truth, found = labels[known], clusters[known]
    homogeneity, completeness, _ = homogeneity_completeness_v_measure(truth, found)
    return scores | {
        "adjusted_rand": float(adjusted_rand_score(truth, found)),
        "normalised_mutual_information": float(normalized_mutual_info_score(truth, found)),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
    }

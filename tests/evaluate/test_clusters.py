"""Clusters: blobs are found and agree with their labels; the map keeps neighbours together and repeats."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from spikeprint.evaluate.clusters import find_clusters, map_umap, score_clusters

CODES = np.arange(90) % 3
BLOBS = 5 * np.eye(4)[CODES] + np.random.default_rng(0).normal(0, 0.3, (90, 4))
LABELS = np.array(["a", "b", "c"])[CODES]


def test_blobs_are_clusters_and_a_stray_is_noise() -> None:
    found = find_clusters(np.vstack([BLOBS, np.full(4, 30.0)]))
    assert found.dtype == np.int64
    assert found[-1] == -1
    assert adjusted_rand_score(CODES, found[:-1]) > 0.9


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_units_are_noise(n: int) -> None:
    assert find_clusters(BLOBS[:n]).tolist() == [-1] * n


def test_scores_leave_out_unlabelled_units_but_count_their_noise() -> None:
    clusters = np.r_[CODES, [-1] * 10]
    scores = score_clusters(clusters, np.r_[LABELS, [""] * 10])
    assert (scores["n_clusters"], scores["noise_frac"]) == (3, 0.1)
    names = ("adjusted_rand", "normalised_mutual_information", "homogeneity", "completeness")
    assert [scores[name] for name in names] == pytest.approx([1.0] * 4)


def test_homogeneity_and_completeness_are_not_mixed_up() -> None:
    scores = score_clusters(np.arange(90), LABELS)
    assert scores["homogeneity"] == pytest.approx(1.0)
    assert scores["completeness"] < 0.5
    assert scores["adjusted_rand"] == pytest.approx(0.0)


def test_without_labels_only_the_clusters_are_counted() -> None:
    assert score_clusters(CODES, np.full(90, "")) == {"n_clusters": 3, "noise_frac": 0.0}
    assert score_clusters(CODES[:0], np.array([], dtype=str)) == {"n_clusters": 0, "noise_frac": 0.0}


@pytest.mark.parametrize("n", [0, 3])
def test_a_map_of_too_few_units_is_a_point(n: int) -> None:
    assert map_umap(BLOBS[:n], seed=0).tolist() == [[0.0, 0.0]] * n


@pytest.mark.slow  # UMAP compiles for ten seconds in each process
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_map_keeps_neighbours_together_and_repeats() -> None:
    layout = map_umap(BLOBS, seed=0)
    centres = np.array([layout[k == CODES].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(layout[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == CODES).mean() > 0.95
    np.testing.assert_array_equal(layout, map_umap(BLOBS, seed=0))
    for odd in (BLOBS[:4], np.zeros((8, 4)), BLOBS[:, :1]):
        assert np.isfinite(map_umap(odd, seed=0)).all()

"""Embeddings in one space, and how many dimensions they fill."""

import tracemalloc
from collections.abc import Callable

import cebra.data.helper
import numpy as np
import pytest
from scipy.stats import ortho_group

from spikeprint.population import align, dimensionality, ensemble
from spikeprint.synth.populations import make_torus


def sphere(label: np.ndarray, seed: int = 0, noise: float = 0.05) -> np.ndarray:
    """(n, 4) unit vectors along a curve."""
    curve = np.stack([np.cos(3 * label), np.sin(3 * label), np.cos(5 * label), label], axis=1)
    curve += np.random.default_rng(seed).normal(0, noise, curve.shape)
    return curve / np.linalg.norm(curve, axis=1, keepdims=True)


LABEL = np.random.default_rng(0).uniform(0, 1, 600)
TURNS = [ortho_group.rvs(4, random_state=seed) for seed in range(3)]


def test_runs_on_one_recording_are_turned_onto_each_other() -> None:
    runs = [sphere(LABEL, noise=0) @ turn for turn in TURNS]
    turned = align(runs, reference=1)
    assert np.array_equal(turned[1], runs[1])
    for run in turned:
        assert np.allclose(run, runs[1])
    assert np.allclose(ensemble(runs), runs[0])


def test_sessions_are_turned_by_what_they_share() -> None:
    other = np.random.default_rng(1).uniform(0, 1, 450)
    base, session = sphere(LABEL), sphere(other, 1) @ TURNS[0]
    (_, turned) = align([base, session], [LABEL, other])
    truth = sphere(other, 1)
    assert np.linalg.norm(turned - truth, axis=1).mean() < 0.1
    assert np.linalg.norm(session - truth, axis=1).mean() > 0.5


def test_where_labels_are_distinct_the_turn_is_cebras() -> None:
    other = np.random.default_rng(1).uniform(0, 1, 450)
    base, session = sphere(LABEL), sphere(other, 1) @ TURNS[0]
    theirs = cebra.data.helper.OrthogonalProcrustesAlignment().fit_transform(base, session, LABEL, other)
    assert np.allclose(align([base, session], [LABEL, other])[1], theirs)
    runs = [sphere(LABEL, seed) @ turn for seed, turn in enumerate(TURNS)]
    # theirs pairs rows with those of the next row numbers
    theirs = cebra.data.helper.ensemble_embeddings(runs)
    assert np.linalg.norm(ensemble(runs) - theirs, axis=1).mean() < 0.05


KINDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float | None]] = {
    "classes": (lambda label: (label * 8).astype(int), None),
    "text": (lambda label: np.char.add("place ", (label * 8).astype(int).astype(str)), None),
    "repeated": (lambda label: np.round(label, 1), None),
    "two columns": (lambda label: np.stack([label * 1000, np.sin(9 * label)], axis=1), None),
    "circular": (lambda label: (label * 360 + 340) % 360, 360.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_any_kind_pair_rows(kind: str) -> None:
    make, period = KINDS[kind]
    other = np.random.default_rng(1).uniform(0, 1, 450)
    base, session = sphere(LABEL), sphere(other, 1) @ TURNS[0]
    session[::50] = np.nan  # rows between segments
    turned = align([base, session], [make(LABEL), make(other)], period=period)[1]
    assert np.nanmean(np.linalg.norm(turned - sphere(other, 1), axis=1)) < 0.15
    assert np.isnan(turned[::50]).all()


def test_a_class_that_one_session_lacks_decides_nothing() -> None:
    classes = (LABEL * 8).astype(int)
    base, session = sphere(LABEL), sphere(LABEL, 1) @ TURNS[0]
    session[classes == 7] *= -9
    turned = align([base, session], [np.where(classes == 7, 70, classes), classes])[1]
    assert np.linalg.norm((turned - base)[classes < 7], axis=1).mean() < 0.15


def test_memory_grows_with_the_rows_and_not_with_their_square() -> None:
    label = np.random.default_rng(0).uniform(0, 1, (20_000, 2))
    data = np.random.default_rng(1).normal(size=(20_000, 4))
    tracemalloc.start()
    align([data, data], [label, label[::-1]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # the matrix of distances has 3.2 GB


def test_a_mean_can_be_brought_back_to_the_sphere() -> None:
    runs = [sphere(LABEL, seed, noise=0.3) @ turn for seed, turn in enumerate(TURNS)]
    assert np.allclose(np.linalg.norm(ensemble(runs, post_norm=True), axis=1), 1)
    mean = np.linalg.norm(ensemble(runs), axis=1)
    assert mean.max() <= 1 + 1e-9
    assert mean.mean() < 0.98


BAD = {
    "one": (([np.ones((5, 2))],), "two or more"),
    "dimensions": (([np.ones((5, 2)), np.ones((5, 3))],), "as many of each"),
    "rows": (([np.ones((5, 2)), np.ones((6, 2))],), "pass a label of each"),
    "label": (([np.ones((5, 2)), np.ones((6, 2))], [np.arange(5.0), np.arange(5.0)]), r"labels of \[5, 5\] rows"),
    "columns": (([np.ones((5, 2)), np.ones((5, 2))], [np.ones(5), np.ones((5, 2))]), r"labels of \[1, 2\] columns"),
    "no label": (([np.ones((5, 2)), np.ones((5, 2))], [np.ones(5), np.full(5, np.nan)]), "nothing to turn by"),
    "nothing": (([np.ones((5, 2)), np.full((5, 2), np.nan)],), "nothing to turn by"),
    "classes": (([np.ones((5, 2)), np.ones((5, 2))], [["a"] * 5, ["b"] * 5]), "no class of the label is in every"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_turned_is_told(case: str) -> None:
    arguments, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        align(*arguments)
    with pytest.raises(ValueError, match="reference 2"):
        align([np.ones((5, 2))] * 2, reference=2)
    with pytest.raises(ValueError, match="equal shape"):
        ensemble([np.ones((5, 2)), np.ones((6, 2))])


def test_dimensions_of_surfaces_that_are_known() -> None:
    rng = np.random.default_rng(0)
    for d in (1, 2, 5):
        cloud = rng.uniform(0, 1, (3000, d)) @ rng.normal(size=(d, 10))
        assert dimensionality(cloud).local == pytest.approx(d, rel=0.15)
    ball = dimensionality(rng.normal(size=(3000, 6)))
    assert ball.participation == pytest.approx(6, rel=0.02)
    assert ball.n_components == 6
    line = np.outer(rng.normal(size=500), rng.normal(size=6))
    found = dimensionality(np.r_[line, line, np.full((3, 6), np.nan)])
    assert (found.n_rows, found.n_components) == (500, 1)
    assert found.participation == pytest.approx(1)


def test_neither_noise_nor_the_path_of_the_animal_hides_the_surface() -> None:
    angles = make_torus(15_000, 2, seed=0).latent
    torus = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    noisy = np.random.default_rng(0).normal(0, 0.01, (len(torus), 8))
    noisy[:, :4] += torus
    for embedding in (torus, noisy):
        assert dimensionality(embedding).local == pytest.approx(2, abs=0.25)
    assert dimensionality(noisy, n_drawn=15_000).local > 4  # from near it is noise that is counted


def test_too_few_rows_have_no_dimension() -> None:
    with pytest.raises(ValueError, match="5 distinct finite rows"):
        dimensionality(np.random.default_rng(0).normal(size=(5, 2)))
    with pytest.raises(ValueError, match="rows x dimensions"):
        dimensionality(np.ones(30))

"""Folds: stratified, in file order, rare classes never tested."""

import numpy as np
from sklearn.model_selection import StratifiedKFold

from spikeprint.evaluate.splits import make_folds, shuffle_labels

LABELS = np.array(["PV"] * 30 + ["SOM"] * 20 + ["VIP"] * 6 + [""] * 9)[np.random.default_rng(0).permutation(65)]


def test_folds_are_those_of_the_published_benchmark() -> None:
    folds = make_folds(LABELS, 5, 42, 10)
    scored = LABELS[np.isin(LABELS, ["PV", "SOM"])]
    splits = StratifiedKFold(5, shuffle=True, random_state=42).split(scored, scored)
    for k, (_, test) in enumerate(splits):
        assert np.array_equal(np.flatnonzero(folds[folds >= 0] == k), test)


def test_rare_classes_and_unknown_units_are_never_tested() -> None:
    folds = make_folds(LABELS, 5, 42, 10)
    assert (folds[np.isin(LABELS, ["VIP", ""])] == -1).all()
    assert (folds[np.isin(LABELS, ["PV", "SOM"])] >= 0).all()


def test_one_class_alone_is_not_scored() -> None:
    assert (make_folds(np.array(["PV"] * 30 + ["SOM"] * 5), 5, 42, 10) == -1).all()


def test_every_training_part_keeps_two_units_of_each_class() -> None:
    labels = np.array(["a"] * 8 + ["b"] * 9 + ["c"] * 3)
    folds = make_folds(labels, 2, 0, 2)
    assert (folds[labels == "c"] == -1).all()
    for k in range(2):
        assert np.unique(labels[(folds >= 0) & (folds != k)], return_counts=True)[1].min() >= 2


def test_shuffling_stays_inside_a_group_and_leaves_others_alone() -> None:
    groups = np.where(np.arange(65) < 40, "a", "b")
    folds = make_folds(LABELS, 5, 42, 10)
    shuffles = shuffle_labels(LABELS, groups, folds, seed=3)
    assert len(shuffles) == 5
    assert len({tuple(shuffled) for shuffled in [LABELS, *shuffles]}) == 6
    for shuffled in shuffles:
        assert np.array_equal(shuffled[folds < 0], LABELS[folds < 0])
        for group in "ab":
            assert sorted(shuffled[groups == group]) == sorted(LABELS[groups == group])

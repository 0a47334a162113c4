import numpy as np
import pandas as pd
import pytest

from spikeprint.evaluate.metrics import balanced_accuracy
from spikeprint.evaluate.paired import bootstrap, compare_predictions, pair_units, resample


def table(dataset="a", n=60, share=0.8, seed=0, **columns):
    """Predictions for ``n`` units of three types, a share of them right."""
    rng = np.random.default_rng(seed)
    actual = np.array(["PV", "SOM", "VIP"])[np.arange(n) % 3]
    wrong = rng.random(n) > share
    return pd.DataFrame(
        {
            "dataset": dataset,
            "unit_id": [f"{dataset}{i}" for i in range(n)],
            "cell_type": actual,
            "fold": np.arange(n) % 5,
            "predicted": np.where(wrong, np.roll(actual, 1), actual),
            "confidence": 0.9,
            **columns,
        }
    )


def test_resampled_scores_are_those_of_resampled_units():
    labels = np.array(["a"] * 30 + ["b"] * 10)
    hits = np.r_[np.ones(24), np.zeros(6), np.ones(5), np.zeros(5)]
    rng, direct = np.random.default_rng(0), []
    for _ in range(4000):
        rows = np.r_[rng.integers(0, 30, 30), rng.integers(30, 40, 10)]
        direct.append(np.mean([hits[rows][labels[rows] == name].mean() for name in "ab"]))
    found = resample(hits, labels, 4000, 1)
    np.testing.assert_allclose(found.mean(), np.mean(direct), atol=0.01)
    np.testing.assert_allclose(found.std(), np.std(direct), rtol=0.07)


def test_the_score_is_balanced_accuracy_and_lies_in_its_interval():
    one = table()
    hits = (one["predicted"] == one["cell_type"]).to_numpy(float)
    found = bootstrap(hits, one["cell_type"].to_numpy(str), 2000)
    assert found.value == pytest.approx(balanced_accuracy(one["cell_type"], one["predicted"]))
    assert found.low < found.value < found.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng, inside = np.random.default_rng(3), 0
    labels = np.array(["a", "b"])[np.arange(200) % 2]
    for k in range(200):
        difference = rng.choice([-1, 0, 1], 200, p=[0.1, 0.75, 0.15]).astype(float)
        found = bootstrap(difference, labels, 500, k)
        inside += found.low <= 0.05 <= found.high
    assert 180 <= inside <= 198


def test_pairing_makes_the_interval_narrower_than_two_of_their_own():
    champion = table(n=300)
    challenger = champion.copy()
    challenger.loc[:8, "predicted"] = "none"
    (one,) = compare_predictions(champion, challenger, 4000).datasets
    paired = one.difference.high - one.difference.low
    alone = np.hypot(one.champion.high - one.champion.low, one.challenger.high - one.challenger.low)
    assert paired < 0.6 * alone


def test_the_same_predictions_differ_by_nothing():
    found = compare_predictions(table(), table(), 500)
    assert (found.overall.value, found.overall.low, found.overall.high) == (0, 0, 0)
    assert len(found.datasets[0].changed) == 0


def test_datasets_count_alike_and_the_worst_is_named():
    before = pd.concat([table("a", share=0.7, seed=1), table("b", n=300, share=0.9, seed=2), table("old")])
    after = pd.concat([table("a", share=0.95, seed=3), table("b", n=300, share=0.8, seed=4), table("new")])
    found = compare_predictions(before, after, 2000)
    assert [one.name for one in found.datasets] == ["a", "b"]
    assert found.left_out == ["new", "old"]
    assert found.worst.name == "b"
    assert found.overall.value == pytest.approx(np.mean([one.difference.value for one in found.datasets]))
    assert found.overall.low < found.overall.value < found.overall.high


def test_the_order_of_units_does_not_matter():
    shuffled = table(seed=5).sample(frac=1, random_state=0)
    assert (
        compare_predictions(table(), shuffled, 300).overall == compare_predictions(table(), table(seed=5), 300).overall
    )


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda t: t.iloc[1:], "1 of 60 units were tested with only one of the two"),
        (lambda t: t.assign(fold=(t["fold"] + (t.index == 3)) % 5), "1 of 60 units have another fold"),
        (
            lambda t: t.assign(cell_type=t["cell_type"].where(t.index > 1, "NGF")),
            "2 of 60 units have another cell type",
        ),
        (lambda t: t.assign(unit_id="x" + t["unit_id"]), "120 of 120 units were tested with only one"),
    ],
)
def test_other_units_labels_or_folds_are_not_compared(other, reason):
    with pytest.raises(ValueError, match=reason):
        pair_units(table(), other(table()))
    with pytest.raises(ValueError, match=f"a: {reason}.*; train both on the same data and folds"):
        compare_predictions(table(), other(table()), 300)


def test_without_a_common_dataset_nothing_is_said():
    with pytest.raises(ValueError, match=r"no dataset was scored with both \(a; b\)"):
        compare_predictions(table("a"), table("b"), 300)

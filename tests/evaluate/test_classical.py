"""Classical classifiers: against scikit-learn, chosen inside the training units, votes against their definition."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from spikeprint.core.errors import NotEnoughSpikes
from spikeprint.evaluate.classical import CLASSICAL, VOTES, arithmetic_vote, fit_predict, geometric_vote

CODES = np.repeat([0, 1, 2], [60, 20, 12])


def draw(distance: float, codes: np.ndarray = CODES, seed: int = 0) -> np.ndarray:
    """Gaussian classes in 8 dimensions and a column that never varies."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.normal(size=(len(codes), 8)) + distance * np.eye(8)[codes], np.zeros(len(codes))])


@pytest.mark.parametrize("name", CLASSICAL)
def test_each_learns_easy_classes_and_gives_probabilities(name: str) -> None:
    found = fit_predict(name, draw(7), CODES, draw(7, seed=1), 0)
    assert found.shape == (len(CODES), 3)
    assert np.allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()
    assert (found.argmax(axis=1) == CODES).mean() > 0.95


@pytest.mark.parametrize("name", CLASSICAL)
def test_two_classes_are_answered_in_two_columns(name: str) -> None:
    codes = np.arange(60) % 2
    found = fit_predict(name, draw(6, codes), codes, draw(6, codes, 1), 0)
    assert found.shape == (60, 2)
    assert (found.argmax(axis=1) == codes).mean() > 0.95


@pytest.mark.parametrize("name", [name for name in CLASSICAL if name != "boosting"])
def test_an_answer_depends_on_no_other_unit_that_is_asked_about(name: str) -> None:
    asked = draw(2, seed=1)
    together = fit_predict(name, draw(2), CODES, asked, 0)
    assert np.allclose(together[5:6], fit_predict(name, draw(2), CODES, asked[5:6], 0))


def test_rare_classes_weigh_as_much_as_common_ones() -> None:
    """Without any difference between classes of 80 and 12 units, no method names the common one nearly always."""
    codes = np.repeat([0, 1], [80, 12])
    for name in ("lda", "logistic"):
        found = fit_predict(name, draw(0, codes), codes, draw(0, codes, 1), 0)
        assert 0.2 < (found.argmax(axis=1) == 0).mean() < 0.8, name


def test_lda_is_that_of_scikit_learn_on_standardised_features() -> None:
    train, test = draw(1)[:, :8], draw(1, seed=1)[:, :8]
    mean, spread = train.mean(axis=0), train.std(axis=0)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(3, 1 / 3))
    expected = model.fit((train - mean) / spread, CODES).predict_proba((test - mean) / spread)
    assert np.allclose(fit_predict("lda", draw(1), CODES, draw(1, seed=1), 0), expected)


def test_votes_are_means_of_probabilities() -> None:
    members = [np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]])]
    geometric = np.sqrt([0.9 * 0.4, 0.1 * 0.6])
    assert np.allclose(geometric_vote(members), geometric / geometric.sum())
    assert np.allclose(arithmetic_vote(members), [[0.65, 0.35]])
    assert set(VOTES) == {"vote", "vote_arithmetic"}


def test_one_member_alone_cannot_rule_a_class_out() -> None:
    members = [np.array([[1.0, 0.0]]), *[np.array([[0.05, 0.95]])] * 4]
    assert geometric_vote(members).argmax() == 1


@pytest.mark.parametrize("codes", [np.zeros(20, dtype=int), np.array([0] * 19 + [1])])
def test_what_cannot_be_learnt_is_one_line(codes: np.ndarray) -> None:
    with pytest.raises(NotEnoughSpikes, match="at least two classes of two"):
        fit_predict("lda", draw(1, codes), codes, draw(1, codes), 0)


def test_units_that_are_all_alike_are_one_line() -> None:
    with pytest.raises(NotEnoughSpikes, match="the same features"):
        fit_predict("svm", np.ones((20, 3)), np.arange(20) % 2, np.ones((4, 3)), 0)

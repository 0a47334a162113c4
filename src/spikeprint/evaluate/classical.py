"""Classical classifiers, the honest levels to compare with. Enters: features and classes. Leaves: probabilities.

One fixed recipe each, for any data: whatever is chosen (penalties, scales, the sharpness of scores) is chosen inside
the training units given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ..core.errors import NotEnoughSpikes

INVERSE_PENALTIES = {"logistic": (0.003, 0.01, 0.03, 0.1, 0.3), "svm": (0.3, 1.0, 3.0, 10.0, 30.0)}
N_INNER = 3
"""Inner folds that choose a penalty, by balanced accuracy."""
FLOOR = 1e-4
"""Least probability in a vote: one member alone cannot rule a class out."""


@dataclass(frozen=True)
class ClassicalSpec:
    """A classifier and the features it takes.

    Attributes
    ----------
    features : name of a feature set, which the caller computes
    make : function of (codes (n,) int of the training units, seed) giving an unfitted scikit-learn pipeline
    """

    features: str
    make: Callable[[np.ndarray, int], Pipeline]


class _SoftmaxSVC(ClassifierMixin, BaseEstimator):
    """RBF support vectors, classes weighted equally; probabilities are the softmax of the one-versus-rest scores."""

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def fit(self, x: np.ndarray, y: np.ndarray) -> "_SoftmaxSVC":
        self.model_ = SVC(C=self.C, class_weight="balanced", break_ties=True).fit(x, y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        scores = self.model_.decision_function(x)
        if scores.ndim == 1:  # scikit-learn keeps one column for two classes
            scores = np.column_stack([-scores, scores])
        exponent = np.exp(scores - scores.max(axis=1, keepdims=True))
        return exponent / exponent.sum(axis=1, keepdims=True)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.classes_[self.predict_proba(x).argmax(axis=1)]


def _lda(codes: np.ndarray, seed: int) -> Pipeline:
    n_classes = int(codes.max()) + 1
    priors = np.full(n_classes, 1 / n_classes)
    return _scaled(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors))


def _logistic(codes: np.ndarray, seed: int) -> Pipeline:
    model = LogisticRegression(class_weight="balanced", max_iter=300, tol=1e-3)
    return _scaled(_choose_penalty(model, "logistic", codes, seed))


def _svm(codes: np.ndarray, seed: int) -> Pipeline:
    return _scaled(_choose_penalty(_SoftmaxSVC(), "svm", codes, seed))


def _extra_trees(codes: np.ndarray, seed: int) -> Pipeline:
    return make_pipeline(ExtraTreesClassifier(500, class_weight="balanced", random_state=seed))


def _boosting(codes: np.ndarray, seed: int) -> Pipeline:
    model = HistGradientBoostingClassifier(
        max_iter=80,
        max_leaf_nodes=12,
        min_samples_leaf=5,  # the usual 20 would leave a class of ten units without a leaf
        l2_regularization=1.0,
        class_weight="balanced",
        random_state=seed,
    )
    return make_pipeline(model)


def _scaled(model: BaseEstimator) -> Pipeline:
    # A column that never varies, of a modality nobody has, would still count in the shrinkage of the covariance.
    return make_pipeline(VarianceThreshold(), StandardScaler(), model)


def _choose_penalty(model: BaseEstimator, name: str, codes: np.ndarray, seed: int) -> GridSearchCV:
    n_splits = int(np.clip(np.bincount(codes).min(), 2, N_INNER))
    splitter = StratifiedKFold(n_splits=n_splits, shuffle=True, random_state=seed)
    return GridSearchCV(model, {"C": INVERSE_PENALTIES[name]}, scoring="balanced_accuracy", cv=splitter)


CLASSICAL: dict[str, ClassicalSpec] = {
    "lda": ClassicalSpec("rich", _lda),
    "logistic": ClassicalSpec("rich", _logistic),
    "svm": ClassicalSpec("rich", _svm),
    "extra_trees": ClassicalSpec("rich", _extra_trees),
    "boosting": ClassicalSpec("rich", _boosting),
}
"""Name -> classifier."""


def geometric_vote(members: Sequence[np.ndarray]) -> np.ndarray:
    """Combine probabilities, one (n, C) for each member, by their geometric mean; rows sum to 1."""
    product = np.exp(np.mean([np.log(np.maximum(member, FLOOR)) for member in members], axis=0))
    return product / product.sum(axis=1, keepdims=True)


def arithmetic_vote(members: Sequence[np.ndarray]) -> np.ndarray:
    """Combine probabilities, one (n, C) for each member, by their mean."""
    return np.mean(members, axis=0)


VOTES: dict[str, Callable[[Sequence[np.ndarray]], np.ndarray]] = {
    "vote": geometric_vote,
    "vote_arithmetic": arithmetic_vote,
}
"""Name -> how the probabilities of all of ``CLASSICAL`` become one answer."""


def fit_predict(
    name: str, features_train: np.ndarray, codes_train: np.ndarray, features_test: np.ndarray, seed: int
) -> np.ndarray:
    """Fit one classifier of ``CLASSICAL`` on the training units and ask it about the others.

    Parameters
    ----------
    features_train, features_test : (n, F), (m, F) finite
    codes_train : (n,) int, classes 0..C-1, each present
    seed : of the inner folds and the trees

    Returns
    -------
    (m, C) float64, rows sum to 1

    Raises
    ------
    NotEnoughSpikes
        Fewer than two classes, a class with fewer than two units, or units that are all alike.
    """
    counts = np.bincount(codes_train)
    if len(counts) < 2 or counts.min() < 2:
        raise NotEnoughSpikes(f"{name}: units per class {counts.tolist()}; at least two classes of two are needed")
    if not np.ptp(features_train, axis=0).any():
        raise NotEnoughSpikes(f"{name}: all {len(codes_train)} training units have the same features; none can teach")
    model = CLASSICAL[name].make(codes_train, seed).fit(features_train, codes_train)
    return np.asarray(model.predict_proba(features_test), dtype=np.float64)

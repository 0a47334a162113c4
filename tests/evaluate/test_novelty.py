"""Novelty: known units are at distance one, unknown ones further out, whatever the width and size of a class."""

import numpy as np
from sklearn.metrics import roc_auc_score

from spikeprint.evaluate.decision import (
    novelty_score,
    place_traces,
    trace_distance,
)
from spikeprint.evaluate.novelty import MIN_UNITS, N_AXES, fit_axes, fit_novelty, fit_places


def units(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Three classes: the last ten times as wide as the first two."""
    codes = np.arange(3 * n) % 3
    widths = np.array([0.3, 0.3, 3.0])[codes, None]
    centres = np.array([[0, 0, 0, 0], [6, 0, 0, 0], [0, 20, 0, 0]])[codes]
    return centres + widths * np.random.default_rng(seed).normal(size=(3 * n, 4)), codes


def test_the_middle_unit_of_each_class_is_at_distance_one() -> None:
    x, codes = units(0)
    fitted = fit_novelty(x, codes)
    np.testing.assert_allclose(fitted["centres"], [x[codes == k].mean(axis=0) for k in range(3)])
    for k in range(3):
        own = {name: array[k : k + 1] for name, array in fitted.items()}
        assert np.isclose(np.median(novelty_score(x[codes == k], **own) ** 2), 1)


def test_a_unit_between_narrow_classes_is_new_though_a_wide_class_spreads_further() -> None:
    x, codes = units(0)
    new = np.array([3.0, 0, 0, 0]) + 0.3 * np.random.default_rng(2).normal(size=(60, 4))
    scores = novelty_score(np.vstack([units(1)[0], new]), **fit_novelty(x, codes))
    assert roc_auc_score(np.arange(240) >= 180, scores) > 0.97


def test_rare_classes_and_constant_latents_give_finite_scores() -> None:
    x, codes = units(0)
    x = np.column_stack([x, np.zeros(len(x))])
    rare = np.flatnonzero(codes < 2).tolist() + np.flatnonzero(codes == 2)[:2].tolist()
    alone = rare[:-1]
    for rows in (rare, alone):
        scores = novelty_score(x, **fit_novelty(x[rows], codes[rows]))
        assert np.isfinite(scores).all()
        assert scores[codes == 2].max() > 10  # two units do not make all of space usual


def traces(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Two classes in two modalities of 20 values, each a mixture of 4 patterns; 15 of the values are the trace."""
    rng, codes = np.random.default_rng(seed), np.arange(n) % 2
    patterns = np.random.default_rng(0).normal(size=(2, 4, 20))
    amounts = rng.normal(size=(2, n, 4)) + 3 * codes[:, None]
    x = (amounts @ patterns + 0.1 * rng.normal(size=(2, n, 20))).astype(np.float32)
    return {"a": x[0], "b": x[1]}, np.ones((n, 2), dtype=bool), codes


N_TRACE = {"a": 15, "b": 15}


def test_axes_hold_what_varies() -> None:
    inputs, present, _ = traces(200, 0)
    axes = fit_axes(inputs, present, N_TRACE, np.ones(200, dtype=bool))
    for name, x in inputs.items():
        assert axes[name].shape == (20, N_AXES)
        weighted = x / np.sqrt(np.where(np.arange(20) < 15, 15, 5))
        spread = np.linalg.svd(weighted - weighted.mean(axis=0), compute_uv=False)[:N_AXES]
        np.testing.assert_allclose(np.std(x @ axes[name], axis=0, ddof=1), spread / np.sqrt(199), rtol=1e-3)


def test_a_modality_that_few_labelled_units_have_has_no_axes() -> None:
    inputs, present, _ = traces(60, 0)
    labelled = np.arange(60) < 40
    present[MIN_UNITS - 1 : 50, 1] = False  # many unlabelled ones have it
    assert list(fit_axes(inputs, present, N_TRACE, labelled)) == ["a"]
    present[:] = False
    places, seen = place_traces(inputs, present, fit_axes(inputs, present, N_TRACE, labelled))
    shapes = fit_places(places, seen, np.zeros(60, dtype=int))
    np.testing.assert_array_equal(trace_distance(places, seen, **shapes), np.zeros(60))


def test_traces_of_a_new_kind_are_far_and_those_of_an_odd_pair_too() -> None:
    inputs, present, codes = traces(200, 0)
    axes = fit_axes(inputs, present, N_TRACE, np.ones(200, dtype=bool))
    shapes = fit_places(*place_traces(inputs, present, axes), codes)
    fresh, _, kind = traces(200, 1)
    known = trace_distance(*place_traces(fresh, present, axes), **shapes)
    assert 0.8 < np.median(known) < 1.3
    swapped = fresh | {"b": np.roll(fresh["b"], 1, axis=0)}  # each modality usual, but of unequal classes
    assert (
        roc_auc_score(
            np.arange(400) >= 200, np.r_[known, trace_distance(*place_traces(swapped, present, axes), **shapes)]
        )
        > 0.9
    )
    beyond = {name: x * np.where(kind == 1, -1, 4)[:, None].astype(np.float32) for name, x in fresh.items()}
    assert np.median(trace_distance(*place_traces(beyond, present, axes), **shapes)) > 2 * np.median(known)


def test_a_missing_modality_neither_alarms_nor_calms() -> None:
    inputs, present, codes = traces(400, 0)
    axes = fit_axes(inputs, present, N_TRACE, np.ones(400, dtype=bool))
    shapes = fit_places(*place_traces(inputs, present, axes), codes)
    fresh, present, _ = traces(400, 1)
    whole = trace_distance(*place_traces(fresh, present, axes), **shapes)
    present[:, 0] = False
    half = trace_distance(*place_traces(fresh | {"a": 0 * fresh["a"]}, present, axes), **shapes)
    assert abs(np.median(half) / np.median(whole) - 1) < 0.15


def test_a_class_never_seen_in_a_modality_is_not_odd_there() -> None:
    inputs, present, codes = traces(200, 0)
    present[codes == 1, 1] = False
    axes = fit_axes(inputs, present, N_TRACE, np.ones(200, dtype=bool))
    shapes = fit_places(*place_traces(inputs, present, axes), codes)
    fresh, present, kind = traces(200, 1)
    present[:, 1] = kind == 0
    assert np.median(trace_distance(*place_traces(fresh, present, axes), **shapes)[kind == 1]) < 1.3
    lone = trace_distance(*place_traces(fresh, present & [True, False], axes), **shapes)
    assert np.isfinite(lone).all()

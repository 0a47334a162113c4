"""Novelty: known units are at distance one, unknown ones further out, whatever the width and size of a class."""

import numpy as np
from sklearn.metrics import roc_auc_score

from spikeprint.evaluate.decision import NOVELTY_BLOCK, fold_novelty, member_novelty, novelty_score
from spikeprint.evaluate.novelty import fit_novelty


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


def test_members_side_by_side_give_the_mean_of_their_scores() -> None:
    rng = np.random.default_rng(3)
    fits = [fit_novelty(*units(seed)) for seed in range(3)]
    centres, precision = (np.stack([fitted[name] for fitted in fits]) for name in ("centres", "precision"))
    latent = rng.normal(size=(3, NOVELTY_BLOCK + 5, 4)).astype(np.float32) * 5
    latent[:, 0] = centres[:, 0]  # at distance nothing
    expected = [novelty_score(z, c, p) for z, c, p in zip(latent, centres, precision, strict=True)]
    found = member_novelty(latent, *fold_novelty(centres, precision))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-9, atol=1e-6)

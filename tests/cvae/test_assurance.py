"""What held-back units promise holds for units that were never there."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from spikeprint.core.config import ModelParams
from spikeprint.cvae.fit import add_head, fit_cvae
from spikeprint.cvae.units import Units


def make_units(n: int, seed: int) -> Units:
    """Two overlapping classes of waveforms, no other modality."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    width = np.where(kind == 0, 2.0, 3.0)[:, None] * rng.lognormal(0, 0.3, (n, 1))
    waveform = -np.exp(-0.5 * ((np.arange(50) - 20) / width) ** 2) + rng.normal(0, 0.05, (n, 50))
    words = {name: np.full(n, "x") for name in ("dataset", "technology", "species", "representation")}
    return Units({"waveform": waveform}, {**words, "region": np.full(n, "")}, np.array(["a", "b"])[kind])


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_cover_new_units_of_every_class(coverage: float, model_params: ModelParams) -> None:
    used = model_params.model_copy(update={"coverage": coverage, "n_members": 8, "epochs": 15})
    known, new = make_units(240, 0), make_units(1000, 1)
    model = add_head(fit_cvae(known, used, 0), known, "network", 0).predictor()
    found = model.predict(new.raw)
    for code, name in enumerate("ab"):
        rows = new.labels == name
        assert coverage - 0.1 < found.sets[rows, code].mean() < min(coverage + 0.1, 0.999)
    assert (found.novelty > 1).mean() < 2 * (1 - coverage) + 0.05


def test_one_class_or_none_assures_nothing(model_params: ModelParams) -> None:
    units = make_units(40, 0)
    short = model_params.model_copy(update={"epochs": 1})
    for labels in (np.full(40, ""), np.full(40, "a")):
        arrays = fit_cvae(Units(units.raw, units.origin, labels), short, 0).arrays
        assert not [name for name in arrays if not name.startswith("network.")]


def make_strangers(n: int) -> Units:
    """As wide as between the two classes, with a second peak that neither has."""
    units = make_units(n, 2)
    late = np.exp(-0.5 * ((np.arange(50) - 34) / 3.0) ** 2)
    return Units({"waveform": units.raw["waveform"] + 0.8 * late}, units.origin, units.labels)


def test_strangers_that_the_latent_takes_for_known_are_novel_by_their_traces(model_params: ModelParams) -> None:
    used = model_params.model_copy(update={"n_members": 8, "epochs": 15})
    known, new, strange = make_units(240, 0), make_units(300, 1), make_strangers(300)
    model = add_head(fit_cvae(known, used, 0), known, "network", 0).predictor()
    usual, odd = model.predict(new.raw).novelty, model.predict(strange.raw).novelty
    assert (usual > 1).mean() < 0.2
    assert (odd > 1).mean() > 0.9
    alone = [model.assured(model.encode(x.raw, {}), np.zeros(300))[2] for x in (new, strange)]
    is_strange = np.arange(600) >= 300
    assert roc_auc_score(is_strange, np.r_[usual, odd]) > 0.98 > 0.8 > roc_auc_score(is_strange, np.concatenate(alone))


def test_units_without_any_modality_get_a_finite_novelty(model_params: ModelParams) -> None:
    known = make_units(64, 0)
    used = model_params.model_copy(update={"n_members": 8, "epochs": 1})
    model = add_head(fit_cvae(known, used, 0), known, "network", 0).predictor()
    for inputs in ({"waveform": np.full((3, 50), np.nan)}, {"isi": np.ones((3, 100))}):  # isi: in no training unit
        latent, away = model.meet(inputs, {})
        assert np.isfinite(model.assured(latent, away)[2]).all()
        np.testing.assert_array_equal(away, 0)

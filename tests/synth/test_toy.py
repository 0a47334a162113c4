"""Simulated sessions: reproducible, well-formed, and neither trivial nor hopeless to classify."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spikeprint.core.config import Params, SessionParams
from spikeprint.core.types import Sorting, UnitTable
from spikeprint.features.build import build_from_sortings
from spikeprint.synth.toy import CELL_TYPES, LAYOUTS, draw_unit, simulate_session, simulate_train

PARAMS = Params.load(Path(__file__).parents[2] / "params.yaml")
SESSIONS = PARAMS.simulate.sessions
SMALL = SessionParams(
    layout="linear",
    n_units_per_type=3,
    n_unlabelled=2,
    n_low_quality=4,
    duration_s=120,
    sampling_frequency_hz=20_000,
)


def features(name: str, sorting: Sorting) -> UnitTable:
    """Canonical features with the default parameters."""
    card = {"dataset": name, "technology": "neuropixels", "species": "mouse", "format": "arrays", "source_md5": ""}
    return build_from_sortings([sorting], PARAMS.features, card)


@pytest.fixture(scope="module", params=list(SESSIONS))
def session(request: pytest.FixtureRequest) -> tuple[SessionParams, Sorting, UnitTable]:
    """Each default session with its features."""
    name = request.param
    sorting = simulate_session(name, SESSIONS[name], PARAMS.simulate.variability, PARAMS.seed)
    return SESSIONS[name], sorting, features(name, sorting)


def test_a_linear_probe_is_neither_perfect_nor_lost(session: tuple[SessionParams, Sorting, UnitTable]) -> None:
    _, _, table = session
    use = table.labels != ""
    inputs = np.hstack([table.waveform, table.isi, table.acg])[use]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=42)
    predicted = cross_val_predict(probe, inputs, table.labels[use], cv=folds)
    assert 0.70 <= balanced_accuracy_score(table.labels[use], predicted) <= 0.95


def test_units_are_as_many_as_asked_for(session: tuple[SessionParams, Sorting, UnitTable]) -> None:
    params, sorting, _ = session
    counts = dict(zip(*np.unique(sorting.labels, return_counts=True), strict=True))
    unlabelled = params.n_unlabelled + params.n_low_quality
    assert counts == {"": unlabelled} | dict.fromkeys(CELL_TYPES, params.n_units_per_type)


def test_low_quality_units_and_few_others_fail_quality_control(
    session: tuple[SessionParams, Sorting, UnitTable],
) -> None:
    params, _, table = session
    n_failed = int((~table.metadata["passes_qc"]).sum())
    assert 0.7 * params.n_low_quality <= n_failed <= params.n_low_quality + 0.03 * len(table.labels)


def test_every_waveform_is_whole_with_its_trough_at_20(session: tuple[SessionParams, Sorting, UnitTable]) -> None:
    _, _, table = session
    assert (table.metadata["wf_coverage"] == 1).all()
    assert (np.abs(table.waveform.argmin(axis=1) - 20) <= 1).all()


def test_an_equal_seed_gives_an_equal_session() -> None:
    first, second = (simulate_session("a", SMALL, 1.0, 3) for _ in range(2))
    assert np.array_equal(first.spike_times, second.spike_times)
    assert np.array_equal(first.templates.values, second.templates.values)


@pytest.mark.parametrize(("name", "seed"), [("b", 3), ("a", 4)])
def test_another_name_or_seed_gives_another_session(name: str, seed: int) -> None:
    first, second = simulate_session("a", SMALL, 1.0, 3), simulate_session(name, SMALL, 1.0, seed)
    assert not np.array_equal(first.templates.values, second.templates.values)


def test_row_order_does_not_give_the_class_away() -> None:
    labels = simulate_session("a", SMALL, 1.0, 0).labels
    assert (labels[1:] != labels[:-1]).mean() > 0.5


def test_trains_are_sorted_unique_and_inside_the_session() -> None:
    sorting = simulate_session("a", SMALL, 1.0, 0)
    for start, stop in zip(sorting.offsets[:-1], sorting.offsets[1:], strict=True):
        train = sorting.spike_times[start:stop]
        assert (np.diff(train) > 0).all()
        assert ((train >= 0) & (train < 120 * 20_000)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_templates_fall_off_over_the_probe(layout: str) -> None:
    sorting = simulate_session("a", SMALL.model_copy(update={"layout": layout}), 1.0, 0)
    spread = np.sort(np.ptp(sorting.templates.values, axis=1), axis=1)
    assert sorting.templates.values.shape[2] == len(LAYOUTS[layout].positions_um)
    assert (np.median(spread[:, 0]) < 0.6 * np.median(spread[:, -1])).all()


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_a_unit_fires_at_about_its_rate_and_keeps_its_refractory_period(cell_type: str) -> None:
    rng = np.random.default_rng(0)
    unit = draw_unit(cell_type, 0.01, rng)
    train = simulate_train(unit, 2_000.0, rng)
    assert len(train) / 2_000 == pytest.approx(unit["rate_hz"], rel=0.25)
    assert (np.diff(train) < unit["refractory_ms"] / 2e3).mean() < 1e-3


def test_variability_spreads_the_units() -> None:
    def spread(variability: float) -> float:
        rng = np.random.default_rng(0)
        return float(np.std([draw_unit("PV", variability, rng)["trough_to_peak_ms"] for _ in range(200)]))

    assert spread(2.0) > 1.5 * spread(1.0) > 2 * spread(0.1)

"""Place, spread and propagation on the probe against units built to have them."""

import numpy as np
import pytest

from spikeprint.features.footprint import fit_velocity
from spikeprint.features.scalars import Evidence, compute_scalars
from spikeprint.features.waveform import align_waveforms

RATE_HZ = 30_000.0
Y_UM = np.arange(12) * 20.0
LINEAR = np.column_stack([np.zeros(12), Y_UM])
TIME_MS = (np.arange(90) - 35) / 30
NAMES = ("peak_channel", "x_um", "y_um", "spread_um", "velocity_um_per_ms")


def template(delay_ms: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(90, n_channels): one spike, later and smaller by channel."""
    shifted = TIME_MS[:, None] - delay_ms
    return size * (-np.exp(-0.5 * (shifted / 0.1) ** 2) + 0.3 * np.exp(-0.5 * ((shifted - 0.5) / 0.15) ** 2))


def footprint(templates: np.ndarray, positions: np.ndarray | None = LINEAR) -> dict[str, np.ndarray]:
    """Scalars of templates (n_units, n_samples, n_channels)."""
    aligned = align_waveforms(templates, RATE_HZ, 0.5)
    shape = (len(templates), templates.shape[2], 2)
    positions = None if positions is None else np.broadcast_to(positions, shape)
    return compute_scalars(
        Evidence(aligned.waveform.astype(float), np.full(len(templates), 20), 0.05, aligned, positions)
    )


SIZE = 100 * np.exp(-0.5 * ((Y_UM - 100) / 60) ** 2)


@pytest.mark.parametrize("speed", [400.0, -700.0])
def test_a_travelling_spike_has_its_speed(speed: float) -> None:
    found = footprint(template((Y_UM - 100) / speed, SIZE)[None])
    assert found["velocity_um_per_ms"][0] == pytest.approx(speed, rel=0.05)


def test_the_peak_channel_and_its_place() -> None:
    positions = LINEAR + np.array([7.0, 1000.0])
    found = footprint(np.stack([template(np.zeros(12), SIZE), np.zeros((90, 12))]), positions)
    assert [found[name][0] for name in NAMES[:3]] == [5, 7, 1100]
    assert np.isnan([found[name][1] for name in NAMES]).all()


def test_spread_is_the_largest_distance_of_channels_at_a_fifth() -> None:
    seen = Y_UM[SIZE / SIZE.max() >= 0.2]
    assert footprint(template(np.zeros(12), SIZE)[None])["spread_um"][0] == pytest.approx(np.ptp(seen))


def test_a_unit_on_one_of_many_channels_has_no_spread_but_a_known_one() -> None:
    alone = template(np.zeros(12), np.eye(12)[3] * 80)
    assert footprint(alone[None])["spread_um"][0] == 0


def test_one_channel_tells_neither_spread_nor_speed() -> None:
    found = footprint(template(np.zeros(1), np.array([80.0]))[None], np.zeros((1, 2)))
    assert np.isnan([found["spread_um"][0], found["velocity_um_per_ms"][0]]).all()


def test_three_channels_are_too_few_for_a_speed() -> None:
    found = footprint(template((Y_UM[:3]) / 400, np.full(3, 80.0))[None], LINEAR[:3])
    assert np.isnan(found["velocity_um_per_ms"][0])


def test_without_positions_only_the_channel_is_known() -> None:
    found = footprint(template(np.zeros(12), SIZE)[None], None)
    assert found["peak_channel"][0] == 5
    assert np.isnan([found[name][0] for name in NAMES[1:]]).all()


def test_bad_channels_are_left_out() -> None:
    bad = template((Y_UM - 100) / 400, SIZE)
    bad[:, [4, 7]] = np.nan
    found = footprint(bad[None])
    assert found["velocity_um_per_ms"][0] == pytest.approx(400, rel=0.05)
    assert found["peak_channel"][0] == 5


def test_units_may_have_channels_of_their_own() -> None:
    positions = np.stack([LINEAR, LINEAR + np.array([50.0, 300.0])])
    found = footprint(np.stack([template(np.zeros(12), SIZE)] * 2), positions)
    assert (found["x_um"].tolist(), found["y_um"].tolist()) == ([0, 50], [100, 400])


@pytest.mark.parametrize(
    ("positions", "trough_ms"),
    [
        (np.column_stack([np.arange(5), np.zeros(5)]), np.arange(5) / 10),
        (LINEAR[:5], np.zeros(5)),
        (LINEAR[:6], np.array([0.0, 0.3, 0.0, 0.3, 0.0, 0.31])),
    ],
    ids=["one_height", "one_time", "no_line"],
)
def test_a_speed_that_does_not_exist_is_unknown(positions: np.ndarray, trough_ms: np.ndarray) -> None:
    assert np.isnan(fit_velocity(positions, trough_ms))


def test_one_outlier_does_not_change_the_speed() -> None:
    trough_ms = Y_UM / 500
    trough_ms[-1] += 0.1
    assert fit_velocity(LINEAR, trough_ms) == pytest.approx(500, rel=0.02)

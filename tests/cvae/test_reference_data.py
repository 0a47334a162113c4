"""Batches of the reference: preprocessing row by row, and each disturbance on its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from spikeprint.cvae import reference_data
from spikeprint.cvae.reference_data import Augmentation, Batches, augment, encode_words, reference_inputs
from spikeprint.cvae.resnet import published_lengths

LENGTHS = published_lengths()
ALWAYS = Augmentation(probability=1.0)


def prepare_one(row: np.ndarray, name: str) -> np.ndarray:
    """The published steps for one unit."""
    row = np.nan_to_num(row.astype(np.float32), nan=0, posinf=0, neginf=0)
    row = np.log(1 + row) if name == "isi" else row
    row = 2 * (row - row.min()) / (row.max() - row.min() + 1e-8) - 1
    position = (np.arange(LENGTHS[name]) + 0.5) * len(row) / LENGTHS[name] - 0.5
    return np.interp(position, np.arange(len(row)), row)


def test_preprocessing_equals_a_loop_over_units() -> None:
    rng = np.random.default_rng(0)
    raw = {
        "waveform": rng.normal(0, 50, (7, 90)),
        "isi": rng.poisson(4, (7, 100)).astype(float),
        "acg": rng.poisson(40, (7, 201)).astype(float),
    }
    raw["acg"][2] = np.nan
    raw["isi"][3, 5] = np.inf
    raw["waveform"][4] = 3.0
    found = reference_inputs(raw, LENGTHS)
    for name, rows in raw.items():
        expected = [prepare_one(row, name) for row in rows]
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected, atol=2e-6)
    assert (found["acg"][2] == -1).all()
    assert (found["waveform"][4] == -1).all()


def test_an_absent_modality_is_flat() -> None:
    found = reference_inputs({"waveform": np.eye(50)[:3]}, LENGTHS)
    assert (found["acg"] == -1).all()
    assert found["acg"].shape == (3, 100)


def test_unknown_words_are_absent() -> None:
    assert encode_words(np.array(["b", "", "a", "c"]), ["a", "b"]).tolist() == [1, -1, 0, -1]


def only(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(reference_data, "CHANCES", dict.fromkeys(reference_data.CHANCES, 0.0) | {what: 1.0})


def disturb(x: torch.Tensor, strength: Augmentation = ALWAYS) -> torch.Tensor:
    torch.manual_seed(0)
    return augment({"isi": x}, strength)["isi"]


def test_smoothing_equals_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "smooth")
    x = torch.randn(5, 100)
    expected = gaussian_filter1d(x.numpy(), 1.2, axis=1, mode="reflect", radius=5)
    np.testing.assert_allclose(disturb(x, replace(ALWAYS, smoothing=(1.2, 1.2))), expected, atol=1e-6)


def test_warping_moves_values_by_at_most_five_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "warp")
    line = torch.arange(100.0).expand(500, 100)  # a warped line says where it was read
    moved = (disturb(line) - line).abs()
    assert 4.5 < moved.max() <= 5
    assert (disturb(line)[:, 1:-1] % 1 != 0).float().mean() > 0.9


def test_scale_shift_and_noise_have_their_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.ones(2000, 50)
    only(monkeypatch, "scale")
    scaled = disturb(flat)
    assert torch.equal(scaled, scaled[:, :1].expand(-1, 50))
    assert (scaled.min(), scaled.max()) == pytest.approx((0.9, 1.1), abs=1e-3)
    only(monkeypatch, "shift")
    assert ((disturb(flat) - 1).abs().max()) == pytest.approx(0.05, abs=1e-3)
    only(monkeypatch, "noise")
    assert (disturb(flat) - 1).std() == pytest.approx(0.03, rel=0.02)


def test_as_many_units_are_disturbed_as_asked() -> None:
    torch.manual_seed(0)
    flat = {name: torch.linspace(-1, 1, n).repeat(4000, 1) for name, n in LENGTHS.items()}
    changed = torch.stack([(x != flat[name]).any(dim=1) for name, x in augment(flat, Augmentation()).items()])
    per_modality = 0.3 * (1 - 0.5 * 0.5 * 0.7 * 0.6 * 0.7)
    assert changed.float().mean() == pytest.approx(per_modality, abs=0.02)
    assert changed.any(dim=0).float().mean() < 0.32  # the same units in every modality


def test_batches_give_each_row_once_and_never_one_alone() -> None:
    inputs, codes = {"isi": torch.arange(40.0)[:, None]}, {"source": torch.arange(40)}
    rows = np.arange(3, 36)
    batches = Batches(inputs, codes, rows, batch_size=16, shuffles=True)
    seen = [batch for batch in batches]
    assert len(seen) == len(batches) == 3
    assert min(len(told["source"]) for _, told in seen) > 1
    order = torch.cat([told["source"] for _, told in seen])
    assert sorted(order.tolist()) == rows.tolist()
    assert not torch.equal(order, torch.cat([told["source"] for _, told in batches]))
    assert all(torch.equal(given["isi"][:, 0].long(), told["source"]) for given, told in seen)

"""The table of scalars: each is declared, computed where its evidence is there, and NaN only where it may be."""

from typing import Any

import numpy as np
import pytest

from spikeprint.features.correlograms import compute_close_pairs, compute_isi_acg
from spikeprint.features.scalars import SCALAR_GROUPS, SCALARS, Evidence, compute_scalars
from spikeprint.features.trains import clean_trains
from spikeprint.features.waveform import align_waveforms

ALWAYS_KNOWN = ("n_spikes", "firing_rate_hz", "isi_overflow", "n_close_pairs")


def draw_evidence(seed: int) -> Evidence:
    """Units of any kind: silent, bursting, flat, missing, clipped, on few or many channels, with gaps."""
    rng = np.random.default_rng(seed)
    n, n_channels, n_samples = 12, int(rng.integers(1, 9)), int(rng.integers(5, 120))
    trains = [np.sort(rng.uniform(0, 200, rng.choice([0, 1, 2, 3, 50, 700]))) for _ in range(n)]
    times, offsets = np.concatenate(trains), np.concatenate([[0], np.cumsum([len(train) for train in trains])])
    clean = clean_trains(times, offsets, 1.0, 200.0, (times > 90).astype(int), censor_ms=float(rng.choice([0, 0.5, 2])))
    templates = rng.normal(size=(n, n_samples, n_channels)).cumsum(axis=1) * 20
    templates[0], templates[1], templates[2, :, 0] = np.nan, 3.0, np.nan
    templates[3] = np.clip(templates[3], -5, 5)
    aligned = align_waveforms(templates, float(rng.choice([10_000, 20_000, 30_000])), 0.1)
    _, acg = compute_isi_acg(clean.ticks, clean.offsets, clean.runs)
    positions = rng.normal(size=(n, n_channels, 2)) * 50
    positions[4] = np.nan
    sizes = rng.normal(40, 20, len(clean.ticks))
    sizes[::7] = np.nan
    return Evidence(
        waveform=aligned.waveform.astype(np.float64),
        trough=np.full(n, 20),
        time_base=0.05,
        aligned=aligned,
        positions_um=positions,
        trains=clean,
        acg=acg,
        close_pairs=compute_close_pairs(clean.ticks, clean.offsets, clean.runs),
        amplitudes=sizes,
        depths_um=rng.normal(size=len(clean.ticks)),
        noise=rng.choice([0.0, np.nan, 5.0], n),
    )


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.filterwarnings("error")
def test_any_input_gives_finite_numbers_or_nan(seed: int) -> None:
    evidence = draw_evidence(seed)
    scalars = compute_scalars(evidence)
    lost = np.isnan(evidence.waveform).all(axis=1)
    assert (np.isnan(evidence.waveform).any(axis=1) == lost).all()
    for name, values in scalars.items():
        assert values.shape == (12,), name
        assert not np.isinf(values).any(), name
        if name in ALWAYS_KNOWN:
            assert np.isfinite(values).all(), name
        if "waveform" in SCALARS[name].needs:
            assert np.isnan(values[lost]).all(), name
    assert np.isfinite(scalars["amplitude"][~lost]).all()


@pytest.mark.parametrize("seed", range(5))
def test_units_do_not_mix(seed: int) -> None:
    evidence = draw_evidence(seed)
    trains: Any = evidence.trains
    together = compute_scalars(evidence)
    for i in (2, 5, 11):
        start, stop = trains.offsets[i], trains.offsets[i + 1]
        segment = (trains.ticks[start:stop] > 90 * 10**6).astype(int)
        alone = clean_trains(
            trains.ticks[start:stop], np.array([0, stop - start]), 1e6, 200.0, segment, trains.censor_s * 1e3
        )
        of_unit = {
            name: getattr(evidence, name)[i : i + 1]
            for name in ("waveform", "trough", "positions_um", "acg", "close_pairs", "noise")
        }
        aligned = type(evidence.aligned)(
            **{
                name: values[i : i + 1] if isinstance(values, np.ndarray) else values
                for name, values in vars(evidence.aligned).items()
            }
        )
        of_spikes = {name: getattr(evidence, name)[start:stop] for name in ("amplitudes", "depths_um")}
        scalars = compute_scalars(Evidence(**of_unit, **of_spikes, time_base=0.05, aligned=aligned, trains=alone))
        for name in SCALARS:
            assert together[name][i] == pytest.approx(scalars[name][0], nan_ok=True), name


def test_no_evidence_gives_nan_in_every_column() -> None:
    scalars = compute_scalars(Evidence(np.full((3, 50), np.nan), np.full(3, 20)))
    assert list(scalars) == list(SCALARS)
    assert all(np.isnan(values).all() and values.shape == (3,) for values in scalars.values())


def test_every_scalar_is_declared_once_with_words() -> None:
    assert sum(map(len, SCALAR_GROUPS.values())) == len(SCALARS)
    for name, scalar in SCALARS.items():
        assert scalar.unit, name
        assert scalar.needs, name
        assert len(scalar.description) > 10, name


@pytest.mark.parametrize("name", SCALARS)
def test_a_scalar_needs_what_it_declares_and_no_more(name: str) -> None:
    whole, scalar = draw_evidence(1), SCALARS[name]
    kept = {need: getattr(whole, need) for need in scalar.needs}
    bare = Evidence(**{"waveform": whole.waveform, "trough": whole.trough, **kept})
    found = compute_scalars(bare)[name]
    assert np.isfinite(found).any() or np.isnan(compute_scalars(whole)[name]).all()

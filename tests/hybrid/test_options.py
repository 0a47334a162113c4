"""Every option: its default is the specification's, and it changes the plan."""

from typing import Any

import pytest

from hybrid_data import Toy
from spikeprint.core.config import check_section
from spikeprint.core.errors import ConfigError
from spikeprint.core.hybrid_params import HybridParams
from spikeprint.hybrid.make import make_plan

DEFAULTS: dict[str, Any] = {
    "units": "auto", "n_units": 10, "seed": 0, "mode": "svd", "rank": 6, "window_ms": (1.0, 2.0), "max_events": 2000,
    "channels": {"radius_um": 100, "min_snr": 3.0, "min_fraction": 0.05, "max_channels": 40}, "taper": 0.15,
    "relocate": {"mode": "lattice", "min_um": 60, "max_um": None, "channel_shift": None, "weights": "uniform"},
    "times": {
        "mode": "jitter", "jitter_ms": 1.7, "rate_hz": None, "refractory_ms": 2.0, "guard_ms": 1.0, "shape": 1.0,
        "burst": None,
    },
    "amplitude": {"mode": "scale", "low": 1.0, "high": 1.0}, "drift": None, "dtype": "int16", "on_clip": "error",
    "compat": False, "one_based": False, "allow_dropped": False, "fast_fingerprint": False,
}  # fmt: skip

BASE: dict[str, Any] = {"units": ["1", "3"], "channels": {"radius_um": 45.0}, "relocate": {"min_um": 20.0}}
CHANGES: dict[str, dict[str, Any]] = {
    "units": {"units": 2}, "seed": {"seed": 5}, "mode": {"mode": "mean"}, "rank": {"rank": 2}, "bank": {"bank": 8},
    "window_ms": {"window_ms": (0.8, 1.5)}, "max_events": {"max_events": 50}, "taper": {"taper": 0.6},
    "channels.radius_um": {"channels": {"radius_um": 25.0}},
    "channels.min_snr": {"channels": {"radius_um": 45.0, "min_snr": 60.0}},
    "channels.min_fraction": {"channels": {"radius_um": 45.0, "min_fraction": 0.5}},
    "channels.max_channels": {"channels": {"radius_um": 45.0, "max_channels": 2}},
    "relocate.mode": {"relocate": {"mode": "interpolate", "min_um": 20.0}},
    "relocate.min_um": {"relocate": {"min_um": 90.0}},
    "relocate.max_um": {"relocate": {"min_um": 20.0, "max_um": 21.0}},
    "relocate.channel_shift": {"relocate": {"mode": "channel_shift", "channel_shift": 2}},
    "times.mode": {"times": {"mode": "renewal"}}, "times.jitter_ms": {"times": {"jitter_ms": 9.0}},
    "times.refractory_ms": {"times": {"refractory_ms": 20.0}}, "times.guard_ms": {"times": {"guard_ms": 5.0}},
    "times.rate_hz": {"times": {"mode": "renewal", "rate_hz": 5.0}},
    "times.shape": {"times": {"mode": "renewal", "shape": 4.0}},
    "amplitude": {"amplitude": {"low": 0.5, "high": 2.0}}, "compat": {"compat": True},
}  # fmt: skip


def test_defaults_are_the_specifications() -> None:
    found = HybridParams().model_dump()
    for name, value in DEFAULTS.items():
        if isinstance(value, dict):
            assert {key: found[name][key] for key in value} == value
        else:
            assert found[name] == value


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_changes_the_plan(name: str, toy: Toy) -> None:
    source, trains, _ = toy.open()
    base, other = (check_section(HybridParams, BASE | change, "hybrid") for change in ({}, CHANGES[name]))
    one, two = make_plan(source, trains, base), make_plan(source, trains, other)
    parts = [(plan.spikes.tobytes(), plan.waveforms.tobytes(), plan.channels.tobytes()) for plan in (one, two)]
    assert parts[0] != parts[1]


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0)])
def test_factors_are_drawn_between_low_and_high(low: float, high: float, toy: Toy) -> None:
    plan, _ = toy.plan(**BASE, amplitude={"low": low, "high": high})
    scale = plan.spikes["scale"]
    assert low <= scale.min() < low + 0.1
    assert high - 0.1 < scale.max() <= high


def test_a_quick_fingerprint_leaves_out_the_whole_one(toy: Toy) -> None:
    quick, whole = (toy.plan(**BASE, fast_fingerprint=is_fast)[0] for is_fast in (True, False))
    assert (quick.source.segments[0].full, len(whole.source.segments[0].full)) == ("", 32)
    assert quick.source.segments[0].quick == whole.source.segments[0].quick


@pytest.mark.parametrize("key", [*DEFAULTS, "relocate.mode", "times.guard_ms"])
def test_a_slip_of_any_key_is_told_with_the_nearest(key: str) -> None:
    *parents, name = key.split(".")
    values: dict[str, Any] = {f"{name}x": 1}
    for parent in reversed(parents):
        values = {parent: values}
    with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
        check_section(HybridParams, values, "hybrid")

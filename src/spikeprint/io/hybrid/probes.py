"""Contacts by channel. Enters: a probe file, the name of a built-in layout, or lists. Leaves: a ``ProbeTable``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ConfigError, DataError, suggest
from ..traces.probes import read_probe

CUSTOM = ("channel_map", "connected", "channel_positions")


@dataclass(frozen=True)
class ProbeTable:
    """Where the contact of each channel is.

    Attributes
    ----------
    positions_um : (n_channels, 2); NaN for channels without a connected contact (sync, reference)
    shanks : (n_channels,) int64
    """

    positions_um: np.ndarray
    shanks: np.ndarray


def make_neuropixels3a() -> ProbeTable:
    """Neuropixels 3A, 384 sites and sync, as hybridfactory has it: ten reference sites are not connected."""
    site = np.arange(384)
    x = np.array([43.0, 11.0, 59.0, 27.0])[site % 4]
    positions = np.full((385, 2), np.nan)
    positions[:384] = np.column_stack([x, 20.0 * (site // 2 + 1)])
    positions[[36, 75, 112, 151, 188, 227, 264, 303, 340, 379]] = np.nan
    return ProbeTable(positions, np.zeros(385, dtype=np.int64))


def make_emouse() -> ProbeTable:
    """The simulated mouse of Kilosort (eMouse): two staggered columns 20 µm apart; channels 32 and 33 are dead."""
    channels = [*range(7, 32, 2), *range(6, 31, 2), *range(6)]
    x = [1, 0, 0, *[1, 0] * 6, 1, *[1, 0] * 8]
    y = [7, 8, *np.repeat(np.arange(9, 16), 2), 16, *np.repeat(np.arange(17, 24), 2), 24]
    positions = np.full((34, 2), np.nan)
    positions[channels] = 20.0 * np.column_stack([x, y])
    return ProbeTable(positions, np.zeros(34, dtype=np.int64))


BUILT_IN: dict[str, Callable[[], ProbeTable]] = {"neuropixels3a": make_neuropixels3a, "emouse": make_emouse}


def make_probe(given: str | Path | Mapping[str, Any], n_channels: int) -> ProbeTable:
    """Return the contacts of ``n_channels`` channels.

    Parameters
    ----------
    given : a probe file, a name of ``BUILT_IN``, or ``channel_map`` (n,), ``connected`` (n,), ``channel_positions``
        (n, 2 or more), as hybridfactory's custom probe

    Raises
    ------
    ConfigError
        Lists that do not fit together, or a name that is neither built in nor a file.
    DataError
        The layout has another number of channels, or the file cannot be read.
    """
    if isinstance(given, Mapping):
        return _from_lists(given, n_channels)
    if str(given) in BUILT_IN:
        table = BUILT_IN[str(given)]()
        if len(table.positions_um) != n_channels:
            raise DataError(
                f"probe {given}: {len(table.positions_um)} channels, the traces have {n_channels}; give a probe file"
            )
        return table
    path = Path(given)
    if not path.is_file():
        raise ConfigError(
            f"layout.probe: '{given}' is no file{suggest(str(given), BUILT_IN)}; built in: {', '.join(BUILT_IN)}"
        )
    return table_of(read_probe(path, n_channels), n_channels)


def table_of(group: Any, n_channels: int) -> ProbeTable:
    """Return a probeinterface ``ProbeGroup`` by channel."""
    positions, shanks = np.full((n_channels, 2), np.nan), np.zeros(n_channels, dtype=np.int64)
    names: dict[tuple[int, str], int] = {}
    for number, probe in enumerate(group.probes):
        wiring = probe.device_channel_indices
        used = np.flatnonzero(wiring >= 0)
        positions[wiring[used]] = probe.contact_positions[used]
        ids = probe.shank_ids if probe.shank_ids is not None else np.full(len(wiring), "")
        for contact in used:
            shanks[wiring[contact]] = names.setdefault((number, str(ids[contact])), len(names))
    return ProbeTable(positions, shanks)


def _from_lists(given: Mapping[str, Any], n_channels: int) -> ProbeTable:
    """A custom probe: entry i says where channel ``channel_map[i]`` is and whether it is connected."""
    for name in given:
        if name not in CUSTOM:
            raise ConfigError(f"layout.probe: unknown key '{name}'{suggest(str(name), CUSTOM)}; {', '.join(CUSTOM)}")
    try:
        places = np.asarray(given["channel_positions"], dtype=np.float64)
        channels = np.asarray(given["channel_map"]).astype(np.int64).ravel()
        connected = np.asarray(given.get("connected", np.ones(len(channels)))).ravel().astype(bool)
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"layout.probe: {', '.join(CUSTOM)} must be lists of numbers ({error})") from None
    if places.ndim != 2 or places.shape[1] < 2 or not len(places) == len(channels) == len(connected):
        raise ConfigError(
            f"layout.probe: {len(channels)} channels, {len(connected)} connected, positions {places.shape}; one [x, y] "
            "and one flag per channel are needed"
        )
    if len(channels) == 0 or channels.min() < 0 or channels.max() >= n_channels or len(set(channels)) < len(channels):
        raise ConfigError(f"layout.probe: channel_map must name channels 0 to {n_channels - 1}, each at most once")
    positions = np.full((n_channels, 2), np.nan)
    positions[channels[connected]] = places[connected, :2]
    return ProbeTable(positions, np.zeros(n_channels, dtype=np.int64))

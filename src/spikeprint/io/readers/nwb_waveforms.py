"""Mean waveforms of NWB units. Enters: a units table. Leaves: ``Templates``, None where the file holds no waveforms.

The format asks for (samples, channels) and volts; files with channels first, and with microvolts called volts, exist.
Neither is guessed: the axes are decided by evidence or refused, doubtful volts are kept in arbitrary units.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ...core.config import SAMPLING_HZ
from ...core.errors import DataError
from ...core.runtime import LOGGER
from ...core.types import Templates
from .nwb_electrodes import count_electrodes, find_positions, read_electrodes
from .nwb_file import UnitsTable, is_group
from .shared import settle_rate

MEANS, SPIKES = ("waveform_mean",), ("spike_waveforms", "waveforms")
MICROVOLTS = {
    **dict.fromkeys(("volts", "volt", "v"), 1e6),
    **dict.fromkeys(("millivolts", "millivolt", "mv"), 1e3),
    **dict.fromkeys(("microvolts", "microvolt", "uv", "µv"), 1.0),
}
"""Lower-case unit -> microvolts."""
MAX_SPIKE_V = 1e-2
"""Larger "volts" are not: extracellular spikes stay below 10 mV peak to peak."""
WINDOW_MS = (0.5, 10.0)
"""A waveform lasts at least and at most so long; an order of the axes that says otherwise is wrong."""
USUAL_WINDOW_MS = (0.75, 6.0)
"""Nearly all last so long: from 32 samples at 40 kHz (Plexon) to the long templates of SpikeInterface."""
BLOCK_BYTES = 32 * 2**20

Order = Literal["samples first", "channels first"]


@dataclass(frozen=True)
class Blocks:
    """Mean waveforms as the file holds them.

    Attributes
    ----------
    name : column
    values : one 2-D float32 array per unit, None where it has no waveform
    order : of the axes, None = not known yet
    """

    name: str
    values: list[np.ndarray | None]
    order: Order | None


def read_templates(table: UnitsTable, file: Any, sampling_frequency_hz: float | None) -> Templates | None:
    """Mean waveforms of every unit on its channels.

    Parameters
    ----------
    table, file : units table of an open file
    sampling_frequency_hz : used where the file does not tell the rate of its waveforms

    Raises
    ------
    DataError
        The rate is unknown, the axes cannot be told apart, or shapes disagree.
    """
    blocks = _read_blocks(table)
    if blocks is None or all(block is None for block in blocks.values):
        return None
    rate_hz = _find_rate(table, blocks.name, file, sampling_frequency_hz)
    electrodes = read_electrodes(table)
    n_own = np.array([len(own) for own in electrodes])
    order = blocks.order or _decide_order(table, blocks, n_own, count_electrodes(file), rate_hz)
    values = _stack(table, blocks, order)
    if n_own.max() == values.shape[2]:
        for unit in np.flatnonzero(n_own):
            values[unit, :, n_own[unit] :] = np.nan  # they only pad a unit with fewer electrodes
    unit_name = _to_microvolts(table, blocks.name, values)
    return Templates(values, rate_hz, unit_name, find_positions(table, file, electrodes, values.shape[2]))


# Blocks --------------------------------------------------------------------------------------------------------------


def _read_blocks(table: UnitsTable) -> Blocks | None:
    """The means of the first column that holds waveforms."""
    for name in (*MEANS, *SPIKES):
        if table.has(name) and table.group[name].size:
            column = table.group[name]
            if column.dtype.kind not in "fiu" or not 1 <= column.ndim <= 4:
                raise DataError(f"{table.path}: units/{name} is {column.dtype} {column.shape}; numbers are needed")
            if table.has(f"{name}_index_index"):
                return Blocks(name, _average_events(table, name), "channels first")
            return _read_means(table, name) if name in MEANS else _average_spikes(table, name)
    return None


def _read_means(table: UnitsTable, name: str) -> Blocks:
    """Means of equal shape, (n_units, samples[, channels]), or one under another with an index (Allen)."""
    column = table.group[name]
    values = column.astype(np.float32)[...]
    offsets = table.offsets(name, len(values))
    if offsets is None:
        _check_rows(table, name, len(values))
        rows: list[np.ndarray] = list(values)
    else:
        _check_rows(table, name, len(offsets) - 1)
        rows = [values[a:b] for a, b in pairwise(offsets)]
    return _as_blocks(table, name, rows)


def _average_spikes(table: UnitsTable, name: str) -> Blocks:
    """Means over the first axis of each unit: (spikes, samples[, channels]), ragged by an index or not."""
    column = table.group[name]
    offsets = table.offsets(name, len(column))
    _check_rows(table, name, len(column) if offsets is None else len(offsets) - 1)
    if offsets is None:  # (n_units, samples) is one waveform per unit, more axes begin with the spikes
        means = [column[u] if column.ndim == 2 else column[u].mean(axis=0) for u in range(table.n_units)]
        return _as_blocks(table, name, [mean.astype(np.float32) for mean in means])
    empty = np.empty(0, dtype=np.float32)
    pairs = pairwise(offsets)
    return _as_blocks(table, name, [_mean_rows(column, a, b, 1)[0] if b > a else empty for a, b in pairs])


def _average_events(table: UnitsTable, name: str) -> list[np.ndarray | None]:
    """Means over spikes of a doubly ragged column: for each unit its spikes, for each of these one row per channel."""
    column = table.group[name]
    rows = table.offsets(name, len(column))
    spikes = None if rows is None else table.offsets(f"{name}_index", len(rows) - 1)
    if rows is None or spikes is None:
        raise DataError(f"{table.path}: units/{name}_index is missing beside {name}_index_index; both are needed")
    _check_rows(table, name, len(spikes) - 1)
    if column.ndim != 2:
        raise DataError(f"{table.path}: units/{name} is {column.shape}; (rows, samples) is needed")
    means: list[np.ndarray | None] = []
    for unit, (first, last) in enumerate(pairwise(spikes)):
        n_channels = np.unique(np.diff(rows[first : last + 1]))
        if len(n_channels) > 1:
            raise DataError(
                f"{table.path}: units/{name}: spikes of unit {table.unit_ids[unit]} have {n_channels[0]} to "
                f"{n_channels[-1]} channels; one number of channels per unit is needed"
            )
        has_rows = last > first and n_channels[0] > 0
        means.append(_mean_rows(column, rows[first], rows[last], int(n_channels[0])) if has_rows else None)
    return means


def _mean_rows(column: Any, first: int, last: int, n_channels: int) -> np.ndarray:
    """Mean over spikes of rows ``first:last``, ``n_channels`` rows per spike, read in blocks of bounded memory."""
    shape = column.shape[1:]
    total = np.zeros((n_channels, *shape))
    step = max(1, BLOCK_BYTES // max(1, 8 * n_channels * int(np.prod(shape)))) * n_channels
    for start in range(first, last, step):
        total += column[start : min(start + step, last)].reshape(-1, n_channels, *shape).sum(axis=0)
    return (total / ((last - first) // n_channels)).astype(np.float32)


def _as_blocks(table: UnitsTable, name: str, rows: list[np.ndarray]) -> Blocks:
    """Single-channel rows become (samples, 1), whose order is known."""
    # an index may stand over rows that are whole (samples, channels) waveforms: one row per unit then
    rows = [row[0] if row.ndim == 3 and len(row) == 1 else row for row in rows]
    held = [row if row.size else None for row in rows]
    axes = {row.ndim for row in rows if row.size}
    if axes <= {1}:
        return Blocks(name, [None if row is None else row[:, None] for row in held], "samples first")
    if axes == {2}:
        return Blocks(name, held, None)
    raise DataError(
        f"{table.path}: units/{name} is {table.group[name].shape}; one waveform, or (samples, channels), per unit"
    )


def _check_rows(table: UnitsTable, name: str, n_rows: int) -> None:
    if n_rows != table.n_units:
        raise DataError(
            f"{table.path}: units/{name} has {n_rows} rows; one for each of {table.n_units} units is needed"
        )


# Axes ----------------------------------------------------------------------------------------------------------------


def _decide_order(table: UnitsTable, blocks: Blocks, n_own: np.ndarray, n_electrodes: int, rate_hz: float) -> Order:
    """Which axis is time: by the electrodes of each unit, else by how long a waveform lasts, else by two more signs.

    ``n_own`` (n_units,) counts the electrodes that each unit names, ``n_electrodes`` those of the file. The latter tell
    last, for units may stand on some of them only, and waveforms may have as many samples as the file has electrodes.
    """
    held = [(block, n) for block, n in zip(blocks.values, n_own, strict=True) if block is not None]
    shapes, own = np.array([block.shape for block, _ in held]), np.array([n for _, n in held])
    longest = shapes.max(axis=0)
    window_ms = 1e3 * longest / rate_hz
    what = f"{table.path}: units/{blocks.name} is {longest[0]} x {longest[1]} per unit"
    by_count = _name_order(longest == 1, (shapes == own[:, None]).all(axis=0), longest == own.max())
    if by_count:
        return by_count
    if not _lies_in(window_ms, WINDOW_MS).any():
        raise DataError(
            f"{what}, and at {rate_hz:g} Hz neither axis lasts {WINDOW_MS[0]:g} to {WINDOW_MS[1]:g} ms; "
            "check the rate, or give a units column 'electrodes'"
        )
    by_window = _name_order(*(~_lies_in(window_ms, limits) for limits in (WINDOW_MS, USUAL_WINDOW_MS)))
    if by_window:
        return by_window
    by_file, by_troughs = _name_order(longest == n_electrodes), _compare_troughs([block for block, _ in held])
    if by_file and by_troughs and by_file != by_troughs:
        raise DataError(
            f"{what}: the {n_electrodes} electrodes of the file say {by_file}, the troughs {by_troughs}; "
            "a units column 'electrodes' is needed"
        )
    found = by_file or by_troughs
    if found is None:
        raise DataError(
            f"{what}, and neither electrodes, rate nor troughs tell which axis is time; "
            "a units column 'electrodes' is needed"
        )
    return found


def _name_order(*tests: np.ndarray) -> Order | None:
    """The order by the first of these tests that just one of both axes passes as the axis of channels."""
    is_channels = next((test for test in tests if test.sum() == 1), None)
    return None if is_channels is None else "channels first" if is_channels[0] else "samples first"


def _lies_in(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values >= limits[0]) & (values <= limits[1])


def _compare_troughs(blocks: list[np.ndarray]) -> Order | None:
    """Troughs of units lie at one sample but on different channels: the axis along which they vary more."""
    finite = [block for block in blocks if np.isfinite(block).any()]
    minima = np.array([np.unravel_index(np.nanargmin(block), block.shape) for block in finite]).reshape(-1, 2)
    spread = minima.var(axis=0) if len(minima) else np.zeros(2)
    return _name_order(spread > spread[::-1])


def _stack(table: UnitsTable, blocks: Blocks, order: Order) -> np.ndarray:
    """(n_units, n_samples, n_channels) float32; channels that a unit lacks or that are not finite are NaN."""
    held = {
        unit: block if order == "samples first" else block.T
        for unit, block in enumerate(blocks.values)
        if block is not None
    }
    n_samples = {block.shape[0] for block in held.values()}
    if len(n_samples) > 1:
        raise DataError(
            f"{table.path}: units/{blocks.name}: waveforms of {min(n_samples)} to {max(n_samples)} samples; "
            "all units need the same number"
        )
    shape = (table.n_units, n_samples.pop(), max(block.shape[1] for block in held.values()))
    values = np.full(shape, np.nan, dtype=np.float32)
    for unit, block in held.items():
        values[unit, :, : block.shape[1]] = np.where(np.isfinite(block).all(axis=0), block, np.nan)
    return values


# What the file says of them ------------------------------------------------------------------------------------------


def _find_rate(table: UnitsTable, name: str, file: Any, given_hz: float | None) -> float:
    """Rate of the waveforms: told with them, by the resolution of the spike times, by the probe, or by the user."""
    resolution = _number(table.attribute("spike_times", "resolution"))
    found = [_number(table.attribute(name, key)) for key in ("sampling_rate", "waveform_rate")]
    found += [_number(table.group.attrs.get("waveform_rate")), 1 / resolution if resolution > 0 else 0.0]
    found += [_probe_rate(file)]
    told = next((rate for rate in found if SAMPLING_HZ[0] <= rate <= SAMPLING_HZ[1]), None)
    return settle_rate(told, given_hz, f"{table.path}: units/{name}: sampling_rate")


def _probe_rate(file: Any) -> float:
    """Rate that all electrode groups share (Allen probes carry one), 0 where they tell none or differ."""
    groups = file.get("general/extracellular_ephys", {})
    rates = {_number(groups[name].attrs.get("sampling_rate")) for name in groups if is_group(groups, name)} - {0.0}
    return rates.pop() if len(rates) == 1 else 0.0


def _number(value: Any) -> float:
    """A finite number, 0 for anything else."""
    is_number = isinstance(value, (int, float, np.number)) and np.isfinite(value)
    return float(value) if is_number else 0.0


def _to_microvolts(table: UnitsTable, name: str, values: np.ndarray) -> Literal["uV", "au"]:
    """Scale ``values`` in place to µV where the file tells their unit believably; otherwise they are arbitrary."""
    unit = table.attribute(name, "unit")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit or "")
    factor = MICROVOLTS.get(unit.strip().lower())
    if factor is None:
        return "au"
    factor *= _number(table.attribute(name, "conversion")) or 1.0
    # fmax and fmin pass over NaN, and stay silent where there is nothing else
    heights = np.fmax.reduce(np.fmax.reduce(values, axis=1) - np.fmin.reduce(values, axis=1), axis=1)
    seen = heights[heights > 0]
    typical_v = 1e-6 * factor * float(np.median(seen)) if len(seen) else 0.0
    if typical_v > MAX_SPIKE_V:
        LOGGER.warning(
            "%s: units/%s is in %s, but its spikes would be %.3g V high; kept in arbitrary units (au)",
            table.path, name, unit, typical_v,
        )  # fmt: skip
        return "au"
    values *= np.float32(factor)
    return "uV"

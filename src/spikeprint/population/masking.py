"""What training hides from the encoder. Enters: windows and ratios. Leaves: windows with zeros. Seeded, training only.

The masks are those of cebra: single units, single rows, a block of units, blocks of rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..core.errors import SettingError

HALF_HIDDEN, MOST_HIDDEN = 120, 0.5
"""Units of which ``auto`` hides half, and the largest share that it hides."""
Random = torch.Generator
Ratio = float | Sequence[float]


def _neurons(shape: torch.Size, ratio: float, random: Random) -> torch.Tensor:
    return torch.rand((shape[0], 1, shape[2]), generator=random) >= ratio


def _timesteps(shape: torch.Size, ratio: float, random: Random) -> torch.Tensor:
    return torch.rand((shape[0], shape[1], 1), generator=random) >= ratio


def _neuron_block(shape: torch.Size, ratio: float, random: Random) -> torch.Tensor:
    length = max(1, round(ratio * shape[2]))
    start = torch.randint(shape[2] - length + 1, (shape[0], 1), generator=random)
    at = torch.arange(shape[2])
    return ((at < start) | (at >= start + length))[:, None, :]


def _time_blocks(shape: torch.Size, ratio: Sequence[float], random: Random) -> torch.Tensor:
    share, length = ratio
    starts = torch.rand((shape[0], shape[1]), generator=random) < share
    hidden = starts.clone()
    for shift in range(1, int(length)):
        hidden[:, shift:] |= starts[:, : shape[1] - shift]
    return ~hidden[:, :, None]


MASKS: dict[str, Callable[..., torch.Tensor]] = {
    "RandomNeuronMask": _neurons,
    "RandomTimestepMask": _timesteps,
    "NeuronBlockMask": _neuron_block,
    "TimeBlockMask": _time_blocks,
}
"""Name -> which cells of windows (n, rows, units) are kept."""


def check_masks(masking: Any) -> dict[str, Any]:
    """Return the masks by name, from a dict or pairs.

    Raises
    ------
    SettingError
        An unknown mask or a ratio out of range.
    """
    masks = dict(masking.items() if isinstance(masking, Mapping) else masking or ())
    for name, ratio in masks.items():
        if name not in MASKS:
            raise SettingError(f"masking_kwargs: unknown mask '{name}'; known: {', '.join(MASKS)}")
        shares = _ratios(name, ratio)
        firsts = [share[0] if isinstance(share, (tuple, list)) else share for share in shares]
        if not shares or not all(0 < share < 1 for share in firsts):
            raise SettingError(f"masking_kwargs: {name}: {ratio}; ratios must lie between 0 and 1")
    return masks


def _ratios(name: str, ratio: Ratio) -> list[Any]:
    """All ratios one of which is drawn for a batch."""
    if name == "TimeBlockMask":
        if not isinstance(ratio, (tuple, list)) or len(ratio) != 2 or ratio[1] < 1:
            raise SettingError(f"masking_kwargs: {name}: {ratio}; a pair (share of starts, length in rows) is needed")
        return [tuple(ratio)]
    if isinstance(ratio, (int, float)):
        return [float(ratio)]
    if isinstance(ratio, tuple):
        if len(ratio) != 3 or ratio[2] <= 0:
            raise SettingError(f"masking_kwargs: {name}: {ratio}; a tuple is (least, largest, step)")
        least, largest, step = ratio
        return [least + i * step for i in range(int((largest - least) / step + 1e-9) + 1)]
    return [float(share) for share in ratio]


def auto_dropout(n_units: int) -> float:
    """Return the share of units to hide: a fifth of 30, a third of 60, half of 120 or more.

    Hiding a share p of n units adds noise of variance p / (1 - p) / n to what all of them say: p / (1 - p) = n / 120
    keeps it the same. Many units say the same thing and overfit; of few none can be spared.
    """
    return min(MOST_HIDDEN, n_units / (n_units + HALF_HIDDEN))


def make_distortion(
    masks: Mapping[str, Any], unit_dropout: float | str, random: Random
) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return what happens to every training window (n, rows, units), None when nothing does."""
    choices = [(name, ratio) for name, given in masks.items() for ratio in _ratios(name, given)]
    if not choices and not unit_dropout:
        return None

    def distort(windows: torch.Tensor) -> torch.Tensor:
        if choices:
            name, ratio = choices[int(torch.randint(len(choices), (1,), generator=random))]
            windows = windows * MASKS[name](windows.shape, ratio, random).to(windows.device)
        if unit_dropout:
            share = float(auto_dropout(windows.shape[2]) if unit_dropout == "auto" else unit_dropout)
            shape = torch.Size((windows.shape[0], 1, windows.shape[2]))
            kept = _neurons(shape, share, random).to(windows.device)
            windows = windows * (kept / (1 - share))
        return windows

    return distort

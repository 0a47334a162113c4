"""Parameters of ``PopulationEmbedder``, by cebra's names. Enters: what a user passes. Leaves: checked values."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import torch

from ..core.errors import SettingError, suggest
from .masking import check_masks

CONDITIONALS = (None, "time", "time_delta", "delta", "delta_normal")


@dataclass(eq=False, repr=False)
class Settings:
    """Parameters; those of cebra first, in its order, with its defaults.

    Attributes
    ----------
    model_architecture : name in the registry, or ``offset<n>-model``
    device : ``cuda_if_available`` (cuda, then mps, then cpu), ``cpu``, ``cuda``, ``cuda:<k>``, ``mps``
    criterion : ``infonce``
    distance : ``cosine`` or ``euclidean``
    conditional : None, ``time``, ``time_delta``, ``delta`` (also ``delta_normal``)
    temperature, temperature_mode, min_temperature : of the loss; ``auto`` learns it, above the floor
    time_offsets : rows between the parts of a pair in time; several = one drawn for each pair
    delta : standard deviation of the step of ``delta``, in the units of the label
    max_iterations, max_adapt_iterations : steps
    batch_size : references of each session; None = all rows in every step, ``auto`` = 512, on a GPU 2048
    learning_rate, optimizer, optimizer_kwargs : any optimiser of ``torch.optim``
    output_dimension, num_hidden_units : of the encoder
    verbose : progress bar
    pad_before_transform : as many rows out as in
    hybrid : True, or ``behavior_dims``, ``weight``, ``renormalize``: a loss in time beside that of the labels
    masking_kwargs : pairs of a mask and its ratio
    random_state : seed; equal seeds give equal weights on the CPU
    num_negatives : None = the other references of the batch
    validation_fraction : share of each session, in blocks, that is never drawn from; 0 = none
    check_every : steps between two looks at it
    patience : looks without improvement before training stops; None = never
    tolerance : bits below the best look that still count as good
    input_transform : ``auto`` (square root of integer counts), ``none``, ``sqrt``, ``zscore``
    unit_dropout : share of units hidden from each training window; ``auto`` grows with the number of units, see
        ``masking.auto_dropout``
    averaging : weight of the past in the running mean of the weights that is looked at and kept; 0 = the last step's
    sampling : ``auto``, or the layout ``iid``, ``block``, ``full``
    label_scale : ``std`` = continuous labels are divided by their spread, or ``raw``
    label_periods : position of a circular label among the labels -> its period
    prior : of discrete labels: ``empirical`` = rows, ``uniform`` = classes are equally likely
    shared_trunk : sessions share all layers but those that see units
    within_session : pairs in time without labels, each in its own session
    smoothing : rows that ``transform`` takes the mean over on either side, see ``smoothing.py``; 1 = none, ``auto`` =
        the least time offset in modes that make pairs by it
    """

    model_architecture: str = "offset1-model"
    device: str = "cuda_if_available"
    criterion: str = "infonce"
    distance: str = "cosine"
    conditional: str | None = None
    temperature: float = 1.0
    temperature_mode: str = "constant"
    min_temperature: float | None = 0.1
    time_offsets: int | Sequence[int] = 1
    delta: float | None = None
    max_iterations: int = 10000
    max_adapt_iterations: int = 500
    batch_size: int | Literal["auto"] | None = None
    learning_rate: float = 3e-4
    optimizer: str = "adam"
    output_dimension: int = 8
    verbose: bool = False
    num_hidden_units: int = 32
    pad_before_transform: bool = True
    hybrid: bool | Mapping[str, Any] = False
    optimizer_kwargs: Any = (("betas", (0.9, 0.999)), ("eps", 1e-8), ("weight_decay", 0), ("amsgrad", False))
    masking_kwargs: Any = None
    random_state: int | None = None
    num_negatives: int | None = None
    validation_fraction: float = 0.1
    check_every: int = 100
    patience: int | None = 5
    tolerance: float = 0.1
    input_transform: str = "auto"
    unit_dropout: float | Literal["auto"] = "auto"
    averaging: float = 0.998
    sampling: str = "auto"
    label_scale: str = "std"
    label_periods: Any = None
    prior: str = "empirical"
    shared_trunk: bool = False
    within_session: bool = False
    smoothing: int | Literal["auto"] = "auto"


CHOICES: dict[str, tuple[Any, ...]] = {
    "criterion": ("infonce",),
    "distance": ("cosine", "euclidean"),
    "conditional": CONDITIONALS,
    "temperature_mode": ("constant", "auto"),
    "input_transform": ("auto", "none", "sqrt", "zscore"),
    "sampling": ("auto", "iid", "block", "full"),
    "label_scale": ("std", "raw"),
    "prior": ("empirical", "uniform"),
}


def _is_reach(value: Any) -> bool:
    return value == "auto" or (isinstance(value, Integral) and int(value) >= 1)


RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda v: math.isfinite(v) and v > 0, "a number above 0"),
    "max_iterations": (lambda v: v >= 1, "1 or more"),
    "max_adapt_iterations": (lambda v: v >= 1, "1 or more"),
    "batch_size": (
        lambda v: v is None or v == "auto" or (not isinstance(v, str) and v >= 1),
        "1 or more, auto or None",
    ),
    "learning_rate": (lambda v: v > 0, "above 0"),
    "output_dimension": (lambda v: v >= 1, "1 or more"),
    "num_hidden_units": (lambda v: v >= 1, "1 or more"),
    "num_negatives": (lambda v: v is None or v >= 1, "1 or more, or None"),
    "validation_fraction": (lambda v: 0 <= v < 1, "from 0 to below 1"),
    "check_every": (lambda v: v >= 1, "1 or more"),
    "patience": (lambda v: v is None or v >= 1, "1 or more, or None"),
    "tolerance": (lambda v: v >= 0, "0 or more"),
    "unit_dropout": (lambda v: v == "auto" or (not isinstance(v, str) and 0 <= v < 1), "from 0 to below 1, or auto"),
    "averaging": (lambda v: 0 <= v < 1, "from 0 to below 1"),
    "smoothing": (_is_reach, "a whole number from 1 on, or auto"),
}
HYBRID = {"behavior_dims": 3, "weight": 1.0, "renormalize": True}


def check_settings(settings: Settings) -> None:
    """Raise SettingError for the first parameter that cannot be used, with what is allowed."""
    for name, allowed in CHOICES.items():
        value = getattr(settings, name)
        if value not in allowed:
            hint = suggest(str(value), [str(a) for a in allowed])
            raise SettingError(f"{name} = '{value}': unknown; allowed: {', '.join(map(str, allowed))}{hint}")
    for name, (holds, needed) in RANGES.items():
        value = getattr(settings, name)
        if not holds(value):
            raise SettingError(f"{name} = {value}: {needed} is needed")
    if settings.distance == "cosine" and settings.output_dimension < 2:
        raise SettingError(
            "output_dimension = 1 with the cosine distance gives only the values -1 and 1; take 2 or more"
        )
    if settings.conditional in ("delta", "delta_normal") and not (settings.delta or 0) > 0:
        raise SettingError("conditional = 'delta' needs delta, the standard deviation of the label's step, above 0")
    if min(time_offsets(settings)) < 1:
        raise SettingError(f"time_offsets = {settings.time_offsets}: whole numbers of 1 or more are needed")
    hybrid = hybrid_options(settings)
    if hybrid and settings.output_dimension <= hybrid["behavior_dims"]:
        raise SettingError(
            f"hybrid: output_dimension {settings.output_dimension} must exceed behavior_dims {hybrid['behavior_dims']}"
        )
    check_masks(settings.masking_kwargs)
    find_optimizer(settings.optimizer)
    find_device(settings.device)


def time_offsets(settings: Settings) -> tuple[int, ...]:
    """Return the time offsets as a tuple."""
    given: Any = settings.time_offsets
    return tuple(map(int, given)) if hasattr(given, "__iter__") else (int(given),)


def hybrid_options(settings: Settings) -> dict[str, Any] | None:
    """Return the options of the hybrid loss, None without one.

    Raises
    ------
    SettingError
        An option that is not known.
    """
    if not settings.hybrid:
        return None
    given = settings.hybrid if isinstance(settings.hybrid, Mapping) else {}
    if unknown := set(given) - set(HYBRID):
        raise SettingError(f"hybrid: unknown {sorted(unknown)}; options: {', '.join(HYBRID)}")
    return {**HYBRID, **given}


def find_optimizer(name: str) -> Callable[..., torch.optim.Optimizer]:
    """Return an optimiser of ``torch.optim`` by its name in any case.

    Raises
    ------
    SettingError
        There is none of this name.
    """
    kinds = {
        key.lower(): kind
        for key, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and key != "Optimizer"
    }
    if str(name).lower() not in kinds:
        raise SettingError(f"optimizer = '{name}': unknown{suggest(str(name), kinds)}; known: {', '.join(kinds)}")
    return kinds[name.lower()]


def find_device(name: str) -> torch.device:
    """Return the device that a name means on this machine.

    Raises
    ------
    SettingError
        The name is unknown, or the machine has no such device.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "cuda_if_available":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if has[kind]))
    kind, _, index = str(name).partition(":")
    if kind not in has or (index and (kind != "cuda" or not index.isdigit())):
        raise SettingError(f"device = '{name}': unknown; allowed: cuda_if_available, cpu, cuda, cuda:<k>, mps")
    if not has[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise SettingError(f"device = '{name}': this machine has none; take cpu or cuda_if_available")
    return torch.device(name)

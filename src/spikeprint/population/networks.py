"""Encoders. Enters: a name of cebra's registry. Leaves: a network that passes over runs of rows.

The architectures are those of the ``cebra`` package. Here they get a norm that survives zeros, layers that are not one
and the same, and any receptive field by its name: ``offset<n>-model``.
"""

import copy
import difflib
import re
from collections.abc import Callable
from typing import Any

import cebra.data
import cebra.models
import torch
from cebra.models.layers import _Norm
from cebra.models.model import ConvolutionalModelMixin, ResampleModelMixin, _OffsetModel
from torch import nn

from ..core.errors import SettingError

FLOOR = 1e-12
"""Least length of an embedding before it is divided by it."""
_ANY_OFFSET = re.compile(r"offset(\d+)-model")
_TRIAL_UNITS = (3, 4)
"""Numbers of units by which the layers that see units are told from the others."""


class SafeNorm(nn.Module):
    """Divide by the length over channels; a zero stays zero, where cebra's norm gives NaN."""

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return ``embedding`` (n, d) or (n, d, time) of length 1 along d."""
        return embedding / torch.linalg.vector_norm(embedding, dim=1, keepdim=True).clamp_min(FLOOR)


class _AnyOffset(_OffsetModel, ConvolutionalModelMixin):
    """The family of ``offset10-model`` with another receptive field."""

    def __init__(self, n: int, num_neurons: int, num_units: int, num_output: int, normalize: bool = True) -> None:
        n_blocks = (n - 4) // 2 if n % 2 == 0 else (n - 3) // 2
        super().__init__(
            nn.Conv1d(num_neurons, num_units, 2),
            nn.GELU(),
            *self._make_layers(num_units, n_blocks),
            nn.Conv1d(num_units, num_output, 3 if n % 2 == 0 else 2),
            num_input=num_neurons,
            num_output=num_output,
            normalize=normalize,
        )
        self._n = n

    def get_offset(self) -> Any:
        """Half of the receptive field before the row, the rest from it on."""
        return cebra.data.Offset(self._n // 2, self._n - self._n // 2)


def build_encoder(name: str, n_units: int, n_hidden: int, n_output: int, seed: int) -> nn.Module:
    """Return a fresh encoder.

    Parameters
    ----------
    name : of cebra's registry, or ``offset<n>-model`` with n of 4 or more
    seed : of its weights; the global generator is left as it was

    Raises
    ------
    SettingError
        No such architecture; the nearest names are told.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _construct(name, n_units, n_hidden, n_output)
        _separate(encoder)
    _replace(encoder, lambda module: isinstance(module, _Norm), lambda _: SafeNorm())
    return encoder


def _construct(name: str, n_units: int, n_hidden: int, n_output: int) -> nn.Module:
    if name in cebra.models.get_options(expand_parametrized=True):
        return cebra.models.init(name, n_units, n_hidden, n_output)
    free = _ANY_OFFSET.fullmatch(name) if isinstance(name, str) else None
    if free and int(free[1]) >= 4:
        return _AnyOffset(int(free[1]), n_units, n_hidden, n_output)
    near = difflib.get_close_matches(str(name), cebra.models.get_options(), n=3, cutoff=0.4)
    raise SettingError(
        f"model_architecture '{name}': unknown; near: {', '.join(near) or 'none'}; a custom one must be registered, so "
        "import the module that does"
    )


def _separate(encoder: nn.Module) -> None:
    """Give every place of a layer that stands several times weights of its own."""
    seen: set[int] = set()
    for parent in list(encoder.modules()):
        for key, child in parent._modules.items():
            if child is None or not list(child.parameters()):
                continue
            if id(child) in seen:
                twin = copy.deepcopy(child)
                for module in twin.modules():
                    reset = getattr(module, "reset_parameters", None)
                    if callable(reset):
                        reset()
                parent._modules[key] = twin
            seen.add(id(child))


def _replace(module: nn.Module, is_old: Callable[[nn.Module], bool], make: Callable[[nn.Module], nn.Module]) -> None:
    for key, child in module._modules.items():
        if child is not None and is_old(child):
            module._modules[key] = make(child)
        elif child is not None:
            _replace(child, is_old, make)


def get_offset(encoder: Any) -> tuple[int, int]:
    """Return (left, right) of an encoder."""
    offset = encoder.get_offset()
    return int(offset.left), int(offset.right)


def is_dense(encoder: nn.Module) -> bool:
    """Whether the encoder passes over a longer run and gives a row for each of its rows."""
    return isinstance(encoder, ConvolutionalModelMixin) and not isinstance(encoder, ResampleModelMixin)


def find_input_modules(name: str, n_hidden: int, n_output: int) -> set[str]:
    """Return the names of the layers whose shape depends on the number of units."""
    few, many = (dict(build_encoder(name, n, n_hidden, n_output, 0).named_parameters()) for n in _TRIAL_UNITS)
    return {key.rpartition(".")[0] for key, value in few.items() if value.shape != many[key].shape}


def encode_runs(
    encoder: nn.Module, x: torch.Tensor, starts: torch.Tensor, length: int,
    distort: Callable[[torch.Tensor], torch.Tensor] | None = None,
    bounds: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:  # fmt: skip
    """Embed runs of consecutive rows.

    Parameters
    ----------
    x : (n_rows, n_units) float32
    starts : (n,) first row of each run
    length : rows of each run; 1 for encoders that are not dense
    distort : what training does to windows (n, rows, n_units)
    bounds : (n,) first and last row that each run may see, default all; in place of a row outside stands the edge

    Returns
    -------
    (n * length, d)
    """
    left, right = get_offset(encoder)
    span = torch.arange(-left, length + right - 1, device=x.device)
    rows = starts[:, None] + span
    rows = rows.clamp(0, len(x) - 1) if bounds is None else rows.clamp(bounds[0][:, None], bounds[1][:, None])
    windows = x[rows]
    if distort is not None:
        windows = distort(windows)
    out = encoder(windows.transpose(1, 2).contiguous())  # both passes of a convolution are slower on a view
    return out.reshape(len(starts), -1, length).transpose(1, 2).reshape(len(starts) * length, -1)


def count_multiplications(encoder: nn.Module, n_units: int, length: int) -> int:
    """Return the multiply-adds of one pass over a run of ``length`` rows."""
    total, hooks = 0, []

    def count(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        nonlocal total
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        places = out.shape[-1] if isinstance(module, nn.Conv1d) else 1
        total += weight.numel() * places

    for module in encoder.modules():
        if isinstance(module, (nn.Conv1d, nn.Linear)):
            hooks.append(module.register_forward_hook(count))
    left, right = get_offset(encoder)
    was_training = encoder.training
    with torch.no_grad():
        encoder.eval()(torch.zeros(1, n_units, length + left + right - 1))
    encoder.train(was_training)
    for hook in hooks:
        hook.remove()
    return total


def model_options(pattern: str = "*", limit: int | None = None) -> list[str]:
    """Return the names of architectures that match a glob pattern; ``offset<n>-model`` works for every n besides."""
    return cebra.models.get_options(pattern, limit=limit)


def register_model(name: str, override: bool = False) -> Callable[[type], type]:
    """Register an architecture with cebra after a test that it is what it says.

    Raises
    ------
    ValueError, SettingError
        The name is taken, is no text, or the declared offset is not the true receptive field; both are told.
    """

    def decorate(cls: type) -> type:
        if isinstance(cls, type):
            check_offset(cls)
        return cebra.models.register(name, override=override)(cls)

    return decorate


def check_offset(cls: Callable[..., nn.Module]) -> None:
    """Raise SettingError when a model does not see exactly the rows that its offset declares."""
    with torch.random.fork_rng(devices=[]):
        model = cls(3, 8, 3).eval()
        left, right = get_offset(model)
        width = left + right
        x = torch.randn(1, 3, width)
        try:
            out = model(x)
            seen = _rows_seen(model, x) if out.reshape(1, -1).shape[1] == 3 else None
            longer = model(torch.randn(1, 3, width + 7)) if is_dense(model) else None
        except RuntimeError as error:
            raise SettingError(f"offset ({left}, {right}): a window of {width} rows does not pass ({error})") from None
    found = int(seen.sum()) if seen is not None else out.numel() // 3
    if seen is None or found != width:
        raise SettingError(
            f"offset ({left}, {right}) declares {width} rows, but a window of {width} gives {out.numel() // 3} rows of "
            f"output and its output depends on {found} of them"
        )
    if longer is not None and longer.shape[-1] != 8:
        raise SettingError(f"offset ({left}, {right}): {width + 7} rows give {longer.shape[-1]} of output, not 8")


def _rows_seen(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Which rows of the window change the output."""
    x = x.clone().requires_grad_()
    # a unit vector's squared length is constant: weigh its parts unequally
    out = model(x).reshape(-1)
    (slope,) = torch.autograd.grad((out * torch.arange(1.0, len(out) + 1)).sum(), x)
    return slope.abs().sum(dim=(0, 1)) > 0

"""NumPy archives with objects, without running anything. Enters: an ``.npz``. Leaves: arrays and plain containers.

An object array is a pickle, and a pickle is a program: it may call anything it can name. Here it can name the few
functions that rebuild NumPy arrays and builtin containers, and everything else is an error.
"""

import math
import operator
import pickle
import re
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, BinaryIO

import numpy as np

from ...core.errors import DataError
from .shared import one_line, shortlist

MAX_BYTES = 8 * 2**30
"""More than this in one archive is refused before it is unpacked: small files can unpack to anything."""

_PLAIN_TYPE = re.compile(r"[biufcSUO]\d{0,9}")

DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    RuntimeError, MemoryError, OverflowError, pickle.UnpicklingError,
)  # fmt: skip
"""What reading a damaged or hostile archive raises."""


class _Rebuild:
    """A function a pickle may call. Without a ``__dict__``, so that a pickle cannot put anything in its place."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set")


def _refuse_call(*_: Any) -> None:
    raise pickle.UnpicklingError("numpy.ndarray called")


_ARRAY = _Rebuild(_refuse_call)
"""Stands for ``numpy.ndarray``, which a pickle may name but not call."""


class _Type:
    """A NumPy data type as pickled: a name, and a byte order that follows.

    NumPy's own ``dtype`` would take flags and sizes from the pickle too, and an array of a type that contradicts itself
    reaches into foreign memory.
    """

    __slots__ = ("name", "order")

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str) or not _PLAIN_TYPE.fullmatch(name):
            raise pickle.UnpicklingError(f"data type {str(name)[:20]!r}")
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple) -> None:
        if not isinstance(state, tuple) or len(state) < 3 or state[1] not in tuple("<>|=") or state[2] is not None:
            raise pickle.UnpicklingError("a data type that is not plain")
        self.order = state[1]

    def build(self) -> np.dtype:
        """The data type, made by NumPy from its name."""
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array(np.ndarray):
    """An array that is filled once, by a state that fits."""

    __slots__ = ()

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, data = state
        if self.shape != (0,) or not isinstance(kind, _Type) or not isinstance(data, (bytes, list)):
            raise pickle.UnpicklingError("an array of an unknown kind")
        dtype = kind.build()
        n_items = math.prod(operator.index(n) for n in shape)
        n_needed = n_items if dtype.hasobject else n_items * dtype.itemsize
        if min(shape, default=0) < 0 or len(data) != n_needed or isinstance(data, list) != dtype.hasobject:
            raise pickle.UnpicklingError(f"an array of shape {shape} with {len(data)} values")
        super().__setstate__((1, shape, dtype, bool(is_fortran), data))  # type: ignore[arg-type]


def _array(kind: Any, shape: tuple[int, ...], _: Any) -> np.ndarray:
    """An empty array that the pickle fills next."""
    if kind is not _ARRAY or shape != (0,):
        raise pickle.UnpicklingError("an array of an unknown kind")
    return _Array((0,), "b")


def _scalar(kind: _Type, data: bytes) -> Any:
    """One NumPy number or text."""
    dtype = kind.build()
    if dtype.hasobject or len(data) != dtype.itemsize:
        raise pickle.UnpicklingError("a scalar that is not plain")
    return np.frombuffer(data, dtype, count=1)[0] if dtype.itemsize else dtype.type()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding}")
    return text.encode("latin1")


_NUMPY = {"_reconstruct": _Rebuild(_array), "scalar": _Rebuild(_scalar)}
ALLOWED: Mapping[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", name): call for core in ("core", "_core") for name, call in _NUMPY.items()},
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _Rebuild(_Type),
    ("_codecs", "encode"): _Rebuild(_encode),
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}
"""(module, name) a pickle may use -> what it gets. Only functions of this module and types that cannot be changed."""


class _Refused(pickle.UnpicklingError):
    """A pickle asked for something that is not in ``ALLOWED``."""


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that knows ``ALLOWED`` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for ``module.name``; nothing is ever imported."""
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside the file."""
        raise _Refused("a persistent object")


def load_npz_restricted(file: BinaryIO, where: str, names: Collection[str] | None = None) -> dict[str, Any]:
    """Read an ``.npz`` archive that may hold pickled dicts, lists and arrays.

    Parameters
    ----------
    file : open in binary mode, seekable
    where : what to call it in messages
    names : arrays wanted, where they are there; None = all

    Returns
    -------
    name -> array; an object array of no dimension is the object that it holds

    Raises
    ------
    DataError
        The archive is damaged, unpacks to more than 8 GB, or a pickle names anything but NumPy arrays and builtin
        containers (the message says what).
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = [name for name in members if names is None or name in names]
            check_size(where, [members[name] for name in wanted])
            return {name: _read_member(archive, members[name], f"{where}: {name}") for name in wanted}
    except DAMAGE as error:
        raise DataError(f"{where}: not a whole .npz file ({one_line(error)})") from None


def check_size(where: str, members: Collection[zipfile.ZipInfo]) -> None:
    """Raise DataError when members of an archive unpack to more than ``MAX_BYTES``."""
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES:
        names = shortlist(member.filename for member in members)
        raise DataError(
            f"{where}: {names}: {total / 2**30:.1f} GB unpacked; at most {MAX_BYTES / 2**30:.0f} GB are read"
        )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Any:
    """One array, or the object that a pickled array of no dimension holds."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"{member.filename} is .npy version {version}")
        shape, _, dtype = read_header[version](file)
        if dtype.hasobject:
            return _unpickle(file, shape, where)
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _unpickle(file: Any, shape: tuple[int, ...], where: str) -> Any:
    """The pickle that follows the header of an object array."""
    try:
        value = RestrictedUnpickler(file).load()
    except _Refused as error:
        raise DataError(
            f"{where}: the pickle asks for {one_line(error)}; only NumPy arrays, numbers, text and builtin containers "
            "are read, and nothing was run: do not trust this file"
        ) from None
    except DAMAGE as error:
        raise DataError(f"{where}: a damaged pickle ({one_line(error)})") from None
    if not isinstance(value, np.ndarray) or value.shape != shape:
        raise DataError(f"{where}: the pickle is not the array of shape {shape} that its header promises")
    return value.item() if shape == () else value

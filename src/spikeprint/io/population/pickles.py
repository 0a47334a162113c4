"""Pickles on request. Enters: a ``.pkl`` or ``.jl`` file. Leaves: arrays and plain containers; nothing is run."""

import math
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import DataError
from ..readers.shared import one_line
from ..readers.unpickle import DAMAGE, RestrictedUnpickler

JOBLIB_ARRAY = ("joblib.numpy_pickle", "NumpyArrayWrapper")


def read_pickle(path: Path) -> Any:
    """Read a pickle, or what joblib wrote without compression, of arrays, numbers, text and plain containers.

    Raises
    ------
    DataError
        The file is damaged or asks for anything else; the message says what.
    """
    try:
        with Path(path).open("rb") as file:
            return _Reader(file).load()
    except DAMAGE as error:
        raise DataError(
            f"{path}: not a pickle of arrays, numbers, text and plain containers ({one_line(error)}); save it as .npz"
        ) from None


class _Wrapper:
    """Stands for joblib's note of an array whose bytes follow in the file."""

    __slots__ = ("kind", "order", "padded", "shape")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.shape = tuple(int(n) for n in state["shape"])
        self.order, self.kind = state["order"], state["dtype"]
        self.padded = state.get("numpy_array_alignment_bytes") is not None

    def read(self, file: Any) -> np.ndarray:
        """Read the array from the place where the file stands."""
        dtype = self.kind.build()
        if dtype.hasobject or min(self.shape, default=0) < 0:
            raise pickle.UnpicklingError("an array of objects")
        if self.padded:
            file.read(file.read(1)[0])
        n_bytes = math.prod(self.shape) * dtype.itemsize
        content = file.read(n_bytes)
        if len(content) != n_bytes:
            raise EOFError("the file ends within an array")
        return np.frombuffer(content, dtype).reshape(self.shape, order="F" if self.order == "F" else "C").copy()


_Python: Any = pickle._Unpickler  # type: ignore[attr-defined]  # the C one cannot stop where joblib's bytes follow


class _Reader(_Python):
    """``RestrictedUnpickler`` in Python, with joblib's arrays besides."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Python.dispatch)

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._bytes = file

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for ``module.name``; nothing is ever imported."""
        if (module, name) == JOBLIB_ARRAY:
            return _Wrapper
        return RestrictedUnpickler.find_class(self, module, name)

    persistent_load = RestrictedUnpickler.persistent_load

    def load_build(self) -> None:
        """Fill an object; joblib's note of an array becomes the array."""
        super().load_build()
        if isinstance(self.stack[-1], _Wrapper):
            self.stack[-1] = self.stack[-1].read(self._bytes)

    dispatch[pickle.BUILD[0]] = load_build

"""Atomic reading and writing. Enters: arrays, tables, JSON values. Leaves: whole files, never halves.

Every writer fills a temporary neighbour and renames it, so a killed process leaves either the old file or
the new one.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import ConfigError, DataError

HASH_BLOCK = 1 << 20
"""Bytes read at a time: a recording does not fit into memory."""


def find_root(start: Path | None = None) -> Path:
    """Return the project root: the nearest folder from ``start`` upwards with a ``dvc.yaml``.

    A stage of a temporary experiment therefore works in the experiment's copy (``DVC_ROOT`` would name the original).

    Raises
    ------
    ConfigError
        No folder from ``start`` (default: the current folder) upwards holds a ``dvc.yaml``.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise ConfigError(f"{here}: no dvc.yaml here or above; run spikeprint inside a project folder")


@contextmanager
def atomic_path(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it onto ``path`` when the block ends without an error.

    The temporary is for its owner's eyes only; ``mode`` is what the file has from the moment it bears its name.

    Raises
    ------
    ConfigError
        The file cannot be written there.
    """
    path = Path(path)
    check_writable(path)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with _naming(path):
            os.chmod(temporary, mode)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise ConfigError unless a file can be written at ``path``: said before the work that it is to hold is done."""
    with _naming(path):
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _probe(Path(path).absolute())


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it replaces ``path`` when the block ends without an error.

    Raises
    ------
    ConfigError
        No folder can be made there.
    """
    path = Path(path)
    with _naming(path):
        _probe(path.absolute())
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Write UTF-8 text atomically into a file that only its owner can read: passwords and keys."""
    with atomic_path(path, 0o600) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, keys in the order given; NaN is written as null."""
    write_text(path, json.dumps(_plain(value), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    DataError
        The file is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a JSON file is needed here") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table without its index; floats keep every digit, missing values are empty cells."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file into named arrays.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a safetensors file is needed here") from None
    except SafetensorError as error:
        raise DataError(f"{path}: not a whole safetensors file ({error})") from None


def hash_path(path: Path) -> str:
    """Return a hex MD5 over a file, or over the names and contents of all files below a folder."""
    path = Path(path)
    digest = hashlib.md5(usedforsecurity=False)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(HASH_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _probe(path: Path) -> None:
    """Write and drop a file in the nearest folder above ``path`` that is there; the missing ones are not made."""
    tempfile.TemporaryFile(dir=next(folder for folder in path.parents if folder.exists())).close()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the system says against ``path`` into one line about it."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path}: cannot be written ({reason}); name a place that can be") from None


def _plain(value: Any) -> Any:
    """Turn NumPy values into JSON values, NaN and infinities into null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value

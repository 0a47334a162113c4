"""SpikeInterface's files, looked at before it opens them. Enters: a folder or a description. Leaves: an error, or none.

SpikeInterface unpickles object arrays, ``.pkl`` files and items of a zarr, and calls whatever a ``.json`` names as a
class; each of these runs code that a data file brought along.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from .shared import one_line
from .unpickle import DAMAGE, RestrictedUnpickler

Parts = tuple[str, ...]
_PICKLES = (".pkl", ".pickle", ".joblib")
_ZARR_HEADS = (".zarray", ".zmetadata", "zarr.json")
_MODULES = ("spikeinterface.core.", "spikeinterface.extractors.", "spikeinterface.preprocessing.")
_EVALUATE = ("sinaps", "deepinterpolation")
"""Modules among these that run text or a model of a file."""
_DESCRIBED = ("annotations", "properties", "probegroup")
"""Parts of a description that are kept, not opened: a path in them is only a word."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def is_provenance(parts: Parts) -> bool:
    """Whether a file only tells where a saved object came from; loading the object does not open it."""
    # only there: an item of a zarr may have any name
    return parts in (("provenance.pkl",), ("sorting", "provenance.pkl"))


def refuse_code(folder: Path, is_unopened: Callable[[Parts], bool] = is_provenance) -> None:
    """Refuse a folder in which something would run when SpikeInterface loads it.

    Object arrays of text, numbers and plain containers pass: SpikeInterface saves columns of words so.

    Parameters
    ----------
    folder : a saved recording, sorting or analyzer, as folder or zarr
    is_unopened : whether a file (or an item of a zarr), by the parts of its path in the folder, is never opened

    Raises
    ------
    DataError
        A pickle, an ``.npy`` that is none or whose objects are more than plain, a zarr item stored as pickle.
    """
    for path in _walk_files(folder):
        parts = path.relative_to(folder).parts
        if path.name in _ZARR_HEADS:
            _check_zarr(path, parts[:-1], is_unopened)
        elif is_unopened(parts):
            continue
        elif path.suffix.lower() in _PICKLES:
            raise DataError(f"{path}: a pickle, which runs code when opened; remove it, or save the data again without")
        elif path.suffix == ".npy":
            _check_npy(path)


def check_description(path: Path) -> list[Path]:
    """Check a ``.json`` that describes a recording, and return the files and folders it refers to.

    Raises
    ------
    DataError
        It is damaged, has a key twice, names anything but a recording of SpikeInterface as a class, or refers to a
        pickle or to a path that is not relative and below its own folder.
    """
    content = _parse(path)
    is_relative = isinstance(content, dict) and content.get("relative_paths") is True
    found = []
    for key, value, is_argument in _walk_words(content):
        if key == "class":
            _check_class(path, value)
        elif value.lower().endswith(_PICKLES):
            raise DataError(f"{path}: refers to {value}, a pickle, which runs code when opened; save as folder or zarr")
        elif is_argument and _is_path(key, value):
            found.append(_check_inside(path, value, is_relative))
    for target in found:
        if target.is_dir():
            refuse_code(target)
        elif target.suffix == ".npy" and target.is_file():
            _check_npy(target)
    return found


def _walk_files(folder: Path) -> Iterator[Path]:
    """All files below a folder, also behind links to folders, each folder once."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(root) / name for name in sorted(files))


def _check_npy(path: Path) -> None:
    """Refuse an ``.npy`` that NumPy would unpickle to more than arrays, text and numbers."""
    try:
        with path.open("rb") as file:
            # without its magic, NumPy takes the file for a bare pickle
            version = np.lib.format.read_magic(file)
            _, _, dtype = _HEADERS[version](file)
            if not dtype.hasobject:
                return
            RestrictedUnpickler(file).load()
    except DAMAGE as error:
        raise DataError(
            f"{path}: not a whole NumPy file of numbers and text ({one_line(error)}); other objects run code when "
            "opened: save it again without"
        ) from None


def _check_zarr(path: Path, parts: Parts, is_unopened: Callable[[Parts], bool]) -> None:
    """Refuse a zarr whose items are pickled, by the head of one item or by the heads of all."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not valid JSON ({one_line(error)}); save the zarr again") from None
    heads = {".": content}
    if path.name == ".zmetadata":
        metadata = content.get("metadata") if isinstance(content, dict) else None
        heads = {key: head for key, head in (metadata or {}).items() if key.endswith(".zarray")}
    for key, head in heads.items():
        item = parts + Path(key).parent.parts
        if not (item and is_unopened(item)) and _names_pickle(head):
            raise DataError(
                f"{path.parent.joinpath(*Path(key).parent.parts)}: holds a pickle, which runs code when opened; save "
                "it as a folder"
            )


def _names_pickle(value: Any) -> bool:
    """Whether the head of a zarr item has a codec for pickles."""
    if isinstance(value, dict):
        named = any("pickle" in str(value.get(key, "")).lower() for key in ("id", "name"))
        return named or any(_names_pickle(inner) for inner in value.values())
    return isinstance(value, list) and any(_names_pickle(inner) for inner in value)


def _parse(path: Path) -> Any:
    """The content of a .json; a key that stands twice is refused, for readers differ in which one counts."""

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=build)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a description of a recording ({one_line(error)}); save it again") from None


def _walk_words(content: Any) -> Iterator[tuple[str, str, bool]]:
    """(key, text, whether it is an argument of a class) of all text in a description; lists pass their key on."""
    stack: list[tuple[str, Any, bool]] = [("", content, False)]
    while stack:
        key, value, is_argument = stack.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                stack.append((name, inner, (is_argument or name == "kwargs") and name not in _DESCRIBED))
        elif isinstance(value, list):
            stack.extend((key, inner, is_argument) for inner in value)
        elif isinstance(value, str):
            yield key, value, is_argument
        elif key == "class":
            yield key, repr(value), is_argument


def _is_path(key: str, value: str) -> bool:
    """Whether an argument is a path, by its name or by how it begins."""
    is_named = any(word in key.lower() for word in ("path", "file", "folder", "director"))
    return is_named or "://" in value or value.startswith(("/", "\\")) or value[1:3] in (":\\", ":/")


def _check_inside(path: Path, value: str, is_relative: bool) -> Path:
    """The path a description refers to, if it goes along when the description's folder is copied."""
    base = Path(os.path.abspath(path.parent))
    target = Path(os.path.normpath(base / value))
    if not is_relative or "://" in value or Path(value).is_absolute() or not target.is_relative_to(base):
        raise DataError(
            f"{path}: its traces are elsewhere ({value}) and would not be kept with it; save the recording as a "
            "folder: recording.save(folder=...)"
        )
    return target


def _check_class(path: Path, name: str) -> None:
    """Refuse a class that is not a recording of SpikeInterface: a description may name any function."""
    from spikeinterface.core import BaseRecording

    module, _, attribute = name.rpartition(".")
    found: Any = None
    if name.startswith(_MODULES) and attribute.endswith(("Recording", "RecordingExtractor")):
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except (ImportError, ValueError):
            found = None
    is_ours = isinstance(found, type) and issubclass(found, BaseRecording) and found.__module__.startswith(_MODULES)
    if not is_ours or any(word in found.__module__ for word in _EVALUATE):
        raise DataError(
            f"{path}: names the class '{name}'; only recordings of SpikeInterface are opened, save a folder"
        )

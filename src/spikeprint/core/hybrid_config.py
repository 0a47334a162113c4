"""The file of hybrid options. Enters: YAML and changes. Leaves: ``HybridParams``, or a ``ConfigError``."""

from pathlib import Path
from typing import Any

import yaml

from .config import check_section
from .errors import ConfigError
from .hybrid_params import HybridParams


def load_hybrid_params(path: Path | None, changes: dict[str, Any]) -> HybridParams:
    """Read a YAML file of ``HybridParams``; nothing in it is executed.

    Parameters
    ----------
    path : None = all defaults
    changes : dotted key -> value, which win over the file

    Raises
    ------
    ConfigError
        The file is missing, is not YAML, has an unknown key (the nearest is named) or a value out of range.
    """
    where = "hybrid" if path is None else str(path)
    values: Any = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            raise ConfigError(f"{path}: missing; a YAML file of hybrid options is needed") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: holds {type(values).__name__}, a mapping of options is needed")
    for key, value in changes.items():
        *parents, name = key.split(".")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{where}: '{parent}' of '{key}' is not a group of options")
        inner[name] = value
    return check_section(HybridParams, values, where)

"""Parameters as words of a command line. Enters: ``KEY=VALUE``. Leaves: key -> value, as YAML has it."""

import re
from typing import Any

import yaml

from ..core.errors import ConfigError


class Values(yaml.SafeLoader):
    """YAML whose numbers may be written ``1e-3``, which 1.1 takes for text, as 1.2 does."""


Values.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_changes(words: list[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` words as dotted key -> value; of a key that is named twice the last value.

    Raises
    ------
    ConfigError
        A word without ``=``, or a value that is no YAML.
    """
    changes = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {word}: KEY=VALUE is needed, such as relocate.mode=interpolate")
        changes[key] = _parse(text, f"--set {word}")
    return changes


def parse_grid(words: list[str]) -> dict[str, list[Any]]:
    """Return ``KEY=VALUE,VALUE`` words as key -> values.

    Raises
    ------
    ConfigError
        A word without key or values, values that are no YAML, or a key that is named twice.
    """
    found: dict[str, list[Any]] = {}
    for word in words:
        key, _, text = word.partition("=")
        values = _parse(f"[{text}]", f"--grid {word}")
        if not key or not values:
            raise ConfigError(f"--grid {word}: KEY=VALUE,VALUE is needed, such as temperature=0.1,1")
        if key in found:
            raise ConfigError(f"--grid {key}: given twice; its values belong together, such as {key}=1,2")
        found[key] = values
    return found


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Values)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not a YAML value ({' '.join(str(error).split())})") from None

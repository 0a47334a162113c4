"""One spelling for each cell type. Enters: labels as files hold them. Leaves: clean names, ``""`` where unknown."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..core.types import UNLABELLED

_PRINTED_BYTES = re.compile(r"""b(['"])(.*)\1""")
_EMPTY_WORDS = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})


def clean_labels(labels: np.ndarray, patterns: Sequence[str], synonyms: Mapping[str, str]) -> np.ndarray:
    """Strip printed byte strings and spaces, unify synonyms, empty what means "unknown".

    Parameters
    ----------
    labels : (n,) str
    patterns : words (any case); a label that contains one is unknown
    synonyms : lower-case label -> the name used everywhere; wins over ``patterns``, being the more specific

    Returns
    -------
    (n,) str, ``""`` where the cell type is not known

    >>> clean_labels(np.array(["b'MLI'", " sst ", "Unlabeled", "nan"]), ["unlabel"], {"sst": "SOM"}).tolist()
    ['MLI', 'SOM', '', '']
    """
    unknown = [pattern.lower() for pattern in patterns]
    # Object, not str, while mapping: a NumPy str array has a fixed width and would cut longer names.
    names = np.asarray(labels).astype(str).astype(object)
    distinct, inverse = np.unique(names, return_inverse=True)
    cleaned = [_clean(name, unknown, synonyms) for name in distinct]
    return np.array(cleaned, dtype=str)[inverse] if len(cleaned) else np.empty(0, dtype=str)


def _clean(label: str, unknown: Sequence[str], synonyms: Mapping[str, str]) -> str:
    """One label: its name, or ``""``."""
    text = label.strip()
    printed = _PRINTED_BYTES.fullmatch(text)
    if printed:
        text = printed.group(2).strip()
    lower = text.lower()
    if lower in synonyms:
        return synonyms[lower]
    if lower in _EMPTY_WORDS or any(pattern in lower for pattern in unknown):
        return UNLABELLED
    return text

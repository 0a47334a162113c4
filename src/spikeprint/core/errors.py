"""The exception tree. Enters: what was read, found and needed. Leaves: one line a person can act on.

``SpikeprintError`` subclasses carry the exit code that the command line returns: 1 for the user's data or
models, 2 for usage and configuration.
"""

import difflib
from collections.abc import Iterable


class SpikeprintError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class ConfigError(SpikeprintError):
    """A parameter, option or file name that cannot be used as given."""

    exit_code = 2


class DataError(SpikeprintError):
    """Input data that cannot be used; the message names file, row and column."""


class SchemaError(DataError):
    """A canonical table that breaks its schema."""


class UnitsError(DataError, ValueError):
    """Units handed over in memory that cannot be used; scikit-learn expects a ``ValueError`` for these."""


class PopulationError(DataError, ValueError):
    """A recorded population, or labels of it, that cannot be used; scikit-learn expects a ``ValueError`` for these."""


class SettingError(ConfigError, ValueError):
    """A parameter of an estimator that cannot be used as given; scikit-learn expects a ``ValueError``."""


class UnknownFileKind(DataError, OSError, ValueError):
    """A file whose ending says nothing about how to read it."""


class MissingKey(DataError, KeyError):
    """A file without the entry asked for; the message lists what it holds."""

    __str__ = Exception.__str__  # KeyError's own would quote the message


class NotEnoughSpikes(DataError):
    """Too few spikes or units for the computation asked for."""


class ModelError(SpikeprintError):
    """A model that cannot be trained, read or used."""


class IncompatibleBundle(ModelError):
    """A model bundle that is damaged or was made for another version."""


class RegistryError(SpikeprintError):
    """The tracking store or the model registry refused or lacks something."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``name``, else ``""``.

    >>> suggest("epoch", ["epochs", "seed"])
    "; did you mean 'epochs'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""

"""Units as a source holds them -> canonical features. Enters: sortings or a table, and a row. Leaves: ``UnitTable``."""

from typing import Any

from ..core.config import DatasetParams, FeatureParams
from ..core.types import Sorting, SourceTable, UnitTable
from .build import build_from_sortings
from .representations import COUNTS, LEGACY, describe_axis
from .tables import build_from_table


def build_units(
    raw: list[Sorting] | SourceTable, dataset: str, row: DatasetParams, params: FeatureParams, source_md5: str
) -> UnitTable:
    """Compute the canonical features of one dataset, and the card that says what they are.

    Parameters
    ----------
    raw : what ``io.sources.read_units`` returns
    dataset : its name
    row : technology, species, and what the files do not say
    params : extraction options, quality limits and label rules
    source_md5 : fingerprint of the files, ``""`` where they are no part of the project

    Raises
    ------
    DataError
        Values from which no features can be computed.
    """
    representation = (row.representation or LEGACY) if isinstance(raw, SourceTable) else COUNTS
    card: dict[str, Any] = {
        "dataset": dataset,
        "technology": row.technology,
        "species": row.species,
        "format": row.format,
        "source_md5": source_md5,
        "representation": describe_axis(representation, dataset),
    }
    if isinstance(raw, SourceTable):
        return build_from_table(raw, params, row.sampling_frequency_hz, card, representation)
    return build_from_sortings(raw, params, card)

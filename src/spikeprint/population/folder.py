"""A population on disk. Enters: a ``Population`` or a folder. Leaves: the other, checked on the way."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..io.population.folder import PopulationParts, read_parts, write_parts
from .data import Population


def write_population(folder: Path, population: Population, source_md5: str = "") -> None:
    """Write the folder of a population, see ``io/population/folder.py``.

    Raises
    ------
    SchemaError
        A table breaks its schema.
    """
    _check(population)
    try:
        code = version("spikeprint")
    except PackageNotFoundError:
        code = "unknown"
    meta = {
        "session_id": population.session_id,
        "bin_width": population.bin_width,
        "periods": dict(population.periods),
        "source_md5": source_md5,
        "code_version": code,
    }
    tables = {"segments": population.segments, "units": population.units}
    write_parts(folder, PopulationParts(population.counts, tables, dict(population.labels), population.valid, meta))


def read_population(folder: Path) -> Population:
    """Read the folder of a population; counts stay on disk until they are used.

    Raises
    ------
    DataError
        A file is missing or damaged, or a table breaks its schema.
    """
    parts = read_parts(folder)
    meta = parts.meta
    population = Population(
        str(meta["session_id"]), float(meta["bin_width"]), parts.counts, parts.tables["segments"],
        parts.tables["units"], parts.valid, parts.labels, meta["periods"],
    )  # fmt: skip
    _check(population)
    return population


def _check(population: Population) -> None:
    from ..validate.population import check_population  # pandera takes a second to import

    check_population(population.segments, population.units, population.labels, population.valid, population.bin_width)

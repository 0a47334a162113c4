"""What ``classify``, ``embed`` and ``generate`` share: options, units of any layout, a model, an output."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, ModelError, suggest
from ..core.files import find_root, write_csv
from ..core.runtime import LOGGER
from ..core.types import MODALITIES, TECHNOLOGIES, UnitTable
from ._raw import find_row, read_raw

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..core.config import Params

CARD = "representation.json"
"""File that marks a canonical folder."""
NEUTRAL = {"dataset": "", "technology": "", "species": ""}
"""Origin of units that are no dataset of the project."""


@dataclass(frozen=True)
class Request:
    """Units to score, a predictor, and what the predictor is told about their origin.

    ``has_data`` (n_units,) bool is False for units without any usable modality.
    """

    table: UnitTable
    predictor: Any
    origin: "dict[str, str | np.ndarray]"
    has_data: "np.ndarray"

    @property
    def inputs(self) -> dict[str, "np.ndarray"]:
        """Modality name -> canonical rows of the units that have data."""
        return {name: getattr(self.table, name)[self.has_data] for name in MODALITIES}


def add_arguments(parser: argparse.ArgumentParser, needs_path: bool = True) -> None:
    """Declare the options that the verbs share."""
    text = "units in any layout that `spikeprint add` reads, or canonical features"
    parser.add_argument("path", type=Path, nargs=None if needs_path else "?", help=text)
    parser.add_argument(
        "--from", dest="source", metavar="FORMAT", default="auto", help="layout of PATH (default: auto)"
    )
    parser.add_argument(
        "--model", help="bundle folder, models:/name@alias or http://host:port of a server (default: the project's own)"
    )
    parser.add_argument("--technology", help=f"one of {', '.join(TECHNOLOGIES)} (default: neutral)")
    parser.add_argument("--dataset", help="a dataset that the model was trained on (default: neutral)")
    parser.add_argument("--sampling-frequency", type=float, metavar="HZ", help="rate, where the files do not say")
    parser.add_argument("--representation", help="CSV: what the histograms are (default: legacy)")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write a table there instead of printing it")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per unit")


def check_rate(rate_hz: float | None, option: str = "--sampling-frequency") -> None:
    """Raise ConfigError unless the value of an option is absent or a plausible rate in Hz."""
    from ..core.config import SAMPLING_HZ

    least, largest = SAMPLING_HZ
    if rate_hz is not None and not least <= rate_hz <= largest:
        raise ConfigError(f"{option} {rate_hz:g}: a rate from {least} to {largest} Hz is needed (Hz, not kHz)")


def load_request(arguments: argparse.Namespace) -> Request:
    """Read the folder and open the model that the command line names.

    Raises
    ------
    SpikeprintError
        A folder, model or option that cannot be used.
    """
    from ..core.config import Params
    from ..cvae.units import tell_regions
    from ..features.transforms import normalise

    root = find_root()
    params = Params.load(root / "params.yaml")
    if arguments.technology not in (None, *TECHNOLOGIES):
        hint = suggest(arguments.technology, TECHNOLOGIES)
        raise ConfigError(f"--technology '{arguments.technology}'{hint}; known: {', '.join(TECHNOLOGIES)}")
    table = _read_units(arguments, root, params)
    predictor = open_model(arguments.model, root, params)
    origin = {name: str(table.card.get(name, "")) for name in ("dataset", "technology", "species", "representation")}
    for name, known in predictor.vocabulary.items():
        if getattr(arguments, name, None) and origin[name] not in known:
            LOGGER.warning("%s '%s' is new to the model (%s): treated as neutral", name, origin[name], ", ".join(known))
    _, present = normalise({name: getattr(table, name) for name in MODALITIES})
    has_data = present.sum(axis=1) > 0
    if not has_data.all():
        LOGGER.warning("%d of %d units have no usable modality: left empty", (~has_data).sum(), len(has_data))
    told = {"region": tell_regions(table)[has_data]} if "region" in predictor.vocabulary else {}
    return Request(table, predictor, {**origin, **told}, has_data)


def deliver(frame: "pd.DataFrame", arguments: argparse.Namespace) -> None:
    """Write or print one row per unit, as the options say."""
    if arguments.out:
        write_csv(arguments.out, frame)
        LOGGER.info("wrote %s: %d units", arguments.out, len(frame))
    if arguments.json:
        print(frame.to_json(orient="records", indent=2))
    elif not arguments.out:
        print(frame.to_csv(index=False), end="")


def _read_units(arguments: argparse.Namespace, root: Path, params: "Params") -> UnitTable:
    """Canonical units; the folder of a dataset brings what params.yaml says about it, options win."""
    from ..core.config import make_dataset_params
    from ..features.units import build_units
    from ..io.datasets import read_canonical
    from ..io.sources import identify

    path, rate = arguments.path, arguments.sampling_frequency
    check_rate(rate)
    given = {"dataset": arguments.dataset, "technology": arguments.technology}
    told = {key: word for key, word in given.items() if word}
    if (path / CARD).is_file():
        if rate is not None:
            raise ConfigError(f"--sampling-frequency {rate:g}: {path} holds canonical features, whose rate is declared")
        table = read_canonical(path)
        return replace(table, card={**table.card, **told})
    name, row = find_row(path, root, params)
    found = identify(path, row.format if row else arguments.source)
    if found.is_recording:
        raise ConfigError(f"{path}: holds traces ({found.format}); sort them first: spikeprint add NAME {path} ...")
    options = {"label_column": "none", "format": found.format}
    options |= {"sampling_frequency_hz": rate} if rate is not None else {}
    options |= {"representation": arguments.representation} if arguments.representation else {}
    declared = row.model_dump() if row else {"folder": str(path), "technology": TECHNOLOGIES[0], "species": "unknown"}
    used = make_dataset_params({**declared, **options})
    table = build_units(read_raw(path, used), name, used, params.features, source_md5="")
    is_foreign_legacy = row is None and table.card["representation"].startswith("legacy")
    neutral = {} if row else {**NEUTRAL, **({"representation": ""} if is_foreign_legacy else {})}
    return replace(table, card={**table.card, **neutral, **told})


def open_model(model: str | None, root: Path, params: "Params") -> Any:
    """Return the predictor that ``--model`` names: a bundle, a registered version, a server, or the project's own."""
    from ..registry.bundle import open_bundle

    if model and model.startswith(("http://", "https://")):
        from ..registry.client import RemotePredictor

        return RemotePredictor(model)
    if model and model.startswith("models:"):
        from ..registry.versions import fetch_bundle

        return open_bundle(fetch_bundle(root, model))
    folder = Path(model) if model else root / "models" / "cvae" / params.register_.ablation
    if not (folder / "bundle.json").is_file():
        raise ModelError(
            f"{folder}: no model here (bundle.json is missing); run spikeprint run, or name one by --model"
        )
    return open_bundle(folder)

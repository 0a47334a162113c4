"""Write predicted cell types back to where the units came from.

phy   cluster_cell_type.tsv and cluster_cell_type_confidence.tsv in the phy folder TARGET
nwb   columns spikeprint_cell_type, spikeprint_confidence, spikeprint_model in the units table of the file TARGET
csv   a table TARGET: unit_id, predicted_cell_type, confidence, and what else the predictions hold

Nothing else in TARGET changes. Predictions are those of the pipeline (reports/plots/predictions), or a table that
`spikeprint classify --out` wrote.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ConfigError, DataError, suggest
from ..core.files import find_root, write_csv
from ..core.runtime import LOGGER

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

KINDS = ("phy", "nwb", "csv")
OWN = ("data/raw", "data/interim", "data/canonical")
SHOWN = 5
_TEXT = ("dataset", "unit_id", "cell_type", "predicted", "label", "model")


@dataclass(frozen=True)
class Predictions:
    """Predictions of one dataset: ``frame`` has unit_id, predicted, confidence and what else its source holds."""

    frame: "pd.DataFrame"
    source: Path
    model: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("kind", choices=KINDS, help="what TARGET is")
    parser.add_argument("dataset", help="a dataset of params.yaml; with --predictions any name")
    parser.add_argument("target", type=Path, help="phy folder, .nwb file, or the .csv file to write")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--ablation", metavar="NAME", help="whose predictions (default: params.yaml, register.ablation)"
    )
    source.add_argument("--predictions", type=Path, metavar="FILE.csv", help="a table of spikeprint classify --out")
    parser.add_argument(
        "--session", metavar="NAME", help="session of the dataset that TARGET holds (default: its name)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace predictions that were written there before")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Write the predictions and say how many units got one."""
    root = find_root()
    _check_target(arguments.kind, arguments.target, root, arguments.overwrite)
    predictions = _read_predictions(arguments, root)
    counts = WRITERS[arguments.kind](arguments, predictions)
    if arguments.json:
        told = {"kind": arguments.kind, "dataset": arguments.dataset, "target": str(arguments.target)}
        print(json.dumps({**told, "source": str(predictions.source), **counts}, indent=2))
    else:
        print(
            f"wrote {arguments.target}: {counts['n_written']} of {counts['n_units']} units have a predicted cell type"
        )
    return 0


# Predictions ---------------------------------------------------------------------------------------------------------


def _read_predictions(arguments: argparse.Namespace, root: Path) -> Predictions:
    """The rows of the dataset, with text ids, ``predicted`` and ``confidence``, whichever verb wrote them."""
    from ..core.config import Params
    from ..io.csvs import check_unique, read_frame, require_names

    dataset, path, model = arguments.dataset, arguments.predictions, ""
    if path is None:
        params = Params.load(root / "params.yaml")
        if dataset not in params.datasets:
            known = ", ".join(params.datasets)
            raise ConfigError(f"no dataset '{dataset}'{suggest(dataset, params.datasets)}; params.yaml has: {known}")
        model = arguments.ablation or params.register_.ablation
        params.ablation(model)
        path = root / "reports" / "plots" / "predictions" / f"{model}.csv"
        if not path.is_file():
            raise DataError(f"{path}: missing; spikeprint run writes the predictions of ablation '{model}'")
    frame = read_frame(path, text=_TEXT)
    if "predicted" not in frame:
        frame = frame.rename(columns={"label": "predicted"})
    require_names(path, frame, ("unit_id", "predicted", "confidence"))
    if "dataset" in frame:
        held = list(dict.fromkeys(frame["dataset"]))
        frame = frame[frame["dataset"] == dataset].reset_index(drop=True)
        if frame.empty:
            hint = suggest(dataset, held)
            raise DataError(f"{path}: no unit of dataset '{dataset}'{hint}; it holds: {', '.join(held)}")
    check_unique(path, "unit_id", frame["unit_id"].to_numpy(dtype=str))
    if frame["confidence"].dtype.kind not in "fi" or not frame["confidence"].dropna().between(0, 1).all():
        raise DataError(f"{path}: column confidence must hold numbers from 0 to 1, or empty cells")
    return Predictions(frame, path, model)


def _choose_session(predictions: Predictions, target_ids: "np.ndarray", name: str, wanted: str | None) -> Predictions:
    """Rows of one session, ids as its own file has them; all rows where the dataset has no sessions.

    Units of a dataset with several sessions are called ``<session>/<id>``.
    """
    frame = predictions.frame
    parts = frame["unit_id"].str.rpartition("/")
    sessions = [session for session in dict.fromkeys(parts[0]) if session]
    if wanted is None and (not sessions or frame["unit_id"].isin(target_ids).any()):
        return predictions
    session = wanted or name
    if session not in sessions:
        known = ", ".join(sessions[:SHOWN]) + (" ..." if len(sessions) > SHOWN else "")
        found = f"sessions: {known}; name the one of the target by --session" if sessions else "there is only one"
        raise ConfigError(
            f"{predictions.source}: no session '{session}'{suggest(session, sessions)} of this dataset; {found}"
        )
    is_ours = parts[0] == session
    frame = frame[is_ours].assign(unit_id=parts[2][is_ours]).reset_index(drop=True)
    return Predictions(frame, predictions.source, predictions.model)


def _match(predictions: Predictions, target: Path, target_ids: "np.ndarray") -> "pd.DataFrame":
    """One row per unit of the target, in its order; units without an answer have ``""`` and NaN.

    Raises
    ------
    DataError
        No unit of the target has a prediction.
    """
    units = predictions.frame.set_index("unit_id")
    here, there = set(target_ids), set(units.index)
    if not here & there:
        lists = [
            ", ".join(list(ids)[:SHOWN]) + (" ..." if len(ids) > SHOWN else "") for ids in (units.index, target_ids)
        ]
        raise DataError(f"{target}: none of its units was predicted; predicted are {lists[0]}; it holds {lists[1]}")
    if here != there:
        LOGGER.warning(
            "%s: %d of its %d units have no prediction, %d predicted units are not in it",
            target, len(here - there), len(here), len(there - here),
        )  # fmt: skip
    matched = units.reindex(target_ids)
    is_named = matched["predicted"].fillna("") != ""
    return matched.assign(
        predicted=matched["predicted"].where(is_named, ""), confidence=matched["confidence"].where(is_named)
    )


# Writers -------------------------------------------------------------------------------------------------------------


def _check_target(kind: str, target: Path, root: Path, overwrite: bool) -> None:
    """Refuse a target of another kind, and the pipeline's own input, where a prediction would pass for a label."""
    places = {Path(os.path.abspath(target)), target.resolve()}  # DVC may keep data/raw as links into its cache
    for own in OWN:
        if any(root / own in (place, *place.parents) for place in places):
            raise ConfigError(f"{target}: lies in {own}, the pipeline's own files; name what you added it from")
    if kind == "phy" and not target.is_dir():
        raise DataError(f"{target}: {'a file' if target.exists() else 'missing'}; a phy folder is needed")
    if kind == "nwb" and not target.is_file():
        raise DataError(f"{target}: {'a folder' if target.exists() else 'missing'}; an .nwb file is needed")
    if kind == "csv" and target.is_dir():
        raise DataError(f"{target}: a folder; the name of a file to write is needed")
    if kind == "csv" and target.exists() and not overwrite:
        raise DataError(f"{target}: exists already; --overwrite replaces it")


def _write_phy(arguments: argparse.Namespace, predictions: Predictions) -> dict[str, object]:
    from ..io.phy_export import list_clusters, write_cluster_columns

    clusters = list_clusters(arguments.target)
    ours = _choose_session(predictions, clusters, arguments.target.resolve().name, arguments.session)
    matched = _match(ours, arguments.target, clusters)
    named = matched[matched["predicted"] != ""]
    files = write_cluster_columns(
        arguments.target, list(named.index), list(named["predicted"]), list(named["confidence"]), arguments.overwrite
    )
    return {"files": [path.name for path in files], "n_written": len(named), "n_units": len(matched)}


def _write_nwb(arguments: argparse.Namespace, predictions: Predictions) -> dict[str, object]:
    import numpy as np

    from ..io.nwb_export import PREFIX, NewColumn, add_unit_columns, list_unit_ids

    unit_ids = list_unit_ids(arguments.target)
    ours = _choose_session(predictions, unit_ids, arguments.target.stem, arguments.session)
    matched = _match(ours, arguments.target, unit_ids)
    labels, is_named = matched["predicted"].to_numpy(dtype=str), (matched["predicted"] != "").to_numpy()
    origin = predictions.model or predictions.source.name
    kind = matched["model"].fillna("").to_numpy(dtype=str) if "model" in matched else np.full(len(matched), "")
    models = [f"{origin} {how}".strip() if named else "" for how, named in zip(kind, is_named, strict=True)]
    columns = {
        f"{PREFIX}cell_type": NewColumn("cell type predicted by spikeprint, empty where there is none", labels),
        f"{PREFIX}confidence": NewColumn(
            "probability of the predicted cell type, NaN where there is none",
            matched["confidence"].to_numpy(dtype=float),
        ),
        f"{PREFIX}model": NewColumn("where the prediction comes from", np.array(models, dtype=str)),
    }
    add_unit_columns(arguments.target, columns, arguments.overwrite)
    return {"columns": list(columns), "n_written": int(is_named.sum()), "n_units": len(matched)}


def _write_csv(arguments: argparse.Namespace, predictions: Predictions) -> dict[str, object]:
    import numpy as np

    ours = predictions
    if arguments.session is not None:
        ours = _choose_session(predictions, np.array([]), "", arguments.session)
    # the known label is not a result; the prediction is not called cell_type, so that nobody adds it as a label
    frame = ours.frame.drop(columns=["dataset", "cell_type"], errors="ignore")
    first = ["unit_id", "predicted", "confidence"]
    frame = frame[[*first, *(name for name in frame if name not in first)]]
    try:
        write_csv(arguments.target, frame.rename(columns={"predicted": "predicted_cell_type"}))
    except OSError as error:
        raise DataError(f"{arguments.target}: cannot be written ({error.strerror})") from None
    n_written = int((frame["predicted"].fillna("") != "").sum())
    return {"files": [arguments.target.name], "n_written": n_written, "n_units": len(frame)}


WRITERS = {"phy": _write_phy, "nwb": _write_nwb, "csv": _write_csv}
"""Kind -> what writes it and counts."""

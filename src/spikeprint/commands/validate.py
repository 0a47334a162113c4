"""Check a dataset folder and say what is wrong, where.

FOLDER is a folder to be added (CSV files, or spike trains and templates): it passes if `spikeprint add` would take it.
DATASET is one of the project's, whose canonical features are checked. Exit code 0: usable (warnings are told), 1: not
usable, 2: no such folder or dataset.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, DataError, SchemaError, suggest
from ..core.files import find_root
from ..core.types import TECHNOLOGIES, Sorting
from ._raw import count_unlabelled, find_row, read_raw, tell_unlabelled, try_features
from ._units import LAYOUTS

if TYPE_CHECKING:
    import numpy as np

    from ..core.config import DatasetParams

FEW_UNITS = 10
"""Classes with fewer units are not scored in the published protocol."""
EDGE = 0.1
"""A median trough in this outer part of the window hints at waveforms that were not centred."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("target", metavar="FOLDER|DATASET", help="a folder, or the name of a dataset of params.yaml")
    parser.add_argument("--label-column", help="column of labels.csv (default: the last; none = ignore labels)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; return 1 with ``--json`` when the data cannot be used, else raise what is wrong."""
    folder = _find_folder(arguments.target)
    kind = next((kind for file, kind in LAYOUTS.items() if (folder / file).is_file()), "csv")
    result: dict[str, Any] = {"folder": str(folder), "format": kind, "valid": True, "failures": [], "warnings": []}
    try:
        result |= _check_canonical(folder) if kind == "canonical" else _check_raw(folder, kind, arguments.label_column)
    except DataError as error:
        if not arguments.json:
            raise
        result |= {"valid": False, "failures": [{"message": str(error)}]}
    if not arguments.json and result["failures"]:
        from ..validate.schemas import Failure, format_failures

        failures = [Failure(**failure) for failure in result["failures"]]
        raise SchemaError(f"{folder}: {len(failures)} failures\n{format_failures(failures)}")
    print(json.dumps(result, indent=2) if arguments.json else _describe(result))
    return 0 if result["valid"] else 1


def _find_folder(target: str) -> Path:
    """The folder that a path or the name of a dataset stands for."""
    from ..core.config import Params

    if Path(target).is_dir():
        return Path(target)
    root = find_root()
    datasets = Params.load(root / "params.yaml").datasets
    if target not in datasets:
        raise ConfigError(
            f"'{target}' is no folder and no dataset{suggest(target, datasets)}; known: {', '.join(datasets)}"
        )
    folder = root / "data" / "canonical" / target
    if not folder.is_dir():
        raise DataError(f"{folder}: missing; compute the features first: `spikeprint run features@{target}`")
    return folder


def _check_canonical(folder: Path) -> dict[str, Any]:
    from ..io.datasets import read_canonical, read_canonical_frames
    from ..validate.schemas import check_canonical

    failures = check_canonical(*read_canonical_frames(folder))
    if failures:
        return {"valid": False, "failures": [asdict(failure) for failure in failures]}
    table = read_canonical(folder)
    return _summary(table.labels, {"waveform": table.waveform, "isi": table.isi, "acg": table.acg})


def _check_raw(folder: Path, kind: str, label_column: str | None) -> dict[str, Any]:
    """Check the folder as ``add`` does: its features are computed and must keep the schema."""
    from ..core.config import Params

    root = find_root()
    params = Params.load(root / "params.yaml")
    name, declared = find_row(folder, root, params)
    row = _row(declared, kind, label_column)
    raw = read_raw(folder, row)
    labels = try_features(raw, folder, name, row, params.features).labels
    taken = {"taken_as_unlabelled": count_unlabelled(raw.labels, labels)}
    if isinstance(raw, Sorting):
        shapes = {} if raw.templates is None else {"template": raw.templates.values.reshape(len(labels), -1)}
        duration_s = float(raw.duration_s.max())
        return {**_summary(labels, shapes), **taken, "n_spikes": len(raw.spike_times), "duration_s": duration_s}
    result = _summary(labels, raw.arrays)
    return {**result, **taken, "warnings": [*_warn(raw.arrays), *result["warnings"]]}


def _row(declared: "DatasetParams | None", kind: str, label_column: str | None) -> "DatasetParams":
    """The row of params.yaml that the folder has, or would have but for its origin, which changes no feature."""
    from ..core.config import DatasetParams

    row = declared or DatasetParams.model_validate(
        {"technology": TECHNOLOGIES[0], "species": "unknown", "format": kind}
    )
    return row.model_copy(update={"label_column": label_column}) if label_column else row


def _warn(arrays: "dict[str, np.ndarray]") -> list[str]:
    """What is worth a warning about the measurements of a CSV folder."""
    import numpy as np

    waveform = arrays["waveform"]
    known = waveform[np.isfinite(waveform).all(axis=1)]
    trough = float(np.median(known.argmin(axis=1))) / max(waveform.shape[1] - 1, 1) if len(known) else 0.5
    warnings = {
        "no acg.csv: the model works with waveform and ISI alone, less sharply": "acg" not in arrays,
        f"the median trough is at {trough:.0%} of the window: are the waveforms aligned?": not EDGE
        <= trough
        <= 1 - EDGE,
        "no unit has a complete waveform": not len(known),
    }
    return [text for text, holds in warnings.items() if holds]


def _summary(labels: "np.ndarray", arrays: "dict[str, np.ndarray]") -> dict[str, Any]:
    """Counts of units, labels, widths and missing rows, and what is worth a warning about the labels."""
    import numpy as np

    names, counts = np.unique(labels[labels != ""], return_counts=True)
    classes = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    few = [name for name, count in classes.items() if count < FEW_UNITS]
    warnings = ["no labels: the units can be classified, not learned from"] if not classes else []
    if few:
        warnings.append(f"fewer than {FEW_UNITS} units, not scored: {', '.join(few)}")
    modalities = {
        name: {"width": values.shape[1], "missing": int(np.isnan(values).all(axis=1).sum())}
        for name, values in arrays.items()
    }
    return {"n_units": len(labels), "labels": classes, "modalities": modalities, "warnings": warnings}


def _describe(result: dict[str, Any]) -> str:
    """The report for people."""
    labels = ", ".join(f"{name} {count}" for name, count in result["labels"].items()) or "none"
    lines = [
        f"{result['folder']} ({result['format']}): {result['n_units']} units",
        f"  labels: {labels}",
        *tell_unlabelled(result.get("taken_as_unlabelled", {})),
    ]
    for name, found in result["modalities"].items():
        missing = f", {found['missing']} rows missing" if found["missing"] else ""
        lines.append(f"  {name}: {found['width']} columns{missing}")
    return "\n".join([*lines, *(f"  warning: {text}" for text in result["warnings"]), "OK"])

"""Check a dataset folder and say what is wrong, where.

FOLDER is a folder to be added (CSV files, or spike trains and templates); DATASET is one of the project's, whose
canonical features are checked. Exit code 0: usable (warnings are told), 1: not usable, 2: no such folder or dataset.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, DataError, SchemaError, suggest
from ..core.files import find_root

if TYPE_CHECKING:
    import numpy as np

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
    kind, check = next(
        (kind, check) for kind, (file, check) in KINDS.items() if file is None or (folder / file).is_file()
    )
    result: dict[str, Any] = {"folder": str(folder), "format": kind, "valid": True, "failures": [], "warnings": []}
    try:
        result |= check(folder, arguments.label_column)
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


def _check_canonical(folder: Path, label_column: str | None) -> dict[str, Any]:
    from ..io.datasets import read_canonical, read_canonical_frames
    from ..validate.schemas import check_canonical

    failures = check_canonical(*read_canonical_frames(folder))
    if failures:
        return {"valid": False, "failures": [asdict(failure) for failure in failures]}
    table = read_canonical(folder)
    return _summary(table.labels, {"waveform": table.waveform, "isi": table.isi, "acg": table.acg})


def _check_arrays(folder: Path, label_column: str | None) -> dict[str, Any]:
    from ..io.datasets import read_sorting

    sorting = read_sorting(folder)
    result = _summary(sorting.labels, {"template": sorting.templates.reshape(len(sorting.templates), -1)})
    return {**result, "n_spikes": len(sorting.spike_samples), "duration_s": sorting.duration_s}


def _check_csv(folder: Path, label_column: str | None) -> dict[str, Any]:
    import numpy as np

    from ..io.datasets import read_source_table

    source = read_source_table(folder, label_column)
    waveform = source.arrays["waveform"]
    known = waveform[np.isfinite(waveform).all(axis=1)]
    trough = float(np.median(known.argmin(axis=1))) / max(waveform.shape[1] - 1, 1) if len(known) else 0.5
    warnings = {
        "no acg.csv: the model works with waveform and ISI alone, less sharply": "acg" not in source.arrays,
        f"the median trough is at {trough:.0%} of the window: are the waveforms aligned?": not EDGE
        <= trough
        <= 1 - EDGE,
        "no unit has a complete waveform": not len(known),
    }
    result = _summary(source.labels, source.arrays)
    return {**result, "warnings": [*(text for text, holds in warnings.items() if holds), *result["warnings"]]}


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


KINDS: dict[str, tuple[str | None, Callable[[Path, str | None], dict[str, Any]]]] = {
    "canonical": ("representation.json", _check_canonical),
    "arrays": ("recording.json", _check_arrays),
    "csv": (None, _check_csv),
}
"""Kind of folder -> the file that tells it (None: whatever is left), its check."""


def _describe(result: dict[str, Any]) -> str:
    """The report for people."""
    labels = ", ".join(f"{name} {count}" for name, count in result["labels"].items()) or "none"
    lines = [f"{result['folder']} ({result['format']}): {result['n_units']} units", f"  labels: {labels}"]
    for name, found in result["modalities"].items():
        missing = f", {found['missing']} rows missing" if found["missing"] else ""
        lines.append(f"  {name}: {found['width']} columns{missing}")
    return "\n".join([*lines, *(f"  warning: {text}" for text in result["warnings"]), "OK"])

"""Check units and say what is wrong, where.

PATH holds units in any layout: it passes if `spikeprint add` would take it. DATASET is one of the project's, whose
canonical features are checked. Exit code 0: usable (warnings are told), 1: not usable, 2: no such path or dataset.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, DataError, SchemaError, suggest
from ..core.files import find_root
from ..core.types import Sorting, SourceTable
from ._raw import count_unlabelled, find_row, list_labels, make_row, read_raw, tell_unlabelled, try_features
from ._units import CARD, check_rate

if TYPE_CHECKING:
    import numpy as np

FEW_UNITS = 10
"""Classes with fewer units are not scored in the published protocol."""
EDGE = 0.1
"""A median trough in this outer part of the window hints at waveforms that were not centred."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("target", metavar="PATH|DATASET", help="a file or folder, or a dataset of params.yaml")
    parser.add_argument(
        "--from", dest="source", metavar="FORMAT", default="auto", help="layout of PATH (default: auto)"
    )
    parser.add_argument("--label-column", help="column with the cell types (default: the source's own; none = ignore)")
    parser.add_argument("--sampling-frequency", type=float, metavar="HZ", help="rate, where the files do not say")
    parser.add_argument("--representation", help="CSV: what the histograms are (default: legacy)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; return 1 with ``--json`` when the data cannot be used, else raise what is wrong."""
    path = _find_path(arguments.target)
    check_rate(arguments.sampling_frequency)
    result: dict[str, Any] = {"path": str(path), "format": "", "valid": True, "failures": [], "warnings": []}
    try:
        is_canonical = (path / CARD).is_file()
        result |= _check_canonical(path) if is_canonical else _check_raw(path, arguments)
    except DataError as error:
        if not arguments.json:
            raise
        result |= {"valid": False, "failures": [{"message": str(error)}]}
    if not arguments.json and result["failures"]:
        from ..validate.schemas import Failure, format_failures

        failures = [Failure(**failure) for failure in result["failures"]]
        raise SchemaError(f"{path}: {len(failures)} failures\n{format_failures(failures)}")
    print(json.dumps(result, indent=2) if arguments.json else _describe(result))
    return 0 if result["valid"] else 1


def _find_path(target: str) -> Path:
    """The path itself, or the canonical folder of a dataset."""
    from ..core.config import Params

    if Path(target).exists():
        return Path(target)
    root = find_root()
    datasets = Params.load(root / "params.yaml").datasets
    if target not in datasets:
        raise ConfigError(
            f"'{target}' is no file or folder and no dataset{suggest(target, datasets)}; known: {', '.join(datasets)}"
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
        return {"format": "canonical", "valid": False, "failures": [asdict(failure) for failure in failures]}
    table = read_canonical(folder)
    return {"format": "canonical"} | _summary(
        table.labels, {"waveform": table.waveform, "isi": table.isi, "acg": table.acg}
    )


def _check_raw(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Check the units as ``add`` does: their features are computed and must keep the schema."""
    from ..core.config import Params
    from ..io.sources import identify

    root = find_root()
    params = Params.load(root / "params.yaml")
    name, declared = find_row(path, root, params)
    found = identify(path, declared.format if declared else arguments.source)
    if found.is_recording:
        raise ConfigError(
            f"{path}: holds traces ({found.format}), whose units are not known yet; spikeprint add takes it"
        )
    row = make_row(declared, found.format, arguments, arguments.sampling_frequency)
    raw = read_raw(path, row)
    labels = try_features(raw, path, name, row, params.features).labels
    taken = {"format": found.format, "taken_as_unlabelled": count_unlabelled(list_labels(raw), labels)}
    if isinstance(raw, SourceTable):
        result = _summary(labels, raw.arrays)
        return {**result, **taken, "warnings": [*_warn(raw.arrays), *result["warnings"]]}
    n_spikes = sum(len(sorting.spike_times) for sorting in raw)
    duration_s = sum(float(sorting.duration_s.max(initial=0)) for sorting in raw)
    return {**_summary(labels, _templates(raw)), **taken, "n_spikes": n_spikes, "duration_s": duration_s}


def _templates(sortings: list[Sorting]) -> "dict[str, np.ndarray]":
    """The templates of all sessions as rows, when all sessions have templates of one shape."""
    import numpy as np

    shapes = {s.templates.values.shape[1:] if s.templates else None for s in sortings}
    if len(shapes) != 1 or None in shapes:
        return {}
    return {
        "template": np.concatenate([s.templates.values.reshape(len(s.labels), -1) for s in sortings if s.templates])
    }


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
        f"{result['path']} ({result['format']}): {result['n_units']} units",
        f"  labels: {labels}",
        *tell_unlabelled(result.get("taken_as_unlabelled", {})),
    ]
    for name, found in result["modalities"].items():
        missing = f", {found['missing']} rows missing" if found["missing"] else ""
        lines.append(f"  {name}: {found['width']} columns{missing}")
    return "\n".join([*lines, *(f"  warning: {text}" for text in result["warnings"]), "OK"])

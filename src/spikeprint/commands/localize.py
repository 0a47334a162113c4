"""Tell where the spikes of a recording come from, and how the tissue moved.

RECORDING is a row of `recordings` in params.yaml, or a path that `spikeprint add` reads as traces. Filter, detection,
method and motion are those of params.yaml (sections spikes, localize). The network is trained on simulated spikes of
the recording's own probe and noise; --model takes one that was trained before. OUT gets spikes.csv, motion.csv and
scores.json. Killed while it trains, the same command goes on after the last whole epoch.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core.config import Params, RecordingParams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from typing import get_args

    from ..core.localize_params import LocalizerName

    parser.add_argument("recording", help="a row of recordings, or a path with traces")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the tables go; must not exist")
    parser.add_argument("--method", choices=get_args(LocalizerName), help="localiser (default: that of params.yaml)")
    parser.add_argument("--full", action="store_true", help="train for minutes, as the benchmark does")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a localiser that was saved, instead of training")
    parser.add_argument("--stream", help="stream of a recording with several, e.g. imec0.ap")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Localise, write the tables, print the scores."""
    import pandas as pd

    from ..core.config import Params
    from ..core.errors import ConfigError
    from ..core.files import atomic_folder, find_root, write_csv, write_json
    from ..core.resume import find_store, forget
    from ..io.traces.recordings import open_recording
    from ..io.traces.truth import find_truth, read_truth

    root = find_root()
    params = Params.load(root / "params.yaml")
    if arguments.out.exists():
        raise ConfigError(f"--out {arguments.out}: exists; name a new folder")
    folder, row = _find(arguments, root, params)
    localizer = _make(arguments, params)
    recording = open_recording(folder, row)
    store = find_store(root, "localize-command")
    found = localizer.transform(recording) if arguments.model else localizer.fit_transform(recording, store)
    scores = found.score(read_truth(folder) if find_truth(folder) else None)
    with atomic_folder(arguments.out) as temporary:
        write_csv(temporary / "spikes.csv", found.to_frame())
        for motion in found.motions:
            name = "motion.csv" if motion.axis == 1 else "motion_lateral.csv"
            columns = [f"depth_{depth:g}_um" for depth in motion.depths_um]
            table = pd.DataFrame(motion.displacement_um, columns=columns)
            table.insert(0, "time_s", motion.times_s)
            write_csv(temporary / name, table)
        write_json(temporary / "scores.json", scores)
        localizer.save(temporary / "localizer")
    forget(store)
    if arguments.json:
        print(json.dumps({"n_spikes": len(found.peaks), **scores}, indent=2))
    else:
        print(f"{len(found.peaks)} spikes of {found.peaks.duration_s:.1f} s by {localizer.params.method}")
        print("\n".join(f"  {name:<24} {value:.3f}" for name, value in scores.items()))
        print(f"wrote {arguments.out}")
    return 0


def _find(arguments: argparse.Namespace, root: Path, params: "Params") -> "tuple[Path, RecordingParams]":
    """Folder and row of the recording that is named."""
    from ..core.config import RecordingParams
    from ..core.errors import ConfigError, suggest
    from ..io.sources import identify

    name = arguments.recording
    if name in params.recordings:
        return root / "data" / "raw" / name, params.recordings[name]
    path = Path(name)
    if not path.exists():
        hint = suggest(name, params.recordings)
        raise ConfigError(f"{name}: neither a row of recordings nor a path{hint}")
    found = identify(path, "auto", as_recording=True)
    return path, RecordingParams.model_validate({"format": found.format, "stream": arguments.stream})


def _make(arguments: argparse.Namespace, params: "Params") -> Any:
    """The localiser that the options describe."""
    from ..core.production import LOCALIZATION
    from ..localizer import SpikeLocalizer

    if arguments.model:
        return SpikeLocalizer.load(arguments.model)
    chosen = params.localize
    if arguments.full:
        chosen = chosen.model_copy(update={"network": LOCALIZATION.network, "joint": LOCALIZATION.joint})
    if arguments.method:
        chosen = chosen.model_copy(update={"method": arguments.method})
    return SpikeLocalizer(chosen, params.spikes, params.seed)

"""Impute missing modalities, swap an origin, interpolate or sample with the trained model.

  impute PATH       what each modality should look like, judged by the others (--modality: only that one)
  swap PATH         what the units would look like elsewhere (--to-dataset, --to-technology, ...)
  interpolate       the way from one cell type to another (--from-type, --to-type, --n steps)
  sample [PATH]     --n units that never were, of --cell-type or of all; PATH: units to compare them with

PATH is anything that `spikeprint classify` reads. Traces are in the model's normalised space, 50 values each: waveforms
with baseline 0 and peak 1; square roots of ISI histogram and one-sided autocorrelogram over their mean, bins of 2 ms.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, ModelError, suggest
from ..core.files import atomic_path, check_writable, find_root, write_csv, write_json
from ..core.runtime import LOGGER
from . import _units

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CONDITIONS = ("dataset", "technology", "species", "region", "representation")
FIGURES = (".png", ".pdf", ".svg", ".jpg")
N_DRAWN = 6
"""Units, or samples, in a figure."""
Made = tuple[list["pd.DataFrame"], list[str], list["pd.DataFrame"]]
"""Rows of the output, lines about them, what is drawn."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=tuple(ACTIONS), metavar="ACTION", help=", ".join(ACTIONS))
    _units.add_arguments(parser, needs_path=False)
    parser.add_argument("--modality", help="impute: the only one to make up (default: every one)")
    for name in CONDITIONS:
        parser.add_argument(f"--to-{name}", metavar="WORD", help=f"swap: decode as if of this {name}")
    parser.add_argument("--from-type", metavar="TYPE", help="interpolate: where to start")
    parser.add_argument("--to-type", metavar="TYPE", help="interpolate: where to end")
    parser.add_argument("--cell-type", metavar="TYPE", default="", help="sample: only this type (default: all)")
    parser.add_argument("--n", type=int, help="interpolate: places on the way (11); sample: units (100)")
    parser.add_argument("--seed", type=int, default=0, help="sample: the same seed, the same units (default: 0)")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="draw it too")


def run(arguments: argparse.Namespace) -> int:
    """Print or write unit_id, modality, then what the action tells, then v00, v01, ...: one row per trace."""
    import pandas as pd

    if arguments.figure and arguments.figure.suffix.lower() not in FIGURES:
        raise ConfigError(f"--figure {arguments.figure}: the name must end in one of {', '.join(FIGURES)}")
    for path in filter(None, (arguments.out, arguments.figure)):
        check_writable(path)
    rows, lines, drawn = ACTIONS[arguments.action](arguments)
    if arguments.figure and not drawn:
        raise ModelError(f"--figure {arguments.figure}: nothing to draw; {'; '.join(lines)}")
    frame = pd.concat(rows, ignore_index=True)
    if arguments.out and arguments.out.suffix == ".json":
        write_json(arguments.out, frame.to_dict(orient="records"))
    elif arguments.out:
        write_csv(arguments.out, frame)
    elif arguments.json:
        print(frame.to_json(orient="records", indent=2))
    else:
        print(frame.to_csv(index=False), end="")
    if arguments.figure:
        from ..report.generative import plot_generative

        with atomic_path(arguments.figure) as temporary:
            plot_generative({}, pd.concat(drawn)).savefig(
                temporary, dpi=150, format=arguments.figure.suffix[1:].lower()
            )
    for line in lines:
        if arguments.out:
            print(line)
        else:
            LOGGER.info(line)  # standard output is the table's
    return 0


def _impute(arguments: argparse.Namespace) -> Made:
    import numpy as np

    from ..cvae.generate import impute, training_mean
    from ..evaluate.generation import long_rows, score_imputation
    from ..features.transforms import INPUT_LENGTHS, normalise

    if arguments.modality not in (None, *INPUT_LENGTHS):
        hint = suggest(arguments.modality, INPUT_LENGTHS)
        raise ConfigError(f"--modality '{arguments.modality}'{hint}; known: {', '.join(INPUT_LENGTHS)}")
    request = _load(arguments)
    truth, present = normalise(request.inputs)
    rows, lines, drawn = [], [], []
    for i, name in enumerate(INPUT_LENGTHS):
        if arguments.modality not in (None, name):
            continue
        made = impute(request.predictor, request.inputs, request.origin, name)
        rows.append(_rows(request.table.unit_ids[request.has_data], name, made, measured=present[:, i]))
        known = present[:, i] & np.isfinite(made).all(axis=1)
        if not known.any():
            lines.append(f"{name}: no unit has it and another modality: nothing to compare with")
            continue
        score = score_imputation(truth[name][known], made[known], {"mean": training_mean(request.predictor)[name]})
        lines.append(
            f"{name}: mean squared error {score['mse']:.4f} over {score['n']} units that have it; mean trace of the "
            f"training units {score['mse_mean']:.4f}, zero {score['mse_zero']:.4f}"
        )
        for unit in np.flatnonzero(known)[:N_DRAWN]:
            traces = {"real": truth[name][unit], "imputed": made[unit]}
            drawn.append(long_rows(traces, panel="examples", modality=name, name=f"{unit}"))
    return rows, lines, drawn


def _swap(arguments: argparse.Namespace) -> Made:
    import numpy as np

    from ..cvae.generate import swap_origin
    from ..evaluate.generation import long_rows

    words = {name: getattr(arguments, f"to_{name}") for name in CONDITIONS}
    target = {name: word for name, word in words.items() if word}
    if not target:
        raise ConfigError(f"swap: to where? give one of {', '.join(f'--to-{name}' for name in CONDITIONS)}")
    request = _load(arguments)
    swapped = swap_origin(request.predictor, request.inputs, request.origin, target)
    embedding = request.predictor.embed(request.inputs, request.origin)
    own = request.predictor.decode(embedding, request.origin)
    unit_ids, name = request.table.unit_ids[request.has_data], ", ".join(target.values())
    rows = [_rows(unit_ids, modality, x) for modality, x in swapped.items()]
    lines = [
        f"{modality}: changes by {np.sqrt(np.square(x - own[modality]).mean()):.4f} (root mean square), "
        f"{len(x)} units decoded as of {name}"
        for modality, x in swapped.items()
    ]
    drawn = [
        long_rows({"before": own[m].mean(0), "after": x.mean(0)}, panel="swap", modality=m, name=name)
        for m, x in swapped.items()
    ]
    return rows, lines, drawn


def _interpolate(arguments: argparse.Namespace) -> Made:
    import numpy as np

    from ..cvae.generate import class_centre, class_probabilities, interpolate
    from ..evaluate.generation import long_rows, score_path

    if arguments.path:
        raise ConfigError(f"interpolate: {arguments.path} is not needed: the model knows where its cell types lie")
    start, end, n = arguments.from_type, arguments.to_type, 11 if arguments.n is None else arguments.n
    if not (start and end) or n < 3:
        raise ConfigError("interpolate: --from-type and --to-type are needed, and --n of at least 3")
    predictor = _open(arguments)
    for name in (start, end):
        if name not in predictor.classes:
            known = ", ".join(predictor.classes) or "none, it was trained without labels"
            raise ModelError(f"no cell type '{name}' in the model{suggest(name, predictor.classes)}; known: {known}")
    ends = class_centre(predictor, start), class_centre(predictor, end)
    path, traces = interpolate(predictor, *ends, n_steps=n, origin=_told(arguments))
    p = class_probabilities(predictor, path)[:, [predictor.classes.index(name) for name in (start, end)]]
    places = np.array([f"step_{i:02d}" for i in range(n)])
    more = {f"p_{start}": p[:, 0].round(6), f"p_{end}": p[:, 1].round(6)}
    rows = [_rows(places, modality, x, **more) for modality, x in traces.items()]
    lines, drawn = [], []
    for modality, x in traces.items():
        score = score_path(x)
        lines.append(
            f"{modality}: {score['monotone']:.0%} of steps leave {start} and near {end}, "
            f"evenness {score['evenness']:.2f}"
        )
        steps = {f"{i}": row for i, row in enumerate(x)}
        drawn.append(long_rows(steps, panel="path", modality=modality, name=f"{start} → {end}"))
    lines.append(f"P({end}) along the way: " + " ".join(f"{value:.2f}" for value in p[:, 1]))
    return rows, lines, drawn


def _sample(arguments: argparse.Namespace) -> Made:
    import numpy as np

    from ..cvae.generate import sample
    from ..evaluate.generation import long_rows, score_samples
    from ..features.transforms import normalise

    n = 100 if arguments.n is None else arguments.n
    if n < 1 or arguments.seed < 0:
        raise ConfigError(
            f"sample: --n {n} --seed {arguments.seed}: at least 1 unit and a seed of 0 or more are needed"
        )
    request = _load(arguments) if arguments.path else None
    predictor = request.predictor if request else _open(arguments)
    made = sample(predictor, n, arguments.seed, request.origin if request else _told(arguments), arguments.cell_type)
    places = np.array([f"sample_{i:05d}" for i in range(n)])
    rows = [_rows(places, modality, x, cell_type=made.cell_type) for modality, x in made.traces.items()]
    drawn = [
        long_rows({"sampled": x[i]}, panel="samples", modality=modality, name=f"{i}")
        for modality, x in made.traces.items()
        for i in range(min(n, N_DRAWN))
    ]
    lines = [f"{n} units of {len(set(made.cell_type))} cell types; give a PATH to compare them with real units"]
    if request:
        truth, present = normalise(request.inputs)
        common = [name for name, share in zip(truth, present.mean(axis=0), strict=True) if share > 0.5]
        kept = present[:, [name in common for name in truth]].all(axis=1)
        if kept.sum() < 2:
            raise ModelError(f"{arguments.path}: no two units with the same modalities to compare the samples with")
        real = {name: truth[name][kept] for name in common}
        score = score_samples(real, {name: made.traces[name] for name in common})
        lines = [
            f"{n} samples, {kept.sum()} real units: coverage {score['coverage']:.2f}; nearest neighbour of the same "
            f"kind {score['two_sample']:.2f}; Wasserstein "
            + ", ".join(f"{name} {value:.3f}" for name, value in score["wasserstein"].items())
        ]
    return rows, lines, drawn


ACTIONS: dict[str, Callable[[argparse.Namespace], Made]] = {
    "impute": _impute,
    "swap": _swap,
    "interpolate": _interpolate,
    "sample": _sample,
}


def _load(arguments: argparse.Namespace) -> _units.Request:
    if not arguments.path:
        raise ConfigError(f"{arguments.action}: PATH is needed, units in any layout that spikeprint classify reads")
    _refuse_server(arguments.model)
    request = _units.load_request(arguments)
    if not request.has_data.any():
        raise ModelError(f"{arguments.path}: no unit has any usable modality")
    return request


def _open(arguments: argparse.Namespace) -> Any:
    """The model alone, for actions without units."""
    from ..core.config import Params

    _refuse_server(arguments.model)
    root = find_root()
    predictor = _units.open_model(arguments.model, root, Params.load(root / "params.yaml"))
    for name, word in _told(arguments).items():
        known = predictor.vocabulary.get(name, [])
        if known and word not in known:
            raise ConfigError(f"--{name} '{word}' is new to the model{suggest(word, known)}; known: {', '.join(known)}")
    return predictor


def _refuse_server(model: str | None) -> None:
    if model and model.startswith(("http://", "https://")):
        raise ConfigError(f"--model {model}: a server only classifies; name a bundle folder or models:/name@alias")


def _told(arguments: argparse.Namespace) -> dict[str, str]:
    """What the model is told about units that are made up from nothing."""
    return {name: word for name in ("dataset", "technology") if (word := getattr(arguments, name))}


def _rows(unit_ids: "np.ndarray", modality: str, traces: "np.ndarray", **columns: "np.ndarray") -> "pd.DataFrame":
    """One row per unit: unit_id, modality, ``columns``, v00, v01, ..."""
    import pandas as pd

    values = pd.DataFrame(traces, columns=[f"v{i:02d}" for i in range(traces.shape[1])])
    about = pd.DataFrame({"unit_id": unit_ids, "modality": modality, **columns})
    return pd.concat([about, values], axis=1)

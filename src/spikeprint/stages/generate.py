"""Stage ``generate``: the registered ablation's networks and units -> how well they make up what was not measured.

Every unit is met by the fold network that never learnt from it. ``reports/metrics/generative.json`` has the numbers;
``reports/plots/generated/<ablation>.csv`` the traces that the report draws, one value per row: ``panel`` (examples,
swap, path, samples), ``modality``, ``name`` (what of the panel), ``kind`` (how it came about), ``position``, ``value``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import find_root, read_arrays, read_json, write_csv, write_json
from ..core.runtime import LOGGER, timed
from ..core.types import UNLABELLED
from ..cvae.generate import (
    Traces,
    as_canonical,
    class_centre,
    class_probabilities,
    impute,
    interpolate,
    sample,
    swap_origin,
)
from ..cvae.predictor import Predictor
from ..cvae.units import Units
from ..evaluate.generation import long_rows, score_imputation, score_path, score_samples, score_swap
from ..features.transforms import INPUT_LENGTHS, normalise
from . import run_stage
from ._units import StudyUnits, load_units

N_EXAMPLES = 6
"""Units, or samples, of which the report shows the traces."""
MIN_GROUP = 5
"""Fewer units say nothing about the mean or the variety of their kind."""
Scored = tuple[dict[str, Any], list[pd.DataFrame]]
"""Numbers, and what the report draws of them."""


@dataclass(frozen=True)
class Made:
    """n tested units and what the networks that never met them made up about them; traces are modality -> (n, L).

    Attributes
    ----------
    units, truth, present : the units, their normalised traces, (n, n_modalities) bool
    dataset_mean, mean : mean trace of the training units of the unit's own dataset, and of all
    imputed : each modality judged by the others
    decoded : dataset -> the units as if they were from there
    sampled : as many units that never were, told the same origins
    agreement : (n, 2) confidence in the class called for a sampled unit, whether it is the class drawn; empty without
        a read-out
    """

    units: Units
    truth: Traces
    present: np.ndarray
    dataset_mean: Traces
    mean: Traces
    imputed: Traces
    decoded: dict[str, Traces]
    sampled: Traces
    agreement: np.ndarray


def main(argv: list[str]) -> None:
    """Score what the ablation that is registered can make up; it takes no argument."""
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = params.register_.ablation
    bundle = root / "models" / "cvae" / name
    config = read_json(bundle / "bundle.json")["model"]
    with timed(f"generate: {name}"):
        final = Predictor(config, read_arrays(bundle / "weights.safetensors"))
        study = load_units(root, params)
        parts: dict[str, Scored] = {"interpolation": score_interpolation(final, study.units)}
        if (study.folds >= 0).any():
            made = make_up(read_networks(bundle, config), study, params.seed)
            parts["imputation"] = score_modalities(made)
            parts["swap"] = score_swaps(made, final.vocabulary, params.seed)
            parts["samples"] = score_sampling(made)
    drawn = [frame for _, frames in parts.values() for frame in frames]
    write_csv(root / "reports" / "plots" / "generated" / f"{name}.csv", pd.concat([long_rows({}), *drawn]))
    metrics = {part: numbers for part, (numbers, _) in parts.items()}
    write_json(root / "reports" / "metrics" / "generative.json", {"ablation": name, **metrics})
    for dataset, scores in metrics.get("imputation", {}).items():
        shares = ", ".join(f"{modality} {score['explained']:.0%}" for modality, score in scores.items())
        LOGGER.info("  %s: imputation, error less than the mean trace's by: %s", dataset, shares)
    LOGGER.info("wrote %s", Path("reports") / "metrics" / "generative.json")


def read_networks(bundle: Path, config: Mapping[str, Any]) -> dict[int, Predictor]:
    """Rebuild the fold networks of a bundle: fold -> predictor."""
    arrays: dict[int, dict[str, np.ndarray]] = {}
    for key, value in read_arrays(bundle / "folds.safetensors").items():
        model, _, array = key.partition(".")
        if model.startswith("fold_"):
            arrays.setdefault(int(model.removeprefix("fold_")), {})[array] = value
    return {fold: Predictor({**config, "head": None}, found) for fold, found in arrays.items()}


def make_up(networks: Mapping[int, Predictor], study: StudyUnits, seed: int) -> Made:
    """Let every fold network make up what there is to score of its test units."""
    parts = [_make_fold(networks[fold], study, fold, seed) for fold in sorted(set(study.folds.tolist()) - {-1})]

    def join(name: str) -> Traces:
        return {modality: np.concatenate([part[name][modality] for part in parts]) for modality in INPUT_LENGTHS}

    rows = np.concatenate([part["rows"] for part in parts])
    truth, present = normalise(study.units.raw)
    return Made(
        units=study.units.take(rows),
        truth={name: x[rows] for name, x in truth.items()},
        present=present[rows],
        dataset_mean=join("dataset_mean"),
        mean=join("mean"),
        imputed=join("imputed"),
        decoded={name: join(f"as {name}") for name in dict.fromkeys(study.units.origin["dataset"])},
        sampled=join("sampled"),
        agreement=np.concatenate([part["agreement"] for part in parts]),
    )


def _make_fold(network: Predictor, study: StudyUnits, fold: int, seed: int) -> dict[str, Any]:
    rows = np.flatnonzero(study.folds == fold)
    units, datasets = study.units.take(rows), study.units.origin["dataset"]
    made = sample(network, len(rows), seed + fold, units.origin)
    agreement = np.zeros((len(rows), 0))
    if "calibration.scale" in network.arrays:
        said = network.calibrated(network.encode(as_canonical(made.traces), units.origin))
        called = np.array(network.network_classes)[said.argmax(axis=1)] == made.cell_type
        agreement = np.column_stack([said.max(axis=1), called])
    truth, present = normalise(study.units.raw)
    known = (study.teaches & (study.folds != fold))[:, None] & present
    means = {name: _mean(x[known[:, i]], len(rows)) for i, (name, x) in enumerate(truth.items())}
    own = {name: x.copy() for name, x in means.items()}
    for dataset in np.unique(units.origin["dataset"]):
        here = units.origin["dataset"] == dataset
        for i, (name, x) in enumerate(truth.items()):
            own[name][here] = _mean(x[known[:, i] & (datasets == dataset)], int(here.sum()))
    return {
        "rows": rows,
        "imputed": {name: impute(network, units.raw, units.origin, name) for name in INPUT_LENGTHS},
        "mean": means,
        "dataset_mean": own,
        "sampled": made.traces,
        "agreement": agreement,
        **{
            f"as {name}": swap_origin(
                network, units.raw, units.origin, _words_of(study.units, network.vocabulary, name)
            )
            for name in dict.fromkeys(datasets)
        },
    }


def _mean(rows: np.ndarray, n: int) -> np.ndarray:
    """(n, L), the mean of (m, L) n times; zeros without any"""
    return np.tile(rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1], rows.dtype), (n, 1))


def _words_of(units: Units, vocabulary: Mapping[str, list[str]], dataset: str) -> dict[str, str]:
    """What a model is told about the units of a dataset; a word of only some of them is not told."""
    here = units.origin["dataset"] == dataset
    words = {name: np.unique(units.origin[name][here]) for name in vocabulary}
    return {name: str(found[0]) for name, found in words.items() if len(found) == 1 and found[0] in vocabulary[name]}


def score_modalities(made: Made) -> Scored:
    """Imputation of every modality in every dataset, and examples: units spread over the order of their errors."""
    scores: dict[str, Any] = {}
    frames = []
    for i, modality in enumerate(INPUT_LENGTHS):
        truth, imputed = made.truth[modality], made.imputed[modality]
        usable = made.present[:, i] & (made.present.sum(axis=1) > 1)
        for dataset in dict.fromkeys(made.units.origin["dataset"][usable].tolist()):
            rows = usable & (made.units.origin["dataset"] == dataset)
            means = {"dataset_mean": made.dataset_mean[modality][rows], "mean": made.mean[modality][rows]}
            scores.setdefault(dataset, {})[modality] = score_imputation(truth[rows], imputed[rows], means)
        chosen = np.flatnonzero(usable)
        order = chosen[np.argsort(np.square(imputed - truth)[chosen].mean(axis=1), kind="stable")]
        for place, row in enumerate(_spread(order, 0.05, 0.95)):
            traces = {"real": truth[row], "imputed": imputed[row]}
            frames.append(long_rows(traces, panel="examples", modality=modality, name=f"{place}"))
    return scores, frames


def _spread(rows: np.ndarray, first: float, last: float) -> np.ndarray:
    """Up to ``N_EXAMPLES`` of the rows, evenly from one share of their order to another."""
    return rows[np.unique(np.linspace(first, last, N_EXAMPLES) * (len(rows) - 1)).astype(int)] if len(rows) else rows


def score_swaps(made: Made, vocabulary: Mapping[str, list[str]], seed: int) -> Scored:
    """Swaps between all pairs of datasets that the model tells apart, cell type by cell type where they share any."""
    if not vocabulary:
        return {}, []
    scores: dict[str, Any] = {}
    frames = []
    datasets = made.units.origin["dataset"]
    names = dict.fromkeys(datasets.tolist())
    for source, target in ((a, b) for a in names for b in names if a != b):
        entry = {}
        for i, modality in enumerate(INPUT_LENGTHS):
            here, there = (made.present[:, i] & (datasets == name) for name in (source, target))
            groups = _shared_groups(made.units.labels, here, there)
            found = []
            for group in groups:
                a, b = here & group, there & group
                own, swapped = made.decoded[source][modality][a], made.decoded[target][modality][a]
                real = made.truth[modality]
                found.append(score_swap(own, swapped, real[a], real[b], seed))
                if group is groups[0]:
                    means = {"before": own.mean(0), "after": swapped.mean(0), "target": real[b].mean(0)}
                    frames.append(long_rows(means, panel="swap", modality=modality, name=f"{source} → {target}"))
            if found:
                entry[modality] = {key: float(np.mean([score[key] for score in found])) for key in found[0]}
                entry[modality]["n_groups"] = len(found)
        scores[f"{source} -> {target}"] = entry
    return scores, frames


def _shared_groups(labels: np.ndarray, here: np.ndarray, there: np.ndarray) -> list[np.ndarray]:
    """Masks of the cell types with enough units on both sides, the most frequent first; else of all units at once.

    Datasets differ in what cell types they hold: across all units, a swap would be asked to change the cell types too.
    """
    both = here | there
    groups = [(labels == name) & both for name in np.unique(labels[both]) if name != UNLABELLED]
    groups.sort(key=lambda group: -min((group & here).sum(), (group & there).sum()))
    kept = [group for group in groups if min((group & here).sum(), (group & there).sum()) >= MIN_GROUP]
    return kept or ([both] if min(here.sum(), there.sum()) >= MIN_GROUP else [])


def score_interpolation(final: Predictor, units: Units) -> Scored:
    """The way between the two most frequent classes of the dataset with the most labelled units, by the final model."""
    labelled = units.take(units.labels != UNLABELLED)
    if len(final.classes) < 2 or "novelty.centres" not in final.arrays:
        return {}, []
    names, counts = np.unique(labelled.origin["dataset"], return_counts=True)
    dataset = str(names[counts.argmax()])
    classes, counts = np.unique(labelled.labels[labelled.origin["dataset"] == dataset], return_counts=True)
    start, end = (str(name) for name in classes[np.argsort(-counts, kind="stable")][:2])
    words = _words_of(units, final.vocabulary, dataset)
    path, traces = interpolate(final, class_centre(final, start), class_centre(final, end), origin=words)
    probabilities = class_probabilities(final, path)
    p_ends = {
        f"p_{side}": probabilities[:, final.classes.index(name)] for side, name in (("start", start), ("end", end))
    }
    scores = {"dataset": dataset, "start": start, "end": end, **p_ends}
    frames = []
    for modality, x in traces.items():
        scores[modality] = score_path(x)
        steps = {f"{step}": row for step, row in enumerate(x)}
        frames.append(long_rows(steps, panel="path", modality=modality, name=f"{start} → {end}"))
    return scores, frames


def score_sampling(made: Made) -> Scored:
    """Samples beside the tested units, over the modalities that most units have; the same for reconstructions."""
    common = made.present.mean(axis=0) > 0.5
    rows = made.present[:, common].all(axis=1)
    names = [name for name, is_common in zip(INPUT_LENGTHS, common, strict=True) if is_common]
    if rows.sum() < MIN_GROUP or not names:
        return {}, []
    datasets = made.units.origin["dataset"]
    rebuilt = {m: np.stack([made.decoded[name][m][i] for i, name in enumerate(datasets)])[rows] for m in names}
    real, sampled = ({name: x[name][rows] for name in names} for x in (made.truth, made.sampled))
    scores: dict[str, Any] = {"n": int(rows.sum()), "modalities": names, **score_samples(real, sampled)}
    scores["reconstructions"] = score_samples(real, rebuilt)
    if made.agreement.shape[1]:
        scores |= dict(zip(("confidence", "called_as_drawn"), made.agreement.mean(axis=0).tolist(), strict=True))
    frames = [
        long_rows({"sampled": sampled[name][i]}, panel="samples", modality=name, name=f"{i}")
        for name in names
        for i in _spread(np.arange(len(real[name])), 0, 1)
    ]
    return scores, frames


if __name__ == "__main__":
    run_stage(main)

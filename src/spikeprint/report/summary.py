"""The report as text. Enters: parameters, canonical tables, the numbers of the stages. Leaves: one page of Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.config import Params
from ..core.types import MODALITIES, UNLABELLED, UnitTable
from .style import HEADS

NONE = "–"
P_CLEAR = 0.05
HOW_TO_READ = """\
* **Folds.** Each dataset is cut into {n_folds} stratified folds (seed {split_seed}); cell types with fewer than \
{min_units} units are not scored. Numbers are mean ± standard deviation over folds.
* **No test label reaches training.** Each fold has a network of its own, trained without the units it is tested on, \
neither their labels nor their features.
* **Read-outs** are fitted on the training folds; what they leave open (the number of neighbours, the strength of the \
penalty) is chosen inside the training folds too.
* **Control.** The whole training is repeated with shuffled labels. It should end near chance; if it does not, \
something leaks.
* **Balanced accuracy** is the mean recall over the cell types, so a rare type counts as much as a frequent one. \
Macro F1 is in `reports/metrics/`.
"""
LIMITS = """\
* Folds mix units of the same recordings and animals: the numbers speak for new units of these datasets, not for a new \
laboratory, probe or species.
* Small classes make wide intervals; look at the folds, not only at the mean.
* The registered model is trained on all units. Its quality is that of the fold models, which saw fewer.
* The map shows the registered model on the units it was trained on, so it looks tidier than the scores. It is for \
looking: nothing is scored on it, and distances between far groups mean nothing.
"""


def render_summary(
    params: Params,
    tables: Mapping[str, UnitTable],
    validation: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, Mapping[str, Any]],
    comparison: Mapping[str, Any],
    generative: Mapping[str, Any],
    hybrids: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return ``reports/summary.md``: what came in, what was trained, how good it is, how to read it.

    Parameters
    ----------
    params : the parameters of the run
    tables : dataset -> canonical table
    validation : dataset -> content of ``reports/metrics/validation/<dataset>.json``
    metrics : ablation -> content of ``reports/metrics/<ablation>.json``
    comparison : content of ``reports/metrics/comparison.json``
    generative : content of ``reports/metrics/generative.json``
    hybrids : row of ``hybrid`` -> what is in ``reports/metrics/hybrid/<row>/``, ``injected`` and ``score``
    """
    registered, split = params.register_.ablation, params.evaluate
    rows = sorted(metrics, key=lambda name: name != registered)
    how = HOW_TO_READ.format(n_folds=split.n_folds, split_seed=split.split_seed, min_units=split.min_units_per_class)
    parts = [
        "# Report",
        _headline(params, metrics[registered]),
        "## Data",
        _data_table(tables, validation),
        _expectations(validation),
        _comparison(comparison),
        "![Mean waveform, inter-spike intervals and autocorrelogram of every cell type](figures/data.png)",
        "## How well cell types are told apart",
        "Balanced accuracy, mean ± standard deviation over folds; chance is 1 / number of types.",
        _score_table({row: metrics[row] for row in rows}, registered, params.served_head),
        "![Balanced accuracy of every ablation](figures/ablations.png)",
        f"Types mistaken for others (`{registered}`, {HEADS[params.served_head].title}, test units of all folds):",
        "![Confusion matrix of every dataset](figures/confusion.png)",
        "## What was trained",
        _ablation_table(params, rows),
        f"Loss of `{registered}`, part by part:",
        "![Training and validation loss](figures/losses.png)",
        f"All units in the embedding of `{registered}`, laid out in two dimensions:",
        "![Map of the embedding](figures/map.png)",
        "## What the model makes up",
        *_generative(generative),
        "![Imputed, swapped, interpolated and sampled traces](figures/generative.png)",
        *_hybrids(params, hybrids),
        "## How to read it",
        how,
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _headline(params: Params, metrics: Mapping[str, Any]) -> str:
    """Two sentences: what is registered, how good it is; one more on the gate."""
    name, head, gate = params.register_.ablation, params.served_head, params.gates
    description = params.ablation(name).description
    what = f"`{params.register_.model_name}` is the ablation **{name}**" + (
        f" ({description})." if description else "."
    )
    overall, datasets = metrics["overall"], metrics["datasets"]
    if head not in overall:
        return f"{what} No dataset has enough labelled units to be scored."
    score = overall[head]["balanced_accuracy"]
    scored = f"Mean balanced accuracy over {_count(len(datasets), 'dataset')}: **{score:.2f}**"
    scored += f" ({HEADS[head].title}, {params.evaluate.n_folds}-fold cross-validation)"
    asked = f"The gate asks for at least {gate.floor:.2f} and a lead of {gate.margin_over_control:.2f} over the control"
    if "control" not in overall:
        return f"{what} {scored}. {asked}: **not met**, there is no control (`evaluate.control_folds` is 0)."
    control = overall["control"]["balanced_accuracy"]
    is_met = score >= gate.floor and score - control >= gate.margin_over_control
    compared = f"{scored}, against {control:.2f} when the labels are shuffled"
    return f"{what} {compared}. {asked}: {'met' if is_met else '**not met**'}."


def _data_table(tables: Mapping[str, UnitTable], validation: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, table in tables.items():
        names, counts = np.unique(table.labels[table.labels != UNLABELLED], return_counts=True)
        classes = ", ".join(f"{n} {count:,}" for n, count in zip(names, counts, strict=True))
        missing = {m: int((~np.isfinite(getattr(table, m)).all(axis=1)).sum()) for m in MODALITIES}
        n = len(table.labels)
        gaps = ", ".join(m if gap == n else f"{m} ({gap:,})" for m, gap in missing.items() if gap)
        checks = validation[name].get("expectations", [])
        held = sum(bool(check["success"]) for check in checks)
        passed = int(table.metadata["passes_qc"].sum())
        rows.append(
            [
                f"**{name}**",
                table.card.get("technology", NONE),
                table.card.get("species", NONE),
                f"{n:,}",
                f"{passed:,}",
                f"{counts.sum():,}",
                classes or NONE,
                gaps or NONE,
                str(table.card.get("representation", NONE)),
                f"[valid, {held} of {len(checks)} expectations](validation/{name}/index.html)",
            ]
        )
    columns = [
        "dataset",
        "technology",
        "species",
        "units",
        "pass QC",
        "labelled",
        "cell types",
        "missing",
        "histograms",
        "validation",
    ]
    return _table(columns, rows, numeric=(3, 4, 5)) + (
        "\n\nUnits that fail quality control are kept and predicted, but no network is trained on them."
    )


def _expectations(validation: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per expectation that did not hold; they warn, they do not stop the pipeline."""
    lines = [
        f"* `{name}`: {check['expectation']} {check['column']}".rstrip() + f" (observed {_short(check['observed'])})"
        for name, summary in validation.items()
        for check in summary.get("expectations", [])
        if not check["success"]
    ]
    return "Not as expected (the pipeline goes on, look at the pages in `reports/validation/`):\n\n" * bool(
        lines
    ) + "\n".join(lines)


def _comparison(comparison: Mapping[str, Any]) -> str:
    """What sets the datasets apart; different animals and probes may, a wrong unit of time or volt should not."""
    if comparison["n_datasets"] < 2:
        return ""
    page = "[page](validation/_between/index.html)"
    lines = [f"* `{row['dataset']}`: {row['column']} {_short(row['value'])}" for row in comparison["outside"]]
    if not lines:
        return f"Between the datasets, rates, widths and class balance are within what is expected ({page})."
    return f"Far from the other datasets ({page}):\n\n" + "\n".join(lines)


def _score_table(metrics: Mapping[str, Mapping[str, Any]], registered: str, served: str) -> str:
    """One row per ablation and read-out; what is registered and served stands bold."""
    datasets = list(dict.fromkeys(name for entry in metrics.values() for name in entry["datasets"]))
    rows = []
    for ablation, entry in metrics.items():
        for head in [head for head in HEADS if head in entry["overall"]]:
            scores = [entry["datasets"].get(name, {}).get(head, {}).get("balanced_accuracy") for name in datasets]
            mean = entry["overall"][head]["balanced_accuracy"]
            cells = [NONE if score is None else f"{score['mean']:.2f} ± {score['sd']:.2f}" for score in scores]
            row = [f"`{ablation}`", HEADS[head].title, *cells, f"{mean:.2f}"]
            rows.append([f"**{cell}**" for cell in row] if (ablation, head) == (registered, served) else row)
    if not rows:
        return "No dataset has enough labelled units to be scored."
    return _table(["ablation", "read-out", *datasets, "mean"], rows, numeric=range(2, len(datasets) + 3))


def _generative(scores: Mapping[str, Any]) -> list[str]:
    """Imputation as a table, then one sentence each on swaps, the way between two types and samples."""
    imputed = [(dataset, m, score) for dataset, by in scores.get("imputation", {}).items() for m, score in by.items()]
    if not imputed:
        return ["No dataset has units to be tested on."]
    keys = ("mse", "mse_dataset_mean", "mse_mean", "mse_zero")
    rows = [
        [
            f"**{dataset}**",
            modality,
            f"{score['n']:,}",
            *(f"{score[key]:.3f}" for key in keys),
            f"{score['explained']:.0%}",
        ]
        for dataset, modality, score in imputed
    ]
    columns = ["dataset", "modality", "units", "imputed", "mean of its dataset", "mean of all", "zero", "explained"]
    parts = [
        "Mean squared error of a modality judged by the others, against mean traces of training units; on units that "
        "the network never met, in normalised space. *Explained* is the share by which it is below the best of the "
        "means.",
        _table(columns, rows, numeric=range(2, len(columns))),
    ]
    if swaps := [score for by in scores.get("swap", {}).values() for score in by.values()]:
        right, clear = sum(score["gain"] > 0 for score in swaps), sum(score["p"] < P_CLEAR for score in swaps)
        parts.append(
            f"Units decoded as from another dataset are nearer to those there in {right} of "
            f"{_count(len(swaps), 'case')} (pair of datasets and modality), in {clear} by more than shuffled origins "
            "would make them."
        )
    if way := scores.get("interpolation"):
        first, last = way["p_end"][0], way["p_end"][-1]
        parts.append(
            f"From {way['start']} to {way['end']} the probability of the latter goes from {first:.2f} to {last:.2f}."
        )
    if samples := scores.get("samples"):
        rebuilt = samples["reconstructions"]["coverage"]
        parts.append(
            f"Samples cover {samples['coverage']:.0%} of the real units (reconstructions: {rebuilt:.0%}); a nearest "
            f"neighbour tells the two kinds apart in {samples['two_sample']:.0%} (50% = it cannot): what is made up is "
            "smoother than what is measured."
        )
    return parts


def _hybrids(params: Params, hybrids: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How sorters found neurons that were put into recordings; nothing where there are none."""
    if not hybrids:
        return []
    rows = []
    for name, told in hybrids.items():
        put, score, page = told["injected"], told["score"], f"hybrid/{name}"
        rates = [NONE if score.get(key) is None else f"{score[key]:.2f}" for key in ("accuracy", "recall")]
        rows.append(
            [
                f"`{name}`",
                f"{params.hybrid[name].recording} ({score['sorter']})",
                f"{put['n_units']:,}",
                f"{put['n_spikes']:,}",
                f"{score.get('n_assigned', 0):,}",
                f"{score.get('n_well_detected', 0):,}",
                *rates,
                f"[injected]({page}/injected.png), [found]({page}/score.png), [units]({page}/units.csv)",
            ]
        )
    columns = ["row", "recording (sorter)", "put in", "spikes", "found", "well", "accuracy", "recall", "figures"]
    return [
        "## How well sorting finds neurons",
        "Artificial neurons of known spike times were put into recordings and the recordings sorted. *Well*: accuracy "
        "of at least 0.8; accuracy and recall are means over all that were put in.",
        _table(columns, rows, numeric=range(2, 8)),
    ]


def _ablation_table(params: Params, rows: Sequence[str]) -> str:
    """What each ablation is for, then the parameters in which the ablations differ, a column for each ablation."""
    models = {name: params.ablation(name).model_dump() for name in rows}
    about = [f"* `{name}`: {model.pop('description') or NONE}" for name, model in models.items()]
    keys = [key for key in models[rows[0]] if len({str(model[key]) for model in models.values()}) > 1]
    table = [[f"`{key}`", *(_short(model[key]) for model in models.values())] for key in keys]
    text = "\n".join(about)
    if table:
        text += "\n\nThey differ in these parameters of `params.yaml` and share all others:\n\n"
        text += _table(["parameter", *(f"`{name}`" for name in rows)], table)
    return text


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """Return a Markdown table; columns in ``numeric`` are aligned to the right."""
    right = set(numeric)
    rule = ["---:" if i in right else "---" for i in range(len(columns))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rule, *rows))


def _short(value: Any) -> str:
    """Return a parameter or an observed value as a reader wants it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + "s" * (n != 1)

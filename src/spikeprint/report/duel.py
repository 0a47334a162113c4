"""Champion against challenger on one page. Enters: their predictions side by side, gates. Leaves: HTML.

Figures are drawn into the page as SVG; there are no scripts, and nothing is fetched from anywhere.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ..evaluate.calibration import calibration_gap
from ..evaluate.paired import SIDES, Comparison, DatasetComparison, Interval
from .style import BAND, FAINT, GRID, INK, MUTED, PALETTE, RC, WIDTH_IN, make_grid

COLORS = dict(zip(SIDES, (MUTED, PALETTE[0]), strict=True))
MARKS = dict(zip(SIDES, ("o", "D"), strict=True))
N_BINS = 10
MAX_ROWS = 300
"""Units listed at most; the count beside the table is of all."""

STYLE = f"""<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; margin: 0 auto; max-width: 1060px; padding: 0 1.5rem; }}
h1 {{ font-size: 1.5rem; margin: 2rem 0 .3rem; }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .5rem; }}
h3 {{ font-size: 1rem; margin: 1.2rem 0 .3rem; }} p {{ max-width: 75ch; }} .dim {{ color: {MUTED}; }}
table {{ border-collapse: collapse; margin: .5rem 0 1rem; }} svg {{ max-width: 100%; height: auto; }}
th, td {{ border-bottom: 1px solid {GRID}; padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; }}
th {{ color: {MUTED}; font-weight: 600; }} td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
tr.bad td {{ background: #fbeeee; }} .won {{ color: #1a7f37; }} .lost {{ color: #c01c28; }}
code {{ background: {BAND}; border-radius: 3px; padding: 0 .3rem; }} summary {{ cursor: pointer; }}
</style>"""


def render_duel(
    title: str,
    found: Comparison,
    gates: Sequence[Sequence[str]],
    facts: Mapping[str, Mapping[str, str]],
) -> str:
    """Return the page.

    Parameters
    ----------
    title : what is competed for, e.g. ``spikeprint-cvae @production``
    found : of ``evaluate.paired.compare_predictions``
    gates : rows of name, found, needed, verdict (``yes``, ``NO`` or ``waived``), why
    facts : name of the champion, then of the challenger -> where it comes from
    """
    champion, challenger = facts
    n_units = sum(len(one.pairs) for one in found.datasets)
    n_changed = sum(len(one.changed) for one in found.datasets)
    left_out = f" Scored with only one of them and left out: {', '.join(found.left_out)}." if found.left_out else ""
    failed = [row[0] for row in gates if row[3] == "NO"]
    verdict = f"refused: {', '.join(failed)}" if failed else "every gate holds or was waived"
    parts = [
        f"<h1>{escape(title)}: {escape(challenger)} against {escape(champion)}</h1>",
        f'<p class="dim">Challenger {escape(challenger)}, champion {escape(champion)}: {escape(verdict)}.</p>',
        f"<p>Mean difference over datasets: <b>{found.overall}</b>. The two name {n_changed:,} of {n_units:,} units "
        f"differently. Both predicted each unit with a network that never met it, on the same folds.{left_out}</p>",
        "<h2>Gates</h2>",
        _table(("gate", "found", "limit", "holds", ""), gates, bad=lambda row: row[3] == "NO"),
        "<h2>Scores</h2>",
        _scores(found),
        _svg(draw_differences(found)),
        "<h2>Cell types</h2>",
        '<p class="dim">Recall of each type: grey circle champion, blue diamond challenger.</p>',
        _svg(draw_classes(found)),
        "<h2>Calibration</h2>",
        '<p class="dim">How often units named with some confidence are named rightly; on the diagonal confidence means '
        "what it says. The size of a mark is the number of units.</p>",
        _svg(draw_reliability(found)),
        "<h2>Units that changed</h2>",
        *[_units(one) for one in found.datasets],
        "<h2>Where they come from</h2>",
        _table(("", *facts), [(key, *(fact[key] for fact in facts.values())) for key in facts[champion]]),
        '<p class="dim">Intervals: central 95 % of a bootstrap that draws units anew within each type, the same for '
        "both. Balanced accuracy is over all folds together.</p>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}: {escape(challenger)} against {escape(champion)}</title>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}\n{STYLE}\n</head><body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def draw_differences(found: Comparison) -> Figure:
    """Difference of balanced accuracy per dataset and of their mean; right of zero the challenger leads."""
    rows = [(one.name, one.difference) for one in found.datasets] + [("mean", found.overall)]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, 0.7 + 0.35 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=FAINT, lw=1)
        for y, (_, difference) in enumerate(rows):
            color = INK if y == len(rows) - 1 else PALETTE[0]
            axes.plot([difference.low, difference.high], [y, y], color=color, lw=2, solid_capstyle="round")
            axes.plot(difference.value, y, "D", color=color, ms=6)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("difference of balanced accuracy, challenger - champion")
        return figure


def draw_classes(found: Comparison) -> Figure:
    """Recall of every cell type with both models, a panel per dataset."""
    most = max(one.pairs["cell_type"].nunique() for one in found.datasets)
    with mpl.rc_context(RC):
        grid = make_grid(len(found.datasets), 3, 0.8 + 0.3 * most)
        for axes, one in zip(grid.axes, found.datasets, strict=True):
            names, recalls = class_recalls(one)
            for y in range(len(names)):
                axes.plot([recalls[side][y] for side in SIDES], [y, y], color=FAINT, lw=2, zorder=1)
            for side in SIDES:
                axes.scatter(recalls[side], range(len(names)), color=COLORS[side], marker=MARKS[side], s=34, zorder=2)
            counts = one.pairs["cell_type"].value_counts()
            axes.set_yticks(range(len(names)), [f"{name} ({counts[name]})" for name in names])
            axes.set_xlim(-0.03, 1.03)
            axes.invert_yaxis()
            axes.set_title(one.name)
            axes.set_xlabel("recall")
        return grid.figure


def draw_reliability(found: Comparison) -> Figure:
    """Accuracy against confidence with both models, a panel per dataset."""
    with mpl.rc_context(RC):
        grid = make_grid(len(found.datasets), 3, 3.2)
        for axes, one in zip(grid.axes, found.datasets, strict=True):
            axes.plot([0, 1], [0, 1], color=FAINT, lw=1, zorder=0)
            for side in SIDES:
                confidence, accuracy, counts = reliability(one, side)
                label = f"{side}, error {calibration_error(one, side):.3f}"
                axes.plot(confidence, accuracy, color=COLORS[side], lw=1, zorder=1)
                size = 12 + 90 * counts / len(one.pairs)
                axes.scatter(
                    confidence, accuracy, s=size, color=COLORS[side], marker=MARKS[side], label=label, zorder=2
                )
            axes.set(title=one.name, xlabel="confidence", ylabel="accuracy", xlim=(0, 1.03), ylim=(-0.03, 1.03))
            axes.legend(loc="upper left", markerscale=0.8)
        return grid.figure


def class_recalls(one: DatasetComparison) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the cell types of a dataset and, per side, the share of each that is named rightly."""
    labels = one.pairs["cell_type"].to_numpy(str)
    names = np.unique(labels).tolist()
    return names, {side: np.array([one.hits(side)[labels == name].mean() for name in names]) for side in SIDES}


def reliability(one: DatasetComparison, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, accuracy and number of units of each filled bin of confidence."""
    confidence, hits = one.pairs[f"confidence_{side}"].to_numpy(float), one.hits(side)
    bins = np.clip(np.ceil(confidence * N_BINS).astype(int), 1, N_BINS)
    filled = np.unique(bins)
    means = [[values[bins == k].mean() for k in filled] for values in (confidence, hits)]
    return np.array(means[0]), np.array(means[1]), np.array([(bins == k).sum() for k in filled])


def calibration_error(one: DatasetComparison, side: str) -> float:
    """Return the expected calibration error, every cell type weighing the same, as ``reports/metrics`` has it."""
    _, codes, counts = np.unique(one.pairs["cell_type"].to_numpy(str), return_inverse=True, return_counts=True)
    return calibration_gap(one.pairs[f"confidence_{side}"].to_numpy(float), one.hits(side), 1 / counts[codes])


def _scores(found: Comparison) -> str:
    rows = [
        (one.name, f"{len(one.pairs):,}", *map(_score, (one.champion, one.challenger)), str(one.difference))
        for one in found.datasets
    ]
    return _table(("dataset", "units", "champion", "challenger", "difference"), rows)


def _score(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _units(one: DatasetComparison) -> str:
    """Count and list of the units of a dataset that are named differently: lost first, then won, then the others."""
    before, after = one.hits("champion"), one.hits("challenger")
    is_changed = (one.pairs["predicted_champion"] != one.pairs["predicted_challenger"]).to_numpy()
    kinds = {"lost": before & ~after, "won": ~before & after, "wrong both times": is_changed & ~before & ~after}
    rows = []
    for kind, mask in kinds.items():
        for unit in one.pairs[mask].itertuples():
            said = (
                f"{unit.predicted_champion} ({unit.confidence_champion:.2f})",
                f"{unit.predicted_challenger} ({unit.confidence_challenger:.2f})",
            )
            rows.append((kind, str(unit.unit_id), unit.cell_type, *said))
    counts = ", ".join(f"{int(mask.sum())} {kind}" for kind, mask in kinds.items())
    more = f'<p class="dim">{len(rows) - MAX_ROWS:,} more are not listed.</p>' if len(rows) > MAX_ROWS else ""
    table = _table(("", "unit", "type", "champion said", "challenger said"), rows[:MAX_ROWS]) + more
    n_same = len(one.pairs) - len(rows)
    is_open = " open" if len(rows) <= 40 else ""
    return (
        f"<h3>{escape(one.name)}: {counts}, {n_same:,} unchanged</h3>"
        f"<details{is_open}><summary>units</summary>{table}</details>"
    )


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], bad: Callable[[Sequence[str]], bool] = lambda row: False
) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = []
    for row in rows:
        mark = ' class="bad"' if bad(row) else ""
        tint = f' class="{row[0]}"' if row and row[0] in ("won", "lost") else ""
        first, *others = row
        inner = f"<td{tint}>{escape(first)}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in others)
        lines.append(f"<tr{mark}>{inner}</tr>")
    return f"<table><thead><tr>{cells}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


def _svg(figure: Figure) -> str:
    """A figure as an SVG element, the same text for the same figure."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "spikeprint"}):
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]

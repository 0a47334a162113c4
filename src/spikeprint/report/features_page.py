"""The reference page of the metadata columns. Enters: the declared scalars and rules. Leaves: ``docs/features.md``.

``python -m spikeprint.report.features_page`` writes the page anew.
"""

from collections.abc import Sequence
from pathlib import Path

from ..core.files import find_root, write_text
from ..core.types import MODALITIES
from ..features.assemble import QC_RULES
from ..features.scalars import SCALAR_GROUPS

INTRO = """\
# Features

Every unit, whatever its source, becomes a waveform, a histogram of inter-spike intervals, an autocorrelogram and one
row of `metadata.csv`. All are raw (counts, microvolts); any normalisation belongs to the model. `representation.json`
says how they were made. A measurement that does not exist is missing (an empty cell), never 0.

This page is made from the tables in `src/spikeprint/features/` by `python -m spikeprint.report.features_page`; edit
those, not the page.
"""
HISTOGRAMS = {
    "waveform": "mean waveform of the channel with the largest peak-to-peak: 2.5 ms at 20 kHz, trough at sample 20, "
    "polarity as recorded, in µV where the gain is known",
    "isi": "inter-spike intervals: column k counts those of [k, k + 1) ms; none is formed across a gap",
    "acg": "autocorrelogram: all pairs of spikes, bins of 1 ms centred on -100 to 100 ms; symmetric, 0 at lag 0",
}
SIGNS = {"lt": "<", "gt": ">"}
OTHER_COLUMNS = {
    "unit_id": "name of the unit; `<session_id>/<unit>` where the dataset has several sessions",
    "session_id": "session that the unit was recorded in (datasets from spike trains)",
    "source_*": "further columns of the source as they stood there",
    "flags": "what was noticed: positive_spike, trough_at_edge, upsampled, flat, clipped, low_n, invalid_times, "
    "unsorted_times, duplicate_times, censored_times; from CSV also nonfinite_* and empty_*",
    "passes_qc": "whether no rule below fails; nothing is deleted",
    "qc_reason": "the rules that fail",
}


def render_features_page() -> str:
    """Return the page: the files, a table of columns per group of scalars, and the rules of quality control."""
    files = [(f"`{m.file}`", str(m.length), HISTOGRAMS[name]) for name, m in MODALITIES.items()]
    parts = [INTRO.strip(), "## Files", _table(("file", "columns", "content"), files), "## Columns of `metadata.csv`"]
    parts.append(_table(("column", "meaning"), [(f"`{name}`", text) for name, text in OTHER_COLUMNS.items()]))
    for title, group in SCALAR_GROUPS.items():
        rows = [
            (f"`{name}`", each.unit, each.description, ", ".join(f"`{need}`" for need in each.needs), each.threshold)
            for name, each in group.items()
        ]
        parts += [f"### {title}", _table(("column", "unit", "meaning", "needs", "usual"), rows)]
    rules = [
        (f"`{reason}`", f"`{rule.scalar}` {SIGNS[rule.fails.__name__]} `features.{rule.limit}`")
        for reason, rule in QC_RULES.items()
    ]
    rules.append(("`no_features`", "waveform, intervals and autocorrelogram are all missing"))
    parts += ["## Quality control", "A number that is not known never fails.", _table(("reason", "fails when"), rules)]
    return "\n\n".join(parts) + "\n"


def write_features_page(root: Path) -> None:
    """Write ``docs/features.md`` of the project at ``root``."""
    write_text(root / "docs" / "features.md", render_features_page())


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; a bar inside a cell would end it."""
    lines = (header, ("---",) * len(header), *rows)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    write_features_page(find_root())

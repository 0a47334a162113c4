"""Stage ``population_report``: what ``contrast`` and ``decode`` wrote -> figures and a page for people."""

import matplotlib
import numpy as np

from ..core.config import Params
from ..core.files import atomic_folder, find_root, read_arrays, read_json, write_text
from ..core.runtime import timed
from ..io.population.folder import read_parts
from ..io.population.tables import read_table
from ..report.population import plot_confusions, plot_consistency, plot_curves, plot_embeddings, plot_kshot, render_page
from ..report.style import RC
from . import run_stage

DPI = 120


def main(argv: list[str]) -> None:
    """Write the page and its figures; rows are those of params.yaml."""
    root = find_root()
    params = Params.load(root / "params.yaml").population
    reports, figures = root / "reports" / "populations", {}
    contrast = {name: read_json(reports / "contrast" / f"{name}.json") for name in params.modes}
    kshot = {name: read_table(reports / "kshot" / f"{name}.csv") for name in params.decoded}
    with timed("population_report"):
        if contrast:
            embeddings, colours = {}, {}
            for name, mode in params.modes.items():
                path = root / "models" / "population" / name / "embeddings.safetensors"
                embeddings[name] = read_arrays(path)["run_0"]
                labels = read_parts(root / "data" / "populations" / mode.session).labels
                first = next(iter(labels.values()), np.arange(len(embeddings[name])))
                colours[name] = first if first.ndim == 1 and first.dtype.kind in "iuf" else np.arange(len(first))
            figures["embeddings"] = plot_embeddings(embeddings, colours)
            curves = {name: read_table(reports / "losses" / f"{name}.csv") for name in params.modes}
            figures["losses"] = plot_curves(curves)
            figures["consistency"] = plot_consistency({n: found["consistency_matrix"] for n, found in contrast.items()})
        if kshot:
            figures["kshot"] = plot_kshot(kshot)
            best = {
                name: str(table[table["k"] == table["k"].min()].groupby("model")["top1"].mean().idxmax())
                for name, table in kshot.items()
            }
            answers = {name: read_table(reports / "answers" / f"{name}.csv") for name in params.decoded}
            figures["confusion"] = plot_confusions(answers, best)
        with atomic_folder(reports / "figures") as folder, matplotlib.rc_context(RC):
            for name, figure in figures.items():
                figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
        write_text(reports / "summary.md", render_page(contrast, kshot, list(figures)))


if __name__ == "__main__":
    run_stage(main)

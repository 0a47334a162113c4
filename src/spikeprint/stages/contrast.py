"""Stage ``contrast@mode``: a population -> a contrastive model, embeddings, losses, scores, a shuffle control."""

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import atomic_folder, find_root, write_arrays, write_csv, write_json
from ..core.population_params import ModeParams
from ..core.runtime import LOGGER, timed
from ..population.consistency import consistency_score
from ..population.control import shuffle_control
from ..population.data import Population
from ..population.embedder import PopulationEmbedder
from ..population.folder import read_population
from . import pick_row, run_stage

N_RUNS = 3
"""Fits whose embeddings are compared."""
EVERY = 10
"""Of so many steps one is kept in the table of losses."""


def main(argv: list[str]) -> None:
    """Fit the row of ``population.modes`` named by the only word of ``argv``."""
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.population.modes, "population.modes")
    mode = params.population.modes[name]
    population = read_population(root / "data" / "populations" / mode.session)
    settings = {**params.population.embed, **mode.settings}
    with timed(f"contrast@{name}: {N_RUNS} runs and a control"):
        models = [fit(population, mode, settings, params.seed + i) for i in range(N_RUNS)]
        embeddings = [model.transform(population) for model in models]
        done = models[0].diagnosis_
        control = shuffle_control(models[0], population, *mode.labels, seed=params.seed, diagnosis=done)
    write_outputs(name, models[0], embeddings, control, population)


def fit(population: Population, mode: ModeParams, settings: dict, seed: int) -> PopulationEmbedder:
    """Return one fitted model."""
    return PopulationEmbedder(**settings, random_state=seed).fit(population, *mode.labels)


def write_outputs(
    name: str, model: PopulationEmbedder, embeddings: list[np.ndarray], control: pd.DataFrame, population: Population
) -> None:
    """Write model, embeddings, curves and metrics of a mode."""
    root = find_root()
    with atomic_folder(root / "models" / "population" / name) as folder:
        model.save(folder / "model.safetensors")
        write_arrays(folder / "embeddings.safetensors", {f"run_{i}": value for i, value in enumerate(embeddings)})
    table = model.history_
    kept = table[(table["step"] % EVERY == 0) | table["held_out_loss"].notna()]
    write_csv(root / "reports" / "populations" / "losses" / f"{name}.csv", kept)
    scores, pairs, _ = consistency_score(embeddings, between="runs")
    metrics = {
        "session": population.session_id,
        **model.diagnosis_,
        "layout": model.layout_,
        "consistency": float(scores.mean()),
        "consistency_matrix": [[int(a), int(b), float(s)] for (a, b), s in zip(pairs, scores, strict=True)],
        "control": {row.pop("rows"): row for row in control.to_dict("records")},
    }
    write_json(root / "reports" / "populations" / "contrast" / f"{name}.json", metrics)
    LOGGER.info("  %.2f bits held out, consistency %.2f", metrics["held_out_bits"], metrics["consistency"])


if __name__ == "__main__":
    run_stage(main)

"""Stage ``embed@ablation``: networks and units -> latent means under every network, the final model's predictions."""

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import atomic_folder, find_root, read_arrays, read_json, write_arrays, write_csv
from ..core.runtime import timed
from ..cvae.predictor import Predictor
from . import run_stage
from ._units import load_units


def main(argv: list[str]) -> None:
    """Embed all units with the final, fold and control networks of the ablation named by the only argument."""
    (name,) = argv
    root = find_root()
    params = Params.load(root / "params.yaml")
    study = load_units(root, params)
    units = study.units
    bundle = root / "models" / "cvae" / name
    config = read_json(bundle / "bundle.json")["model"]
    weights = {f"final.{k}": v for k, v in read_arrays(bundle / "weights.safetensors").items()}
    weights |= read_arrays(bundle / "folds.safetensors")
    networks: dict[str, dict] = {}
    for key, value in weights.items():
        model, _, array = key.partition(".")
        networks.setdefault(model, {})[array] = value
    with timed(f"embed@{name}: {len(units)} units, {len(networks)} networks"):
        predictors = {key: Predictor(config, arrays) for key, arrays in networks.items()}
        embeddings = {key: predictor.embed(units.raw, units.origin) for key, predictor in predictors.items()}
    table = pd.DataFrame(
        {
            "dataset": units.origin["dataset"],
            "unit_id": study.unit_ids,
            "cell_type": units.labels,
            "fold": study.folds,
            "teaches": study.teaches,
            "predicted": "",
            "confidence": np.nan,
        }
    )
    if predictors["final"].classes:
        answer = predictors["final"].predict(units.raw, units.origin)
        table["predicted"] = np.where(study.has_data, answer.labels, "")
        table["confidence"] = np.where(study.has_data, answer.confidence.round(6), np.nan)
    with atomic_folder(root / "data" / "embeddings" / name) as folder:
        write_arrays(folder / "embeddings.safetensors", embeddings)
        write_csv(folder / "units.csv", table)


if __name__ == "__main__":
    run_stage(main)

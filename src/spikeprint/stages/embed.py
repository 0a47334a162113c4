"""Stage ``embed@ablation``: networks and units -> what every network says of all units, the final model's predictions.

``embeddings.safetensors`` holds for ``final`` and each ``fold_k`` and ``control_k`` the latent means under its name,
and where it was trained with a read-out ``<name>.probabilities``, ``<name>.sets`` and ``<name>.novelty``.
"""

from typing import Any

import numpy as np
import pandas as pd

from ..core.config import Params
from ..core.files import atomic_folder, find_root, read_arrays, read_json, write_arrays, write_csv, write_json
from ..core.runtime import timed
from ..cvae.predictor import Predictor
from ..cvae.units import Units
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
    networks: dict[str, dict] = {}
    for key, value in read_arrays(bundle / "folds.safetensors").items():
        model, _, array = key.partition(".")
        networks.setdefault(model, {})[array] = value
    final = Predictor(config, read_arrays(bundle / "weights.safetensors"))
    with timed(f"embed@{name}: {len(units)} units, {len(networks) + 1} networks"):
        own = {"kind": "network", "classes": config["classes"]} if "calibration.scale" in final.arrays else None
        said = answers("final", final, units, own is not None)
        for key, arrays in networks.items():
            said |= answers(key, Predictor({**config, "head": own}, arrays), units, own is not None)
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
    if final.classes:
        answer = final.predict(units.raw, units.origin)
        table["predicted"] = np.where(study.has_data, answer.labels, "")
        table["confidence"] = np.where(study.has_data, answer.confidence.round(6), np.nan)
    with atomic_folder(root / "data" / "embeddings" / name) as folder:
        write_arrays(folder / "embeddings.safetensors", said)
        write_json(folder / "classes.json", config["classes"])
        write_csv(folder / "units.csv", table)


def answers(key: str, predictor: Predictor, units: Units, has_read_out: bool) -> dict[str, Any]:
    """Return what one network says of all units, by the names under which it is stored."""
    if not has_read_out:
        return {key: predictor.embed(units.raw, units.origin)}
    latent, away = predictor.meet(units.raw, units.origin)
    probabilities, sets, novelty = predictor.assured(latent, away)
    named = {"probabilities": probabilities, "sets": sets.astype(np.uint8), "novelty": novelty}
    return {key: predictor.flatten(latent)} | {f"{key}.{what}": values for what, values in named.items()}


if __name__ == "__main__":
    run_stage(main)

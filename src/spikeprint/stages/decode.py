"""Stage ``decode@session``: a population in trials -> accuracy for each model and number of shots."""

from ..core.compute import count_workers
from ..core.config import Params
from ..core.files import find_root, write_csv, write_json
from ..core.population_params import DecodeParams
from ..core.runtime import LOGGER, timed
from ..population.decoding.kshot import Study, run_kshot, summarise
from ..population.folder import read_population
from ..validate.population import RESULTS, check_table
from . import pick_row, run_stage


def main(argv: list[str]) -> None:
    """Decode the row of ``population.decoded`` named by the only word of ``argv``."""
    root = find_root()
    params = Params.load(root / "params.yaml")
    name = pick_row(argv, params.population.decoded, "population.decoded")
    population = read_population(root / "data" / "populations" / name)
    study = make_study(params.population.decode, params.seed)
    with timed(f"decode@{name}: {len(study.models)} models"):
        result = run_kshot([population], study, count_workers())
    where = f"reports/populations/kshot/{name}.csv"
    write_csv(root / where, check_table(result.table, RESULTS, where))
    write_csv(root / "reports" / "populations" / "answers" / f"{name}.csv", result.answers)
    means = summarise(result.table)
    metrics: dict[str, dict[str, float]] = {}
    for row in means.itertuples():
        metrics.setdefault(str(row.model), {})["all" if row.k == 0 else f"k{row.k}"] = float(row.top1)
    chance = float(result.table["chance"].iloc[0])
    write_json(root / "reports" / "populations" / "decode" / f"{name}.json", {"chance": chance, "top1": metrics})
    LOGGER.info(
        "  top-1 with all presentations: %s", {model: round(v.get("all", 0), 2) for model, v in metrics.items()}
    )


def make_study(decode: DecodeParams, seed: int) -> Study:
    """Return the study that the parameters describe."""
    first, second, third = decode.fractions
    return Study(
        models=tuple(decode.models), shots=tuple(decode.shots), repeats=decode.repeats, seed=seed, split=decode.split,
        fractions=(first, second, third), gap_s=decode.gap_s, rates_hz=(decode.min_rate_hz, decode.max_rate_hz),
    )  # fmt: skip


if __name__ == "__main__":
    run_stage(main)

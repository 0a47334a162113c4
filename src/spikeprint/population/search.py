"""Grid search. Enters: datasets and lists of parameters. Leaves: fitted models, compared by what held-out rows say.

Bits of goodness of fit compare across batch sizes; losses do not. Every fit is one task of ``core/compute``.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.compute import count_workers, map_tasks
from ..core.errors import SettingError
from .embedder import PopulationEmbedder


@dataclass(frozen=True)
class _Task:
    dataset: str
    data: tuple
    settings: dict[str, Any]


class GridSearch:
    """Fit every combination of parameters on every dataset."""

    def fit_models(
        self,
        datasets: Mapping[str, Any],
        params: Mapping[str, Any],
        models_dir: str | Path | None = None,
        seeds: Sequence[int] = (0,),
        n_workers: int | None = None,
    ) -> "GridSearch":
        """Fit all models.

        Parameters
        ----------
        datasets : name -> X, or (X, label, ...)
        params : name -> a value, or a list of values to vary
        models_dir : where models and ``results.csv`` are kept; None = in memory only
        seeds : each combination is fitted once for each
        """
        tasks = [
            _Task(name, data if isinstance(data, tuple) else (data,), {**settings, "random_state": seed})
            for name, data in datasets.items()
            for settings in self.generate_models(params)
            for seed in seeds
        ]
        workers = count_workers() if n_workers is None else n_workers
        self.models_ = list(map_tasks(_fit, tasks, workers, "spikeprint.population.embedder"))
        varied = [name for name, value in params.items() if isinstance(value, list) and len(value) > 1]
        rows = []
        for number, (task, model) in enumerate(zip(tasks, self.models_, strict=True)):
            shown = {name: task.settings[name] for name in varied}
            rows.append(
                {
                    "model": number,
                    "dataset": task.dataset,
                    **shown,
                    "seed": task.settings["random_state"],
                    **model.diagnosis_,
                }
            )
        self.results_ = pd.DataFrame(rows)
        self._varied = varied
        if models_dir is not None:
            self._write(Path(models_dir))
        return self

    @staticmethod
    def generate_models(params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the settings of every combination; a list of one is a value."""
        values = {name: value if isinstance(value, list) else [value] for name, value in params.items()}
        if empty := [name for name, choices in values.items() if not choices]:
            raise SettingError(f"grid: no values for {', '.join(empty)}")
        return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]

    def get_df_results(self) -> pd.DataFrame:
        """Return a row for every fit."""
        return self.results_

    def get_best_model(self, scoring: str = "held_out_bits", dataset_name: str | None = None) -> PopulationEmbedder:
        """Return the model of the best combination, by its mean over seeds and the first of its seeds.

        Raises
        ------
        SettingError
            An unknown score or dataset, or no fit that held rows out.
        """
        table = self.results_
        if scoring not in table or table[scoring].isna().all():
            raise SettingError(f"scoring '{scoring}': not among {', '.join(table.columns)}, or nothing was held out")
        if dataset_name is not None:
            table = table[table["dataset"] == dataset_name]
        if table.empty:
            raise SettingError(
                f"grid: no dataset '{dataset_name}'; there are: {', '.join(self.results_['dataset'].unique())}"
            )
        means = table.groupby(["dataset", *self._varied], sort=False)[scoring].transform("mean")
        return self.models_[int(table.loc[means.idxmax(), "model"])]

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, model in enumerate(self.models_):
            model.save(folder / f"model_{number}.safetensors")
        from ..io.population.tables import write_table

        write_table(folder / "results.csv", self.results_)

    @classmethod
    def load(cls, models_dir: str | Path) -> "GridSearch":
        """Read what ``fit_models`` wrote into a folder."""
        from ..io.population.tables import read_table

        grid, folder = cls(), Path(models_dir)
        grid.results_ = read_table(folder / "results.csv")
        grid.models_ = [
            PopulationEmbedder.load(folder / f"model_{number}.safetensors") for number in grid.results_["model"]
        ]
        told = {"model", "dataset", "seed", "held_out_bits", "training_bits", "gap_bits", "held_out_score", "kept_step"}
        grid._varied = [name for name in grid.results_ if name not in told]
        return grid

    def plot_loss_comparison(self, dataset_name: str | None = None, **options: Any) -> Any:
        """Plot the losses of all models, or of one dataset, and return the axes."""
        from .plots import compare_models

        table = self.results_ if dataset_name is None else self.results_[self.results_["dataset"] == dataset_name]
        return compare_models([self.models_[number] for number in np.asarray(table["model"])], **options)


def _fit(task: _Task) -> PopulationEmbedder:
    return PopulationEmbedder(**task.settings).fit(*task.data)

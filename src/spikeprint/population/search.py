"""Grid search. Enters: datasets and lists of parameters. Leaves: fitted models, compared by what held-out rows say.

Bits of goodness of fit compare across batch sizes; losses do not. Every fit is one task of ``core/compute``.
"""

import itertools
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.compute import count_workers, map_tasks
from ..core.errors import SettingError
from ..io.population.tables import read_table, write_table
from .embedder import PopulationEmbedder

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    dataset: str
    data: tuple
    settings: dict[str, Any]


class GridSearch:
    """Fit every combination of parameters on every dataset.

    Attributes
    ----------
    results_ : a row for every fit: ``model`` (its number), ``name``, ``dataset``, the parameters that vary, ``seed``,
        and what ``diagnosis_`` of the model says
    models_ : the fitted models, by number
    """

    def fit_models(
        self,
        datasets: Mapping[str, Any],
        params: Mapping[str, Any],
        models_dir: str | Path | None = None,
        seeds: Sequence[int] = (0,),
        n_workers: int | None = 1,
    ) -> "GridSearch":
        """Fit all models.

        Parameters
        ----------
        datasets : name -> X, or (X, label, ...)
        params : name -> a value, or a list of values to vary
        models_dir : where models and ``results.csv`` are kept; None = in memory only
        seeds : each combination is fitted once for each
        n_workers : processes; None = one for each core. With several, a script needs ``if __name__ == "__main__":``
        """
        tasks = [
            _Task(name, data if isinstance(data, tuple) else (data,), {**settings, "random_state": seed})
            for name, data in datasets.items()
            for settings in _combine(params)
            for seed in seeds
        ]
        workers = count_workers() if n_workers is None else n_workers
        self.models_ = _fit_apart(tasks, workers) if min(workers, len(tasks)) > 1 else [_fit(task) for task in tasks]
        self._varied = _find_varied(params)
        rows = []
        for number, (task, model) in enumerate(zip(tasks, self.models_, strict=True)):
            shown = {name: task.settings[name] for name in self._varied}
            seed = {"seed": task.settings["random_state"]}
            name = _name({**shown, **(seed if len(seeds) > 1 else {})}, task.dataset)
            told = {"model": number, "name": name, "dataset": task.dataset}
            rows.append({**told, **shown, **seed, **model.diagnosis_})
        self.results_ = pd.DataFrame(rows)
        if models_dir is not None:
            self._write(Path(models_dir))
        return self

    @staticmethod
    def generate_models(params: Mapping[str, Any]) -> tuple[dict[str, PopulationEmbedder], list[dict[str, Any]]]:
        """Return an unfitted model of every combination by its name, and what varies in each; a list of one is a value.

        Raises
        ------
        SettingError
            A parameter without a value.
        """
        varied = _find_varied(params)
        settings = _combine(params)
        grid = [{name: combination[name] for name in varied} for combination in settings]
        models = [PopulationEmbedder(**combination) for combination in settings]
        return {_name(shown): model for shown, model in zip(grid, models, strict=True)}, grid

    def get_df_results(self, models_dir: str | Path | None = None) -> pd.DataFrame:
        """Return a row for every fit, of this search or of the one that wrote ``models_dir``."""
        return self._found(models_dir).results_

    def get_best_model(
        self,
        scoring: str | None = None,
        dataset_name: str | None = None,
        models_dir: str | Path | None = None,
    ) -> tuple[PopulationEmbedder, str]:
        """Return the model of the best combination and its name: by the mean over seeds, the first of them.

        Parameters
        ----------
        scoring : column of ``results_``, more is better; None = ``held_out_bits``, or, with a warning,
            ``training_bits`` where recordings were too short to hold rows out

        Raises
        ------
        SettingError
            An unknown score or dataset, or nothing fitted yet.
        """
        found = self._found(models_dir)
        table = found.results_
        if scoring is None:
            scoring = "held_out_bits"
            if table[scoring].isna().all():
                LOGGER.warning("grid: no rows were held out; models are compared by the rows they were trained on")
                scoring = "training_bits"
        if scoring not in table or table[scoring].isna().all():
            raise SettingError(f"scoring '{scoring}': no such values; columns: {', '.join(table.columns)}")
        if dataset_name is not None:
            table = table[table["dataset"] == dataset_name]
        if table.empty:
            raise SettingError(
                f"grid: no dataset '{dataset_name}'; there are: {', '.join(found.results_['dataset'].unique())}"
            )
        means = table.groupby(["dataset", *found._varied], sort=False, dropna=False)[scoring].transform("mean")
        best = table.loc[means.idxmax()]
        return found.models_[int(best["model"])], str(best["name"])

    def _found(self, models_dir: str | Path | None) -> "GridSearch":
        """This search, or the one in a folder where nothing has been fitted here."""
        if hasattr(self, "results_"):
            return self
        if models_dir is None:
            raise SettingError("grid: nothing was fitted yet; call fit_models, or name its models_dir")
        folder = Path(models_dir)
        self.results_ = read_table(folder / "results.csv")
        self.models_ = [
            PopulationEmbedder.load(folder / f"model_{number}.safetensors") for number in self.results_["model"]
        ]
        names = self.results_.columns.tolist()
        self._varied = names[names.index("dataset") + 1 : names.index("seed")]
        return self

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for number, model in enumerate(self.models_):
            model.save(folder / f"model_{number}.safetensors")
        write_table(folder / "results.csv", self.results_)

    @classmethod
    def load(cls, dir: str | Path) -> tuple[dict[str, PopulationEmbedder], list[dict[str, Any]]]:
        """Return the models in a folder of ``fit_models`` by name, and what varies in each."""
        grid = cls()._found(dir)
        names = grid.results_["name"].tolist()
        return dict(zip(names, grid.models_, strict=True)), grid.results_[grid._varied].to_dict("records")

    def plot_loss_comparison(
        self, models_dir: str | Path | None = None, dataset_name: str | None = None, **options: Any
    ) -> Any:
        """Plot the losses of all models, or of one dataset, and return the axes."""
        from .plots import compare_models

        found = self._found(models_dir)
        table = found.results_
        table = table if dataset_name is None else table[table["dataset"] == dataset_name]
        options = {"labels": table["name"].tolist(), **options}
        return compare_models([found.models_[number] for number in np.asarray(table["model"])], **options)


def _combine(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = {name: value if isinstance(value, list) else [value] for name, value in params.items()}
    if empty := [name for name, choices in values.items() if not choices]:
        raise SettingError(f"grid: no values for {', '.join(empty)}")
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def _find_varied(params: Mapping[str, Any]) -> list[str]:
    return [name for name, value in params.items() if isinstance(value, list) and len(value) > 1]


def _name(shown: Mapping[str, Any], dataset: str | None = None) -> str:
    return "_".join([*(f"{name}_{value}" for name, value in shown.items()), *([dataset] if dataset else [])])


def _fit(task: _Task) -> PopulationEmbedder:
    return PopulationEmbedder(**task.settings).fit(*task.data)


def _fit_apart(tasks: Sequence[_Task], n_workers: int) -> list[PopulationEmbedder]:
    """Fit in other processes. Models come back as files, because cebra's networks cannot be pickled."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.safetensors" for number in range(len(tasks))]
        jobs = list(zip(tasks, paths, strict=True))
        return [PopulationEmbedder.load(path) for path in map_tasks(_fit_into, jobs, n_workers, _fit.__module__)]


def _fit_into(job: tuple[_Task, Path]) -> Path:
    task, path = job
    return _fit(task).save(path)

"""What a recording is labelled with. Enters: label arrays as users give them. Leaves: one matrix and one code per row.

Float is continuous, everything else (integers, bool, text, categories) is discrete. Continuous labels of a model form
one matrix: circular ones become cosine and sine, others are divided by their standard deviation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core.errors import PopulationError
from .data import Population

Kind = Literal["continuous", "discrete"]
Scale = Literal["std", "raw"]


@dataclass(frozen=True)
class Label:
    """One label of one session.

    Attributes
    ----------
    values : (n_rows, width) float64, or (n_rows,) of anything discrete
    period : of a circular label; None = linear
    """

    kind: Kind
    values: np.ndarray
    period: float | None = None

    @property
    def width(self) -> int:
        """Columns of the label."""
        return 1 if self.kind == "discrete" else self.values.shape[1]


@dataclass(frozen=True)
class Targets:
    """The labels of one session as the sampler uses them.

    Attributes
    ----------
    values : (n_rows, k) float64 mapped and scaled, None without continuous labels
    codes : (n_rows,) int64 of the class, None without a discrete label
    """

    values: Any = None
    codes: Any = None

    @property
    def kind(self) -> str:
        """``none``, ``continuous``, ``discrete`` or ``mixed``."""
        has = (self.values is not None, self.codes is not None)
        return {(False, False): "none", (True, False): "continuous", (False, True): "discrete", (True, True): "mixed"}[
            has
        ]


@dataclass(frozen=True)
class LabelSpec:
    """What a model learnt about its labels.

    Attributes
    ----------
    kinds, widths, periods : of each label, in the order given
    scale : (k,) divisors of the continuous matrix
    classes : values of the discrete label, sorted
    """

    kinds: tuple[Kind, ...]
    widths: tuple[int, ...]
    periods: tuple[float | None, ...]
    scale: np.ndarray
    classes: np.ndarray

    @classmethod
    def fit(cls, sessions: Sequence[Sequence[Label]], scale: Scale, valid: Sequence[np.ndarray]) -> "LabelSpec":
        """Learn scales and classes from the valid rows of all sessions."""
        first = sessions[0]
        described = [(label.kind, label.width, label.period) for label in first]
        for number, labels in enumerate(sessions):
            if [(label.kind, label.width, label.period) for label in labels] != described:
                raise PopulationError(f"labels of session {number} differ from those of session 0 in kind or width")
        matrices = [_matrix(labels, len(rows))[rows] for labels, rows in zip(sessions, valid, strict=True)]
        stacked = np.concatenate(matrices)
        continuous = [(width, period) for kind, width, period in described if kind == "continuous"]
        flags = [[period is None] * (2 * width if period else width) for width, period in continuous]
        linear = np.array([flag for part in flags for flag in part], dtype=bool)
        spread = stacked.std(axis=0) if scale == "std" else np.ones(stacked.shape[1])
        divisors = np.where((spread > 0) & linear, spread, 1.0)
        classes = [_discrete(labels, len(rows))[rows] for labels, rows in zip(sessions, valid, strict=True)]
        kinds, widths, periods = zip(*described, strict=True) if described else ((), (), ())
        return cls(kinds, widths, periods, divisors, np.unique(np.concatenate(classes)))

    def check(self, labels: Sequence[Label]) -> None:
        """Raise PopulationError where labels are not of the number, kind and width that the model was fitted on."""
        found = [(label.kind, label.width) for label in labels]
        needed = list(zip(self.kinds, self.widths, strict=True))
        if found != needed:
            raise PopulationError(f"labels: found {_say(found)}; the model was fitted on {_say(needed)}")

    def apply(self, labels: Sequence[Label], valid: np.ndarray) -> Targets:
        """Return the labels of one session in the model's scale and codes.

        Raises
        ------
        PopulationError
            A class that the model has not met.
        """
        self.check(labels)
        values = _matrix(labels, len(valid)) / self.scale if "continuous" in self.kinds else None
        if "discrete" not in self.kinds:
            return Targets(values)
        found = _discrete(labels, len(valid))
        codes = np.searchsorted(self.classes, found).clip(max=len(self.classes) - 1)
        strange = (self.classes[codes] != found) & valid
        if strange.any():
            raise PopulationError(f"class {found[strange][0]!r} was not met in fitting; known: {self.classes.tolist()}")
        return Targets(values, codes)


def read_labels(
    y: Sequence[Any], populations: Sequence[Population], is_multi: bool, periods: Mapping[int, float] | None = None
) -> list[list[Label]]:
    """Return the labels of every session.

    Parameters
    ----------
    y : any number of continuous labels and at most one discrete one, in any order; each an array, or the name of a
        label of the populations; with several sessions a list with one of these for each
    periods : position in ``y`` -> period of a circular label; that of a population's own label is known

    Raises
    ------
    PopulationError
        Wrong length, missing values at valid rows, two discrete labels or one with columns.
    """
    y = [given for given in y if given is not None]  # a pipeline of scikit-learn passes None where there is no label
    sessions: list[list[Label]] = [[] for _ in populations]
    for position, given in enumerate(y):
        if (
            is_multi
            and not isinstance(given, str)
            and (not isinstance(given, (list, tuple)) or len(given) != len(sessions))
        ):
            found = len(given) if isinstance(given, (list, tuple)) else type(given).__name__
            raise PopulationError(
                f"label {position}: found {found}; a list with one for each of {len(sessions)} sessions"
            )
        parts = [given] * len(sessions) if isinstance(given, str) or not is_multi else given
        for labels, population, part in zip(sessions, populations, parts, strict=True):
            labels.append(_read_label(part, population, position, (periods or {}).get(position)))
    for labels in sessions:
        if sum(label.kind == "discrete" for label in labels) > 1:
            raise PopulationError("two discrete labels; a model takes one, join them into one column")
    return sessions


def _read_label(given: Any, population: Population, position: int, period: float | None) -> Label:
    where = f"label {position}"
    if isinstance(given, str):
        if given not in population.labels:
            known = ", ".join(population.labels) or "none"
            raise PopulationError(f"population '{population.session_id}': no label '{given}'; labels: {known}")
        where, period = f"label '{given}'", population.periods.get(given, period)
        given = population.labels[given]
    values = np.asarray(given)
    if values.ndim not in (1, 2) or len(values) != population.n_rows:
        raise PopulationError(
            f"{where}: {values.shape}, but X has {population.n_rows} rows; one value for each is needed"
        )
    if values.dtype.kind != "f":
        if values.ndim == 2 and values.shape[1] != 1:
            raise PopulationError(f"{where}: a discrete label of {values.shape}; one column is needed")
        flat = values.ravel()
        return Label("discrete", flat.astype(str) if flat.dtype.kind == "O" else flat)
    matrix = values.reshape(len(values), -1).astype(np.float64)
    missing = ~np.isfinite(matrix).all(axis=1) & population.valid
    if missing.any():
        raise PopulationError(
            f"{where}: row {int(np.argmax(missing))} is missing or infinite ({int(missing.sum())} are)"
        )
    return Label("continuous", matrix, period)


def _matrix(labels: Sequence[Label], n_rows: int) -> np.ndarray:
    """All continuous labels side by side, circular ones as cosine and sine."""
    columns = []
    for label in labels:
        if label.kind == "continuous":
            angle = label.values * (2 * np.pi / label.period) if label.period else None
            columns += [label.values] if angle is None else [np.cos(angle), np.sin(angle)]
    return np.concatenate(columns, axis=1) if columns else np.zeros((n_rows, 0))


def _discrete(labels: Sequence[Label], n_rows: int) -> np.ndarray:
    found = [label.values for label in labels if label.kind == "discrete"]
    return found[0] if found else np.zeros(n_rows, dtype=np.int64)


def _say(described: Sequence[tuple[Kind, int]]) -> str:
    return ", ".join(f"{kind} of {width}" for kind, width in described) or "none"

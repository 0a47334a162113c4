"""The estimator, by scikit-learn's contract and cebra's names. Enters: recordings, labels. Leaves: an embedding."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..core.errors import PopulationError, SettingError
from .criterion import build_criterion
from .encoders import adapt_encoders, build_encoders
from .fitting import Network
from .labels import LabelSpec
from .networks import get_offset, model_options
from .prepare import InputTransform, check_lengths, find_bin_widths, hold_out, read_sessions
from .seen import fingerprint
from .settings import Settings, check_settings, find_device
from .study import make_study, run_study
from .transform import embed_session, find_whole

NORMALISED_NAMES = ("mse", "supervised")


@dataclass(eq=False, repr=False)
class PopulationEmbedder(TransformerMixin, BaseEstimator, Settings):
    """Contrastive embedding of a recorded population; see ``Settings`` for the parameters.

    ``fit`` takes an array (rows x units), a ``Population``, or a list of either for several sessions, then labels.

    Attributes
    ----------
    history_ : a row per step; ``state_dict_`` holds the same under cebra's names (``loss``, ``log``)
    model_ : the encoders and the criterion
    n_features_in_ : units, a list of them with several sessions
    smoothing_ : rows on either side that ``transform`` takes the mean over, see ``smoothing.py``
    bin_widths_ : seconds, of each session; None for one that was an array
    diagnosis_ : bits on held-out rows and in training, their gap, and the step that was kept
    """

    def fit(
        self,
        X: Any,
        *y: Any,
        adapt: bool = False,
        segments: Any = None,
        callback: Callable[[int, "PopulationEmbedder"], Any] | None = None,
        callback_frequency: int | None = None,
        session_id: int | None = None,
    ) -> "PopulationEmbedder":
        """Train from new weights, or with ``adapt`` a new input layer under the layers that are there.

        Parameters
        ----------
        X : (n_rows, n_units), a ``Population``, or a list of either
        y : continuous labels (float) and at most one discrete one, in any order; arrays, or names of a population's
            labels. With several sessions a list with one for each.
        segments : lengths or table of the segments of X, where it is an array
        callback, callback_frequency : called as ``callback(step, self)``
        session_id : with ``adapt`` after several sessions, whose layers are kept

        Raises
        ------
        ValueError
            Settings or data that cannot be used; the message says which.
        """
        check_settings(self)
        listen = self._listener(callback, callback_frequency)
        seed = self._seed()
        populations, is_multi = read_sessions(X, segments)
        n_units = [population.n_units for population in populations]
        is_adapting = adapt and hasattr(self, "model_")
        if is_adapting:
            if is_multi:
                raise PopulationError("adapt takes one session at a time; pass its array alone")
            encoders = adapt_encoders(self, n_units[0], session_id, seed)
        else:
            encoders = build_encoders(self, n_units, seed)
        self._warn_of_norm()
        criterion = build_criterion(self.distance, self.temperature_mode, self.temperature, self.min_temperature)
        network = Network(encoders, criterion)
        check_lengths(populations, encoders)
        self.bin_widths_ = find_bin_widths(X)
        helds = [hold_out(population, self.validation_fraction) for population in populations]
        self.input_transforms_ = [
            InputTransform.fit(self.input_transform, population, ~held)
            for population, held in zip(populations, helds, strict=True)
        ]
        self.label_spec_: LabelSpec | None = None
        self.begin(network, n_units, is_multi)
        study = make_study(self, populations, is_multi, y, helds)
        run_study(self, study, self.max_adapt_iterations if is_adapting else self.max_iterations, seed, listen)
        return self

    def partial_fit(
        self,
        X: Any,
        *y: Any,
        segments: Any = None,
        callback: Callable[[int, "PopulationEmbedder"], Any] | None = None,
        callback_frequency: int | None = None,
    ) -> "PopulationEmbedder":
        """Go on from the weights that are there, with the data given; on an unfitted model the same as ``fit``.

        Raises
        ------
        ValueError
            Another number of units, sessions or labels than the model was fitted on.
        """
        if not hasattr(self, "model_"):
            return self.fit(X, *y, segments=segments, callback=callback, callback_frequency=callback_frequency)
        check_settings(self)
        listen = self._listener(callback, callback_frequency)
        populations, is_multi = read_sessions(X, segments)
        found, needed = [p.n_units for p in populations], np.atleast_1d(self.n_features_in_).tolist()
        if found != needed:
            raise PopulationError(f"partial_fit: X has {found} units, the model was fitted on {needed}")
        check_lengths(populations, list(self.model_.encoders))
        helds = [hold_out(population, self.validation_fraction) for population in populations]
        for parameter in self.model_.parameters():
            parameter.requires_grad_(True)
        self._n_calls += 1
        study = make_study(self, populations, is_multi, y, helds)
        run_study(self, study, self.max_iterations, self._seed() + self._n_calls, listen)
        return self

    def transform(self, X: Any, batch_size: int | None = None, session_id: int | None = None) -> np.ndarray:
        """Return the embedding (n_rows, d) float32.

        Parameters
        ----------
        X : array or ``Population``; each of its segments is embedded by itself
        batch_size : rows embedded at a time, about; no value depends on it
        session_id : whose encoder, with several sessions

        Raises
        ------
        ValueError
            Another number of units, or no session named where there are several.
        """
        check_is_fitted(self, "model_")
        if batch_size is not None and batch_size < 1:
            raise SettingError(f"batch_size = {batch_size}: 1 or more, or None")
        (population,), is_list = read_sessions(X) if not isinstance(X, list) or len(X) == 1 else ([None], True)
        if population is None or is_list:
            raise PopulationError("transform takes one session at a time; name it with session_id")
        number = self.check_session(session_id)
        needed = np.atleast_1d(self.n_features_in_)[number]
        if population.n_units != needed:
            raise PopulationError(f"X has {population.n_units} features, but the model was fitted on {needed} units")
        self._check_bin_width(X, number)
        embedding = embed_session(self, number, population, batch_size)
        if self.pad_before_transform:
            return embedding
        return embedding[find_whole(self.model_.encoders[number], population)]

    def fit_transform(self, X: Any, *y: Any, session_id: int | None = None, **fit_options: Any) -> Any:
        """Fit, then return the embedding; with several sessions a list of them, or that of ``session_id``."""
        self.fit(X, *y, **fit_options)
        if self.num_sessions_ is None:
            return self.transform(X)
        if session_id is not None:
            return self.transform(X[self.check_session(session_id)], session_id=session_id)
        return [self.transform(x, session_id=number) for number, x in enumerate(X)]

    def score(self, X: Any, *y: Any, session_id: int | None = None) -> float:
        """Return the goodness of fit in bits, see ``scores.goodness_of_fit_score``."""
        from .scores import goodness_of_fit_score

        return goodness_of_fit_score(self, X, *y, session_id=session_id, random_state=0)

    def save(self, path: str | Path, backend: str = "sklearn") -> Path:
        """Write the estimator to one file and return its path; an unfitted one too. ``backend`` is ignored."""
        from .saving import save_embedder

        return save_embedder(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, backend: str = "auto", **_: Any) -> "PopulationEmbedder":
        """Read what ``save`` wrote; nothing in the file is run."""
        from .saving import load_embedder

        return load_embedder(cls, Path(path))

    def to(self, device: str) -> "PopulationEmbedder":
        """Move the model to a device."""
        target = find_device(device)
        self.device = device
        if hasattr(self, "model_"):
            self.model_.to(target)
        return self

    @staticmethod
    def supported_model_architectures(pattern: str = "*") -> list[str]:
        """Return the names of architectures that match a glob pattern."""
        return model_options(pattern)

    @property
    def num_sessions(self) -> int | None:
        """Sessions of a fit to several, None of a fit to one; by cebra's name."""
        check_is_fitted(self, "model_")
        return self.num_sessions_

    def check_session(self, session_id: int | None) -> int:
        """Return the number of the session meant.

        Raises
        ------
        PopulationError
            Several sessions and none named, or one that is not there.
        """
        check_is_fitted(self, "model_")
        n = len(self.model_.encoders)
        if self.num_sessions_ is not None and session_id is None:
            raise PopulationError(f"the model has {n} sessions; name one with session_id, 0 to {n - 1}")
        number = 0 if session_id is None else int(session_id)
        if not 0 <= number < n:
            raise PopulationError(f"session_id = {session_id}: the model has {n} sessions, 0 to {n - 1}")
        return number

    def share_seen(self, embedding: np.ndarray) -> float:
        """Return the share of rows of an embedding that labels were fitted on; 0 for a model without labels."""
        check_is_fitted(self, "model_")
        return float(np.isin(fingerprint(embedding), self.seen_).mean()) if len(self.seen_) else 0.0

    def set_history(self, table: pd.DataFrame) -> None:
        """Take the table of steps as ``history_`` and, under cebra's names, as ``state_dict_``."""
        log = {"pos": "align", "neg": "uniform", "total": "loss", "temperature": "temperature"}
        self.history_ = table
        self.state_dict_ = {
            "loss": table["loss"].to_numpy(),
            "log": {theirs: table[ours].to_numpy() for theirs, ours in log.items()},
        }

    def _seed(self) -> int:
        if self.random_state is None:
            return int(np.random.SeedSequence().generate_state(1)[0])
        return int(np.random.SeedSequence(self.random_state).generate_state(1)[0])

    def _listener(self, callback: Any, frequency: int | None) -> Callable[[int], None] | None:
        if callback is None:
            if frequency is not None:
                raise SettingError("callback_frequency without a callback; pass both, or neither")
            return None
        if not frequency or frequency < 1:
            raise SettingError(f"callback_frequency = {frequency}: 1 or more is needed beside a callback")
        return lambda step: callback(step, self) if step % frequency == 0 else None

    def _check_bin_width(self, X: Any, number: int) -> None:
        (found,), needed = find_bin_widths(X), self.bin_widths_[number]
        if found is not None and needed is not None and not np.isclose(found, needed, rtol=1e-3):
            raise PopulationError(f"X has bins of {found:g} s, but the model was fitted on bins of {needed:g} s")

    def _warn_of_norm(self) -> None:
        is_free = any(word in self.model_architecture for word in NORMALISED_NAMES)
        if is_free == (self.distance == "cosine"):
            what = "does not normalise its output" if is_free else "normalises its output"
            warnings.warn(
                f"'{self.model_architecture}' {what}, distance is '{self.distance}'", RuntimeWarning, stacklevel=3
            )

    def begin(self, network: Network, n_units: list[int], is_multi: bool) -> None:
        """Take a network as the model, before it is trained or when it is read."""
        self.model_, self.criterion_ = network, network.criterion
        self.offset_ = get_offset(network.encoders[0])
        self.num_sessions_ = len(n_units) if is_multi else None
        self.n_features_in_: Any = n_units if is_multi else n_units[0]
        self._n_calls = 0
        self.n_features_ = self.n_features_in_  # the name that cebra's plots look for
        self.seen_ = np.zeros(0)

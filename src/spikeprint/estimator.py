"""The model as a scikit-learn estimator. Enters: canonical features and labels. Leaves: embeddings, classes, a folder.

``from spikeprint import UnitEmbedder``; docs/estimator.md shows it in ten lines.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from .core.errors import ConfigError, IncompatibleBundle, ModelError, UnitsError
from .core.files import find_root
from .core.model_params import ModelParams
from .core.production import PRODUCTION
from .core.types import MODALITIES, UNLABELLED
from .cvae.fit import FittedCVAE, add_head, fit_cvae
from .cvae.predictor import Prediction, Predictor
from .cvae.units import Units
from .evaluate.metrics import balanced_accuracy
from .features.matrices import COLUMNS, read_classes, read_labels, read_modalities, read_origin, stack_modalities
from .features.transforms import normalise
from .registry.bundle import read_bundle, write_bundle

Origin = Mapping[str, str | np.ndarray] | None


class NotFitted(ModelError, NotFittedError):
    """An estimator that was asked for what it has not learnt."""


@dataclass(kw_only=True, eq=False, repr=False)
class UnitEmbedder(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):
    """Embed and classify units by the conditional VAE, with the contract of scikit-learn.

    ``X`` is a mapping of modalities, a ``UnitTable``, a DataFrame or a matrix (n, 351), see
    ``features.matrices.read_modalities``; only the last two can be indexed by ``cross_val_score``, ``GridSearchCV`` and
    the like. ``origin`` says where units come from: ``dataset``, ``technology``, ``species``, ``region``,
    ``representation`` -> one word or (n,) words; unknown or not told = neutral. A ``UnitTable`` tells it by its card.

    Parameters
    ----------
    random_state : int, ``RandomState`` or None; an int gives the same model again on the same kind of machine
    others : those of ``core.model_params.ModelParams``, which describes each; None = the value of the production model

    Attributes
    ----------
    classes_ : (n_classes,) sorted, str or, after a fit to numbers, numbers; absent after a fit without labels
    n_features_in_ : 351
    curves_ : learning curves, empty in a loaded model
    params_ : the ``ModelParams`` that were used, None where a bundle does not hold them
    """

    n_members: int | None = None
    n_latent: int | None = None
    n_hidden: int | None = None
    use_descriptors: bool | None = None
    conditions: list[str] | None = None
    class_in_decoder: bool | None = None
    class_in_encoder: bool | None = None
    n_condition: int | None = None
    use_fusion: bool | None = None
    use_batch_norm: bool | None = None
    dropout: float | None = None
    input_dropout: float | None = None
    input_share: float | None = None
    reconstruction_weight: float | None = None
    beta: float | None = None
    free_bits: float | None = None
    classification_weight: float | None = None
    label_smoothing: float | None = None
    mixing: float | None = None
    contrastive_weight: float | None = None
    contrastive_temperature: float | None = None
    consistency_weight: float | None = None
    class_dropout: float | None = None
    condition_dropout: float | None = None
    modality_dropout: float | None = None
    augmentation: str | None = None
    optimiser: str | None = None
    schedule: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_size: int | None = None
    pretrain_epochs: int | None = None
    finetune_epochs: int | None = None
    epochs: int | None = None
    warmup_epochs: int | None = None
    patience: int | None = None
    checkpoint: str | None = None
    validation_frac: float | None = None
    coverage: float | None = None
    head: str | None = None
    device: str | None = None
    n_devices: int | None = None
    precision: str | None = None
    compile: bool | None = None
    random_state: int | np.random.RandomState | None = None

    stack = staticmethod(stack_modalities)

    def fit(self, X: Any, y: Any = None, origin: Origin = None) -> Self:
        """Learn from units.

        Parameters
        ----------
        X, origin : n units, see the class
        y : (n,) labels; ``""``, None or NaN = unlabelled. None = learn without labels: the model then only embeds

        Raises
        ------
        UnitsError
            Units or labels that cannot be used.
        ConfigError
            A parameter out of range.
        ModelError
            Too few units, or conditions that tell the class.
        """
        params = self._make_params()
        raw, words = _read_units(X, origin)
        labels = read_labels(y, len(raw["waveform"]))
        if len(set(labels) - {UNLABELLED}) == 1:
            raise UnitsError(f"y: one class only, '{max(labels)}'; two classes are needed, or y=None for no labels")
        state = self.random_state
        seed = int(state) if isinstance(state, Integral) else check_random_state(state).randint(2**31 - 1)
        units = Units(raw, words, labels)
        fitted = add_head(fit_cvae(units, params, seed), units, params.head, seed)
        return self._adopt(fitted, fitted.predictor(), params, read_classes(y))

    def transform(self, X: Any, origin: Origin = None) -> np.ndarray:
        """Return the embedding, (n, n_members * n_latent) float32: the latent means of all members side by side."""
        predictor = self._fitted("predictor_")
        return predictor.embed(*_read_questions(X, origin))

    def fit_transform(self, X: Any, y: Any = None, origin: Origin = None) -> np.ndarray:
        """Return ``fit(X, y, origin).transform(X, origin)``."""
        return self.fit(X, y, origin).transform(X, origin)

    def ask(self, X: Any, origin: Origin = None) -> Prediction:
        """Return all answers about n units at once: embedding, labels, confidence, probabilities, sets, novelty."""
        classes, predictor = self._fitted("classes_"), self._fitted("predictor_")
        answer = predictor.predict(*_read_questions(X, origin))
        if classes.dtype.kind == "U":
            return answer
        order = [predictor.classes.index(word) for word in read_labels(classes, len(classes))]
        probabilities, sets = answer.probabilities[:, order], None if answer.sets is None else answer.sets[:, order]
        return replace(answer, labels=classes[probabilities.argmax(axis=1)], probabilities=probabilities, sets=sets)

    def predict(self, X: Any, origin: Origin = None) -> np.ndarray:
        """Return the most probable class, (n,) of the type of ``classes_``."""
        return self.ask(X, origin).labels

    def predict_proba(self, X: Any, origin: Origin = None) -> np.ndarray:
        """Return probabilities (n, n_classes) float64 in the order of ``classes_``, calibrated on held-back units."""
        return self.ask(X, origin).probabilities

    def predict_set(self, X: Any, origin: Origin = None) -> np.ndarray:
        """Return the classes that cannot be ruled out at ``coverage``, (n, n_classes) bool; a row may be all False."""
        return self._assured(self.ask(X, origin).sets, "prediction sets need the head 'network'")

    def novelty(self, X: Any, origin: Origin = None) -> np.ndarray:
        """Return the distance from all known types relative to its limit, (n,) float64: above 1 = unlike any."""
        return self._assured(self.ask(X, origin).novelty, "novelty needs classification_weight above 0")

    def score(self, X: Any, y: Any, origin: Origin = None) -> float:
        """Return the balanced accuracy over the labelled units of X.

        Raises
        ------
        UnitsError
            No unit is labelled.
        """
        found = self.predict(X, origin)
        found, labels = read_labels(found, len(found)), read_labels(y, len(found))
        known = labels != UNLABELLED
        if not known.any():
            raise UnitsError("y: no labels; a score needs some")
        return balanced_accuracy(labels[known], found[known])

    def save(self, folder: str | Path) -> Path:
        """Write the model as a bundle, whole or not at all, and return its folder. An older bundle there is replaced.

        Raises
        ------
        ConfigError
            The folder exists and is something else than a bundle.
        NotFitted
            There is nothing to save.
        """
        folder, fitted = Path(folder).resolve(), self._fitted("model_")
        is_model, is_empty = (folder / "bundle.json").is_file(), folder.is_dir() and not any(folder.iterdir())
        if folder.exists() and not (is_model or is_empty):
            raise ConfigError(f"{folder}: exists and is no model; saving replaces a folder as a whole: give a new one")
        write_bundle(folder, fitted.config, fitted.arrays, None if self.params_ is None else self.params_.model_dump())
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model of a bundle. None of the code in the folder runs: the installed one reads its weights.

        The parameters are those it was trained with, ``random_state`` excepted.

        Raises
        ------
        IncompatibleBundle
            The folder is no bundle, is damaged, or was made for another version.
        """
        card, arrays = read_bundle(Path(folder))
        known = {field.name for field in fields(cls)}
        try:
            params = None if card["params"] is None else ModelParams.model_validate(card["params"])
            predictor = Predictor(card["model"], arrays)
            probe = {name: np.ones((1, modality.length)) for name, modality in MODALITIES.items()}
            (predictor.predict if predictor.head_kind else predictor.embed)(probe)  # every array is used once
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise IncompatibleBundle(f"{folder}: does not work here ({reason}); fetch or train it again") from error
        values = {name: value for name, value in params or () if name in known}
        return cls(**values)._adopt(FittedCVAE(card["model"], arrays, []), predictor, params)

    @classmethod
    def from_pretrained(cls, name: str | Path, revision: str = "main") -> Self:
        """Return a trained model from wherever it is; as in ``load``, none of its own code runs.

        Parameters
        ----------
        name : folder of a bundle, else ``models:/<name>@<alias>`` or ``models:/<name>/<version>`` of the registry of
            the project around the current folder, else ``<owner>/<name>`` on the Hugging Face Hub (or ``HF_ENDPOINT``).
            What comes from a hub is not kept: ``save`` keeps it
        revision : branch, tag or commit on the hub

        Raises
        ------
        IncompatibleBundle
            As ``load``.
        DataError, RegistryError, ConfigError
            There is no such model; the message says where it was looked for.
        """
        if Path(name).is_dir():
            return cls.load(name)
        if str(name).startswith("models:/"):
            from .registry.versions import fetch_bundle

            return cls.load(fetch_bundle(find_root(), str(name)))
        from .registry.hub import fetch_from_hub

        with tempfile.TemporaryDirectory() as folder:
            fetch_from_hub(str(name), revision, Path(folder))
            return cls.load(folder)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "predictor_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.input_tags.allow_nan = True
        return tags

    def _make_params(self) -> ModelParams:
        """The production parameters with those given."""
        given = {name: value for name, value in self.get_params().items() if value is not None}
        given.pop("random_state", None)
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
        try:
            return ModelParams.model_validate(PRODUCTION.model_dump() | plain)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "parameters"
            found = f" = {first['input']!r}" if first["loc"] else ""
            raise ConfigError(f"UnitEmbedder: {key}{found}: {first['msg'].removeprefix('Value error, ')}") from None

    def _adopt(
        self, model: FittedCVAE, predictor: Predictor, params: ModelParams | None, numbers: np.ndarray | None = None
    ) -> Self:
        """Become a fitted model. ``numbers`` are its classes where they are no words."""
        self.model_, self.predictor_, self.params_, self.curves_ = model, predictor, params, model.curves
        self.n_features_in_, self._n_features_out = len(COLUMNS), predictor.n_latent
        if predictor.classes:
            self.classes_ = np.array(predictor.classes) if numbers is None else numbers
        elif hasattr(self, "classes_"):
            del self.classes_
        return self

    def _fitted(self, name: str) -> Any:
        if not hasattr(self, "predictor_"):
            raise NotFitted("this UnitEmbedder has learnt nothing yet; call fit, or load a trained one")
        if not hasattr(self, name):
            raise NotFitted("this UnitEmbedder was fitted without labels: it embeds but cannot classify; give fit a y")
        return getattr(self, name)

    @staticmethod
    def _assured(answer: np.ndarray | None, need: str) -> np.ndarray:
        if answer is None:
            raise ModelError(f"this model has no measure of how far to believe it: {need}; fit it again")
        return answer


def _read_units(X: Any, origin: Origin) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Canonical modalities {name: (n, length)} and words {name: (n,)} about n units."""
    raw = read_modalities(X)
    return raw, read_origin(X, origin, len(raw["waveform"]))


def _read_questions(X: Any, origin: Origin) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same, of units that something is known of: about others there is nothing to answer."""
    raw, words = _read_units(X, origin)
    nothing = np.flatnonzero(~normalise(raw)[1].any(axis=1))
    if len(nothing):
        more = f" and {len(nothing) - 1} more rows" if len(nothing) > 1 else ""
        raise UnitsError(f"X: row {nothing[0]}{more}: no modality with content; leave such units out")
    return raw, words

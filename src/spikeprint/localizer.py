"""Localisation as an estimator. Enters: a recording. Leaves: positions and motion of its spikes, a folder.

``from spikeprint import SpikeLocalizer``; docs/localization.md shows it in ten lines.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from .core.config import SpikesParams
from .core.errors import IncompatibleBundle, ModelError
from .core.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from .core.localize_params import LocalizeParams
from .core.production import LOCALIZATION
from .core.resume import digest_training
from .core.spikes import AXES, GroundTruth, Motion, Peaks, Positions, Source
from .io.traces.snippets import open_source
from .io.traces.sorters import preprocess
from .localize.assess import assess
from .localize.fit import FittedLocalizer, fit_localizer
from .localize.joint import fit_joint
from .localize.localizers import LOCALIZERS, localise
from .localize.motion import correct_positions, estimate_motions
from .localize.reference import Recipe, fit_reference
from .training import Curve

SPIKES = SpikesParams(
    freq_min_hz=300, freq_max_hz=6000, reference="median", before_ms=1.2, after_ms=2.2, max_spikes=500, chunk_s=1.0
)
"""Filter and chunks where no ``spikes`` are given."""
CODE = ("localize", "core", "training.py", "localizer.py")
"""Rooms and modules whose code may decide a network."""
CARD, WEIGHTS = "localizer.json", "weights.safetensors"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Localised:
    """The spikes of a recording.

    Attributes
    ----------
    source : the preprocessed recording and its peaks; positions : in the frame of the probe
    motions : how the tissue moved; corrected : positions in the frame of the tissue
    """

    source: Source
    positions: Positions
    motions: list[Motion]
    corrected: Positions

    @property
    def peaks(self) -> Peaks:
        """The detected spikes."""
        return self.source.peaks

    def to_frame(self) -> pd.DataFrame:
        """Return one row per spike: time, channel, amplitude, position, its expected error, corrected x and y."""
        peaks, positions = self.peaks, self.positions
        frame = pd.DataFrame({"time_s": peaks.times_s, "channel": peaks.channels, "amplitude_uv": peaks.amplitudes_uv})
        for i, axis in enumerate(AXES):
            frame[f"{axis}_um"] = positions.xyz_um[:, i]
        if positions.alpha_uv_um is not None:
            frame["alpha_uv_um"] = positions.alpha_uv_um
        if positions.sd_um is not None:
            for i, axis in enumerate(AXES):
                frame[f"sd_{axis}_um"] = positions.sd_um[:, i]
        return frame.assign(x_corrected_um=self.corrected.xyz_um[:, 0], y_corrected_um=self.corrected.xyz_um[:, 1])

    def score(self, truth: GroundTruth | None = None) -> dict[str, float]:
        """Return what ``localize.assess`` says of the result."""
        return assess(self.source, self.positions, self.motions, truth)


class NotFittedLocalizer(ModelError):
    """A localiser that was asked for positions before it has learnt."""


class SpikeLocalizer:
    """Tell where the spikes of a recording come from, and how the tissue moved.

    Parameters
    ----------
    params : section ``localize``; None = ``core.production.LOCALIZATION``
    spikes : section ``spikes``: filter and reference; None = 300 to 6000 Hz, global median
    seed : same seed, same network on the same kind of machine

    Attributes
    ----------
    fitted_ : the trained network, None for a method without one; curves_ : of both phases of training
    """

    def __init__(self, params: LocalizeParams | None = None, spikes: SpikesParams | None = None, seed: int = 0) -> None:
        self.params = params or LOCALIZATION
        self.spikes = spikes or SPIKES
        self.seed = seed
        self.fitted_: FittedLocalizer | None = None
        self.curves_: list[Curve] = []

    def open(self, recording: Any, peaks: Peaks | None = None) -> Source:
        """Preprocess a spikeinterface recording and detect its peaks, unless they are known.

        Raises
        ------
        DataError
            No probe, several segments, NaN, another unit than µV, dead channels, or too few spikes.
        """
        band = None if recording.is_filtered() else (self.spikes.freq_min_hz, self.spikes.freq_max_hz)
        return open_source(preprocess(recording, self.spikes), self.params.detect, band, self.spikes.chunk_s, peaks)

    def fit(self, recording: Any, store: Path | None = None) -> Self:
        """Train on simulated spikes of the recording's probe and noise, then on the recording itself (``joint``).

        Parameters
        ----------
        recording : a recording of spikeinterface
        store : folder that keeps the state of training after each epoch; where training was cut short, the same call
            goes on after the last one. Remove it when the localizer is saved
        """
        return self.fit_source(self.open(recording), store)

    def fit_source(self, source: Source, store: Path | None = None) -> Self:
        """Do the same for a recording that is open already."""
        method, params = self.params.method, self.params
        self.fitted_, self.curves_ = None, []
        store = None if store is None else store / self._digest(source)
        if method == "production":
            first = None if store is None else store / "simulated"
            self.fitted_ = fit_localizer(source, params.network, self.seed, store=first)
            self.curves_ = list(self.fitted_.curves)
            if params.joint.outer:
                self.fitted_, joint = fit_joint(self.fitted_, source, params.joint, params.motion, self.seed, store)
                self.curves_ += joint
        elif method == "cnn" or method == "transformer":
            self.fitted_ = fit_reference(source, method, Recipe(), self.seed, store)
            self.curves_ = list(self.fitted_.curves)
        return self

    def transform(self, recording: Any) -> Localised:
        """Return the positions of a recording's spikes and the motion of its tissue.

        Raises
        ------
        NotFittedLocalizer
            The method is a network, and ``fit`` or ``load`` has not been called.
        """
        return self.transform_source(self.open(recording))

    def transform_source(self, source: Source) -> Localised:
        """Do the same for a recording that is open already."""
        method = self.params.method
        if LOCALIZERS[method].is_trained and self.fitted_ is None:
            raise NotFittedLocalizer(
                f"SpikeLocalizer: {method} has not learnt yet; call fit(recording) or load(folder)"
            )
        positions = localise(method, source, self.fitted_)
        motions = estimate_motions(source.recording, source.peaks, positions, self.params.motion)
        return Localised(source, positions, motions, correct_positions(positions, source.peaks.times_s, motions))

    def fit_transform(self, recording: Any, store: Path | None = None) -> Localised:
        """Train on a recording and return its positions; spikes are detected once. ``store``: see ``fit``."""
        source = self.open(recording)
        return self.fit_source(source, store).transform_source(source)

    def _digest(self, source: Source) -> str:
        """A name for everything that decides the network; the spikes found stand for the traces."""
        peaks = source.peaks
        arrays = {"samples": peaks.samples, "channels": peaks.channels, "amplitudes_uv": peaks.amplitudes_uv}
        arrays |= {"contacts_um": source.contacts_um, "noise_uv": source.noise_uv}
        values = [self.params.model_dump(), self.spikes.model_dump(), self.seed, peaks.n_samples, peaks.fs_hz]
        values.append(source.n_components)
        return digest_training(values, arrays, CODE)

    def save(self, folder: str | Path) -> None:
        """Write ``localizer.json`` and ``weights.safetensors``, atomically."""
        fitted = self.fitted_
        with atomic_folder(Path(folder)) as temporary:
            write_arrays(temporary / WEIGHTS, {} if fitted is None else fitted.arrays)
            card = {
                "schema_version": SCHEMA_VERSION,
                "params": self.params.model_dump(),
                "spikes": self.spikes.model_dump(),
                "seed": self.seed,
                "config": None if fitted is None else fitted.config,
                "curves": [asdict(point) for point in self.curves_],
            }
            write_json(temporary / CARD, card)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what ``save`` wrote; nothing in it can run.

        Raises
        ------
        IncompatibleBundle
            The folder is of another version, or damaged.
        """
        from pydantic import ValidationError

        card = read_json(Path(folder) / CARD)
        if not isinstance(card, dict) or card.get("schema_version") != SCHEMA_VERSION:
            found = card.get("schema_version") if isinstance(card, dict) else None
            raise IncompatibleBundle(
                f"{folder}: schema {found}, {SCHEMA_VERSION} is needed; train it again (fit, save)"
            )
        try:
            params = LocalizeParams.model_validate(card["params"])
            localizer = cls(params, SpikesParams.model_validate(card["spikes"]), int(card["seed"]))
            localizer.curves_ = [Curve(**point) for point in card["curves"]]
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise IncompatibleBundle(f"{folder}: not a whole localizer ({first}); train it again (fit, save)") from None
        if card.get("config") is not None:
            arrays: dict[str, np.ndarray] = read_arrays(Path(folder) / WEIGHTS)
            localizer.fitted_ = FittedLocalizer(card["config"], arrays)
        return localizer

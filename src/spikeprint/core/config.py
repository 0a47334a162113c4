"""Parameters, declared once. Enters: ``params.yaml``. Leaves: one frozen model per section, or a ``ConfigError``.

Range, unit and help stand beside each field; the values stand in ``params.yaml`` only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import Field, ValidationError, model_validator

from .errors import ConfigError, suggest
from .fields import Count, Fraction, Section, Whole
from .gate_params import GateParams
from .hybrid_params import HybridRow
from .localize_params import LocalizedParams, LocalizeParams
from .model_params import ModelParams
from .population_params import PopulationParams
from .reference_params import ReferenceParams
from .types import TECHNOLOGIES

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
"""Names of rows: also folder names and YAML keys, so `1e5` (a number to YAML) is none."""
NAME_RULE = "names use a-z, 0-9 and _ only, start with a letter and have at most 64 characters"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
SAMPLING_HZ = (1_000, 200_000)
"""Least and largest sampling rate of a waveform, Hz; what is below is a rate in kHz."""


SectionT = TypeVar("SectionT", bound=Section)


class SessionParams(Section):
    """One simulated recording session."""

    layout: Literal["neuropixels", "linear"] = Field(description="probe geometry of the session")
    n_units_per_type: Annotated[Whole, Field(ge=1, le=10_000)] = Field(description="labelled units of each cell type")
    n_unlabelled: Count = Field(description="good units whose cell type is withheld")
    n_low_quality: Count = Field(description="contaminated or nearly silent units")
    duration_s: Annotated[float, Field(gt=0, le=86_400)] = Field(description="length of the session, seconds")
    sampling_frequency_hz: Annotated[float, Field(ge=5_000, le=100_000)] = Field(description="sampling rate, Hz")


class RawSessionParams(Section):
    """One simulated raw recording: traces, probe and the true spike trains."""

    n_channels: Annotated[Whole, Field(ge=4, le=1024)] = Field(description="contacts of the probe")
    n_units: Annotated[Whole, Field(ge=1, le=1000)] = Field(description="neurons that fire")
    duration_s: Annotated[float, Field(gt=0, le=86_400)] = Field(description="length of the recording, seconds")
    sampling_frequency_hz: Annotated[float, Field(ge=5_000, le=100_000)] = Field(description="sampling rate, Hz")
    noise_uv: Annotated[float, Field(ge=0, le=1000)] = Field(description="standard deviation of the noise, µV")
    drift_um: Annotated[float, Field(ge=0, le=200)] = Field(
        default=0.0, description="the tissue moves up and down by that much along the probe, µm"
    )
    drift_period_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=60.0, description="time from one upper turn of the drift to the next, seconds"
    )


class SimulateParams(Section):
    """The embedded default data."""

    variability: Annotated[float, Field(gt=0, le=5)] = Field(
        description="spread of units around their type's mean; 1 gives a realistic overlap of the classes"
    )
    sessions: dict[Name, SessionParams] = Field(description="one row per simulated session")
    recordings: dict[Name, RawSessionParams] = Field(description="one row per simulated raw recording")


class RecordingParams(Section):
    """One raw recording: a folder ``data/raw/<name>`` with traces, and how spikes are found in them."""

    format: Literal["binary", "spikeglx", "nwb", "spikeinterface"] = Field(description="layout of the raw folder")
    sorter: Literal["lupin", "tridesclous2", "spykingcircus2", "mountainsort5", "kilosort4"] | None = Field(
        default=None, description="spike sorter, run through SpikeInterface; absent: the sorting in the folder is used"
    )
    stream: str | None = Field(default=None, description="stream of a recording with several, e.g. imec0.ap")


class SpikesParams(Section):
    """From traces to spikes: filter, sorter input, mean waveforms."""

    freq_min_hz: Annotated[float, Field(gt=0, le=5_000)] = Field(description="lower edge of the band-pass, Hz")
    freq_max_hz: Annotated[float, Field(gt=500, le=50_000)] = Field(description="upper edge of the band-pass, Hz")
    reference: Literal["median", "average", "none"] = Field(description="common signal subtracted from all channels")
    before_ms: Annotated[float, Field(ge=0.5, le=5)] = Field(description="mean waveform: window before the spike, ms")
    after_ms: Annotated[float, Field(ge=0.5, le=10)] = Field(description="mean waveform: window after the spike, ms")
    max_spikes: Annotated[Whole, Field(ge=10, le=100_000)] = Field(description="spikes averaged per unit, at most")
    chunk_s: Annotated[float, Field(gt=0, le=60)] = Field(description="seconds of traces in memory at a time")


class SnippetParams(Section):
    """What is kept of the spikes of a localised recording: temporal components of the contacts around each."""

    n_components: Annotated[Whole, Field(ge=2, le=32)] = Field(description="components kept of a contact's waveform")
    n_fit: Annotated[Whole, Field(ge=50)] = Field(description="spikes that the components are fitted to, at most")


class DatasetParams(Section):
    """One dataset: a folder with units as they came, and what the files do not say."""

    folder: str = Field(min_length=1, description="where the units are, relative to the project: data/raw/<name>")
    technology: str = Field(description=f"one of {', '.join(TECHNOLOGIES)}")
    species: str = Field(min_length=1, description="animal kind, lower case")
    format: Literal[
        "csv", "arrays", "phy", "nwb", "spikeinterface", "acqm", "cellexplorer", "alf", "rez", "jrclust"
    ] = Field(description="layout of the folder")
    label_column: str | None = Field(
        default=None,
        description="column of labels.csv (or of the source's units); default 'label', else the last; 'none' = ignore",
    )
    sampling_frequency_hz: Annotated[float, Field(ge=SAMPLING_HZ[0], le=SAMPLING_HZ[1])] | None = Field(
        default=None,
        description="rate where the files do not say; CSV without it: the window is stretched to 50 samples",
    )
    representation: Literal["legacy", "counts_1ms", "probability_1ms", "rate_1ms", "cellexplorer"] | None = Field(
        default=None, description="csv: what the histograms are; counts are checked, legacy promises nothing"
    )

    @model_validator(mode="after")
    def _known_technology(self) -> "DatasetParams":
        if self.technology not in TECHNOLOGIES:
            hint = suggest(self.technology, TECHNOLOGIES)
            raise ValueError(f"unknown technology '{self.technology}'{hint}; known: {', '.join(TECHNOLOGIES)}")
        return self


class FeatureParams(Section):
    """From spike trains, templates and labels to canonical features."""

    min_spikes: Count = Field(description="fewer spikes fail quality control")
    max_isi_violations_ratio: Annotated[float, Field(ge=0)] = Field(description="more contamination fails QC")
    min_presence_ratio: Fraction = Field(description="smaller fraction of 60 s bins with spikes fails QC")
    max_amplitude_cutoff: Fraction = Field(description="more spikes missing below the detection threshold fails QC")
    min_waveform_coverage: Fraction = Field(description="waveforms with less of the window inside are missing")
    censor_ms: Annotated[float, Field(ge=0, le=5)] = Field(
        description="the second of two spikes of a unit closer than this is dropped as detected twice (0 = keep), ms"
    )
    refine_trough: bool = Field(description="align waveforms on a parabola through the trough rather than a sample")
    unlabelled_patterns: list[str] = Field(description="labels containing one of these (any case) mean unknown")
    synonyms: dict[str, str] = Field(description="lower-case label -> the name used everywhere")


class EvaluateParams(Section):
    """Cross-validation and heads."""

    n_folds: Annotated[Whole, Field(ge=2, le=20)] = Field(description="stratified folds per dataset")
    split_seed: Whole = Field(description="seed of the fold assignment (42 in the published tables)")
    min_units_per_class: Annotated[Whole, Field(ge=2)] = Field(description="rarer classes are not scored")
    heads: list[Literal["knn", "logistic", "mlp"]] = Field(
        description="read-outs fitted on the embedding that are scored beside the row's own head"
    )
    control_folds: Count = Field(description="folds repeated with shuffled labels, training included (0 = none)")


class RegisterParams(Section):
    """The registered model."""

    model_name: str = Field(min_length=1, description="name in the model registry")
    ablation: Name = Field(description="the ablation row that becomes the registered model")


class Params(Section):
    """All of ``params.yaml``."""

    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = Field(description="seed of every random choice but the folds")
    simulate: SimulateParams
    recordings: dict[Name, RecordingParams] = Field(description="one row per raw recording")
    spikes: SpikesParams
    hybrid: dict[Name, HybridRow] = Field(description="one row per recording with hybrid units: known truth in it")
    snippets: SnippetParams
    localize: LocalizeParams
    localized: dict[Name, LocalizedParams] = Field(description="one row per recording whose spikes are localised")
    datasets: dict[Name, DatasetParams] = Field(min_length=1, description="one row per dataset")
    features: FeatureParams
    model: ModelParams = Field(description="the base that every row starts from")
    presets: dict[Name, dict[str, Any]] = Field(description="named configurations: name -> overrides of model")
    reference: ReferenceParams
    ablations: dict[Name, dict[str, Any]] = Field(min_length=1, description="what is trained: name -> overrides")
    evaluate: EvaluateParams
    register_: RegisterParams = Field(alias="register")
    gates: GateParams
    population: PopulationParams

    @model_validator(mode="after")
    def _registered_row_exists(self) -> "Params":
        if self.register_.ablation not in self.ablations:
            hint = suggest(self.register_.ablation, self.ablations)
            raise ValueError(f"register.ablation: no row '{self.register_.ablation}' under ablations{hint}")
        return self

    @property
    def served_head(self) -> str:
        """The read-out of the registered row, which the gates look at."""
        return self.ablation(self.register_.ablation).head

    def ablation(self, name: str) -> ModelParams:
        """Return the base model section with the overrides of row ``name`` of ablations, or of presets.

        A row with the key ``preset`` starts from that preset.

        Raises
        ------
        ConfigError
            The row does not exist or a value is out of range.
        """
        rows = {**self.presets, **self.ablations}
        if name not in rows:
            known = ", ".join(rows)
            raise ConfigError(f"params.yaml: no ablation '{name}'{suggest(name, rows)}; rows: {known}")
        row, section = rows[name], "ablations" if name in self.ablations else "presets"
        preset = row.get("preset")
        if preset is not None and preset not in self.presets:
            hint = suggest(str(preset), self.presets)
            raise ConfigError(f"params.yaml: {section}.{name}.preset: no row '{preset}' under presets{hint}")
        below = {} if preset is None else {k: v for k, v in self.presets[preset].items() if k != "description"}
        return _checked(ModelParams, {**self.model.model_dump(), **below, **row}, f"{section}.{name}.")

    @classmethod
    def load(cls, path: Path) -> "Params":
        """Read and check a parameter file, every ablation row included.

        Raises
        ------
        ConfigError
            The file is missing, is not YAML, has an unknown key (the nearest is named) or a value out of range.
        """
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: missing; the pipeline needs its parameter file") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: holds {type(values).__name__}, a mapping of sections is needed")
        params = _checked(cls, values, "")
        for name in (*params.presets, *params.ablations):
            params.ablation(name)
        return params


def make_dataset_params(values: Mapping[str, Any]) -> DatasetParams:
    """Return the row that ``values`` describe, as if it stood in ``params.yaml``.

    Raises
    ------
    ConfigError
        An unknown key or a value out of range.
    """
    return _checked(DatasetParams, dict(values), "")


def check_section(model: type[SectionT], values: dict[str, Any], where: str) -> SectionT:
    """Return a section of parameters that stands in another place than ``params.yaml``.

    Raises
    ------
    ConfigError
        An unknown key or a value out of range; every line begins with ``where``.
    """
    return _checked(model, values, "", where)


def _checked(model: type[SectionT], values: dict[str, Any], prefix: str, where: str = "params.yaml") -> SectionT:
    """Validate ``values``; turn pydantic's findings into one ConfigError, a line for each finding."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_explain(model, cast(Mapping[str, Any], item), prefix, where) for item in error.errors())
        ) from None


def _explain(model: type[Section], item: Mapping[str, Any], prefix: str, where: str) -> str:
    """One line for one finding: key, what was found, what is needed."""
    key = prefix + ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        hint = suggest(str(item["loc"][-1]), _keys(model, item["loc"][:-1]))
        return f"{where}: unknown key '{key}'{hint}"
    if item["type"] == "missing":
        return f"{where}: '{key}' is missing"
    if item["type"] == "string_pattern_mismatch":
        return f"{where}: '{key}': {NAME_RULE}"
    message = item["msg"].removeprefix("Value error, ")
    if key.endswith("_hz"):
        message += " (Hz, not kHz)"
    found = "" if item["type"] == "value_error" else f" = {item['input']!r}"
    return f"{where}: {key}{found}: {message[0].lower() + message[1:]}".replace(": :", ":")


def _keys(model: type[Section], location: tuple[Any, ...]) -> list[str]:
    """Names that would have been accepted at ``location`` of ``model``."""
    current: Any = model
    for part in location:
        fields = getattr(current, "model_fields", {})
        if part in fields or f"{part}_" in fields:
            current = (fields.get(part) or fields[f"{part}_"]).annotation
            if getattr(current, "__origin__", None) is dict:
                current = current.__args__[1]
    return [field.alias or name for name, field in getattr(current, "model_fields", {}).items()]

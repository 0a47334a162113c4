"""Parameters of populations, declared once. Enters: a section of ``params.yaml``. Leaves: frozen models."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .errors import suggest
from .fields import Count, Fraction, Positive, Section, Whole

NAME = r"^[a-z][a-z0-9_]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]


class SimulatedPopulationParams(Section):
    """One simulated session with known latents."""

    kind: Literal["images", "track"] = Field(description="images shown again and again, or runs on a linear track")
    n_units: Annotated[Whole, Field(ge=2, le=2000)] = Field(description="units")
    n_images: Annotated[Whole, Field(ge=2, le=1000)] = Field(default=8, description="images: how many")
    n_repeats: Annotated[Whole, Field(ge=2, le=1000)] = Field(default=20, description="images: presentations of each")
    duration_s: Annotated[float, Field(gt=10, le=86_400)] = Field(default=300.0, description="track: length, seconds")


class PopulationSessionParams(Section):
    """One recorded session: where it is and how it becomes counts."""

    folder: str = Field(min_length=1, description="folder or file of the session, relative to the project")
    format: Literal["spikes", "nwb", "hippocampus"] = Field(description="layout of the folder or file")
    stimulus: str | None = Field(default=None, description="table of presentations; absent: one continuous recording")
    n_bins: Annotated[Whole, Field(ge=1, le=1000)] = Field(default=10, description="bins of a presentation")
    lag_s: Annotated[float, Field(ge=-1, le=1)] = Field(default=0.0, description="shift for the response's latency, s")
    bin_width_s: Annotated[float, Field(gt=0, le=10)] = Field(default=0.025, description="bins without a stimulus, s")
    labels: list[str] = Field(default_factory=list, description="nwb: time series that become labels")


class CleaningParams(Section):
    """Which units and presentations are used."""

    max_isi_violations: Annotated[float, Field(ge=0)] | None = Field(description="more fails; null = no rule")
    max_amplitude_cutoff: Annotated[float, Field(ge=0)] | None = Field(description="more fails; null = no rule")
    min_presence_ratio: Fraction | None = Field(description="less fails; null = no rule")
    probe_invalid: Literal["drop_presentations", "drop_units"] = Field(
        description="what an invalid time of one probe takes away"
    )


class ModeParams(Section):
    """One contrastive model: a session, its labels, and settings of ``PopulationEmbedder`` that differ from `embed`."""

    session: Name = Field(description="row of population.sessions")
    labels: list[str] = Field(default_factory=list, description="labels that pair rows; none = time")
    settings: dict[str, Any] = Field(default_factory=dict, description="parameters of PopulationEmbedder")


class DecodeParams(Section):
    """Decoding of stimuli with few examples."""

    models: list[str] = Field(min_length=1, description="decoders, see docs/populations.md")
    shots: list[Count] = Field(min_length=1, description="training presentations of each class; 0 = all")
    repeats: Positive = Field(description="draws of each number of shots")
    split: Literal["blocked", "time", "stratified"] = Field(description="how presentations are dealt to the parts")
    fractions: Annotated[list[Fraction], Field(min_length=3, max_length=3)] = Field(
        description="shares of training, validation and test"
    )
    gap_s: Annotated[float, Field(ge=0)] = Field(description="seconds dropped at each border of the parts")
    min_rate_hz: Annotated[float, Field(ge=0)] = Field(description="less in training drops a unit, Hz")
    max_rate_hz: Annotated[float, Field(gt=0)] = Field(description="more in training drops a unit, Hz")


class PopulationParams(Section):
    """Populations: sessions, contrastive models, decoding."""

    simulate: dict[Name, SimulatedPopulationParams] = Field(description="one row per simulated session")
    sessions: dict[Name, PopulationSessionParams] = Field(description="one row per session")
    cleaning: CleaningParams
    embed: dict[str, Any] = Field(description="parameters of PopulationEmbedder shared by all modes")
    modes: dict[Name, ModeParams] = Field(description="what `contrast` fits, one row each")
    decode: DecodeParams
    decoded: dict[Name, dict[str, Any]] = Field(description="sessions in trials that `decode` decodes; rows are empty")

    @model_validator(mode="after")
    def _sessions_exist(self) -> "PopulationParams":
        asked = {f"modes.{name}.session": row.session for name, row in self.modes.items()}
        asked |= {f"decoded.{name}": name for name in self.decoded}
        for where, session in asked.items():
            if session not in self.sessions:
                hint = suggest(session, self.sessions)
                raise ValueError(f"population.{where}: no row '{session}' under population.sessions{hint}")
        return self

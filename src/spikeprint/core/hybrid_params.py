"""Parameters of hybrid ground truth. Enters: nothing. Leaves: their models, see ``hybrid_config`` for their file.

Unlike the rest of ``params.yaml`` every key has a default here: a plan for one recording is made from a few lines.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .fields import Fraction, Positive, Section, Whole

Above = Annotated[float, Field(gt=0)]
AtLeast0 = Annotated[float, Field(ge=0)]
SorterName = Literal["lupin", "tridesclous2", "spykingcircus2", "mountainsort5", "kilosort4"]
Dtype = Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


class LayoutParams(Section):
    """What flat binaries without ``recording.json`` or ``.meta`` do not say."""

    n_channels: Positive | None = Field(default=None, description="channels interleaved in the file")
    sampling_frequency_hz: Annotated[float, Field(ge=1_000, le=200_000)] | None = Field(
        default=None, description="sampling rate, Hz; need not be whole"
    )
    byte_offset: Annotated[Whole, Field(ge=0)] = Field(default=0, description="bytes of header in each file")
    gain_uv: Above | None = Field(default=None, description="µV per bit; absent: amplitudes are in bits")
    starts: list[Annotated[Whole, Field(ge=0)]] | None = Field(
        default=None, description="sample of the sorter's clock at which each file begins; absent: one after another"
    )
    probe: str | dict[str, Any] | None = Field(
        default=None,
        description="probe file, neuropixels3a, emouse, or {channel_map, connected, channel_positions}",
    )


class ChannelParams(Section):
    """Which contacts belong to a unit."""

    radius_um: Above = Field(default=100.0, description="contacts at most so far from the peak, µm")
    min_snr: AtLeast0 = Field(default=3.0, description="least peak-to-peak of the mean, in its standard errors")
    min_fraction: Fraction = Field(default=0.05, description="least peak-to-peak, as a part of the peak contact's")
    max_channels: Positive = Field(default=40, description="the largest so many are kept")


class RelocateParams(Section):
    """Where on the probe a unit goes."""

    mode: Literal["lattice", "interpolate", "none", "channel_shift"] = Field(
        default="lattice", description="exact shift between contacts, interpolated shift, no shift, shift of channels"
    )
    min_um: AtLeast0 = Field(default=60.0, description="least shift, µm")
    max_um: Above | None = Field(default=None, description="largest shift, µm; absent: any")
    channel_shift: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="channel_shift: so many places in the order of the channels"
    )
    weights: Literal["uniform", "rank"] = Field(default="uniform", description="rank: the farther, the likelier")

    @model_validator(mode="after")
    def _shift_is_given(self) -> "RelocateParams":
        if self.mode == "channel_shift" and self.channel_shift is None:
            raise ValueError("mode channel_shift needs channel_shift, a number of channels")
        return self


class BurstParams(Section):
    """Renewal trains with bursts."""

    probability: Fraction = Field(description="part of the intervals that lie within bursts")
    interval_ms: Above = Field(description="mean of those intervals, refractory period included, ms")


class TimesParams(Section):
    """When hybrid units fire."""

    mode: Literal["jitter", "renewal", "given"] = Field(
        default="jitter", description="the source unit's spikes moved, a train of its own, or a table"
    )
    jitter_ms: AtLeast0 = Field(default=1.7, description="jitter: standard deviation beyond the guard, ms")
    rate_hz: Above | None = Field(default=None, description="renewal: mean rate; absent: that of the source unit")
    refractory_ms: AtLeast0 = Field(default=2.0, description="no interval of a hybrid unit is shorter, ms")
    guard_ms: AtLeast0 = Field(default=1.0, description="jitter: least distance to a spike of the source unit, ms")
    shape: Above = Field(
        default=1.0, description="renewal: shape of the gamma intervals; 1 = Poisson, larger = regular"
    )
    burst: BurstParams | None = Field(default=None, description="renewal: short intervals among the others")
    file: str | None = Field(default=None, description="given: CSV with the columns unit and sample (sorter's clock)")

    @model_validator(mode="after")
    def _given_has_a_file(self) -> "TimesParams":
        if self.mode == "given" and self.file is None:
            raise ValueError("mode given needs file, a CSV with the columns unit and sample")
        return self


class AmplitudeParams(Section):
    """How large the spikes are."""

    mode: Literal["scale", "target_uv", "target_snr"] = Field(
        default="scale", description="low and high are a factor per spike, or each unit's size in µV, or its SNR"
    )
    low: Above = Field(default=1.0, description="least value")
    high: Above = Field(default=1.0, description="largest value; drawn uniformly between both")

    @model_validator(mode="after")
    def _low_is_low(self) -> "AmplitudeParams":
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} exceeds high {self.high:g}")
        return self


class DriftParams(Section):
    """Follow the motion of the tissue."""

    file: str = Field(description="motion: .npz (displacement_um, times_s, depths_um) or a folder of SpikeInterface")
    step_um: Above = Field(default=1.0, description="displacements are rounded to multiples of this, µm")


def _list_one(value: Any) -> Any:
    """A single id is a list of one."""
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


class HybridParams(Section):
    """One plan of hybrid units."""

    source: str | list[str] | None = Field(default=None, description="recording: folder, file, glob or list of files")
    sorting: str | None = Field(default=None, description="its sorting, of any layout that `spikeprint add` reads")
    target: str | None = Field(default=None, description="folder for the plan and what is made from it")
    units: Annotated[Literal["auto"] | list[str | int], BeforeValidator(_list_one)] = Field(
        default="auto", description="ids as the sorter wrote them"
    )
    n_units: Positive = Field(default=10, description="auto: how many")
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of every draw")
    mode: Literal["svd", "mean"] = Field(default="svd", description="spikes vary as the unit's own, or are its mean")
    rank: Positive = Field(default=6, description="svd: components kept")
    bank: Positive = Field(default=64, description="svd: different waveforms per unit")
    window_ms: tuple[Above, Above] = Field(default=(1.0, 2.0), description="before and after the trough, ms")
    max_events: Positive = Field(default=2000, description="spikes read per unit")
    channels: ChannelParams = ChannelParams()
    taper: Fraction = Field(default=0.15, description="part of the window that is tapered to zero (Tukey)")
    relocate: RelocateParams = RelocateParams()
    times: TimesParams = TimesParams()
    amplitude: AmplitudeParams = AmplitudeParams()
    drift: DriftParams | None = Field(default=None, description="absent: units stay where they are")
    dtype: Dtype = Field(default="int16", description="of flat binaries that do not say it themselves")
    layout: LayoutParams = LayoutParams()
    stream: str | None = Field(default=None, description="stream of a recording with several, e.g. imec0.ap")
    one_based: bool = Field(default=False, description="spike times count from 1 (old MATLAB writers)")
    on_clip: Literal["error", "clip"] = Field(
        default="error", description="samples beyond the sample type: refuse, or clip and note what was lost"
    )
    allow_dropped: bool = Field(default=False, description="go on when no unit is left")
    fast_fingerprint: bool = Field(default=False, description="recognise the source by a part of it, not by all")
    compat: bool = Field(default=False, description="times, waveforms and shifts as hybridfactory 0.1 makes them")


class HybridRow(HybridParams):
    """A row of ``hybrid``: hybrid units in one recording of ``recordings``, which names source and sorting."""

    recording: str = Field(min_length=1, description="row of recordings whose traces and units are used")
    sorter: SorterName | None = Field(default=None, description="sorter that is scored; absent: the recording's")
    tolerance_ms: Above = Field(default=0.4, description="score: spikes at most so far apart are the same, ms")

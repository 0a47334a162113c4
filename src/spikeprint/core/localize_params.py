"""Parameters of localisation, declared once. Enters: a section of ``params.yaml``. Leaves: a frozen model."""

from typing import Annotated, Literal

from pydantic import Field

from .fields import Count, Fraction, Positive, Section, Whole

LocalizerName = Literal[
    "peak_channel",
    "center_of_mass",
    "grid_convolution",
    "monopole_library",
    "monopole",
    "cnn",
    "transformer",
    "production",
]
Micrometres = Annotated[float, Field(gt=0, le=5_000)]
Milliseconds = Annotated[float, Field(gt=0, le=10)]


class DetectParams(Section):
    """Spikes and the window around them."""

    threshold: Annotated[float, Field(ge=3, le=50)] = Field(description="least trough, in noise levels of its channel")
    exclude_sweep_ms: Milliseconds = Field(description="of two peaks nearer in time the larger is taken, ms")
    radius_um: Micrometres = Field(description="of two peaks nearer on the probe the larger is taken, µm")
    min_peaks: Positive = Field(description="fewer peaks are an error")
    before_ms: Milliseconds = Field(description="snippet before the trough, ms")
    after_ms: Milliseconds = Field(description="snippet from the trough on, ms")
    drop_dead: bool = Field(description="leave flat channels out instead of refusing the recording")


class LocalizerParams(Section):
    """The production network and its training on simulated truth."""

    n_neighbours: Annotated[Whole, Field(ge=3, le=64)] = Field(description="contacts that the network sees of a spike")
    n_components: Annotated[Whole, Field(ge=2, le=32)] = Field(
        description="temporal components of a contact's waveform"
    )
    n_hidden: Annotated[Whole, Field(ge=8, le=512)] = Field(description="width of the network, a multiple of 4")
    n_layers: Annotated[Whole, Field(ge=1, le=12)] = Field(description="attention layers")
    n_spikes: Annotated[Whole, Field(ge=1_000)] = Field(description="simulated spikes of one epoch, never seen again")
    epochs: Positive = Field(description="epochs, at most")
    batch_size: Annotated[Whole, Field(ge=8, multiple_of=2)] = Field(description="spikes per step, even")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        description="largest step size of the one-cycle schedule"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(description="weight decay")
    hidden_channels: Fraction = Field(description="share of the contacts hidden in training, to be reconstructed")
    reconstruction_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        description="weight of the amplitudes of all contacts, hidden ones too"
    )
    repeat_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        description="weight of one error in (x, y) for two spikes of a neuron that drifts"
    )
    evenness: Fraction = Field(
        default=0.0, description="power of the expected error that a spike's likelihood is weighted with"
    )
    overlap: Fraction = Field(description="chance that another spike falls into a simulated window")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(description="where to train")


class MotionParams(Section):
    """DREDge (Windolf et al. 2025), through SpikeInterface."""

    rigid: bool = Field(description="one displacement for the whole probe")
    bin_s: Annotated[float, Field(gt=0, le=60)] = Field(description="time bin, seconds")
    bin_um: Annotated[float, Field(gt=0, le=50)] = Field(description="depth bin, µm")
    smooth_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=1.0, description="Gaussian over the time bins of DREDge's raster, s; 0 = none. Few spikes: 1 s at least"
    )
    win_step_um: Micrometres = Field(description="distance of depth windows, µm")
    win_scale_um: Micrometres = Field(description="size of depth windows, µm")
    lateral: bool = Field(description="also estimate motion along x, and take it away")


class JointParams(Section):
    """Self-supervised training on a recording: corrected positions should repeat from bin to bin."""

    outer: Count = Field(description="rounds of motion and training; 0 = none")
    epochs: Positive = Field(description="passes over the recording per round")
    block_bins: Annotated[Whole, Field(ge=4, le=512)] = Field(description="successive time bins of a step")
    max_spikes_per_bin: Annotated[Whole, Field(ge=50)] = Field(description="spikes drawn of a bin, at most")
    min_spikes: Positive = Field(description="bins with fewer spikes do not count")
    rho_weight: Annotated[float, Field(ge=0)] = Field(description="weight of the correlation of bins")
    entropy_weight: Annotated[float, Field(ge=0)] = Field(description="weight of the spatial entropy")
    tether_weight: Annotated[float, Field(ge=0)] = Field(description="weight of the way from the start, per µm²")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(description="step size")
    clip: Annotated[float, Field(gt=0)] = Field(description="largest norm of the gradient")


class LocalizedParams(Section):
    """A recording of ``recordings`` whose spikes and units are localised by the section ``localize``."""


class LocalizeParams(Section):
    """From spikes to corrected positions."""

    method: LocalizerName = Field(description="localizer")
    detect: DetectParams
    network: LocalizerParams
    motion: MotionParams
    joint: JointParams

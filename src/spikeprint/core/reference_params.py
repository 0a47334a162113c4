"""Parameters of the published model, to compare with. Enters: section ``reference``. Leaves: a frozen model."""

from typing import Annotated, Literal

from pydantic import Field

from .fields import Count, Fraction, Positive, Section, Whole

Weight = Annotated[float, Field(ge=0, le=1000)]
Rate = Annotated[float, Field(gt=0, le=1)]


class ReferenceParams(Section):
    """The published network (24,327,332 weights for 4 sources and 5 classes) and its training in three phases, rebuilt
    to compare with: ``spikeprint benchmark --methods reference``. No stage trains it.
    """

    modalities: Annotated[list[Literal["waveform", "isi", "acg"]], Field(min_length=1)] = Field(
        description="what it sees; each has an encoder and a decoder of its own"
    )
    base_width: Annotated[Whole, Field(ge=4, le=256)] = Field(
        description="channels of the first stage of a ResNet-18; the last has eight times as many"
    )
    n_latent: Annotated[Whole, Field(ge=2, le=512)] = Field(description="size of the latent")
    n_condition: Annotated[Whole, Field(ge=1, le=64)] = Field(description="size of each condition embedding")
    use_fusion: bool = Field(description="two layers join modalities and conditions, else one")
    use_batch_norm: bool = Field(description="batch normalisation in the layers that join and decode")
    class_in_encoder: bool = Field(description="tell the encoder the class too (absent for units to be classified)")
    class_dropout: Fraction = Field(description="chance of each value of the class embedding to be dropped in training")
    augmentation: Literal["none", "light", "heavy"] = Field(
        description="noise, scaling, warping, shift and smoothing of training inputs; only heavy in the third phase too"
    )
    beta: Weight = Field(description="weight of the KL term")
    consistency_weight: Weight = Field(
        description="weight of the difference between decoding with and without the class"
    )
    warmup_epochs: Count = Field(description="epochs of a phase over which the consistency weight rises to its value")
    pretrain_epochs: Count = Field(description="first phase: passes over all units without any label, at most")
    finetune_epochs: Count = Field(description="second phase: passes over labelled units, their labels not told")
    epochs: Count = Field(description="third phase: passes over labelled units with their labels")
    learning_rate: Rate = Field(description="step size of the first phase")
    finetune_learning_rate: Rate = Field(description="step size of the others")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(description="weight decay")
    batch_size: Annotated[Whole, Field(ge=2)] = Field(description="units per step")
    patience: Positive = Field(description="epochs without a better validation loss before a phase stops")
    min_delta: Annotated[float, Field(ge=0, le=1)] = Field(description="a smaller fall of that loss is none")
    validation_frac: Annotated[float, Field(gt=0, le=0.5)] = Field(description="share of the training units held back")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(description="where to train")

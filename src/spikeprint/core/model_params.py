"""Parameters of the conditional VAE family, declared once. Enters: a row of ``params.yaml``. Leaves: a frozen model."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .fields import Count, Fraction, Positive, Section, Whole

Weight = Annotated[float, Field(ge=0, le=1000)]
HeadName = Literal["network", "logistic", "knn", "mlp"]
ConditionName = Literal["dataset", "technology", "species", "region", "representation"]


class ModelParams(Section):
    """The conditional VAE: architecture, objective, optimisation. Presets and ablation rows override these."""

    description: str = Field(default="", description="what the row is for, shown in the report")
    preset: str | None = Field(default=None, description="row of `presets` whose values this row starts from")
    n_members: Annotated[Whole, Field(ge=1, le=256)] = Field(
        description="networks trained side by side; each holds back another part of the training units"
    )
    n_latent: Annotated[Whole, Field(ge=2, le=512)] = Field(description="size of the latent of one member")
    n_hidden: Annotated[Whole, Field(ge=4, le=4096)] = Field(description="width of the hidden layers of one member")
    use_descriptors: bool = Field(description="tell the encoder widths, quantiles and the like beside the traces")
    conditions: list[ConditionName] = Field(
        description="what encoder and decoder are told about a unit's origin; representation is added where units mix "
        "histograms of unequal bins and dataset is not told"
    )
    class_in_decoder: bool = Field(description="tell the decoder the cell type of labelled training units")
    class_in_encoder: bool = Field(description="tell the encoder too (absent for units to be classified)")
    n_condition: Annotated[Whole, Field(ge=1, le=64)] = Field(description="size of each condition embedding")
    use_fusion: bool = Field(description="a hidden layer joins the modalities; else they meet in one linear map")
    use_batch_norm: bool = Field(description="batch normalisation in the hidden layers, else layer normalisation")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(description="dropout in the hidden layers")
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(description="dropout of the encoder's inputs")
    input_share: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of the inputs that a member's encoder sees, drawn once for each member (random subspaces)"
    )
    reconstruction_weight: Weight = Field(description="weight of the reconstruction of each modality")
    beta: Weight = Field(description="weight of the KL term")
    free_bits: Weight = Field(description="nats of each latent dimension that the KL term does not punish")
    classification_weight: Weight = Field(
        description="weight of the cross-entropy of a linear read-out of the latent mean (training labels only)"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of a label given to all classes")
    mixing: Annotated[float, Field(ge=0, le=0.5)] = Field(
        description="largest share of another training unit in what the read-out learns from (mixup; 0 = none)"
    )
    contrastive_weight: Weight = Field(description="weight of the supervised contrastive term on latent means")
    contrastive_temperature: Annotated[float, Field(gt=0, le=10)] = Field(description="its temperature")
    consistency_weight: Weight = Field(
        description="weight of the difference between decoding with and without the class"
    )
    class_dropout: Fraction = Field(description="chance that a training unit's class is hidden from the model")
    condition_dropout: Fraction = Field(description="chance that a training unit's origin is hidden")
    modality_dropout: Fraction = Field(description="chance that a modality is hidden from the encoder in training")
    augmentation: Literal["none", "light", "heavy"] = Field(description="noise, scaling and shift of training inputs")
    optimiser: Literal["adamw", "schedulefree"] = Field(
        description="adamw (with the schedule), or schedule-free AdamW (Defazio et al. 2024)"
    )
    schedule: Literal["onecycle", "constant"] = Field(description="course of AdamW's step size over all epochs")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(description="largest step size")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(description="weight decay")
    batch_size: Annotated[Whole, Field(ge=2)] = Field(description="units per step")
    pretrain_epochs: Count = Field(description="passes over all units without any label, before the others")
    finetune_epochs: Count = Field(
        description="passes over the units of datasets with labels, still without any label, at a tenth of the step"
    )
    epochs: Annotated[Whole, Field(ge=1, le=100_000)] = Field(description="passes with labels, at most")
    warmup_epochs: Count = Field(description="epochs over which KL and consistency weights rise to their value")
    patience: Positive = Field(description="epochs without a better validation loss before training stops")
    checkpoint: Literal["best", "last"] = Field(
        description="keep the epoch of the best validation loss, or the end of the schedule"
    )
    validation_frac: Annotated[float, Field(gt=0, le=0.5)] = Field(
        description="share of the training units that each member holds back to watch, calibrate and be calibrated by"
    )
    coverage: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        description="chance that a unit's prediction set holds its class, and that a known type is not called novel"
    )
    head: HeadName = Field(description="the read-out that is served: the network's own, or one fitted on the embedding")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(description="where to train")
    n_devices: Positive = Field(description="devices that share a batch (Lightning DDP)")
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = Field(description="arithmetic of training")
    compile: bool = Field(description="compile the training step with torch.compile")

    @model_validator(mode="after")
    def _head_is_trained(self) -> "ModelParams":
        if self.head == "network" and not self.classification_weight:
            raise ValueError("head 'network' needs classification_weight above 0; or choose knn, logistic or mlp")
        return self

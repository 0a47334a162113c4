"""Production parameters where there is no project. Enters: nothing. Leaves: a model's and a localizer's parameters.

An installed package has no ``params.yaml``. For the model that file stays the place to change a value; a test keeps
``PRODUCTION`` equal to its section ``model``. ``LOCALIZATION`` trains longer than the pipeline's toy recording needs.
"""

from .localize_params import DetectParams, JointParams, LocalizeParams, LocalizerParams, MotionParams
from .model_params import ModelParams

PRODUCTION = ModelParams(
    n_members=10,
    n_latent=8,
    n_hidden=32,
    use_descriptors=True,
    conditions=["dataset", "technology"],
    class_in_decoder=True,
    class_in_encoder=False,
    n_condition=5,
    use_fusion=True,
    use_batch_norm=False,
    dropout=0.25,
    input_dropout=0.1,
    input_share=0.5,
    reconstruction_weight=0.3,
    beta=0.02,
    free_bits=0.0,
    classification_weight=1.0,
    label_smoothing=0.05,
    mixing=0.5,
    contrastive_weight=0.0,
    contrastive_temperature=0.5,
    consistency_weight=0.0,
    class_dropout=0.3,
    condition_dropout=0.2,
    modality_dropout=0.15,
    augmentation="light",
    optimiser="adamw",
    schedule="onecycle",
    learning_rate=0.003,
    weight_decay=0.05,
    batch_size=64,
    pretrain_epochs=0,
    finetune_epochs=0,
    epochs=150,
    warmup_epochs=5,
    patience=30,
    checkpoint="last",
    validation_frac=0.125,
    coverage=0.9,
    head="network",
    device="auto",
    n_devices=1,
    precision="32-true",
    compile=False,
)

LOCALIZATION = LocalizeParams(
    method="production",
    detect=DetectParams(
        threshold=6, exclude_sweep_ms=0.6, radius_um=60, min_peaks=50, before_ms=1.0, after_ms=2.0, drop_dead=False
    ),
    network=LocalizerParams(
        n_neighbours=16,
        n_components=8,
        n_hidden=64,
        n_layers=2,
        n_spikes=50_000,
        epochs=6,
        batch_size=256,
        learning_rate=0.002,
        weight_decay=0.0001,
        hidden_channels=0.1,
        reconstruction_weight=1.0,
        repeat_weight=0.5,
        evenness=0.0,
        overlap=0.0,
        device="cpu",
    ),
    motion=MotionParams(
        rigid=True, bin_s=1.0, bin_um=1.0, smooth_s=0.5, win_step_um=400, win_scale_um=400, lateral=False
    ),
    joint=JointParams(
        outer=1,
        epochs=4,
        block_bins=32,
        max_spikes_per_bin=1500,
        min_spikes=50,
        rho_weight=1.0,
        entropy_weight=0.1,
        tether_weight=0.01,
        learning_rate=0.0002,
        clip=5.0,
    ),
)
"""Localisation of a recording, trained for minutes; the section of ``params.yaml`` trains for seconds."""

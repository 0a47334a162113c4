"""Parameters: what is accepted, and the one line that is said when something is not."""

import copy
from pathlib import Path

import pytest
import yaml

from spikeprint.core.config import Params
from spikeprint.core.errors import ConfigError


@pytest.fixture
def values(root: Path) -> dict:
    return yaml.safe_load((root / "params.yaml").read_text())


def load(values: dict, folder: Path) -> Params:
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return Params.load(folder / "params.yaml")


def test_the_shipped_file_loads_with_every_ablation_row(root: Path) -> None:
    params = Params.load(root / "params.yaml")
    assert {"production", "baseline"} <= set(params.ablations)
    assert params.ablation("baseline").conditions == []
    assert params.ablation("baseline").coverage == params.model.coverage


PUBLISHED = {
    # name: dataset told, class in decoder, class in encoder, fusion, batch norm, augmentation
    "baseline": (False, False, False, False, False, "none"),
    "with_source": (True, False, False, True, False, "none"),
    "with_class": (False, True, True, True, False, "none"),
    "with_both_embeddings": (True, True, True, True, False, "none"),
    "with_light_augmentations": (False, False, False, False, False, "light"),
    "with_heavy_augmentations": (True, True, True, False, False, "heavy"),
    "with_batch_norm": (True, True, True, True, True, "light"),
    "no_fusion": (True, True, True, False, False, "none"),
    "no_augmentations": (True, True, True, True, True, "none"),
    "full_architecture": (True, True, True, True, True, "light"),
    "full_architecture_heavy_reg": (True, True, True, True, True, "light"),
    "conditional_decoder_only": (True, True, False, True, True, "light"),
    "class_decoder_source": (True, True, False, True, False, "none"),
    "class_decoder_source_bn": (True, True, False, True, True, "none"),
    "class_decoder_source_bn_strong_aug": (True, True, False, True, True, "heavy"),
    "class_decoder_source_bn_aug_reg": (True, True, False, True, True, "light"),
    "unconditioned": (False, False, False, True, True, "light"),
    "contrastive": (True, True, False, True, True, "light"),
}
"""The table of named configurations of the published system."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_has_its_documented_flags(name: str, root: Path) -> None:
    row = Params.load(root / "params.yaml").ablation(name)
    told = (row.class_in_decoder, row.class_in_encoder, row.use_fusion, row.use_batch_norm, row.augmentation)
    assert ("dataset" in row.conditions, *told) == PUBLISHED[name]
    regularised = {"full_architecture": (0.3, 0.15, 5), "full_architecture_heavy_reg": (0.7, 0.5, 10)}
    regularised |= dict.fromkeys(("class_decoder_source_bn_aug_reg", "contrastive"), (0.3, 0.15, 5))
    needed = regularised.get(name, (0.0, 0.0, row.warmup_epochs))
    assert (row.class_dropout, row.consistency_weight, row.warmup_epochs) == needed
    assert row.free_bits == 0
    assert row.contrastive_weight == (0.1 if name == "contrastive" else 0.0)


def test_a_row_starts_from_its_preset_and_wins(root: Path, values: dict, tmp_path: Path) -> None:
    values["ablations"]["mine"] = {"preset": "with_source", "n_latent": 7}
    row = load(values, tmp_path).ablation("mine")
    assert (row.n_latent, row.use_fusion, row.n_members) == (7, True, 1)


BAD = {
    "typo in a section": (("model", "epoch"), 3, "unknown key 'model.epoch'; did you mean 'epochs'?"),
    "typo in a section name": (("modle",), {}, "unknown key 'modle'; did you mean 'model'?"),
    "typo in an ablation row": (
        ("ablations", "baseline", "betta"),
        1,
        "unknown key 'ablations.baseline.betta'; did you mean 'beta'?",
    ),
    "out of range": (("model", "epochs"), 0, "model.epochs = 0: input should be greater than or equal to 1"),
    "wrong type": (("model", "beta"), "high", "model.beta = 'high': input should be a valid number"),
    "infinite": (("model", "beta"), float("inf"), "model.beta = inf: input should be a finite number"),
    "a truth value for a number": (("model", "epochs"), True, "model.epochs = True: input should be a valid integer"),
    "unknown choice": (("model", "augmentation"), "lite", "model.augmentation = 'lite'"),
    "unknown technology": (
        ("datasets", "toy_silicon", "technology"),
        "neuropixel",
        "unknown technology 'neuropixel'; did you mean 'neuropixels'?",
    ),
    "bad dataset name": (
        ("datasets", "My-data"),
        {"folder": "x", "technology": "mea", "species": "rat", "format": "csv"},
        "names use a-z, 0-9 and _ only",
    ),
    "a dataset name that is a number": (
        ("datasets", "1e5"),
        {"folder": "x", "technology": "mea", "species": "rat", "format": "csv"},
        "names use a-z, 0-9 and _ only, start with a letter and have at most 64 characters",
    ),
    "a dataset name that is too long": (
        ("datasets", "a" * 65),
        {"folder": "x", "technology": "mea", "species": "rat", "format": "csv"},
        "at most 64 characters",
    ),
    "kilohertz": (
        ("datasets", "toy_silicon", "sampling_frequency_hz"),
        30.0,
        "sampling_frequency_hz = 30.0: input should be greater than or equal to 1000 (Hz, not kHz)",
    ),
    "no rate": (
        ("datasets", "toy_silicon", "sampling_frequency_hz"),
        float("nan"),
        "sampling_frequency_hz = nan: input should be a finite number (Hz, not kHz)",
    ),
    "registered row is missing": (("register", "ablation"), "prod", "no row 'prod' under ablations"),
    "a head that nothing trains": (
        ("ablations", "production", "classification_weight"),
        0,
        "head 'network' needs classification_weight above 0",
    ),
    "a reference without a modality": (("reference", "modalities"), [], "reference.modalities = []: list should have"),
    "a reference too wide": (("reference", "base_width"), 640, "reference.base_width = 640"),
    "unknown preset": (("ablations", "production", "preset"), "basline", "under presets; did you mean 'baseline'?"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_a_bad_value_is_named_with_what_is_needed(case: str, values: dict, tmp_path: Path) -> None:
    path, value, message = BAD[case]
    changed = copy.deepcopy(values)
    section = changed
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(ConfigError) as caught:
        load(changed, tmp_path)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_key_is_named(values: dict, tmp_path: Path) -> None:
    del values["model"]["beta"]
    with pytest.raises(ConfigError, match=r"'model\.beta' is missing"):
        load(values, tmp_path)


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not valid YAML"), ("3", "a mapping of sections is needed")])
def test_a_file_that_is_no_mapping_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Params.load(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml: missing"):
        Params.load(tmp_path / "params.yaml")


def test_an_unknown_ablation_is_refused_with_the_rows(root: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'baseline'"):
        Params.load(root / "params.yaml").ablation("base_line")

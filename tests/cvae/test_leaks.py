"""Leak guard: what tells the class is refused, what merely differs between datasets is not."""

import numpy as np
import pytest

from spikeprint.core.errors import ModelError
from spikeprint.cvae.leaks import explained_share, refuse_leaks

RNG = np.random.default_rng(0)
LABELS = np.array(["E_L4", "E_L5", "FS_L4", "FS_L5", "SOM"])[np.arange(200) % 5]
LAYER = np.array([label[-2:] if "_L" in label else "unknown" for label in LABELS])
ONE = np.full(200, "lab")


def test_a_layer_that_is_a_function_of_the_class_is_refused() -> None:
    with pytest.raises(ModelError, match=r"condition 'region' and the cell type of dataset 'lab'.*take 'region' out"):
        refuse_leaks({"region": LAYER}, ONE, LABELS)


def test_a_region_of_which_the_class_is_a_function_is_refused() -> None:
    fine = np.array([f"{label}_{i % 3}" for i, label in enumerate(LABELS)])
    with pytest.raises(ModelError, match="determine each other"):
        refuse_leaks({"region": fine}, ONE, LABELS)


def test_a_leak_in_one_dataset_of_several_is_found() -> None:
    dataset = np.where(np.arange(200) < 100, "left", "right")
    words = np.where(dataset == "left", RNG.permutation(LAYER), LAYER)
    with pytest.raises(ModelError, match="dataset 'right'"):
        refuse_leaks({"region": words}, dataset, LABELS)


def test_chance_and_constants_pass() -> None:
    dataset = np.where(np.arange(200) < 100, "left", "right")
    words = {"region": RNG.permutation(LAYER), "dataset": dataset, "technology": np.where(dataset == "left", "a", "b")}
    refuse_leaks(words, dataset, LABELS)
    refuse_leaks({"region": LAYER}, ONE, np.full(200, ""))


def test_few_units_do_not_look_like_a_leak() -> None:
    """Many words of few units each share much information with any label by chance."""
    words = np.array([f"session_{i % 40}" for i in range(80)])
    assert explained_share(words, RNG.permutation(LABELS[:80])) < 0.2

"""Labels: what counts as unknown, and one spelling for each type."""

import numpy as np
import pytest

from spikeprint.features.labels import clean_labels

PATTERNS = ["unlabeled", "unknown", "juxt"]
SYNONYMS = {"sst": "SOM", "pvalb": "PV", "somatostatin-positive": "SOM", "a": "a much longer name"}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("PV", "PV"),
        ("  PV ", "PV"),
        ("b'PkC_ss'", "PkC_ss"),
        ('b"GoC"', "GoC"),
        ("b'unlabeled'", ""),
        ("Unknown", ""),
        ("JUXTA_3", ""),
        ("SST", "SOM"),
        ("a", "a much longer name"),
        ("nan", ""),
        ("None", ""),
        ("", ""),
        ("b", "b"),
    ],
)
def test_one_label(label: str, expected: str) -> None:
    assert clean_labels(np.array([label]), PATTERNS, SYNONYMS).tolist() == [expected]


def test_a_synonym_wins_over_a_pattern() -> None:
    assert clean_labels(np.array(["juxta"]), PATTERNS, {"juxta": "PV"}).tolist() == ["PV"]


def test_order_and_length_are_kept() -> None:
    labels = np.array(["sst", "PV", "sst", "", "pvalb"])
    assert clean_labels(labels, PATTERNS, SYNONYMS).tolist() == ["SOM", "PV", "SOM", "", "PV"]


def test_no_labels() -> None:
    assert clean_labels(np.array([], dtype=str), PATTERNS, SYNONYMS).shape == (0,)

"""What CSV histograms are declared to be: the card says it, the values are held to it."""

import numpy as np
import pytest

from spikeprint.core.config import FeatureParams, Params, make_dataset_params
from spikeprint.core.errors import DataError
from spikeprint.core.types import SourceTable, UnitTable
from spikeprint.features.representations import REPRESENTATIONS, describe_axis
from spikeprint.features.units import build_units
from spikeprint.validate.schemas import check_canonical

N = 6
RNG = np.random.default_rng(0)
WAVEFORM = RNG.normal(size=(N, 40))
HALF = RNG.poisson(30, (N, 100))
COUNTS = {"isi": RNG.poisson(2, (N, 100)).astype(float), "acg": np.hstack([HALF[:, ::-1], np.zeros((N, 1)), HALF])}
PROBABILITY = {name: values / values.sum(axis=1, keepdims=True) for name, values in COUNTS.items()}


@pytest.fixture(scope="module")
def params(root) -> FeatureParams:
    """The shipped parameters."""
    return Params.load(root / "params.yaml").features


def build(params: FeatureParams, representation: str | None, arrays: dict[str, np.ndarray]) -> UnitTable:
    """A CSV folder of ``N`` units declared as ``representation``."""
    values = {"folder": "x", "technology": "mea", "species": "rat", "format": "csv", "representation": representation}
    raw = SourceTable(np.arange(N).astype(str), {"waveform": WAVEFORM, **arrays}, np.full(N, ""))
    return build_units(raw, "mine", make_dataset_params(values), params, source_md5="")


@pytest.mark.parametrize(
    ("representation", "arrays", "axis", "isi", "unit"),
    [
        ("counts_1ms", COUNTS, "1ms", "counts_1ms", "counts"),
        ("probability_1ms", PROBABILITY, "1ms", "probability_1ms", "probability"),
        ("rate_1ms", COUNTS, "1ms", "rate_1ms", "Hz"),
        ("cellexplorer", PROBABILITY, "cellexplorer", "log_1ms_10s", "probability"),
        ("legacy", COUNTS, "legacy mine", "legacy", None),
        (None, COUNTS, "legacy mine", "legacy", None),
    ],
)
def test_the_card_says_what_was_declared(params, representation, arrays, axis, isi, unit) -> None:
    card = build(params, representation, arrays).card
    assert (card["representation"], card["isi"]["representation"], card["isi"]["unit"]) == (axis, isi, unit)


def test_declared_edges_are_in_the_card(params) -> None:
    card = build(params, "cellexplorer", PROBABILITY).card
    np.testing.assert_allclose(card["isi"]["bin_edges_ms"][::50], [1, 100, 10_000])
    np.testing.assert_allclose(np.array(card["acg"]["bin_edges_ms"])[[0, -1]], [-50.25, 50.25])


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_every_representation_has_as_many_bins_as_the_canonical_histogram(name: str) -> None:
    for histogram, length in zip(("isi", "acg"), (100, 201), strict=True):
        edges = REPRESENTATIONS[name][histogram].edges_ms
        assert edges is None or len(edges) == length + 1


def test_declared_counts_keep_their_values(params) -> None:
    table = build(params, "counts_1ms", COUNTS)
    np.testing.assert_array_equal(table.isi, COUNTS["isi"])
    np.testing.assert_array_equal(table.acg, COUNTS["acg"])


@pytest.mark.parametrize(
    ("representation", "arrays", "message"),
    [
        ("counts_1ms", {"isi": COUNTS["isi"][:, :51]}, "isi_dist.csv: 51 columns, but 'counts_1ms' has 100"),
        ("probability_1ms", COUNTS, r"row 1 sums to \d+, but 'probability_1ms' are probabilities"),
        ("rate_1ms", {"isi": COUNTS["isi"], "acg": COUNTS["acg"][:, 1:]}, "acg.csv: 200 columns"),
    ],
)
def test_histograms_that_are_not_as_declared_are_refused(params, representation, arrays, message) -> None:
    with pytest.raises(DataError, match=message):
        build(params, representation, arrays)


def test_counts_that_are_none_break_the_schema(params) -> None:
    table = build(params, "counts_1ms", {"isi": PROBABILITY["isi"], "acg": COUNTS["acg"]})
    import pandas as pd

    from spikeprint.core.types import MODALITIES

    frames = {m.file: pd.DataFrame(getattr(table, n), columns=m.columns) for n, m in MODALITIES.items()}
    frames |= {"labels.csv": pd.DataFrame({"cell_type": table.labels}), "metadata.csv": table.metadata}
    assert {failure.check for failure in check_canonical(frames, table.card)} >= {"whole"}


def test_legacy_datasets_equal_no_other_one() -> None:
    assert describe_axis("legacy", "a") != describe_axis("legacy", "b")
    assert describe_axis("rate_1ms", "a") == describe_axis("counts_1ms", "b")

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import DataError, UnitsError
from spikeprint.core.types import UnitTable
from spikeprint.features.matrices import COLUMNS, read_labels, read_modalities, read_origin, stack_modalities
from spikeprint.features.transforms import stretch_rows


@pytest.fixture
def raw() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {"waveform": rng.normal(size=(6, 50)), "isi": rng.random((6, 100)), "acg": rng.random((6, 201))}
    arrays["acg"][2] = np.nan
    return arrays


def make_table(raw: dict[str, np.ndarray]) -> UnitTable:
    metadata = pd.DataFrame({"unit_id": [f"u{i}" for i in range(6)]})
    return UnitTable(**raw, labels=np.full(6, ""), metadata=metadata, card={"technology": "tetrode", "n_units": 6})


def test_every_form_gives_the_same_units(raw):
    matrix = stack_modalities(**raw)
    frame = pd.DataFrame(matrix, columns=list(COLUMNS)).sample(frac=1, axis=1, random_state=0)
    for form in (raw, matrix, matrix.tolist(), frame, make_table(raw)):
        found = read_modalities(form)
        assert list(found) == ["waveform", "isi", "acg"]
        for name, values in raw.items():
            np.testing.assert_array_equal(found[name], values)


def test_what_is_not_given_is_missing(raw):
    matrix = stack_modalities(isi=raw["isi"])
    assert np.isnan(matrix[:, :50]).all()
    assert np.isnan(matrix[:, 150:]).all()
    np.testing.assert_array_equal(matrix[:, 50:150], raw["isi"])


def test_other_widths_are_stretched_as_those_of_a_csv(raw):
    found = read_modalities({"waveform": raw["waveform"][:, :41]})["waveform"]
    np.testing.assert_array_equal(found, stretch_rows(raw["waveform"][:, :41], 50))


def spoil(values: np.ndarray, what: float) -> np.ndarray:
    values = values.copy()
    values[[1, 4], 3] = what
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["waveform"], r"X: 50 columns \(features\) found, 351 needed"),
        (lambda raw: raw["waveform"][0], r"X: shape \(50,\) found"),
        (lambda raw: np.empty((0, 351)), "X: no units given"),
        (lambda raw: [["a"] * 351], "X: not a table of numbers"),
        (lambda raw: raw | {"isi": raw["isi"][:5]}, "one row per unit, found {'waveform': 6, 'isi': 5, 'acg': 6}"),
        (lambda raw: {}, "one row per unit, found none"),
        (lambda raw: {"wavefrom": raw["waveform"]}, "unknown modality 'wavefrom'; did you mean 'waveform'"),
        (lambda raw: {"isi": raw["isi"][:, :4]}, "isi: 4 columns found, 100 are canonical"),
        (lambda raw: {"isi": spoil(raw["isi"], -1)}, "isi: row 1 and 1 more rows: negative"),
        (lambda raw: {"waveform": spoil(raw["waveform"], np.inf)}, "waveform: row 1 and 1 more rows: infinite"),
        (lambda raw: {"acg": spoil(raw["acg"], np.nan)}, "acg: row 1 and 1 more rows: partly NaN"),
        (lambda raw: pd.DataFrame(raw["isi"]), "X: 351 of 351 columns are missing, 'w00' first"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(raw, change, message):
    with pytest.raises(UnitsError, match=message) as caught:
        read_modalities(change(raw))
    assert isinstance(caught.value, DataError)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_unlabelled_has_many_spellings():
    found = read_labels(["PV", "", None, np.nan, pd.NA, 3], 6)
    assert found.tolist() == ["PV", "", "", "", "", "3"]
    assert read_labels(None, 2).tolist() == ["", ""]
    assert read_labels(pd.Series(["b", None], dtype="category"), 2).tolist() == ["b", ""]
    with pytest.raises(UnitsError, match=r"y: \(2,\) found, one label for each of 3 units"):
        read_labels(["a", "b"], 3)


def test_a_table_tells_where_it_comes_from_unless_told_otherwise(raw):
    table = make_table(raw)
    assert set(read_origin(table, None, 6)["technology"]) == {"tetrode"}
    assert set(read_origin(table, {"technology": "mea"}, 6)["technology"]) == {"mea"}
    assert set(read_origin(raw, None, 6)["technology"]) == {""}
    with pytest.raises(UnitsError, match="unknown 'tecnology'; did you mean 'technology'"):
        read_origin(raw, {"tecnology": "mea"}, 6)
    with pytest.raises(UnitsError, match=r"origin: species \(2,\)"):
        read_origin(raw, {"species": ["a", "b"]}, 6)

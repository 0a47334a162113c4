"""Source folders with the quirks of real data; canonical folders there and back."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import ConfigError, DataError, SpikeprintError
from spikeprint.core.types import MODALITIES, UnitTable
from spikeprint.io.csvs import write_numbers
from spikeprint.io.datasets import (
    find_csv,
    read_canonical,
    read_canonical_frames,
    read_source_table,
    write_canonical,
)

REAL = {
    "lakunina_mouse_a1": (285, {"waveform": 40, "isi": 51}, {"EXC", "PV", "SOM"}),
    "cellexplorer_mouse": (430, {"waveform": 46, "isi": 100, "acg": 201}, None),
    "lisberger_macaque": (1152, {"waveform": 100, "isi": 100, "acg": 201}, None),
    "hausser_mouse": (104, {"waveform": 90, "isi": 200, "acg": 201}, {"GoC", "MFB", "MLI", "PkC_cs", "PkC_ss"}),
    "neonatal_slice_mouse": (2220, {"waveform": 50, "isi": 100}, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_folders_are_read_whole(name: str, shared_datasets: Path) -> None:
    n_units, widths, classes = REAL[name]
    table = read_source_table(shared_datasets / name)
    assert {key: values.shape for key, values in table.arrays.items()} == {k: (n_units, w) for k, w in widths.items()}
    assert len(table.labels) == len(set(table.unit_ids)) == n_units
    assert classes is None or set(table.labels) == classes
    assert not any(label.startswith("b'") for label in table.labels)


def test_real_values_are_those_numpy_reads(shared_datasets: Path) -> None:
    folder = shared_datasets / "hausser_mouse"
    expected = np.loadtxt(folder / "acg.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(read_source_table(folder).arrays["acg"], expected)


def test_unit_ids_come_from_neuron_id(shared_datasets: Path) -> None:
    table = read_source_table(shared_datasets / "lisberger_macaque")
    assert table.unit_ids[0] == "lisberger_neuron_0"
    assert (table.labels[0], int((table.labels == "unlabeled").sum())) == ("PkC_ss", 484)


def test_a_plain_folder(source: Path) -> None:
    table = read_source_table(source)
    np.testing.assert_array_equal(table.arrays["waveform"][2], [0.5, -3, -7, 1, 1])
    assert table.unit_ids.tolist() == ["0", "1", "2"]
    assert table.labels.tolist() == ["PV", "SOM", "PV"]
    assert "acg" not in table.arrays


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("waveforms.csv", ",0,1,2,3,4\n0,0,-1,-5,1,2\n1,0,-2,-6,2,1\n2,0.5,-3,-7,1,1\n"),
        ("waveforms.csv", "Unnamed: 0,0,1,2,3,4\n0,0,-1,-5,1,2\n1,0,-2,-6,2,1\n2,0.5,-3,-7,1,1"),
        ("waveforms.csv", "﻿0,0,0,-100.00,x\r\n0,-1,-5,1,2\r\n0, -2 ,-6,2,1\r\n0.5,-3,-7,1,1"),
        ("waveforms.csv", '"0,1,2",1,2,3,4\n0,-1,-5,1,2\n\n0,-2,-6,2,1\n0.5,-3,-7,1,1\n\n'),
        ("labels.csv", "label\nb'PV'\nb\"SOM\"\n PV "),
        ("labels.csv", ",area,label\n0,V1,PV\n1,CA1,SOM\n2,V1,PV\n\n"),
        ("labels.csv", "label\nPV\nSOM\nPV\n\n\n"),
    ],
    ids=["index", "unnamed", "bom-crlf-spaces-names", "quoted-header-blank-lines", "bytes", "label-index", "blank-end"],
)
def test_quirks_change_nothing(source: Path, file: str, text: str) -> None:
    plain = read_source_table(source)
    (source / file).write_bytes(text.encode())
    quirky = read_source_table(source)
    np.testing.assert_array_equal(quirky.arrays["waveform"], plain.arrays["waveform"])
    assert quirky.labels.tolist() == plain.labels.tolist()


def test_a_first_column_of_zeros_without_a_name_is_data(source: Path) -> None:
    (source / "waveforms.csv").write_text(",1,2,3,4\n0,-1,-5,1,2\n0,-2,-6,2,1\n0.5,-3,-7,1,1\n")
    assert read_source_table(source).arrays["waveform"].shape == (3, 5)


def test_celltypes_stand_in_for_labels(source: Path) -> None:
    (source / "labels.csv").rename(source / "celltypes.csv")
    assert read_source_table(source).labels.tolist() == ["PV", "SOM", "PV"]


def test_without_label_file_all_units_are_unlabelled(source: Path) -> None:
    (source / "labels.csv").unlink()
    assert read_source_table(source).labels.tolist() == ["", "", ""]


def test_label_column_chooses(source: Path) -> None:
    (source / "labels.csv").write_text("kind,region\nPV,V1\nSOM,V1\nPV,CA1\n")
    assert read_source_table(source).labels.tolist() == ["V1", "V1", "CA1"]
    assert read_source_table(source, "kind").labels.tolist() == ["PV", "SOM", "PV"]
    assert read_source_table(source, "none").labels.tolist() == ["", "", ""]


def test_empty_labels_are_unlabelled_units(source: Path) -> None:
    (source / "labels.csv").write_text("label\nPV\n\nnan\n")
    assert read_source_table(source).labels.tolist() == ["PV", "", ""]


REGIONS = {
    "one column": ({"super_regions.csv": "region\nCortex\n\nb'Midbrain'\n"}, ["Cortex", "", "Midbrain"]),
    "behind an index": ({"super_regions.csv": ",x\n0,Cortex\n1,NA\n2,Midbrain\n"}, ["Cortex", "", "Midbrain"]),
    "numbers": ({"super_regions.csv": "region\n1\n2\n\n"}, ["1", "2", ""]),
    "metadata": ({"metadata.csv": "region,depth\nV1,1\n,2\nCA1,3\n"}, ["V1", "", "CA1"]),
    "both": ({"metadata.csv": "region\nV1\nV1\nCA1\n", "super_regions.csv": "r\na\nb\nb\n"}, ["a", "b", "b"]),
}


@pytest.mark.parametrize("case", REGIONS)
def test_regions_come_from_their_file_or_the_metadata(source: Path, case: str) -> None:
    files, expected = REGIONS[case]
    for name, text in files.items():
        (source / name).write_text(text)
    table = read_source_table(source)
    assert table.extra["region"].tolist() == expected
    assert table.unit_ids.tolist() == ["0", "1", "2"]
    assert set(files) <= {path.name for path in find_csv(source)}


def test_without_regions_there_is_no_such_column(source: Path) -> None:
    (source / "metadata.csv").write_text("unit_id\nu1\nu2\nu3\n")
    (source / "area.csv").write_text("area\nof other units\n")
    assert read_source_table(source).extra == {}


@pytest.mark.parametrize("row", [",,,,", "nan,NaN,NA,null,None"])
def test_an_empty_row_is_a_missing_modality(source: Path, row: str) -> None:
    (source / "waveforms.csv").write_text(f"0,1,2,3,4\n0,-1,-5,1,2\n{row}\n0.5,-3,-7,1,1\n")
    assert np.isnan(read_source_table(source).arrays["waveform"]).all(axis=1).tolist() == [False, True, False]


def test_the_index_of_a_table_that_lost_rows_is_dropped_too(source: Path) -> None:
    (source / "waveforms.csv").write_text(",a,b,c,d,e\n8,0,-1,-5,1,2\n4,0,-1,-2,0,0\n9,0.5,-3,-7,1,1\n")
    (source / "labels.csv").write_text(",label\n8,PV\n4,SOM\n9,PV\n")
    table = read_source_table(source)
    np.testing.assert_array_equal(table.arrays["waveform"][:, 0], [0, 0, 0.5])
    assert table.arrays["waveform"].shape == (3, 5)
    assert table.labels.tolist() == ["PV", "SOM", "PV"]


def test_which_of_several_label_columns_is_taken_is_said(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    (source / "labels.csv").write_text("cell_type,layer\nPV,L2\nSOM,L4\nPV,L4\n")
    assert read_source_table(source).labels.tolist() == ["PV", "SOM", "PV"]
    assert "labels are taken from column 'cell_type' (--label-column: one of cell_type, layer)" in caplog.text
    (source / "labels.csv").write_text("layer,who\nL2,PV\nL4,SOM\nL4,PV\n")
    assert read_source_table(source).labels.tolist() == ["PV", "SOM", "PV"]
    caplog.clear()
    read_source_table(source, "who")
    assert not caplog.text


def test_both_histograms_do_without_waveforms(source: Path) -> None:
    whole = read_source_table(source)
    (source / "acg.csv").write_text("0,1,2\n1,0,1\n2,0,2\n3,0,3\n")
    (source / "waveforms.csv").unlink()
    alone = read_source_table(source)
    assert list(alone.arrays) == ["isi", "acg"]
    assert alone.labels.tolist() == whole.labels.tolist()
    (source / "acg.csv").unlink()
    with pytest.raises(DataError, match=r"waveforms.csv: missing"):
        read_source_table(source)


BAD = {
    "missing": ("isi_dist.csv", None, "isi_dist.csv: missing"),
    "empty": ("isi_dist.csv", "", "isi_dist.csv: empty"),
    "header only": ("isi_dist.csv", "0,1,2,3,4\n", "isi_dist.csv: only a header"),
    "index only": ("isi_dist.csv", "Unnamed: 0\n0\n1\n2\n", "isi_dist.csv: only an index column"),
    "binary": ("waveforms.csv", b"\xff\xfe0\x001\x00", "waveforms.csv: not UTF-8"),
    "ragged": ("waveforms.csv", "0,1,2\n1,2,3\n1,2\n1,2,3\n", "row 2: 2 cells, the header has 3 .1 such rows"),
    "text": ("waveforms.csv", "0,1,2\n1,2,3\n1,x,y\n1,2,z\n", "row 2, column 2: 'x' is not a number .3 .* in 2 rows"),
    "decimal comma": ("waveforms.csv", '0,1\n"1,5",2\n1,2\n1,3\n', "row 1, column 1: '1,5' is not a number"),
    "no header": (
        "waveforms.csv",
        "0.1,-3,0.2\n1,2,3\n1,2,3\n1,2,3\n",
        "'0.1,-3,0.2'. looks like data: .* must be a header",
    ),
    "first row of zeros": ("isi_dist.csv", "0,0,0\n1,2,3\n1,2,3\n", "isi_dist.csv: .* looks like data"),
    "first row of nan": ("waveforms.csv", "nan,nan,nan\n1,2,3\n1,2,3\n", "looks like data"),
    "semicolons": ("waveforms.csv", "0;1;2\n1,5;2;3\n", "waveforms.csv: cells are separated by semicolons .'0;1;2'."),
    "tabs": ("labels.csv", "area\tcell\nV1\tPV\n", "labels.csv: cells are separated by tabs"),
    "long text": ("waveforms.csv", "a\n" + "x" * 999 + "\n", "'x{40}\\.\\.\\.' is not a number"),
    "huge": (
        "waveforms.csv",
        "0,1\n1,2\n1,-2e300\n1,2\n",
        "row 2, column 2: -2e.300 is too large; numbers up to 1e.30",
    ),
    "partly empty": ("waveforms.csv", "0,1\n1,2\n1,\n,1\n", "row 2, column 2: empty .*fill the row.* .2 .* in 2 rows"),
    "infinite": ("waveforms.csv", "0,1\n1,2\n1,2\n1,-inf\n", "row 3, column 2: -inf is infinite"),
    "negative": ("isi_dist.csv", "0,1\n1,2\n1,-3\n1,2\n", "row 2, column 2: -3 is negative"),
    "behind an index": ("isi_dist.csv", ",0,1\n0,1,2\n1,1,-3\n2,1,2\n", "row 2, column 3: -3 is negative"),
    "fewer rows": ("isi_dist.csv", "0,1\n1,2\n1,3\n", "row counts differ: waveforms.csv 3, isi_dist.csv 2"),
    "labels shorter": ("labels.csv", "label\nPV\nSOM\n", "labels.csv 2"),
    "labels longer": ("labels.csv", "label\nPV\nSOM\nPV\nPV\n", "labels.csv 4"),
    "labels empty": ("labels.csv", "", "labels.csv: empty"),
    "labels only index": ("labels.csv", '""\n0\n1\n2\n', "labels.csv: empty or no header"),
    "label row ragged": ("labels.csv", "a,b\n1,PV\n1\n1,PV\n", "labels.csv: row 2: 1 cells, the header has 2"),
    "repeated ids": ("metadata.csv", "unit_id\nu1\nu2\nu1\n", "metadata.csv: row 3, column unit_id: 'u1'"),
    "fewer regions": ("super_regions.csv", "region\nV1\nV1\n", "row counts differ: .*, super_regions.csv 2; every"),
    "more regions": ("metadata.csv", "region\nV1\nV1\nV1\nV1\n", "row counts differ: .*, metadata.csv 4; every"),
    "regions ragged": ("super_regions.csv", "a,b\n1,V1\n1\n1,V1\n", "super_regions.csv: row 2: 1 cells, .* has 2"),
    "missing id": ("metadata.csv", "x,neuron_id\n1,u1\n1,\n1,u3\n", "metadata.csv: row 2, column neuron_id: ''"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_refused_in_one_located_line(source: Path, case: str) -> None:
    file, content, message = BAD[case]
    if content is None:
        (source / file).unlink()
    else:
        (source / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_source_table(source)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value)


@pytest.mark.parametrize(
    "header", ["1,2,3,4,5", "-2.00,-1.00,0.00,1.00,2.00", "0.03,0.07,0.10,0.13,0.17", "2,1,0,-1,-2"]
)
def test_an_axis_is_a_header(source: Path, header: str) -> None:
    plain = read_source_table(source).arrays["isi"]
    (source / "isi_dist.csv").write_text("\n".join([header, *(source / "isi_dist.csv").read_text().splitlines()[1:]]))
    np.testing.assert_array_equal(read_source_table(source).arrays["isi"], plain)


def make_wide(folder: Path, n: int) -> None:
    """Replace the source folder by ``n`` units whose last label column is a number of each."""
    for name in ("waveforms.csv", "isi_dist.csv"):
        (folder / name).write_text("a,b\n" + "1,2\n" * n)
    (folder / "labels.csv").write_text("kind,confidence\n" + "".join(f"PV,0.{i}\n" for i in range(1, n + 1)))


def test_a_label_column_of_ids_is_refused_with_the_others(source: Path) -> None:
    make_wide(source, 10)
    with pytest.raises(DataError, match=r"column 'confidence' holds 10 labels, all different; .*there are: kind"):
        read_source_table(source)
    assert set(read_source_table(source, "kind").labels) == {"PV"}


def test_few_labels_may_all_differ(source: Path) -> None:
    make_wide(source, 9)
    assert len(set(read_source_table(source).labels)) == 9


def test_an_unknown_label_column_gets_the_nearest(source: Path) -> None:
    (source / "labels.csv").write_text(",cell_type,area\n0,PV,V1\n1,SOM,V1\n2,PV,V1\n")
    with pytest.raises(
        ConfigError, match=r"no column 'celltype'; did you mean 'cell_type'\?; columns: cell_type, area"
    ):
        read_source_table(source, "celltype")


def test_a_label_column_needs_a_label_file(source: Path) -> None:
    (source / "labels.csv").unlink()
    with pytest.raises(ConfigError, match=r"labels.csv: missing, but label column 'x'"):
        read_source_table(source, "x")


@pytest.mark.parametrize("what", ["missing", "a file"])
def test_a_folder_is_needed(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "a file":
        path.touch()
    with pytest.raises(SpikeprintError, match=f"x: {what}; a dataset folder is needed"):
        read_source_table(path)


def make_table(n: int = 40) -> UnitTable:
    """Counts, a missing row in each modality, awkward text, floats that need every digit."""
    rng = np.random.default_rng(0)
    waveform = rng.normal(size=(n, 50)).astype(np.float32)
    isi, acg = rng.poisson(3, (n, 100)).astype(float), rng.random((n, 201)) * 1e-7
    waveform[3], isi[4], acg[5] = np.nan, np.nan, np.nan
    metadata = pd.DataFrame(
        {
            "unit_id": [f"0{i}" for i in range(n)],
            "n_spikes": rng.poisson(1e6, n),
            "firing_rate_hz": np.where(np.arange(n) == 2, np.nan, rng.random(n)),
            "source_region": np.array(["1", "2", ""])[np.arange(n) % 3],
            "flags": [""] * n,
            "passes_qc": np.arange(n) % 2 == 0,
            "qc_reason": np.where(np.arange(n) % 2 == 0, "", "few_spikes;low_presence"),
        }
    )
    labels = np.array(['PV, "basket"', "", "NA", "é"])[np.arange(n) % 4]
    return UnitTable(waveform, isi, acg, labels, metadata, {"dataset": "x", "missing": {"waveform": 1}})


def test_canonical_folder_reads_back_identically(tmp_path: Path) -> None:
    table = make_table()
    write_canonical(tmp_path / "x", table)
    back = read_canonical(tmp_path / "x")
    for name in MODALITIES:
        np.testing.assert_array_equal(getattr(back, name), getattr(table, name))
        assert getattr(back, name).dtype == getattr(table, name).dtype
    assert back.labels.tolist() == table.labels.tolist()
    pd.testing.assert_frame_equal(back.metadata, table.metadata, check_dtype=False)
    assert back.metadata["n_spikes"].dtype == np.int64
    assert back.card == table.card


def test_counts_are_written_as_integers_and_missing_rows_empty(tmp_path: Path) -> None:
    table = make_table()
    write_canonical(tmp_path / "x", table)
    lines = (tmp_path / "x" / "isi_dist.csv").read_text().splitlines()
    assert lines[0].startswith("isi_000,isi_001")
    assert lines[1] == ",".join(str(int(count)) for count in table.isi[0])
    assert lines[5] == "," * 99


def test_writing_replaces_a_folder_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_canonical(tmp_path / "x", make_table(10))
    write_canonical(tmp_path / "x", make_table(12))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert len(read_canonical(tmp_path / "x").labels) == 12


def test_a_table_without_labels_reads_back(tmp_path: Path) -> None:
    table = make_table()
    write_canonical(tmp_path / "x", UnitTable(**{**vars(table), "labels": np.full(40, "")}))
    assert set(read_canonical(tmp_path / "x").labels) == {""}


def test_canonical_columns_must_be_in_place(tmp_path: Path) -> None:
    write_canonical(tmp_path / "x", make_table())
    path = tmp_path / "x" / "acg.csv"
    path.write_text(path.read_text().replace("acg_m100", "acg_m1000", 1))
    with pytest.raises(DataError, match=r"acg.csv: 201 columns from 'acg_m1000'"):
        read_canonical(tmp_path / "x")


def test_frames_show_cells_as_they_stand(tmp_path: Path) -> None:
    write_canonical(tmp_path / "x", make_table())
    path = tmp_path / "x" / "isi_dist.csv"
    path.write_text(path.read_text().replace("\n", "\nbroken", 1))
    frames, card = read_canonical_frames(tmp_path / "x")
    assert str(frames["isi_dist.csv"].iloc[0, 0]).startswith("broken")
    assert card["dataset"] == "x"


def test_60000_rows_take_seconds(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((60_000, 201))
    for modality in MODALITIES.values():
        write_numbers(tmp_path / modality.file, modality.columns, values[:, : modality.length])
    started = time.process_time()
    table = read_source_table(tmp_path)
    assert time.process_time() - started < 8
    np.testing.assert_array_equal(table.arrays["acg"], values)

"""The catalog of public datasets against the shared copies of them."""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from spikeprint.core.config import NAME_PATTERN, DatasetParams, Params
from spikeprint.core.errors import ConfigError
from spikeprint.core.types import TECHNOLOGIES
from spikeprint.features.labels import clean_labels
from spikeprint.io.catalog import CATALOG, CatalogDataset, RemoteFile, get_dataset, list_urls
from spikeprint.io.download import hash_sha256

each_dataset = pytest.mark.parametrize("dataset", CATALOG.values(), ids=CATALOG)


@each_dataset
def test_rows_are_what_add_accepts(dataset: CatalogDataset) -> None:
    assert re.fullmatch(NAME_PATTERN, dataset.name)
    assert dataset.technology in TECHNOLOGIES
    choices = [c for part in get_args(DatasetParams.model_fields["representation"].annotation) for c in get_args(part)]
    assert dataset.representation in choices
    assert all((dataset.title, dataset.licence, dataset.citation, dataset.species))
    assert {"waveforms.csv", "isi_dist.csv"} <= {file.path for file in dataset.files}


@each_dataset
def test_checksums_and_sizes_are_those_of_the_shared_copies(dataset: CatalogDataset, shared_datasets: Path) -> None:
    folder = shared_datasets / dataset.name
    assert sorted(file.path for file in dataset.files) == sorted(path.name for path in folder.iterdir())
    for file in dataset.files:
        assert (folder / file.path).stat().st_size == file.size
        assert hash_sha256(folder / file.path) == file.sha256
    listed = dict(line.split()[::-1] for line in (shared_datasets / "SHA256SUMS").read_text().splitlines())
    assert {f"{dataset.name}/{file.path}": file.sha256 for file in dataset.files}.items() <= listed.items()


@each_dataset
def test_rows_and_labels_are_those_of_the_files(dataset: CatalogDataset, shared_datasets: Path, root: Path) -> None:
    features = Params.load(root / "params.yaml").features
    with (shared_datasets / dataset.name / "labels.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    labels = [row[header.index(dataset.label_column) if dataset.label_column else -1] for row in rows]
    assert len(labels) == dataset.n_units
    kinds = sorted(set(labels))
    cleaned = clean_labels(np.array(kinds), features.unlabelled_patterns, features.synonyms)
    assert [dataset.label_map.get(kind, kind) for kind in kinds] == cleaned.tolist()
    assert set(dataset.label_map) <= set(kinds)
    assert len(Counter(cleaned[cleaned != ""])) >= 2


@each_dataset
def test_addresses_are_pinned_first(dataset: CatalogDataset) -> None:
    for file in dataset.files:
        assert all(url.startswith("https://raw.githubusercontent.com/") for url in file.urls)
        assert not file.urls or len(file.urls[0].split("/")[5]) == 40


def test_two_sets_have_no_public_address_of_their_own() -> None:
    lacking = {name for name, row in CATALOG.items() if not all(file.urls for file in row.files)}
    assert lacking == {"hausser_mouse", "neonatal_slice_mouse"}


def test_a_mirror_replaces_the_addresses() -> None:
    dataset = get_dataset("hausser_mouse")
    assert list_urls(dataset, dataset.files[0], "http://lab/x/") == ("http://lab/x/hausser_mouse/waveforms.csv",)
    lisberger = get_dataset("lisberger_macaque")
    assert list_urls(lisberger, lisberger.files[0]) == lisberger.files[0].urls
    odd = RemoteFile("a b/c.csv", "0", 1)
    assert list_urls(dataset, odd, "http://lab") == ("http://lab/hausser_mouse/a%20b/c.csv",)


def test_no_address_and_no_mirror_is_told() -> None:
    dataset = get_dataset("hausser_mouse")
    with pytest.raises(ConfigError, match=r"mouse/waveforms.csv has no public address \(.*name a mirror .*--url"):
        list_urls(dataset, dataset.files[0])


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'hauser_mouse'; did you mean 'hausser_mouse'\?; known: lakunina"):
        get_dataset("hauser_mouse")

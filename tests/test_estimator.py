"""The scikit-learn contract, bundles from here and from strangers, and the page that shows it all."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import spikeprint.estimator
from spikeprint import UnitEmbedder
from spikeprint.core.errors import ConfigError, DataError, IncompatibleBundle, ModelError, UnitsError
from spikeprint.core.files import write_json
from spikeprint.core.model_params import ModelParams
from spikeprint.core.types import UnitTable
from spikeprint.cvae.units import Units
from spikeprint.io.datasets import write_canonical
from spikeprint.registry.bundle import SCHEMA_VERSION, bundle_digest, open_bundle
from spikeprint.registry.loader import load_predictor
from web import Site, serve

TINY = {"n_members": 4, "n_hidden": 16, "epochs": 15, "random_state": 0, "device": "cpu"}
SHORT = TINY | {"n_members": 2, "epochs": 2}


@pytest.fixture(scope="module")
def X(units: Units) -> np.ndarray:
    return UnitEmbedder.stack(**units.raw)


@pytest.fixture(scope="module")
def model(X: np.ndarray, units: Units) -> UnitEmbedder:
    return UnitEmbedder(**TINY).fit(X, units.labels)


@pytest.fixture
def saved(model: UnitEmbedder, tmp_path: Path) -> Path:
    return model.save(tmp_path / "model")


# What it answers -----------------------------------------------------------------------------------------------------


def test_it_learns_and_answers_in_one_order(model, X, units):
    assert model.classes_.tolist() == ["PV", "SOM", "pyramidal"]
    assert model.score(X, units.labels) > 0.9
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))
    assert model.predict_set(X).shape == probabilities.shape
    assert model.transform(X).shape == (len(X), 4 * model.params_.n_latent)
    assert model.n_features_in_ == 351


def test_the_score_is_balanced_accuracy_of_labelled_units(model, X, units):
    found, known = model.predict(X), units.labels != ""
    wrong = np.where(units.labels == "PV", "SOM", units.labels)  # the model never says SOM where PV was meant
    recalls = [np.mean(found[known & (wrong == name)] == name) for name in ("SOM", "pyramidal")]
    assert model.score(X, wrong) == pytest.approx(np.mean(recalls))
    with pytest.raises(UnitsError, match="no labels"):
        model.score(X, [None] * len(X))


def test_known_units_are_no_news_and_noise_is(model, X, units):
    assert np.mean(model.novelty(X) > 1) < 0.3
    strange = np.random.default_rng(0).permuted(X[:, :50], axis=1)
    assert np.mean(model.novelty({"waveform": strange, "isi": X[:, 50:150][:, ::-1]}) > 1) > 0.5


def test_the_same_seed_gives_the_same_model_and_another_another(X, units):
    first, again, other = (
        UnitEmbedder(**SHORT | {"random_state": seed}).fit_transform(X, units.labels) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_form_of_units_gives_the_same_answer(model, X, units):
    frame = pd.DataFrame(X, columns=list(spikeprint.estimator.COLUMNS))
    for form in (units.raw, frame):
        np.testing.assert_array_equal(model.predict_proba(form), model.predict_proba(X))


def test_missing_modalities_and_unlabelled_units_are_learnt_from(X, units):
    labels = np.where(np.arange(len(X)) % 2, units.labels, None)
    only = UnitEmbedder(**TINY).fit({"isi": units.raw["isi"]}, labels)
    assert only.score({"isi": units.raw["isi"]}, units.labels) > 0.6
    np.testing.assert_array_equal(
        only.transform({"isi": units.raw["isi"]}), only.transform(UnitEmbedder.stack(isi=X[:, 50:150]))
    )


def test_origin_is_learnt_and_a_table_brings_its_own(units):
    table = make_table(units)
    raw = {name: getattr(table, name) for name in units.raw}
    told = {name: table.card[name] for name in ("dataset", "technology", "species", "representation")}
    model = UnitEmbedder(**SHORT).fit(table, table.labels)
    assert model.predictor_.vocabulary == {"dataset": ["toy_silicon"], "technology": ["silicon_probe"]}
    np.testing.assert_array_equal(model.transform(table), model.transform(raw, told))
    assert not np.array_equal(model.transform(table), model.transform(raw))


def test_without_labels_it_embeds_only(X):
    model = UnitEmbedder(**SHORT).fit(X)
    assert model.transform(X).shape[0] == len(X)
    assert not hasattr(model, "classes_")
    for method in ("predict", "predict_proba", "predict_set", "novelty"):
        with pytest.raises(NotFittedError, match="fitted without labels"):
            getattr(model, method)(X)


def test_another_head_classifies_without_sets(X, units):
    model = UnitEmbedder(**SHORT, head="knn").fit(X, units.labels)
    assert model.predict_proba(X).shape == (len(X), 3)
    with pytest.raises(ModelError, match="head 'network'"):
        model.predict_set(X)


# What it refuses -----------------------------------------------------------------------------------------------------


def test_nothing_learnt_is_told(X, tmp_path):
    for ask in (lambda m: m.transform(X), lambda m: m.predict(X), lambda m: m.save(tmp_path / "x")):
        with pytest.raises(NotFittedError, match="learnt nothing yet") as caught:
            ask(UnitEmbedder())
        assert isinstance(caught.value, ModelError)


def test_bad_units_are_refused_when_fitted_and_when_asked(model, X, units):
    empty = X.copy()
    empty[3] = np.nan
    with pytest.raises(UnitsError, match="row 3: no modality with content"):
        model.predict(empty)
    for bad, message in ((X[:, :50], "351 needed"), (np.where(X > 5, np.inf, X), "infinite")):
        with pytest.raises(UnitsError, match=message):
            UnitEmbedder(**SHORT).fit(bad, units.labels)
        with pytest.raises(UnitsError, match=message):
            model.predict(bad)
    with pytest.raises(UnitsError, match="one class only, 'PV'"):
        UnitEmbedder(**SHORT).fit(X, np.where(units.labels == "PV", "PV", ""))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_latent": 1}, "n_latent = 1: "),
        ({"epochs": "many"}, "epochs = 'many'"),
        ({"head": "forest"}, "head = 'forest'"),
        ({"classification_weight": 0.0}, "head 'network' needs classification_weight"),
    ],
)
def test_a_parameter_out_of_range_is_named(X, units, change, message):
    with pytest.raises(ConfigError, match=message):
        UnitEmbedder(**change).fit(X, units.labels)


# scikit-learn --------------------------------------------------------------------------------------------------------


def test_its_parameters_are_those_of_the_model():
    assert set(UnitEmbedder().get_params()) == set(ModelParams.model_fields) - {"description", "preset"} | {
        "random_state"
    }
    assert {field.default for field in fields(UnitEmbedder)} == {None}


def test_clone_forgets_what_was_learnt_and_keeps_parameters(model):
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "predictor_")
    assert copy.set_params(epochs=3).epochs == 3
    assert is_classifier(copy)
    assert "epochs=3" in repr(copy)


def test_pipeline_search_and_cross_validation_pick_rows(X, units):
    pipeline = make_pipeline(FunctionTransformer(), UnitEmbedder(**SHORT))
    search = GridSearchCV(pipeline, {"unitembedder__epochs": np.array([1, 12])}, cv=2).fit(X, units.labels)
    assert search.best_params_["unitembedder__epochs"] == 12
    assert search.predict_proba(X).shape == (len(X), 4 - 1)
    scores = cross_val_score(UnitEmbedder(**SHORT), X, units.labels, cv=2, error_score="raise")
    assert ((scores >= 0) & (scores <= 1)).all()


NUMBERS = {
    "whole": ([2, 10, 9], np.int64),
    "truth": ([True, False, True], np.bool_),
    "fractions, some unlabelled": ([0.5, 2.0, np.nan], np.float64),
    "whole, some unlabelled": ([2, None, 10], np.int64),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_labels_that_are_numbers_come_back_as_such(case, X, units):
    values, dtype = NUMBERS[case]
    y = np.array(values)[np.unique(units.labels, return_inverse=True)[1] % 3]
    words = ["" if value is None or value != value else str(value) for value in y]
    model, by_words = (UnitEmbedder(**SHORT).fit(X, labels) for labels in (y, words))
    assert model.classes_.dtype == dtype
    assert model.classes_.tolist() == sorted({value for value in values if value is not None and value == value})
    found, answer = model.predict(X), model.ask(X)
    assert found.dtype == dtype
    assert found.astype(str).tolist() == by_words.predict(X).tolist()
    np.testing.assert_array_equal(found, model.classes_[answer.probabilities.argmax(axis=1)])
    order = [by_words.classes_.tolist().index(str(value)) for value in model.classes_]
    np.testing.assert_array_equal(answer.probabilities, by_words.predict_proba(X)[:, order])
    np.testing.assert_array_equal(answer.sets, by_words.predict_set(X)[:, order])
    assert model.score(X, y) == by_words.score(X, words)


def test_numbers_written_in_two_ways_stay_words(X, units):
    y = np.array([1, 1.0, 2], dtype=object)[np.unique(units.labels, return_inverse=True)[1] % 3]
    assert UnitEmbedder(**SHORT).fit(X, y).classes_.tolist() == ["1", "1.0", "2"]


def test_what_counts_its_classes_works_with_it(X, units):
    names, y = np.unique(units.labels, return_inverse=True)
    model = UnitEmbedder(**SHORT)
    assert np.isfinite(cross_val_score(model, X, y, cv=2, scoring="balanced_accuracy", error_score="raise")).all()
    vote = VotingClassifier([("a", model), ("b", clone(model).set_params(random_state=1))])
    assert set(vote.fit(X, units.labels).predict(X)) <= set(names)


def test_names_of_features_come_out(model, X):
    names = model.get_feature_names_out()
    assert len(names) == model.transform(X).shape[1]
    frame = clone(model).set_params(**SHORT).set_output(transform="pandas").fit_transform(X)
    assert frame.columns[0] == "unitembedder0"


# Bundles -------------------------------------------------------------------------------------------------------------


def test_a_loaded_model_answers_the_same_and_can_be_fitted_again(saved, model, X, units):
    loaded = UnitEmbedder.load(saved)
    for method in ("transform", "predict", "predict_proba", "predict_set", "novelty"):
        np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(model, method)(X))
    again = clone(loaded).set_params(random_state=0).fit(X, units.labels)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert bundle_digest(loaded.save(saved.with_name("again"))) == bundle_digest(saved)


def test_a_saved_model_is_a_bundle_as_the_pipeline_writes_them(saved, model, X, units):
    np.testing.assert_array_equal(open_bundle(saved).predict(units.raw).probabilities, model.predict_proba(X))
    assert not any(name.startswith("held.") for name in UnitEmbedder.load(saved).model_.arrays)


def test_saving_replaces_a_model_and_nothing_else(saved, model, tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(ConfigError, match="papers: exists and is no model"):
        model.save(tmp_path / "papers")
    assert (tmp_path / "papers" / "thesis.txt").is_file()
    assert model.save(saved) == saved


def edit_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "bundle.json").read_text())
    write_json(folder / "bundle.json", card | changes)


def test_an_older_schema_is_refused_by_every_reader(saved):
    edit_card(saved, schema_version=1)
    for read in (UnitEmbedder.load, UnitEmbedder.from_pretrained, open_bundle):
        with pytest.raises(IncompatibleBundle, match=f"schema 1 found, {SCHEMA_VERSION} needed; train again"):
            read(saved)


def test_tampered_weights_are_refused(saved):
    content = bytearray((saved / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (saved / "weights.safetensors").write_bytes(content)
    with pytest.raises(IncompatibleBundle, match=r"weights\.safetensors: changed"):
        UnitEmbedder.load(saved)
    (saved / "weights.safetensors").unlink()
    with pytest.raises(IncompatibleBundle, match=r"weights\.safetensors: missing"):
        UnitEmbedder.load(saved)


def test_a_card_that_does_not_fit_is_refused(saved):
    card = json.loads((saved / "bundle.json").read_text())
    huge = card["model"] | {"shape": card["model"]["shape"] | {"n_hidden": 10**7}}  # 10 TB of weights
    for model in (huge, {}, card["model"] | {"head": {"kind": "forest", "classes": ["a", "b"]}}):
        edit_card(saved, model=model)
        with pytest.raises(IncompatibleBundle):
            UnitEmbedder.load(saved)
    edit_card(saved, model=card["model"], params={"n_latent": -1})
    with pytest.raises(IncompatibleBundle, match="n_latent"):
        UnitEmbedder.load(saved)


def poison(folder: Path, mark: Path) -> None:
    """Put code into a bundle that writes ``mark`` when it runs, and sign for it."""
    for file in [folder / "loader.py", *(folder / "code").rglob("*.py")]:
        file.write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n" + file.read_text())
    card = json.loads((folder / "bundle.json").read_text())
    for name in card["files"]:
        content = (folder / name).read_bytes()
        card["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "n_bytes": len(content)}
    write_json(folder / "bundle.json", card)


def test_code_of_a_bundle_never_runs_and_other_code_is_told(saved, model, X, tmp_path, caplog):
    poison(saved, tmp_path / "mark")
    for read in (UnitEmbedder.load, UnitEmbedder.from_pretrained):
        np.testing.assert_array_equal(read(saved).predict_proba(X), model.predict_proba(X))
    assert "written with another cvae/data.py" in caplog.text
    assert not (tmp_path / "mark").exists()
    load_predictor(saved)
    assert (tmp_path / "mark").exists()  # the poison is real


@pytest.fixture
def hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A hub that has the saved model as lab/cells, at main and at v1."""
    files = {p.relative_to(saved).as_posix(): p.read_bytes() for p in saved.rglob("*") if p.is_file()}
    paths = {
        f"/lab/cells/resolve/{revision}/{name}": content
        for name, content in files.items()
        for revision in ("main", "v1")
    }
    with serve(Site(paths)) as site:
        monkeypatch.setenv("HF_ENDPOINT", f"{site.url}/")
        yield site


def test_a_model_comes_from_a_hub_without_its_code(hub, model, X, caplog):
    np.testing.assert_array_equal(UnitEmbedder.from_pretrained("lab/cells").predict_proba(X), model.predict_proba(X))
    assert [path for path, _ in hub.asked] == [
        f"/lab/cells/resolve/main/{name}" for name in ("bundle.json", "weights.safetensors")
    ]
    assert "written with another" not in caplog.text
    UnitEmbedder.from_pretrained("lab/cells", revision="v1")


def test_a_hub_that_lies_is_found_out(hub, monkeypatch):
    with pytest.raises(DataError, match=r"'lab/none': no such folder, and no such model on the hub .*HTTP 404"):
        UnitEmbedder.from_pretrained("lab/none")
    with pytest.raises(ConfigError, match=r"'\.\./cells': no such folder; a folder, models:/"):
        UnitEmbedder.from_pretrained("../cells")
    weights = "/lab/cells/resolve/main/weights.safetensors"
    hub.files[weights] = hub.files[weights][:-1] + b"\0"
    with pytest.raises(DataError, match="wrong content"):
        UnitEmbedder.from_pretrained("lab/cells")
    card = json.loads(hub.files["/lab/cells/resolve/main/bundle.json"])
    lies = ({"schema_version": 1}, "schema 1 found"), ({"files": {}}, "does not say which weights")
    for change, message in (*lies, ({"files": {"weights.safetensors": {"sha256": "", "n_bytes": 1 << 40}}}, "at most")):
        hub.files["/lab/cells/resolve/main/bundle.json"] = json.dumps(card | change).encode()
        with pytest.raises(IncompatibleBundle, match=message):
            UnitEmbedder.from_pretrained("lab/cells")
    hub.files["/lab/cells/resolve/main/bundle.json"] = b" " * (1 << 21)
    with pytest.raises(DataError, match="more than 1048576 bytes"):
        UnitEmbedder.from_pretrained("lab/cells")


def test_a_registered_model_is_fetched_from_the_projects_registry(saved, model, X, tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    asked = []
    registry = SimpleNamespace(fetch_bundle=lambda *words: asked.append(words) or saved)  # mlflow takes seconds
    monkeypatch.setitem(sys.modules, "spikeprint.registry.versions", registry)
    loaded = UnitEmbedder.from_pretrained("models:/spikeprint-cvae@production")
    assert asked == [(tmp_path, "models:/spikeprint-cvae@production")]
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


# Around it -----------------------------------------------------------------------------------------------------------


def make_table(units: Units) -> UnitTable:
    """The units as a canonical dataset."""
    n = len(units)
    metadata = pd.DataFrame({"unit_id": [f"u{i}" for i in range(n)], "passes_qc": True, "qc_reason": ""})
    origin = {"dataset": "toy_silicon", "technology": "silicon_probe", "species": "mouse", "representation": "1ms"}
    raw = units.raw | {"waveform": units.raw["waveform"].astype(np.float32)}
    return UnitTable(**raw, labels=units.labels, metadata=metadata, card=origin)


def test_every_block_of_the_page_runs(root, units, tmp_path, monkeypatch, capsys):
    small = spikeprint.estimator.PRODUCTION.model_copy(update={"n_members": 2, "n_hidden": 16, "epochs": 4})
    monkeypatch.setattr(spikeprint.estimator, "PRODUCTION", small)
    monkeypatch.chdir(tmp_path)
    write_canonical(tmp_path / "data" / "canonical" / "toy_silicon", make_table(units))
    page = (root / "docs" / "estimator.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    code = "".join(blocks).replace("epochs=150, ", "")
    exec(compile(code, "docs/estimator.md", "exec"), {})
    assert "['PV' 'SOM' 'pyramidal']" in capsys.readouterr().out
    assert (tmp_path / "models" / "mine" / "bundle.json").is_file()


def test_the_package_has_nothing_else_to_give():
    with pytest.raises(AttributeError, match="no attribute 'UnitEmbeder'"):
        spikeprint.UnitEmbeder  # noqa: B018

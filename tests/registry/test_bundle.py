import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spikeprint.core.errors import IncompatibleBundle, ModelError
from spikeprint.cvae.predictor import Predictor
from spikeprint.registry.bundle import bundle_digest, import_closure, open_bundle, write_bundle


@pytest.fixture
def bundle(tmp_path, make_parts) -> Path:
    write_bundle(tmp_path / "bundle", *make_parts())
    return tmp_path / "bundle"


def test_opened_bundle_answers_like_the_model_that_was_written(bundle, make_parts, request_units):
    expected = Predictor(*make_parts()).predict(request_units, {"dataset": "left"})
    found = open_bundle(bundle).predict(request_units, {"dataset": "left"})
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.embedding, expected.embedding)


def test_closure_holds_the_predictor_and_what_it_imports():
    needed = {"cvae/predictor.py", "cvae/networks.py", "features/transforms.py", "evaluate/readout.py"}
    assert needed <= set(import_closure("cvae/predictor.py"))


def test_closure_follows_modules_imported_by_name():
    assert "registry/serving.py" in import_closure("registry/versions.py")  # from . import serving


def test_closure_refuses_what_stands_in_an_init_file():
    with pytest.raises(ModelError, match=r"registry/bundle\.py, line \d+: '__version__' is no module"):
        import_closure("registry/bundle.py")


def test_every_copied_package_is_importable(bundle):
    folders = {path.parent for path in (bundle / "code").rglob("*.py")}
    assert all((folder / "__init__.py").read_text() == "" for folder in folders)


def test_files_added_later_do_not_count(bundle):
    before = bundle_digest(bundle)
    (bundle / "folds.safetensors").write_bytes(b"anything")
    open_bundle(bundle)
    assert bundle_digest(bundle) == before


def test_digest_tells_models_apart(tmp_path, bundle, make_parts):
    write_bundle(tmp_path / "other", *make_parts(seed=1))
    assert bundle_digest(tmp_path / "other") != bundle_digest(bundle)


def test_digest_of_equal_models_is_equal(tmp_path, bundle, make_parts):
    write_bundle(tmp_path / "again", *make_parts())
    assert bundle_digest(tmp_path / "again") == bundle_digest(bundle)


def test_a_newer_bundle_replaces_the_folder(bundle, make_parts):
    (bundle / "folds.safetensors").write_bytes(b"of the old model")
    write_bundle(bundle, *make_parts(seed=1))
    assert not (bundle / "folds.safetensors").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "loader.py", "code/cvae/networks.py"])
def test_a_changed_file_is_named(bundle, name):
    with open(bundle / name, "ab") as handle:
        handle.write(b"\n")
    with pytest.raises(IncompatibleBundle, match=f"{name}: changed"):
        open_bundle(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / "code" / "cvae" / "networks.py").unlink()
    with pytest.raises(IncompatibleBundle, match=r"networks\.py: missing"):
        open_bundle(bundle)


def test_added_code_is_refused(bundle):
    (bundle / "code" / "torch.py").write_text("raise SystemExit")
    with pytest.raises(IncompatibleBundle, match=r"torch\.py: not part of it"):
        open_bundle(bundle)


def test_another_schema_version_is_refused(bundle):
    card = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**card, "schema_version": 99}))
    with pytest.raises(IncompatibleBundle, match="schema 99 found, 4 needed"):
        open_bundle(bundle)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version": 4}'])
def test_a_damaged_card_is_refused(bundle, content):
    (bundle / "bundle.json").write_text(content)
    with pytest.raises(IncompatibleBundle, match=r"bundle"):
        open_bundle(bundle)


def test_a_folder_without_a_bundle_is_refused(tmp_path):
    with pytest.raises(IncompatibleBundle, match="not a model bundle"):
        open_bundle(tmp_path)


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path, make_parts):
    config, arrays = make_parts()
    arrays.pop("network.mu.weight")
    write_bundle(tmp_path / "bundle", config, arrays)
    with pytest.raises(IncompatibleBundle, match="does not load here"):
        open_bundle(tmp_path / "bundle")


def test_a_moved_bundle_still_opens(tmp_path, bundle, request_units):
    expected = open_bundle(bundle).embed(request_units)
    shutil.move(bundle, tmp_path / "elsewhere")
    np.testing.assert_array_equal(open_bundle(tmp_path / "elsewhere").embed(request_units), expected)

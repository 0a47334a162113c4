import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikeprint.registry.bundle import write_bundle
from spikeprint.registry.loader import load_predictor


@pytest.fixture
def bundle(tmp_path, make_parts) -> Path:
    write_bundle(tmp_path / "bundle", *make_parts())
    return tmp_path / "bundle"


def edit(bundle: Path) -> None:
    """Make the bundle's code give embeddings of twice the size."""
    code = bundle / "code" / "cvae" / "predictor.py"
    text = code.read_text()
    assert "return self.flatten(" in text
    code.write_text(text.replace("return self.flatten(", "return 2 * self.flatten("))


def test_two_bundles_with_different_code_give_their_own_answers(tmp_path, bundle, make_parts, request_units):
    write_bundle(tmp_path / "doubled", *make_parts())
    edit(tmp_path / "doubled")
    doubled, plain = load_predictor(tmp_path / "doubled"), load_predictor(bundle)
    np.testing.assert_array_equal(doubled.embed(request_units), 2 * plain.embed(request_units))


def test_bundles_with_the_same_code_share_it(tmp_path, bundle, make_parts):
    write_bundle(tmp_path / "other", *make_parts(seed=1))
    assert type(load_predictor(tmp_path / "other")) is type(load_predictor(bundle))


def test_the_bundle_never_uses_the_installed_code(bundle):
    modules = {type(load_predictor(bundle)).__module__, type(load_predictor(bundle).network).__module__}
    assert all(name.startswith("spikeprint_bundle_") for name in modules)


def test_nothing_is_written_into_the_bundle(bundle, make_parts):
    edit(bundle)  # code that this process has not imported yet
    before = sorted(bundle.rglob("*"))
    load_predictor(bundle)
    assert sorted(bundle.rglob("*")) == before


def test_it_loads_where_spikeprint_is_not_installed(bundle):
    script = (
        "import runpy, sys\n"
        "sys.modules['spikeprint'] = None\n"
        f"predictor = runpy.run_path({str(bundle / 'loader.py')!r})['load_predictor']({str(bundle)!r})\n"
        "assert predictor.n_latent == 5 and 'mlflow' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

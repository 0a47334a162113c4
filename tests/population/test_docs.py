"""The pages run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest

from nwb_sessions import write_nwb

ROOT = Path(__file__).resolve().parents[2]


def run_page(name: str, **given: object) -> dict:
    """Run the Python blocks of a page one after another; return their names."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    scope = dict(given)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name}, block {number + 1}", "exec"), scope)
    return scope


@pytest.mark.slow
def test_the_page_of_embeddings_finds_the_rat_and_nothing_in_shuffled_rows(shared_datasets: Path) -> None:
    recording = shared_datasets.parent / "recordings" / "hippocampus_linear_track"
    if not recording.is_dir():
        pytest.skip("the recording (../shared/recordings) is not on this machine")
    scope = run_page("populations.md", RECORDING=recording)
    assert scope["error"] < 0.2
    truth = scope["position"][scope["test"]]
    assert scope["error"] < 0.6 * np.median(np.abs(truth - np.median(scope["position"][: scope["train"]])))
    data, shuffled = scope["control"]["held_out_score"]
    assert data > shuffled + 0.2
    assert shuffled < 0.1
    assert scope["scores"].min() > 0.4
    assert scope["both"].shape == scope["embedding"].shape
    assert scope["blocks"]["score"].mean() > 0
    assert 1 < scope["size"].local < 8
    before, after = scope["across"]
    assert after > max(before + 0.3, 0.8)


def test_the_page_of_decoding_tells_images_apart(tmp_path: Path) -> None:
    write_nwb(tmp_path / "session.nwb", n_images=4, n_repeats=14, n_units=12)
    scope = run_page("decoding.md", NWB=tmp_path / "session.nwb")
    table = scope["result"].table
    assert table.loc[table["k"] == 0, "top1"].min() > 0.4
    assert scope["foretold"]["bits_per_spike"].min() > 0.1
    assert scope["found"]["top1"].iloc[0] > 0.4

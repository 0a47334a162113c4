"""A small dataset folder in the CSV layout, for tests to bend."""

from pathlib import Path

import pytest

WAVEFORMS = "0,1,2,3,4\n0,-1,-5,1,2\n0,-2,-6,2,1\n0.5,-3,-7,1,1\n"
ISI = "0,1,2,3,4\n0,1,5,3,2\n1,2,4,4,1\n0,0,7,1,1\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three labelled units, waveform and ISI of five columns."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "waveforms.csv").write_text(WAVEFORMS)
    (folder / "isi_dist.csv").write_text(ISI)
    (folder / "labels.csv").write_text("label\nPV\nSOM\nPV\n")
    return folder
